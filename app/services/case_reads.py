"""Cases of the ledger as the API shows them, now or as they stood at an instant: one, a list, the history.

Hazards, the troubles of enterprises and risks are for those alone who were granted to see them: a deployment that opens
its progress to everyone does not open its ledger.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Date, DateTime, Text, Uuid, and_, any_, bindparam, func, literal_column, select, true

from app.clock import day_of
from app.db import Database, Query
from app.domain.actions import case_actions
from app.domain.cases import KINDS, CaseAction, CaseFacts, CaseKind, CaseState, explain
from app.domain.permissions import Subject
from app.errors import NotFoundError
from app.models import Battle, Case, CaseEvidence, CaseStep, Plan, Task, Unit
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, render
from app.schemas.base import AsOfQuery
from app.schemas.case import CaseHistoryRead, CasePage, CaseQuery, CaseRead, CaseStepRead, EvidenceRead
from app.services.caller import Caller
from app.services.reader import Reader, equal_to, key_of, page_request
from app.services.units import resolve_unit
from app.services.visible_rows import seen_conditions, seen_filter

__all__ = [
    "OpenCase",
    "case_of",
    "case_row",
    "etag_of_case",
    "get_case",
    "get_case_history",
    "is_known",
    "list_cases",
    "missing_case",
    "open_cases",
    "read_case",
    "stood_then",
    "subject_of_case",
]

_AS_OF = bindparam("as_of", type_=DateTime(timezone=True))
_DAY = bindparam("day", type_=Date)
_LAST = literal_column("DATE '9999-12-30'", Date())
_STANDING = ("state", "round", "level", "due_on", "recheck_due_on", "responsible_person", "closed_at")
_SAID = ("id", "kind", "title", "description", "source_ref", "enterprise", "place", "registered_at")
_SAME = (*_SAID, "registered_by", "version")


def stood_then() -> Any:
    """How the case of the query around it stood at the parameter ``as_of``: no row before it was registered."""
    return (
        select(
            CaseStep.to_state.label("state"),
            *(getattr(CaseStep, name) for name in _STANDING if name != "state"),
        )
        .where(CaseStep.case_id == Case.id, CaseStep.at <= _AS_OF)
        .order_by(CaseStep.id.desc())
        .limit(1)
        .correlate(Case)
        .lateral("stood")
    )


def _columns(standing: Any) -> Statement:
    """The columns of a case that stands as ``standing`` has it: the table itself, or :func:`stood_then`."""
    return (
        select(
            Case.id.label("sort_key"),
            *(getattr(Case, name) for name in _SAME),
            *(getattr(standing, name) for name in _STANDING if name != "due_on"),
            standing.due_on.label("due_day"),
            func.coalesce(standing.due_on, _LAST).label("due_on"),
            Plan.code.label("plan"),
            Battle.code.label("battle"),
            Task.code.label("task"),
            Unit.code.label("unit"),
            Unit.name.label("unit_name"),
        )
        .select_from(Case)
        .join(Plan, Plan.id == Case.plan_id)
        .join(Unit, Unit.id == Case.unit_id)
        .outerjoin(Battle, Battle.id == Case.battle_id)
        .outerjoin(Task, Task.id == Case.task_id)
    )


def _listing(statement: Statement, standing: Any) -> Listing:
    closed = standing.state == CaseState.CLOSED.value
    overdue = func.coalesce(and_(~closed, standing.due_on < _DAY), False)
    recheck_due = func.coalesce(and_(closed, standing.recheck_due_on <= _DAY), False)
    return Listing(
        statement=statement,
        key=Case.id,
        sorts={"id": Case.id, "due_on": func.coalesce(standing.due_on, _LAST)},
        conditions={
            "plan": Case.plan_id == key_of(Plan, "plan"),
            "battle": Case.battle_id == key_of(Battle, "battle"),
            "task": Case.task_id == key_of(Task, "task"),
            "unit": Case.unit_id == bindparam("unit"),
            "kind": Case.kind == bindparam("kind"),
            "source_ref": Case.source_ref == bindparam("source_ref"),
            "state": standing.state == bindparam("state"),
            "level": standing.level == bindparam("level"),
            "open": ~closed,
            "not_open": closed,
            "overdue": overdue,
            "not_overdue": ~overdue,
            "recheck_due": recheck_due,
            "not_recheck_due": ~recheck_due,
            **seen_conditions(plan=Case.plan_id, unit=Case.unit_id, battle=Case.battle_id),
        },
    )


_STOOD = stood_then()
_NOW = _columns(Case)
_THEN = _columns(_STOOD.c).join(_STOOD, true())
_LIST_NOW = _listing(_NOW, Case)
_LIST_THEN = _listing(_THEN, _STOOD.c)
_ID = bindparam("id", type_=Uuid)
_ONE_NOW = Query(_NOW.where(Case.id == _ID))
_ONE_THEN = Query(_THEN.where(Case.id == _ID))
_OPEN_THEN = Query(
    _THEN.where(
        Plan.code == bindparam("plan"),
        bindparam("battle", type_=Text).is_(None) | (Battle.code == bindparam("battle", type_=Text)),
        Case.kind == any_(bindparam("kinds", type_=ARRAY(Text))),
        _STOOD.c.state != CaseState.CLOSED.value,
    ).order_by(Case.kind, func.coalesce(_STOOD.c.due_on, _LAST), Case.id)
)
_STEPS = Query(
    select(
        *(getattr(CaseStep, name) for name in CaseStepRead.model_fields if name != "by"),
        CaseStep.actor_name.label("by"),
    )
    .where(CaseStep.case_id == _ID, CaseStep.at <= _AS_OF)
    .order_by(CaseStep.id)
)
_EVIDENCE = Query(
    select(
        *(getattr(CaseEvidence, name) for name in EvidenceRead.model_fields if name != "by"),
        CaseEvidence.actor_name.label("by"),
    )
    .where(CaseEvidence.case_id == _ID, CaseEvidence.added_at <= _AS_OF)
    .order_by(CaseEvidence.added_at, CaseEvidence.id)
)


@dataclass(frozen=True, slots=True)
class OpenCase:
    """A case that was open at an instant, as a bulletin tabulates it."""

    id: UUID
    kind: CaseKind
    title: str
    unit: str
    unit_name: str
    state: CaseState
    level: int
    level_name: str | None
    due_on: date | None
    overdue: bool


async def open_cases(
    db: Database, *, plan: str, battle: str | None, kinds: Iterable[CaseKind], as_of: datetime
) -> list[OpenCase]:
    """The cases of these kinds that were open at ``as_of``, by kind and due day, whoever may see them."""
    day = day_of(as_of)
    rows = await db.fetch(_OPEN_THEN, plan=plan, battle=battle, kinds=[kind.value for kind in kinds], as_of=as_of)
    return [
        OpenCase(
            id=row["id"],
            kind=CaseKind(row["kind"]),
            title=row["title"],
            unit=row["unit"],
            unit_name=row["unit_name"],
            state=CaseState(row["state"]),
            level=row["level"],
            level_name=KINDS[CaseKind(row["kind"])].level_name(row["level"]),
            due_on=row["due_day"],
            overdue=_facts(row).is_overdue(day),
        )
        for row in rows
    ]


async def list_cases(reader: Reader, query: CaseQuery, known: Known, *, now: datetime, caller: Caller) -> Rendered:
    """One page of the cases that the caller may see, as they stood at ``query.as_of`` (default ``now``).

    Raises:
        UnknownUnitError, AmbiguousError: the unit filter means none or several.
    """
    as_of = query.as_of or now
    filters = equal_to(query, "plan", "battle", "task", "kind", "source_ref", "state")
    if query.unit is not None:
        scope = query.task or query.battle or query.plan
        filters["unit"] = {"unit": await resolve_unit(reader, query.unit, scope=scope)}
    if query.level is not None:
        filters["level"] = {"level": query.level}
    if query.open is not None:
        filters["open" if query.open else "not_open"] = {}
    for name, wanted in (("overdue", query.overdue), ("recheck_due", query.recheck_due)):
        if wanted is not None:
            filters[name if wanted else f"not_{name}"] = {"day": day_of(as_of)}
    filters |= seen_filter(caller.granted_visibility)
    live = query.as_of is None
    listing, always = (_LIST_NOW, None) if live else (_LIST_THEN, {"as_of": as_of})
    page = await listing.page(reader.pool, page_request(query, sort=query.sort), filters, always)
    items = [case_of(row, caller, as_of, live=live) for row in page.rows]
    return render(CasePage(items=items, next_cursor=page.next_cursor, total=page.total), known)


async def get_case(
    reader: Reader, identity: UUID, query: AsOfQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """One case, as it stood at ``query.as_of`` (default ``now``).

    Raises:
        NotFoundError: there was none of this id that the caller may see.
    """
    row = await _visible(reader.pool, identity, query.as_of, caller)
    shown = case_of(row, caller, query.as_of or now, live=query.as_of is None)
    if query.as_of is not None:
        return render(shown, known)
    etag = etag_of_case(identity, row["version"], shown.allowed_actions, now)
    return Rendered(etag, None if etag in known else render(shown, Known.parse(None)).body)


async def get_case_history(
    reader: Reader, identity: UUID, query: AsOfQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """The steps and the evidence of a case up to ``query.as_of`` (default ``now``).

    Raises:
        NotFoundError: there was none of this id that the caller may see.
    """
    await _visible(reader.pool, identity, query.as_of, caller)
    as_of = query.as_of or now
    steps = await reader.pool.fetch(_STEPS, id=identity, as_of=as_of)
    evidence = await reader.pool.fetch(_EVIDENCE, id=identity, as_of=as_of)
    shown = CaseHistoryRead(
        id=identity,
        steps=[CaseStepRead.model_validate(dict(row)) for row in steps],
        evidence=[EvidenceRead.model_validate(dict(row)) for row in evidence],
    )
    return render(shown, known)


async def case_row(db: Database, identity: UUID, caller: Caller) -> Any:
    """The row of a case that the caller may see, as it stands.

    Raises:
        NotFoundError: there is none of this id that the caller may see.
    """
    return await _visible(db, identity, None, caller)


async def read_case(db: Database, identity: UUID, *, now: datetime, caller: Caller) -> tuple[CaseRead, str]:
    """A case as its own transaction sees it, with its ETag."""
    row = await db.fetch_row(_ONE_NOW, id=identity)
    assert row is not None, "this transaction has written it"
    shown = case_of(row, caller, now)
    return shown, etag_of_case(identity, row["version"], shown.allowed_actions, now)


def is_known(row: Any, known: Known) -> bool:
    """Whether one of the ETags is of this version of a case, whenever and by whomever it was read."""
    start = f'"{row["id"].hex}-{row["version"]}'
    return known.anything or any(tag.rsplit("-", 2)[0] == start for tag in known.tags)


def subject_of_case(row: Any) -> Subject:
    """What the rules of permission ask of a row of ``plan``, ``battle`` and ``unit``."""
    return Subject(row["plan"], row["battle"], row["unit"])


def missing_case(identity: UUID) -> NotFoundError:
    """The error for a case that is not there, or not for the caller to see."""
    return NotFoundError(f"没有台账事项 {identity}")


def case_of(row: Any, caller: Caller, as_of: datetime, *, live: bool = True) -> CaseRead:
    """A row as it is shown; with one that is not ``live`` nothing can be done."""
    facts, day = _facts(row), day_of(as_of)
    actions: Sequence[CaseAction] = (
        case_actions(
            caller.actor,
            subject_of_case(row),
            facts.kind,
            facts.state,
            level=facts.level,
            registered_by=row["registered_by"],
        )
        if live
        else ()
    )
    rule = KINDS[facts.kind]
    shown = (*_SAID, *(name for name in _STANDING if name != "due_on"), "plan", "battle", "task")
    return CaseRead.model_validate(
        {
            **{name: row[name] for name in shown},
            "unit": {"unit": row["unit"], "name": row["unit_name"]},
            "due_on": row["due_day"],
            "locator": rule.locator,
            "overdue": facts.is_overdue(day),
            "level_name": rule.level_name(facts.level),
            "recheck_due": facts.is_recheck_due(day),
            "explanation": explain(facts, day),
            "allowed_actions": actions,
        }
    )


async def _visible(db: Database, identity: UUID, as_of: datetime | None, caller: Caller) -> Any:
    statement, given = (_ONE_NOW, {}) if as_of is None else (_ONE_THEN, {"as_of": as_of})
    row = await db.fetch_row(statement, id=identity, **given)
    if row is None or not caller.granted_visibility.admits(subject_of_case(row)):
        raise missing_case(identity)
    return row


def etag_of_case(identity: UUID, version: int, actions: Iterable[CaseAction], now: datetime) -> str:
    """The ETag of a case as it stands: by the day it grows overdue, and callers differ in what they may do with it."""
    offered = frozenset(actions)
    mask = sum(1 << place for place, action in enumerate(CaseAction) if action in offered)
    return f'"{identity.hex}-{version}-{mask}-{day_of(now):%Y%m%d}"'


def _facts(row: Any) -> CaseFacts:
    return CaseFacts(
        kind=CaseKind(row["kind"]),
        unit_name=row["unit_name"],
        state=CaseState(row["state"]),
        level=row["level"],
        due_on=row["due_day"],
        closed_on=None if row["closed_at"] is None else day_of(row["closed_at"]),
        recheck_due_on=row["recheck_due_on"],
    )
