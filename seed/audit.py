"""Proves a seed against the printed document: what is printed is in the seed, and what the seed says is printed.

Checked: every locator resolves; every title stands at its locator; every responsible-unit bracket matches a clause one
to one (units, roles, 等); every member list is printed as entered; every printed phrase occurs where it is said to;
every figure is in its phrase; every digit run is covered by a target, a rule or a skip with a reason; nothing of the
seed is left over.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from seed.document import Bracket, Document, Section, UnknownLocatorError, split_names, squeeze
from seed.format import BattleFile, Clause, PlanFile, Skip
from seed.reader import Finding, Path_, PlanSource, SourceFile, located_targets

__all__ = ["AuditReport", "audit"]

_DIGITS = re.compile(r"\d+(?:\.\d+)?")
AnyFile = SourceFile[PlanFile] | SourceFile[BattleFile]


@dataclass(slots=True)
class AuditReport:
    """What was compared, and what does not agree."""

    findings: list[Finding] = field(default_factory=list[Finding])
    brackets: int = 0
    digit_runs: int = 0
    locators: int = 0
    titles: int = 0

    @property
    def clean(self) -> bool:
        """Whether seed and document agree."""
        return not self.findings


def audit(source: PlanSource, text: str, source_name: str) -> AuditReport:
    """Compare ``source`` with the document's ``text``; ``source_name`` is how findings in the document name it.

    Raises:
        ValueError: the document does not hold the plan's title line.
    """
    document = Document(text, title=source.plan.content.title)
    report = AuditReport()
    run = _Audit(source, document, source_name, report)
    report.findings.extend(run.findings())
    return report


def audit_file(source: PlanSource, path: Path) -> AuditReport:
    """Audit against the UTF-8 text file at ``path``."""
    return audit(source, path.read_text(encoding="utf-8"), path.name)


class _Audit:
    """One run: the coverage of the document's digits is gathered while the entries are checked."""

    def __init__(self, source: PlanSource, document: Document, name: str, report: AuditReport) -> None:
        self.source = source
        self.document = document
        self.name = name
        self.report = report
        self.covered: dict[str, set[int]] = {}
        self.claimed: set[str] = set()

    def findings(self) -> Iterator[Finding]:
        yield from self._plan_file()
        for battle in self.source.battles:
            yield from self._battle(battle)
        for file in self.source.files:
            yield from self._shared(file)
        yield from self._unclaimed_brackets()
        yield from self._uncovered_digits()

    def _sections(self) -> list[Section]:
        """The sections in force, i.e. not those of a text the plan declares superseded."""
        superseded = tuple(self.source.plan.content.superseded)
        return [
            section
            for section in self.document.sections.values()
            if not any(section.locator == part or section.locator.startswith(f"{part}/") for part in superseded)
        ]

    def _section(self, locator: str) -> Section | None:
        self.report.locators += 1
        try:
            return self.document[locator]
        except UnknownLocatorError:
            return None

    def _plan_file(self) -> Iterator[Finding]:
        file = self.source.plan
        for index, locator in enumerate(file.content.superseded):
            if self._section(locator) is None:
                yield file.finding(("superseded", index), f"原文没有位置 {locator}")

    def _battle(self, file: SourceFile[BattleFile]) -> Iterator[Finding]:
        battle = file.content
        section = self._section(battle.locator)
        if section is None:
            yield file.finding(("locator",), f"原文没有位置 {battle.locator}")
        elif not section.text.startswith(squeeze(battle.name)):
            yield file.finding(("name",), f"{battle.locator} 的标题不是“{battle.name}”")
        else:
            self.report.titles += 1
        yield from self._task_force(file)
        for g, group in enumerate(battle.groups):
            where: Path_ = ("groups", g)
            clauses = [] if group.bracket is None else [group.bracket]
            yield from self._titled(file, where, group.locator, group.title, clauses)
            for t, task in enumerate(group.tasks):
                place = (*where, "tasks", t)
                if not task.locator.endswith(f"/{task.number}"):
                    yield file.finding((*place, "number"), f"序号 {task.number} 与位置 {task.locator} 不符")
                yield from self._titled(file, place, task.locator, task.title, task.clauses)

    def _task_force(self, file: SourceFile[BattleFile]) -> Iterator[Finding]:
        force = file.content.task_force
        where: Path_ = ("task_force",)
        section = self._section(force.locator)
        if section is None:
            yield file.finding((*where, "locator"), f"原文没有位置 {force.locator}")
            return
        printed = squeeze("、".join(force.members))
        if printed not in section.text:
            yield file.finding((*where, "members"), f"{force.locator} 的成员单位名单与录入的不一致")
        else:
            following = section.text.split(printed, 1)[1]
            if following.startswith("等") != force.open_ended:
                yield file.finding((*where, "open_ended"), "名单后是否有“等”与录入的不一致")
            if following.startswith("、"):
                yield file.finding((*where, "members"), "原文的成员单位名单没有录完")
        office = re.search(r"办公室设在?(.+?)(?=[,。;])", section.text)
        if office is None or office.group(1) != squeeze(force.office):
            yield file.finding((*where, "office"), f"{force.locator} 的专班办公室不是“{force.office}”")
        for index, head in enumerate(force.heads):
            place = section if head.locator is None else self._section(head.locator)
            if place is None:
                yield file.finding((*where, "heads", index), f"原文没有位置 {head.locator}")
            elif head.person is not None and head.person not in place.text:
                yield file.finding((*where, "heads", index), f"{place.locator} 没有“{head.person}”")

    def _titled(
        self, file: AnyFile, where: Path_, locator: str, title: str, clauses: list[Clause]
    ) -> Iterator[Finding]:
        section = self._section(locator)
        if section is None:
            yield file.finding((*where, "locator"), f"原文没有位置 {locator}")
            return
        if locator in self.claimed:
            yield file.finding((*where, "locator"), f"位置 {locator} 已被另一条目使用")
        self.claimed.add(locator)
        corrected = {
            section.title.replace(squeeze(anomaly.printed), squeeze(anomaly.reading))
            for anomaly in file.content.anomalies
            if anomaly.locator == locator and anomaly.printed and anomaly.reading
        }
        if squeeze(title) not in {section.title, *corrected}:
            yield file.finding((*where, "title"), f"{locator} 的标题是“{section.title}”")
        else:
            self.report.titles += 1
        brackets = section.brackets
        self.report.brackets += len(brackets)
        if len(brackets) != len(clauses):
            yield file.finding(where, f"{locator} 有 {len(brackets)} 个责任括注,录入了 {len(clauses)} 个")
        for number, (bracket, clause) in enumerate(zip(brackets, clauses, strict=False), 1):
            yield from (
                file.finding(where, f"{locator} 第 {number} 个括注: {message}") for message in _compare(bracket, clause)
            )

    def _unclaimed_brackets(self) -> Iterator[Finding]:
        for section in self._sections():
            if section.brackets and section.locator not in self.claimed:
                yield Finding(self.name, section.line, f"{section.locator} 的责任括注没有录入")

    def _shared(self, file: AnyFile) -> Iterator[Finding]:
        content = file.content
        for where, target, locator in located_targets(file):
            yield from self._phrase(file, (*where, "text"), locator, target.text)
            figures = {Decimal(run) for run in _DIGITS.findall(squeeze(target.text))}
            for name, value in (("value", target.value), ("value_max", target.value_max)):
                # A phrase may print its figure in characters (三个月), which are not compared.
                if value is not None and figures and value not in figures:
                    yield file.finding((*where, name), f"“{target.text}”中没有数字 {value}")
        for index, rule in enumerate(content.rules):
            where = ("rules", index)
            if self._section(rule.locator) is None:
                yield file.finding((*where, "locator"), f"原文没有位置 {rule.locator}")
            for phrase in rule.printed:
                yield from self._phrase(file, (*where, "printed"), rule.locator, phrase)
        for index, anomaly in enumerate(content.anomalies):
            where = ("anomalies", index)
            section = self._section(anomaly.locator)
            if section is None:
                yield file.finding((*where, "locator"), f"原文没有位置 {anomaly.locator}")
            elif anomaly.printed is not None and squeeze(anomaly.printed) not in section.text + section.heading:
                yield file.finding((*where, "printed"), f"{anomaly.locator} 没有“{anomaly.printed}”")
        for index, skip in enumerate(content.skips):
            yield from self._skip(file, ("skips", index), skip)

    def _phrase(self, file: AnyFile, where: Path_, locator: str, phrase: str) -> Iterator[Finding]:
        section = self._section(locator)
        if section is None:
            yield file.finding(where, f"原文没有位置 {locator}")
            return
        wanted = squeeze(phrase)
        count = section.text.count(wanted)
        if count != 1:
            fault = "没有" if count == 0 else f"{count} 次出现"
            yield file.finding(where, f"{locator} {fault}“{phrase}”")
            return
        self._cover(section, section.text.index(wanted), len(wanted))

    def _skip(self, file: AnyFile, where: Path_, skip: Skip) -> Iterator[Finding]:
        sections = self._sections()
        if skip.locator is not None:
            section = self._section(skip.locator)
            if section is None:
                yield file.finding(where, f"原文没有位置 {skip.locator}")
                return
            sections = [section]
        used = False
        for section in sections:
            for match in re.finditer(re.escape(squeeze(skip.printed)), section.text):
                used = True
                self._cover(section, match.start(), match.end() - match.start())
        if not used:
            yield file.finding(where, f"原文没有“{skip.printed}”")

    def _cover(self, section: Section, start: int, length: int) -> None:
        self.covered.setdefault(section.locator, set()).update(range(start, start + length))

    def _uncovered_digits(self) -> Iterator[Finding]:
        for section in self._sections():
            covered = self.covered.get(section.locator, set())
            for match in _DIGITS.finditer(section.text):
                self.report.digit_runs += 1
                if not covered.issuperset(range(*match.span())):
                    context = section.text[max(0, match.start() - 12) : match.end() + 8]
                    yield Finding(self.name, section.line, f"{section.locator} 的数字没有着落: …{context}…")


def _compare(bracket: Bracket, clause: Clause) -> Iterator[str]:
    """What differs between a printed bracket and a clause; names are compared as printed, split at separators."""
    entered = [(str(role), part) for role, name in clause.entries for part in split_names(squeeze(name))]
    printed = sorted(bracket.units, key=lambda pair: ("lead", "responsible", "cooperating").index(pair[0]))
    for role, name in printed:
        if (role, name) not in entered:
            yield f"缺少 {role} {name}"
    for role, name in entered:
        if (role, name) not in printed:
            yield f"原文没有 {role} {name}"
    if sorted(entered) == sorted(printed) and entered != printed:
        yield "单位顺序与原文不同"
    if len(entered) != len(printed) and set(entered) == set(printed):
        yield "单位个数与原文不同"
    if bracket.open_ended != clause.open_ended:
        yield "“等”与原文不一致"
