"""Reads a plan directory into validated models; every error names the file and the line it stands at.

All findings of one run are collected, so that an author mends a file in one go.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from app.validation import explain_validation
from seed.format import BattleFile, Clause, Indicator, PlanFile, Sources, Target, UnitsFile

__all__ = ["Finding", "PlanSource", "SeedError", "SourceFile", "read_plan"]

ModelT = TypeVar("ModelT", bound=BaseModel)
Path_ = tuple[str | int, ...]

_NULL, _BOOL, _INT, _FLOAT, _MERGE = (f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "merge"))


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with a seed file."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        """Render in the form editors and CI logs link to: ``file:line: message``."""
        return f"{self.file}:{self.line}: {self.message}"


class SeedError(Exception):
    """The seed cannot be loaded; ``findings`` says where and why, in file and line order."""

    def __init__(self, findings: list[Finding]) -> None:
        """Keep the findings sorted."""
        self.findings = sorted(findings, key=lambda finding: (finding.file, finding.line))
        super().__init__("\n".join(map(str, self.findings)))


@dataclass(frozen=True, slots=True)
class SourceFile(Generic[ModelT]):
    """A validated file and the line at which each of its values stands."""

    path: Path
    content: ModelT
    lines: dict[Path_, int]

    @property
    def name(self) -> str:
        """The file as findings print it: plan directory and file name."""
        return f"{self.path.parent.name}/{self.path.name}"

    def finding(self, where: Path_, message: str) -> Finding:
        """A finding at the line of ``where``, or of its nearest parent that has one."""
        return Finding(self.name, nearest_line(self.lines, where), message)


@dataclass(frozen=True, slots=True)
class PlanSource:
    """A whole plan as its directory holds it; ``digest`` is the SHA-256 of its files."""

    plan: SourceFile[PlanFile]
    units: SourceFile[UnitsFile]
    battles: list[SourceFile[BattleFile]]
    digest: str

    @property
    def code(self) -> str:
        """The plan's code: region and year."""
        return f"{self.plan.content.region.code}-{self.plan.content.year}"

    @property
    def files(self) -> "list[SourceFile[PlanFile] | SourceFile[BattleFile]]":
        """Every file that carries indicators, rules, anomalies and skips."""
        return [self.plan, *self.battles]

    def unit_names(self) -> dict[str, str]:
        """Every printed name with the abbreviation of its unit."""
        return {name: unit.abbreviation for unit in self.units.content.units for name in (unit.name, *unit.aliases)}


def read_plan(directory: Path) -> PlanSource:
    """Read and check one plan directory.

    Raises:
        SeedError: anything that would make the plan wrong or unloadable, each finding with file and line.
    """
    findings: list[Finding] = []
    plan = _read(directory / "plan.yaml", PlanFile, findings)
    units = _read(directory / "units.yaml", UnitsFile, findings)
    paths = sorted(directory.glob("battle-*.yaml"), key=lambda path: (len(path.name), path.name))
    read = [_read(path, BattleFile, findings) for path in paths]
    if not paths:
        findings.append(Finding(f"{directory.name}/", 0, "没有 battle-N.yaml"))
    battles = [battle for battle in read if battle is not None]
    if plan is None or units is None or len(battles) != len(read) or not paths:
        raise SeedError(findings)
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in sorted(directory.glob("*.yaml")))).hexdigest()
    source = PlanSource(plan, units, sorted(battles, key=lambda battle: battle.content.ordinal), digest)
    findings += _crosscheck(source)
    if findings:
        raise SeedError(findings)
    return source


def nearest_line(lines: dict[Path_, int], where: Path_) -> int:
    """The line of ``where`` or of its nearest parent."""
    return next((lines[where[:size]] for size in range(len(where), -1, -1) if where[:size] in lines), 1)


def _read(path: Path, model: type[ModelT], findings: list[Finding]) -> SourceFile[ModelT] | None:
    name = f"{path.parent.name}/{path.name}"
    lines: dict[Path_, int] = {}
    before = len(findings)
    node = _compose(path, name, findings)
    if node is None:
        return None
    data = _plain(node, (), lines, name, findings)
    if len(findings) > before:
        return None
    try:
        content = model.model_validate(data)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            where = ".".join(map(str, item["loc"]))
            message = explain_validation(item["type"], item.get("ctx", {}), item["msg"])
            findings.append(Finding(name, nearest_line(lines, item["loc"]), f"{where}: {message}"))
        return None
    return SourceFile(path, content, lines)


def _compose(path: Path, name: str, findings: list[Finding]) -> yaml.Node | None:
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
        if node is None:
            findings.append(Finding(name, 1, "文件是空的"))
    except FileNotFoundError:
        findings.append(Finding(name, 0, "文件不存在"))
    except UnicodeDecodeError as error:
        findings.append(Finding(name, _line_at(error.object, error.start), f"不是 UTF-8 文本(第 {error.start} 字节)"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        findings.append(Finding(name, mark.line + 1 if mark else 0, f"不是合法的 YAML: {error.problem}"))
    except yaml.reader.ReaderError as error:
        line = _line_at(path.read_bytes(), error.position)
        findings.append(Finding(name, line, f"不是合法的 YAML: 有不能使用的字符 U+{error.character:04X}"))
    else:
        return node
    return None


def _line_at(content: bytes, position: int) -> int:
    return content.count(b"\n", 0, position) + 1


def _plain(node: yaml.Node, where: Path_, lines: dict[Path_, int], file: str, findings: list[Finding]) -> Any:
    """Turn a YAML node into plain values, figures exact, and note the line of each."""
    line = node.start_mark.line + 1
    lines[where] = line
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == _MERGE:
                findings.append(Finding(file, key_node.start_mark.line + 1, "键须为普通文字"))
                continue
            key = str(key_node.value)
            if key in result:
                findings.append(Finding(file, key_node.start_mark.line + 1, f"键 {key} 重复"))
            result[key] = _plain(value_node, (*where, key), lines, file, findings)
            lines[(*where, key)] = key_node.start_mark.line + 1
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*where, index), lines, file, findings) for index, item in enumerate(node.value)]
    try:
        return _scalar(str(node.tag), str(node.value))
    except (ValueError, InvalidOperation):
        findings.append(Finding(file, line, f"数字写法不支持: {node.value}"))
        return None


def _scalar(tag: str, text: str) -> str | bool | int | Decimal | None:
    if tag == _NULL:
        return None
    if tag == _BOOL:
        return text.lower() in {"true", "yes", "on"}
    if tag == _INT:
        return int(text)
    return Decimal(text) if tag == _FLOAT else text


def located_targets(source: "SourceFile[PlanFile] | SourceFile[BattleFile]") -> Iterator[tuple[Path_, Target, str]]:
    """Every target of a file with its place in the file and its locator (its owner's where it has none)."""
    content = source.content
    home = "总体方案" if isinstance(content, PlanFile) else content.locator
    for index, target in enumerate(content.targets):
        yield ("targets", index), target, target.locator or home
    for g, group in enumerate(content.groups if isinstance(content, BattleFile) else []):
        for index, target in enumerate(group.targets):
            yield ("groups", g, "targets", index), target, target.locator or group.locator
        for t, task in enumerate(group.tasks):
            for index, target in enumerate(task.targets):
                yield ("groups", g, "tasks", t, "targets", index), target, target.locator or task.locator


def located_clauses(source: "SourceFile[PlanFile] | SourceFile[BattleFile]") -> Iterator[tuple[Path_, Clause]]:
    """Every bracket of a file with its place in the file."""
    content = source.content
    for g, group in enumerate(content.groups if isinstance(content, BattleFile) else []):
        if group.bracket is not None:
            yield ("groups", g, "bracket"), group.bracket
        for t, task in enumerate(group.tasks):
            for c, clause in enumerate(task.clauses):
                yield ("groups", g, "tasks", t, "clauses", c), clause


def unit_mentions(source: "SourceFile[PlanFile] | SourceFile[BattleFile]") -> Iterator[tuple[Path_, str]]:
    """Every printed unit name of a file with its place in the file."""
    content = source.content
    if isinstance(content, BattleFile):
        force = content.task_force
        yield ("task_force", "office"), force.office
        yield from ((("task_force", "members", index), name) for index, name in enumerate(force.members))
    for where, clause in located_clauses(source):
        yield from ((where, name) for _, name in clause.entries)
    for index, rule in enumerate(content.rules):
        yield from ((("rules", index, "receivers"), name) for name in rule.receivers)
        if rule.certifier is not None:
            yield ("rules", index, "certifier"), rule.certifier


def _crosscheck(source: PlanSource) -> Iterator[Finding]:
    yield from _unique_units(source)
    known = source.unit_names()
    indicators: dict[str, Indicator] = {}
    rules: set[str] = set()
    for file in source.files:
        shared: Sources = file.content
        for index, indicator in enumerate(shared.indicators):
            if indicator.code in indicators:
                yield file.finding(("indicators", index), f"指标 {indicator.code} 已有定义")
            indicators[indicator.code] = indicator
        for index, rule in enumerate(shared.rules):
            if rule.code in rules:
                yield file.finding(("rules", index), f"规则 {rule.code} 已有定义")
            rules.add(rule.code)
        for where, name in unit_mentions(file):
            if name not in known:
                yield file.finding(where, f"units.yaml 中没有单位“{name}”")
    for file in source.files:
        for where, target, _ in located_targets(file):
            indicator = indicators.get(target.indicator)
            if indicator is None:
                yield file.finding(where, f"指标 {target.indicator} 没有定义")
            elif target.operator is not None and indicator.unit_of_measure is None:
                yield file.finding(where, f"指标 {target.indicator} 没有计量单位,不能有目标值")
    yield from _repeated_units(source)
    yield from _ordinals(source)


def _repeated_units(source: PlanSource) -> Iterator[Finding]:
    known = source.unit_names()
    for file in source.files:
        for where, clause in located_clauses(file):
            units = [(role, known.get(name, name)) for role, name in clause.entries]
            if len(set(units)) != len(units):
                yield file.finding(where, "同一括注中同一角色的单位以不同名称重复")


def _unique_units(source: PlanSource) -> Iterator[Finding]:
    names: set[str] = set()
    abbreviations: set[str] = set()
    units = source.units
    if units.content.region.code != source.plan.content.region.code:
        yield units.finding(("region",), "与 plan.yaml 的地区不一致")
    for index, unit in enumerate(units.content.units):
        if unit.abbreviation in abbreviations:
            yield units.finding(("units", index), f"拼音首字母 {unit.abbreviation} 重复")
        abbreviations.add(unit.abbreviation)
        for name in (unit.name, *unit.aliases):
            if name in names:
                yield units.finding(("units", index), f"名称“{name}”已属于另一单位")
            names.add(name)


def _ordinals(source: PlanSource) -> Iterator[Finding]:
    seen: set[int] = set()
    for battle in source.battles:
        if battle.content.ordinal in seen:
            yield battle.finding(("ordinal",), f"序号 {battle.content.ordinal} 的仗已有定义")
        seen.add(battle.content.ordinal)
        groups: set[int] = set()
        for g, group in enumerate(battle.content.groups):
            if group.ordinal in groups:
                yield battle.finding(("groups", g), f"组序号 {group.ordinal} 重复")
            groups.add(group.ordinal)
            numbers: set[int] = set()
            for t, task in enumerate(group.tasks):
                if task.number in numbers:
                    yield battle.finding(("groups", g, "tasks", t), f"任务序号 {task.number} 重复")
                numbers.add(task.number)
