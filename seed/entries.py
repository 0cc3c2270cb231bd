"""What of a plan can be found by searching, and by which words."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.domain.search import EntryKind, SearchText, index_text
from seed.codes import codes
from seed.format import BattleFile, Clause, Indicator, Target, Task, TaskGroup
from seed.reader import PlanSource

__all__ = ["Entry", "search_entries"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to be found."""

    kind: EntryKind
    code: str
    sort_key: str
    title: str
    detail: str | None
    searched: SearchText


def search_entries(source: PlanSource, aliases: Mapping[str, Sequence[str]]) -> Iterator[Entry]:
    """Every entry of a plan and of the units it names; ``aliases`` are those of all years, by the unit's code."""
    plan = source.plan.content
    indicators = {item.code: item for file in source.files for item in file.content.indicators}
    yield _entry(
        EntryKind.PLAN,
        codes(source.code, ()),
        [plan.title, plan.short_title, plan.document_number],
        plan.objective,
    )
    yield from _targets(source, plan.targets, (), plan.short_title, indicators)
    for unit in source.units.content.units:
        code = f"{plan.region.code}-{unit.abbreviation}"
        others = [name for name in aliases[code] if name != unit.name]
        yield Entry(
            EntryKind.UNIT,
            code,
            code,
            unit.name,
            "、".join(others) or None,
            index_text([unit.name, *others], [code, unit.kind.label]),
        )
    for file in source.battles:
        yield from _battle(source, file.content, indicators)
    number = 0
    for file in source.files:
        for rule in file.content.rules:
            number += 1
            code = (rule.code, f"{source.code}-R{number:03}")
            body = [rule.summary, *rule.printed, rule.owed_by or "", rule.kind.label, rule.code]
            yield _entry(EntryKind.RULE, code, [rule.name], rule.summary, body)
    number = 0
    for file in source.files:
        for anomaly in file.content.anomalies:
            number += 1
            # Without names of its own: who looks for a unit or a task must not first meet its misprint.
            text = [anomaly.printed, anomaly.reading, anomaly.note, anomaly.locator, anomaly.kind.label]
            yield Entry(
                EntryKind.ANOMALY,
                f"{source.code}-A{number}",
                f"{source.code}-A{number:04}",
                anomaly.printed or anomaly.note,
                anomaly.note,
                index_text([], [part for part in text if part]),
            )


def _battle(source: PlanSource, battle: BattleFile, indicators: dict[str, Indicator]) -> Iterator[Entry]:
    path = (battle.ordinal,)
    yield _entry(EntryKind.BATTLE, codes(source.code, path), [battle.name, battle.short_name], battle.objective)
    yield from _targets(source, battle.targets, path, battle.name, indicators)
    for group in battle.groups:
        yield from _group(source, group, (*path, group.ordinal), indicators)


def _group(
    source: PlanSource, group: TaskGroup, path: tuple[int, ...], indicators: dict[str, Indicator]
) -> Iterator[Entry]:
    heading = _names(source, [group.bracket] if group.bracket else [])
    yield _entry(EntryKind.GROUP, codes(source.code, path), [group.title], group.summary, heading)
    yield from _targets(source, group.targets, path, group.title, indicators)
    for task in group.tasks:
        here = (*path, task.number)
        body = [*_task_text(task), *_names(source, task.clauses), *heading]
        yield _entry(EntryKind.TASK, codes(source.code, here), [task.title], task.deliverables, body)
        yield from _targets(source, task.targets, here, task.title, indicators)


def _task_text(task: Task) -> list[str]:
    return [clause.summary for clause in task.clauses if clause.summary]


def _names(source: PlanSource, clauses: Sequence[Clause]) -> list[str]:
    """The printed and the canonical names of the units in some brackets."""
    unit_of = source.unit_names()
    canonical = {unit.abbreviation: unit.name for unit in source.units.content.units}
    printed = dict.fromkeys(name for clause in clauses for _, name in clause.entries)
    return [*printed, *dict.fromkeys(canonical[unit_of[name]] for name in printed)]


def _targets(
    source: PlanSource,
    targets: Sequence[Target],
    path: tuple[int, ...],
    owner: str,
    indicators: dict[str, Indicator],
) -> Iterator[Entry]:
    code, sort_key = codes(source.code, path)
    for ordinal, target in enumerate(targets, 1):
        name = indicators[target.indicator].name
        named = (f"{code}-T{ordinal}", f"{sort_key}+T{ordinal:03}")
        yield _entry(EntryKind.TARGET, named, [name, target.text], target.text, [owner, target.indicator])


def _entry(
    kind: EntryKind,
    code: tuple[str, str],
    names: list[str],
    detail: str | None,
    body: Sequence[str] = (),
) -> Entry:
    text = [part for part in (code[0], detail, *body) if part]
    return Entry(kind, code[0], code[1], names[0], detail, index_text(names, text))
