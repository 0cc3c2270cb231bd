"""Quarterly inspections: recorded with their findings as cases, mended by revisions, read as of any instant."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import DateTime, Uuid, bindparam, func, select, text, true
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import aliased

from app.clock import day_of
from app.db import Database, Query
from app.domain.actions import inspection_actions
from app.domain.audit import AuditAction
from app.domain.cases import CaseKind
from app.domain.events import EventType
from app.domain.inspections import DEFAULT_TEAMS, INSPECTION_RULE, lacking_parts
from app.domain.permissions import Subject
from app.errors import ConflictError, Fault, InvalidRequestError, NotFoundError, PreconditionError, summary_of
from app.models import (
    Battle,
    Case,
    Inspection,
    InspectionFinding,
    InspectionRevision,
    Plan,
    Rule,
    Unit,
)
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, render
from app.schemas.base import AsOfQuery
from app.schemas.case import CaseCreate
from app.schemas.inspection import (
    InspectionCreate,
    InspectionPage,
    InspectionPatch,
    InspectionQuery,
    InspectionRead,
)
from app.services.audit import Act, record
from app.services.caller import Caller
from app.services.case_reads import stood_then
from app.services.cases import register_case
from app.services.deadlines import parsed_period
from app.services.events import NewEvent, emit
from app.services.quarters import QuarterRule, demand_recorder, quarter_rule
from app.services.reader import Reader, decoded, equal_to, key_of, page_request
from app.services.units import resolve_unit, unit_named
from app.services.visible_rows import seen_conditions, seen_filter

__all__ = [
    "get_inspection",
    "list_inspections",
    "newest_inspection_revision",
    "patch_inspection",
    "record_inspection",
]

_Later = aliased(InspectionRevision)


def newest_inspection_revision(as_of: Any = None) -> Any:
    """The newest revision of the inspection of the query around it: of all, or of those there were at an instant."""
    then = () if as_of is None else (_Later.at <= as_of,)
    return (
        select(func.max(_Later.revision))
        .where(_Later.inspection_id == Inspection.id, *then)
        .correlate(Inspection)
        .scalar_subquery()
    )


_STOOD = stood_then()
_FOUND = (
    select(
        func.json_agg(
            aggregate_order_by(
                func.json_build_object(
                    *("case", Case.id, "title", Case.title, "due_on", InspectionFinding.due_on),
                    *("state", _STOOD.c.state),
                ),
                InspectionFinding.position,
            )
        )
    )
    .select_from(InspectionFinding)
    .join(Case, Case.id == InspectionFinding.case_id)
    .join(_STOOD, true())
    .where(InspectionFinding.inspection_id == Inspection.id)
    .correlate(Inspection)
    .scalar_subquery()
)
_SELECTED: Statement = (
    select(
        Inspection.id.label("sort_key"),
        Inspection.id,
        Plan.code.label("plan"),
        Battle.code.label("battle"),
        Inspection.period,
        Rule.code.label("rule"),
        Rule.locator,
        Inspection.team,
        Unit.code.label("unit"),
        Unit.name.label("unit_name"),
        Inspection.inspected_on,
        Inspection.recorded_at,
        InspectionRevision.revision,
        InspectionRevision.at,
        InspectionRevision.score,
        InspectionRevision.circular_ref,
        InspectionRevision.exposure_ref,
        _FOUND.label("findings"),
    )
    .select_from(Inspection)
    .join(InspectionRevision, InspectionRevision.inspection_id == Inspection.id)
    .join(Plan, Plan.id == Inspection.plan_id)
    .join(Rule, Rule.id == Inspection.rule_id)
    .join(Unit, Unit.id == Inspection.unit_id)
    .outerjoin(Battle, Battle.id == Inspection.battle_id)
)
_AS_IT_WAS = InspectionRevision.revision == newest_inspection_revision(
    bindparam("as_of", type_=DateTime(timezone=True))
)
_LISTING = Listing(
    statement=_SELECTED.where(_AS_IT_WAS),
    key=Inspection.id,
    sorts={"id": Inspection.id},
    conditions={
        "plan": Inspection.plan_id == key_of(Plan, "plan"),
        "period": Inspection.period == bindparam("period"),
        "unit": Inspection.unit_id == bindparam("unit"),
        "team": Inspection.team == bindparam("team"),
        **seen_conditions(plan=Inspection.plan_id, unit=Inspection.unit_id, battle=Inspection.battle_id),
    },
)
_ONE = _SELECTED.where(Inspection.id == bindparam("id", type_=Uuid))
_THEN = Query(_ONE.where(_AS_IT_WAS))
# What the findings have become is as of now; what is known of the inspection, the newest.
_NEWEST = Query(_ONE.where(InspectionRevision.revision == newest_inspection_revision()))
_LOCK = Query(text("SELECT FROM inspections WHERE id = :id FOR UPDATE"))
# Whoever comes second waits for the first, and finds that it is there.
_RECORD = Query(
    text("""
    INSERT INTO inspections (id, plan_id, battle_id, rule_id, unit_id, period, period_start, team, inspected_on,
                             recorded_at)
    VALUES (:id, :plan_id, :battle_id, :rule_id, :unit_id, :period, :start, :team, :inspected_on, :now)
    ON CONFLICT (plan_id, unit_id, period_start) DO NOTHING RETURNING id
""")
)
_ADD_REVISION = Query(
    text("""
    INSERT INTO inspection_revisions (inspection_id, revision, at, actor, score, circular_ref, exposure_ref)
    VALUES (:id, :revision, :at, :actor, CAST(:score AS numeric), :circular_ref, :exposure_ref)
""")
)
_ADD_FINDINGS = Query(
    text("""
    INSERT INTO inspection_findings (inspection_id, position, case_id, due_on)
    SELECT CAST(:id AS uuid), found.position, found.case_id, found.due_on
    FROM unnest(CAST(:cases AS uuid[]), CAST(:days AS date[])) WITH ORDINALITY AS found(case_id, due_on, position)
""")
)
_AFTERWARDS = ("score", "circular_ref", "exposure_ref")


async def list_inspections(
    reader: Reader, query: InspectionQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """One page of the inspections that the caller may see, as they were at ``query.as_of`` (default ``now``).

    Raises:
        UnknownUnitError, AmbiguousError: the unit filter means none or several.
        UnknownReferenceError: the period is none.
    """
    filters = {**equal_to(query, "plan"), **seen_filter(caller.granted_visibility)}
    if query.period is not None:
        filters["period"] = {"period": parsed_period(query.period, "/query/period").code}
    if query.unit is not None:
        filters["unit"] = {"unit": await resolve_unit(reader, query.unit, scope=query.plan)}
    if query.team is not None:
        filters["team"] = {"team": query.team}
    always = {"as_of": query.as_of or now}
    page = await _LISTING.page(reader.pool, page_request(query, sort=query.sort), filters, always)
    items = [_read(row, caller, past=query.as_of is not None) for row in page.rows]
    return render(InspectionPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


async def get_inspection(
    reader: Reader, identity: UUID, query: AsOfQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """One inspection as it was at ``query.as_of`` (default ``now``), its findings as the ledger had them then.

    Raises:
        NotFoundError: there was none of this id that the caller may see.
    """
    row = await reader.pool.fetch_row(_THEN, id=identity, as_of=query.as_of or now)
    return render(_seen(row, identity, caller, past=query.as_of is not None), known)


async def record_inspection(
    db: Database, reader: Reader, request: InspectionCreate, *, now: datetime, caller: Caller
) -> tuple[InspectionRead, str]:
    """Record an inspection, and register each of its findings as a case; returns it with its ETag.

    Raises:
        UnknownReferenceError: there is no such plan, it asks for no inspections, or the period is no quarter of it that
            has begun.
        UnknownUnitError, AmbiguousError: the unit means none or several.
        ForbiddenError: the caller neither coordinates the battle nor supervises the plan.
        InvalidRequestError: there is no such team, or the day lies ahead or outside the quarter.
        ConflictError: the unit's inspection of this quarter is recorded already.
    """
    rule = await quarter_rule(db, request.plan, INSPECTION_RULE, request.period, now=now)
    demand_recorder(caller, rule.subject)
    unit = await unit_named(reader, request.unit, scope=rule.plan, at="/body")
    _check(request, rule, day_of(now))
    identity: UUID = uuid_utils.compat.uuid7()
    made = await db.fetch(
        _RECORD,
        id=identity,
        plan_id=rule.plan_id,
        battle_id=rule.battle_id,
        rule_id=rule.id,
        unit_id=unit["id"],
        period=rule.period.code,
        start=rule.period.start,
        team=request.team,
        inspected_on=request.inspected_on,
        now=now,
    )
    if not made:
        raise ConflictError(f"“{unit['name']}”{rule.period.code} 的巡查已登记,一季一巡查;得分、通报与曝光请补登")
    afterwards = {name: getattr(request, name) for name in _AFTERWARDS}
    await db.fetch(_ADD_REVISION, id=identity, revision=1, at=now, actor=caller.actor.name, **afterwards)
    cases: list[UUID] = []
    for finding in request.findings:
        case = CaseCreate(
            plan=rule.plan,
            battle=rule.battle,
            kind=CaseKind.INSPECTION_FINDING,
            unit=unit["code"],
            title=finding.title,
            description=finding.description,
            source_ref=f"{rule.period.code} 第 {request.team} 巡查组({rule.code},{rule.locator})",
        )
        cases.append((await register_case(db, reader, case, now=now, caller=caller)).id)
    await db.fetch(_ADD_FINDINGS, id=identity, cases=cases, days=[finding.due_on for finding in request.findings])
    shown = await _told(db, identity, None, now=now, caller=caller)
    return shown, render(shown, Known.parse(None)).etag


async def patch_inspection(
    db: Database, identity: UUID, patch: InspectionPatch, *, match: Known | None, now: datetime, caller: Caller
) -> Rendered:
    """Add or mend what came after an inspection: a new revision; one that changes nothing is not kept.

    Raises:
        NotFoundError: there is none of this id that the caller may see.
        ForbiddenError: the caller neither coordinates the battle nor supervises the plan.
        PreconditionError: it has changed since the caller read it.
    """
    await db.fetch(_LOCK, id=identity)
    row = await db.fetch_row(_NEWEST, id=identity, as_of=now)
    before = _seen(row, identity, caller)
    assert row is not None, "what is seen is there"
    demand_recorder(caller, Subject(before.plan, before.battle))
    if match is not None and render(before, match).body is not None:
        raise PreconditionError("该巡查已被更改,请重新读取")
    kept: Mapping[str, Any] = {name: row[name] for name in _AFTERWARDS}
    afterwards = {**kept, **patch.model_dump(exclude_unset=True)}
    if afterwards == kept:
        return render(before, Known.parse(None))
    # Of two that came at once, the one that waited is the later.
    revised = {"id": identity, "revision": before.revision + 1, "at": max(now, row["at"])}
    await db.fetch(_ADD_REVISION, **revised, actor=caller.actor.name, **afterwards)
    return render(await _told(db, identity, before, now=now, caller=caller), Known.parse(None))


async def _told(
    db: Database, identity: UUID, before: InspectionRead | None, *, now: datetime, caller: Caller
) -> InspectionRead:
    """Put down what was done, in the trail and in the stream; returns the inspection as it is now."""
    row = await db.fetch_row(_NEWEST, id=identity, as_of=now)
    shown = _seen(row, identity, caller)
    action = AuditAction.INSPECTION_RECORD if before is None else AuditAction.INSPECTION_CHANGE
    said = [None if one is None else _audited(one) for one in (before, shown)]
    unit = shown.unit.unit
    await record(db, caller, [Act(action, str(identity), shown.plan, unit, *said)], now=now)
    data = {"period": shown.period, "rule": shown.rule, "revision": shown.revision}
    told = NewEvent(EventType.INSPECTION_RECORDED, now, shown.plan, shown.battle, unit, shown.id, data)
    await emit(db, [told])
    return shown


def _audited(inspection: InspectionRead) -> dict[str, Any]:
    shown = {"period", "team", "inspected_on", "revision", *_AFTERWARDS}
    cases = [str(one.case) for one in inspection.findings]
    return {**inspection.model_dump(mode="json", include=shown), "cases": cases}


def _check(request: InspectionCreate, rule: QuarterRule, today: date) -> None:
    teams = int(rule.parameters.get("inspection-teams", DEFAULT_TEAMS))
    faults: list[Fault] = []
    if request.team > teams:
        faults.append(Fault("/body/team", "unknown_team", f"只有 {teams} 个巡查组"))
    if request.inspected_on not in rule.period:
        faults.append(Fault("/body/inspected_on", "outside_period", f"{request.inspected_on} 不在 {request.period} 内"))
    elif request.inspected_on > today:
        faults.append(Fault("/body/inspected_on", "not_yet", f"{request.inspected_on} 尚未到来"))
    for place, finding in enumerate(request.findings):
        if finding.due_on is not None and finding.due_on < request.inspected_on:
            detail = f"整改期限 {finding.due_on} 早于巡查之日"
            faults.append(Fault(f"/body/findings/{place}/due_on", "before_inspection", detail))
    if faults:
        raise InvalidRequestError(summary_of(faults), faults=faults)


def _seen(row: Any, identity: UUID, caller: Caller, *, past: bool = False) -> InspectionRead:
    """The inspection, if there is one for the caller to see.

    Raises:
        NotFoundError: there is not.
    """
    if row is None or not caller.granted_visibility.admits(Subject(row["plan"], row["battle"], row["unit"])):
        raise NotFoundError(f"没有巡查 {identity}")
    return _read(row, caller, past=past)


def _read(row: Any, caller: Caller, *, past: bool) -> InspectionRead:
    scored, told, exposed = (row[name] is not None for name in _AFTERWARDS)
    lacking = lacking_parts(inspected=True, scored=scored, told=told, exposed=exposed)
    findings: list[dict[str, Any]] = decoded(row["findings"]) or []
    rest = f"还缺{'、'.join(part.label for part in lacking)}" if lacking else "巡查、考核、通报、曝光齐备"
    explained = f"{row['period']} 第 {row['team']} 组巡查{row['unit_name']},发现 {len(findings)} 个问题,{rest}"
    names = ("plan", "battle", "period", "rule", "locator", "team", "inspected_on", "recorded_at", "revision")
    return InspectionRead.model_validate(
        {
            **{name: row[name] for name in (*names, *_AFTERWARDS)},
            "id": row["id"],
            "unit": {"unit": row["unit"], "name": row["unit_name"]},
            "changed_at": row["at"],
            "lacking": lacking,
            "findings": findings,
            "explanation": explained,
            "allowed_actions": () if past else inspection_actions(caller.actor, Subject(row["plan"], row["battle"])),
        }
    )
