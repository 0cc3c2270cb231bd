"""Loads a plan into the database: idempotent, in one transaction, touching only rows that differ.

What a second run finds equal it leaves alone, so versions (and with them every client's ETags) stay as they are.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.domain.audit import AuditAction
from app.domain.periods import parse_period, period_of
from app.domain.plan import RuleUnitRole
from app.domain.search import EntryKind
from app.models import (
    Anomaly,
    Assignment,
    Battle,
    Clause,
    GivenFigure,
    Indicator,
    Plan,
    Region,
    Rule,
    RuleUnit,
    RuleVersion,
    SearchEntry,
    SuperiorDocument,
    Target,
    Task,
    TaskForce,
    TaskForceHead,
    TaskForceMember,
    TaskGroup,
    Unit,
    UnitAlias,
)
from app.rendering import exact
from app.services.audit import APPENDING, Act, entry_of, given
from app.services.caller import by_command
from app.services.obligations import expand_obligations
from migrations import LOCK
from seed import format as seed_format
from seed.codes import codes
from seed.entries import Entry, search_entries
from seed.history import tasks_of_history
from seed.reader import PlanSource, SeedError, read_plan
from seed.synchroniser import Keys, LoadReport, Row, Synchroniser

__all__ = ["LoadReport", "load_plan", "plan_directories", "seed_if_empty"]


def plan_directories(root: Path | None = None) -> list[Path]:
    """The plan directories that come with the project, or those under ``root``."""
    return sorted(path.parent for path in (root or Path(__file__).parent).glob("*/plan.yaml"))


async def seed_if_empty(engine: AsyncEngine, *, now: datetime) -> list[LoadReport]:
    """Load the plans that come with the project into a database that holds none.

    Raises:
        SeedError: a seed file is wrong.
    """
    async with engine.connect() as connection:
        if await connection.scalar(select(func.count()).select_from(Plan)):
            return []
    return [await load_plan(engine, directory, now=now) for directory in plan_directories()]


async def load_plan(engine: AsyncEngine, directory: Path, *, now: datetime) -> LoadReport:
    """Load one plan directory, and expect the reports its rules ask for; nothing is written where anything is wrong.

    What was due at ``now`` stays expected as it was (see ``expand_obligations``).

    Raises:
        SeedError: a seed file is wrong.
    """
    source = read_plan(directory)
    async with engine.begin() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        await connection.execute(text("SET CONSTRAINTS ALL DEFERRED"))
        digest = await connection.scalar(select(Plan.seed_digest).where(Plan.code == source.code))
        load = _Load(connection, source, LoadReport(source.code), now)
        await load.run()
        if load.report.changed:
            await _record(connection, load, digest)
        return load.report


async def _record(connection: AsyncConnection, load: "_Load", digest: str | None) -> None:
    """Put the load down in the audit trail, as the last thing that its transaction does."""
    report = load.report
    act = Act(
        AuditAction.PLAN_LOAD,
        report.plan,
        report.plan,
        before=None if digest is None else {"digest": digest},
        after={
            "digest": load.source.digest,
            **{name: getattr(report, name) for name in ("inserted", "updated", "deleted", "obligations")},
        },
    )
    await connection.execute(APPENDING, given([entry_of(by_command("seed"), act, now=load.now)]))


class _Load:
    """One load: the keys of what has been written, by code, for what refers to it."""

    def __init__(self, connection: AsyncConnection, source: PlanSource, report: LoadReport, now: datetime) -> None:
        self.connection = connection
        self.source = source
        self.report = report
        self.table = Synchroniser(connection, report)
        self.now = now
        self.region = source.plan.content.region.code
        self.units: Keys = {}
        self.of_name: dict[str, int] = {}

    async def run(self) -> None:
        await self._catalogues()
        plan = await self._plan()
        await self._refuse_removal_of_history(plan)
        battles = await self._battles(plan)
        groups, tasks = await self._tasks(plan, battles)
        await self._clauses(groups, tasks)
        await self._targets(plan, battles, groups, tasks)
        await self._rule_versions(await self._rules(plan, battles))
        await self._anomalies(plan, battles)
        await self._search(plan)
        self.report.obligations = await expand_obligations(self.connection, plan, now=self.now)

    async def _catalogues(self) -> None:
        """Regions, units and indicators: shared by the years of a region, so never deleted here."""
        region = self.source.plan.content.region
        await self.table.sync(Region, [{"code": region.code, "name": region.name}], ["code"])
        units = self.source.units.content.units
        rows = [
            {
                "region_code": self.region,
                "code": f"{self.region}-{unit.abbreviation}",
                "name": unit.name,
                "kind": unit.kind.value,
                "note": unit.note,
            }
            for unit in units
        ]
        self.units = await self.table.sync(Unit, rows, ["code"], within=Unit.region_code == self.region)
        names = self.source.unit_names()
        self.of_name = {name: self.units[f"{self.region}-{abbreviation}",] for name, abbreviation in names.items()}
        aliases = [{"region_code": self.region, "unit_id": unit, "name": name} for name, unit in self.of_name.items()]
        await self.table.sync(UnitAlias, aliases, ["name"], within=UnitAlias.region_code == self.region)
        indicators = [
            {"region_code": self.region, **indicator.model_dump(mode="json")}
            for file in self.source.files
            for indicator in file.content.indicators
        ]
        within = Indicator.region_code == self.region
        self.indicators = await self.table.sync(Indicator, indicators, ["code"], within=within)

    async def _plan(self) -> int:
        content = self.source.plan.content
        code = self.source.code
        names = ("year", "title", "short_title", "document_number", "issuer", "issued_on", "objective")
        row: Row = {name: getattr(content, name) for name in names}
        row |= {"code": code, "sort_key": code, "region_code": self.region, "seed_digest": self.source.digest}
        row |= content.lights.model_dump()
        plan = (await self.table.sync(Plan, [row], ["code"], within=Plan.code == code))[code,]
        superior = [
            {"plan_id": plan, "position": position, **document.model_dump()}
            for position, document in enumerate(content.superior_documents, 1)
        ]
        await self.table.replace(SuperiorDocument, superior, ["plan_id", "position"], SuperiorDocument.plan_id == plan)
        return plan

    async def _refuse_removal_of_history(self, plan: int) -> None:
        """A task that has a history stays: a plan can no longer be written without it.

        Raises:
            SeedError: such a task is missing.
        """
        wanted = [
            self._codes((file.content.ordinal, group.ordinal, task.number))[0]
            for file in self.source.battles
            for group in file.content.groups
            for task in group.tasks
        ]
        lost = await tasks_of_history(self.connection, plan, without=wanted, now=self.now)
        if lost:
            finding = self.source.plan.finding
            raise SeedError([finding((), f"任务 {code} {said},不能从方案中删除") for code, said in lost])

    async def _battles(self, plan: int) -> Keys:
        battles: list[Row] = []
        for file in self.source.battles:
            content = file.content
            names = ("ordinal", "short_name", "name", "objective", "locator")
            row: Row = {name: getattr(content, name) for name in names}
            code, sort_key = self._codes((content.ordinal,))
            battles.append({**row, "plan_id": plan, "code": code, "sort_key": sort_key})
        keys = await self.table.sync(Battle, battles, ["ordinal"], within=Battle.plan_id == plan, prune=True)
        forces = [
            {
                "battle_id": keys[file.content.ordinal,],
                "name": force.name,
                "locator": force.locator,
                "office_unit_id": self.of_name[force.office],
                "office_printed_name": force.office,
                "open_ended": force.open_ended,
                "note": force.note,
            }
            for file in self.source.battles
            for force in (file.content.task_force,)
        ]
        of_plan = TaskForce.battle_id.in_(keys.values())
        force_keys = await self.table.sync(TaskForce, forces, ["battle_id"], within=of_plan)
        heads: list[Row] = []
        members: list[Row] = []
        for file in self.source.battles:
            force = file.content.task_force
            key = force_keys[keys[file.content.ordinal,],]
            heads += [
                {
                    "task_force_id": key,
                    "position": position,
                    "role": head.role.value,
                    "post": head.post,
                    "person": head.person,
                    "locator": head.locator or force.locator,
                }
                for position, head in enumerate(force.heads, 1)
            ]
            members += [
                {"task_force_id": key, "position": position, "unit_id": self.of_name[name], "printed_name": name}
                for position, name in enumerate(force.members, 1)
            ]
        for model, rows in ((TaskForceHead, heads), (TaskForceMember, members)):
            within = model.task_force_id.in_(force_keys.values())
            await self.table.replace(model, rows, ["task_force_id", "position"], within)
        return keys

    async def _tasks(self, plan: int, battles: Keys) -> tuple[Keys, Keys]:
        groups: list[Row] = []
        for file in self.source.battles:
            for group in file.content.groups:
                code, sort_key = self._codes((file.content.ordinal, group.ordinal))
                row: Row = {
                    name: getattr(group, name) for name in ("ordinal", "title", "locator", "summary", "upstream_note")
                }
                battle = battles[file.content.ordinal,]
                groups.append({**row, "plan_id": plan, "battle_id": battle, "code": code, "sort_key": sort_key})
        keys = await self.table.sync(TaskGroup, groups, ["code"], within=TaskGroup.plan_id == plan, prune=True)
        tasks: list[Row] = []
        for file in self.source.battles:
            for group in file.content.groups:
                for task in group.tasks:
                    code, sort_key = self._codes((file.content.ordinal, group.ordinal, task.number))
                    tasks.append(
                        {
                            "plan_id": plan,
                            "battle_id": battles[file.content.ordinal,],
                            "task_group_id": keys[self._codes((file.content.ordinal, group.ordinal))[0],],
                            "number": task.number,
                            "code": code,
                            "sort_key": sort_key,
                            "title": task.title,
                            "locator": task.locator,
                            "deliverables": task.deliverables,
                            "upstream_note": task.upstream_note or group.upstream_note,
                        }
                    )
        return keys, await self.table.sync(Task, tasks, ["code"], within=Task.plan_id == plan, prune=True)

    async def _clauses(self, groups: Keys, tasks: Keys) -> None:
        clauses: list[Row] = []
        brackets: dict[str, seed_format.Clause] = {}

        def add(owner: str, ordinal: int, clause: seed_format.Clause) -> None:
            code = f"{owner}.{ordinal}"
            brackets[code] = clause
            clauses.append(
                {
                    "task_id": tasks.get((owner,)),
                    "task_group_id": groups.get((owner,)),
                    "ordinal": ordinal,
                    "code": code,
                    "summary": clause.summary,
                    "open_ended": clause.open_ended,
                    "note": clause.note,
                }
            )

        for file in self.source.battles:
            for group in file.content.groups:
                if group.bracket is not None:
                    add(self._codes((file.content.ordinal, group.ordinal))[0], 1, group.bracket)
                for task in group.tasks:
                    for ordinal, clause in enumerate(task.clauses, 1):
                        add(self._codes((file.content.ordinal, group.ordinal, task.number))[0], ordinal, clause)
        within = Clause.task_id.in_(tasks.values()) | Clause.task_group_id.in_(groups.values())
        keys = await self.table.sync(Clause, clauses, ["code"], within=within, prune=True)
        assignments = [
            {
                "clause_id": keys[code,],
                "position": position,
                "unit_id": self.of_name[name],
                "role": role.value,
                "printed_name": name,
            }
            for code, clause in brackets.items()
            for position, (role, name) in enumerate(clause.entries, 1)
        ]
        of_clauses = Assignment.clause_id.in_(keys.values())
        await self.table.replace(Assignment, assignments, ["clause_id", "position"], of_clauses)

    async def _targets(self, plan: int, battles: Keys, groups: Keys, tasks: Keys) -> None:
        content = self.source.plan.content
        rows = self._target_rows(content.targets, (), "总体方案", {"plan_id": plan})
        for file in self.source.battles:
            battle = file.content
            path: tuple[int, ...] = (battle.ordinal,)
            owner: Row = {"plan_id": plan, "battle_id": battles[path]}
            rows += self._target_rows(battle.targets, path, battle.locator, owner)
            for group in battle.groups:
                path = (battle.ordinal, group.ordinal)
                owner = {**owner, "task_group_id": groups[self._codes(path)[0],]}
                rows += self._target_rows(group.targets, path, group.locator, owner)
                for task in group.tasks:
                    path = (battle.ordinal, group.ordinal, task.number)
                    of_task = {**owner, "task_id": tasks[self._codes(path)[0],]}
                    rows += self._target_rows(task.targets, path, task.locator, of_task)
        # What came from above is not of the file.
        within = (Target.plan_id == plan) & Target.id.not_in(select(GivenFigure.target_id))
        await self.table.sync(Target, rows, ["code"], within=within, prune=True)

    def _target_rows(
        self, targets: Sequence[seed_format.Target], path: tuple[int, ...], locator: str, owner: Row
    ) -> list[Row]:
        code, sort_key = self._codes(path)
        names = ("value", "value_max", "text", "baseline", "note")
        return [
            {
                "battle_id": None,
                "task_group_id": None,
                "task_id": None,
                **owner,
                **{name: getattr(target, name) for name in names},
                "ordinal": ordinal,
                "code": f"{code}-T{ordinal}",
                # "+" sorts before "-": the targets of a whole come before those of its parts.
                "sort_key": f"{sort_key}+T{ordinal:03}",
                "indicator_id": self.indicators[target.indicator,],
                "operator": target.operator and target.operator.value,
                "qualitative": target.qualitative and target.qualitative.value,
                "locator": target.locator or locator,
                "due_on": target.due_on or date(self.source.plan.content.year, 12, 31),
                "due_printed": target.due_on is not None,
            }
            for ordinal, target in enumerate(targets, 1)
        ]

    async def _rules(self, plan: int, battles: Keys) -> Keys:
        rows: list[Row] = []
        units: dict[str, list[Row]] = {}
        for file, rule in self._shared("rules"):
            names = ("code", "name", "locator", "summary", "owed_by", "printed", "interpretation")
            rows.append(
                {
                    **{name: getattr(rule, name) for name in names},
                    "plan_id": plan,
                    "battle_id": self._battle_of(file, battles),
                    "sort_key": f"{self.source.code}-R{len(rows) + 1:03}",
                    "kind": rule.kind.value,
                    "schedule": None if rule.schedule is None else rule.schedule.stored(),
                    "parameters": {name: _json_value(value) for name, value in rule.parameters.items()},
                }
            )
            named = [(RuleUnitRole.RECEIVER, name) for name in rule.receivers]
            named += [(RuleUnitRole.CERTIFIER, rule.certifier)] if rule.certifier else []
            units[rule.code] = [
                {
                    "role": role.value,
                    "position": position,
                    "unit_id": self.of_name[name],
                    "printed_name": name,
                }
                for position, (role, name) in enumerate(named, 1)
            ]
        keys = await self.table.sync(Rule, rows, ["code"], within=Rule.plan_id == plan, prune=True)
        of_rules = [{"rule_id": keys[code,], **unit} for code, found in units.items() for unit in found]
        within = RuleUnit.rule_id.in_(keys.values())
        await self.table.replace(RuleUnit, of_rules, ["rule_id", "role", "position"], within)
        return keys

    async def _rule_versions(self, rules: Keys) -> None:
        """Add a version where a schedule differs from the newest stored one; earlier versions are never touched."""
        stored = select(RuleVersion).where(RuleVersion.rule_id.in_(rules.values())).order_by(RuleVersion.version)
        newest = {row["rule_id"]: row for row in (await self.connection.execute(stored)).mappings()}
        for _, rule in self._shared("rules"):
            if rule.schedule is None:
                continue
            key = rules[rule.code,]
            schedule = rule.schedule.stored()
            before = newest.get(key)
            if before is not None and before["schedule"] == schedule:
                continue
            await self.connection.execute(
                insert(RuleVersion).values(
                    rule_id=key,
                    version=1 if before is None else before["version"] + 1,
                    effective_from=self._effective_from(rule.schedule, first=before is None),
                    schedule=schedule,
                )
            )
            self.report.inserted += 1

    def _effective_from(self, schedule: seed_format.Schedule, *, first: bool) -> date:
        """The first day a version holds for: as written, else from the beginning, or for a change from now on."""
        if schedule.effective_from is not None:
            return parse_period(schedule.effective_from).start
        if first:
            return date(self.source.plan.content.year, 1, 1)
        return period_of(schedule.frequency, self.now.date()).start

    async def _anomalies(self, plan: int, battles: Keys) -> None:
        rows = [
            {
                **anomaly.model_dump(mode="json"),
                "plan_id": plan,
                "battle_id": self._battle_of(file, battles),
                "ordinal": ordinal,
                "code": f"{self.source.code}-A{ordinal}",
                "sort_key": f"{self.source.code}-A{ordinal:04}",
            }
            for ordinal, (file, anomaly) in enumerate(self._shared("anomalies"), 1)
        ]
        await self.table.sync(Anomaly, rows, ["ordinal"], within=Anomaly.plan_id == plan, prune=True)

    async def _search(self, plan: int) -> None:
        entries = list(search_entries(self.source, await self._aliases()))
        of_plan = [self._entry(entry, plan) for entry in entries if entry.kind is not EntryKind.UNIT]
        of_region = [self._entry(entry, None) for entry in entries if entry.kind is EntryKind.UNIT]
        given = select(Target.code).join(GivenFigure, GivenFigure.target_id == Target.id)
        found_in_file = (SearchEntry.plan_id == plan) & SearchEntry.code.not_in(given)
        await self.table.replace(SearchEntry, of_plan, ["kind", "code"], found_in_file)
        # Units outlive a plan: those that this one does not name stay findable.
        within = (SearchEntry.region_code == self.region) & SearchEntry.plan_id.is_(None)
        await self.table.sync(SearchEntry, of_region, ["kind", "code"], within=within, replace=True)

    async def _aliases(self) -> dict[str, list[str]]:
        """Every printed name of the region's units, by unit code: those of other years stay findable too."""
        statement = select(Unit.code, UnitAlias.name).join(Unit, Unit.id == UnitAlias.unit_id)
        aliases: dict[str, list[str]] = {}
        for code, name in await self.connection.execute(statement.where(Unit.region_code == self.region)):
            aliases.setdefault(code, []).append(name)
        return {code: sorted(names) for code, names in aliases.items()}

    def _entry(self, entry: Entry, plan: int | None) -> Row:
        searched = entry.searched
        return {
            "region_code": self.region,
            "plan_id": plan,
            "kind": entry.kind.value,
            "code": entry.code,
            "sort_key": entry.sort_key,
            "title": entry.title,
            "detail": entry.detail,
            "names": searched.names,
            "pinyin": searched.pinyin,
            "initials": searched.initials,
            "haystack": searched.haystack,
            "grams": searched.grams,
        }

    def _shared(self, name: str) -> Iterable[tuple[Any, Any]]:
        return ((file, item) for file in self.source.files for item in getattr(file.content, name))

    @staticmethod
    def _battle_of(file: Any, battles: Keys) -> int | None:
        ordinal = getattr(file.content, "ordinal", None)
        return None if ordinal is None else battles[ordinal,]

    def _codes(self, path: tuple[int, ...]) -> tuple[str, str]:
        return codes(self.source.code, path)


def _json_value(value: Any) -> Any:
    """A rule parameter as JSON: figures as numbers."""
    if isinstance(value, bool | str):
        return value
    return exact(value)
