"""Units assessed: what they come to, shown without a trace or settled for good.

What is settled is kept as the text that was hashed, and answered as that text; nothing computes it anew. A later
result of the same unit supersedes it, and both stay.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import uuid_utils.compat
from sqlalchemy import text

from app.db import Database, Query
from app.domain.assessment import Aspect, FaultKind, Line, score
from app.domain.audit import AuditAction
from app.domain.events import EventType
from app.domain.permissions import Capability, Subject, may_assess
from app.errors import ConflictError, Fault, InvalidRequestError
from app.rendering import Known, Rendered, render
from app.schemas.assessment import (
    AssessmentCreate,
    CapRead,
    LineRead,
    MarkGiven,
    PreviewCreate,
    PreviewQuery,
    PreviewRead,
    ResultRead,
    SchemeUsed,
)
from app.schemas.task import UnitRef
from app.services.assessment_facts import Known as KnownOfUnit
from app.services.assessment_facts import facts_of_units
from app.services.assessment_schemes import scheme_used
from app.services.assessment_scope import Scope, assessed_unit, scope_of
from app.services.audit import Act, record
from app.services.caller import Caller, forbidden
from app.services.events import NewEvent, emit
from app.services.reader import Reader

__all__ = ["freeze", "preview", "preview_with", "settle"]

_TRIED_NOTE = "试算的参数,没有保存"
# Of two that settle the same units at once one finds what the other has settled.
_ALONE = Query(text("SELECT pg_advisory_xact_lock(hashtextextended('assessment ' || CAST(:battle AS text), 0))"))
_STANDING = Query(
    text("""
    SELECT DISTINCT ON (a.unit_id) a.unit_id, a.revision, a.interim FROM assessments a
    WHERE a.battle_id = :battle AND a.unit_id = ANY(CAST(:units AS bigint[]))
    ORDER BY a.unit_id, a.revision DESC
""")
)
_KEEP = Query(
    text("""
    INSERT INTO assessments (id, plan_id, battle_id, unit_id, year, revision, interim, scheme_id, scheme_version, as_of,
                             judged_at, total, grade, content, content_hash, frozen_at, frozen_by, frozen_by_name)
    SELECT r.id, CAST(:plan AS bigint), CAST(:battle AS bigint), r.unit_id, CAST(:year AS int), r.revision,
           CAST(:interim AS bool), CAST(:scheme AS uuid), CAST(:scheme_version AS int), CAST(:as_of AS timestamptz),
           CAST(:now AS timestamptz), r.total, r.grade, CAST(r.content AS json), r.content_hash,
           CAST(:now AS timestamptz), CAST(:by AS text), CAST(:by_name AS text)
    FROM json_to_recordset(CAST(:results AS json)) AS r(
        id uuid, unit_id bigint, revision int, total numeric, grade text, content text, content_hash text)
""")
)


async def preview(reader: Reader, query: PreviewQuery, known: Known, *, now: datetime, caller: Caller) -> Rendered:
    """What units come to as of ``query.as_of`` (default ``now``), of those that the caller sees whole.

    Raises:
        UnknownReferenceError: no such plan, battle or scheme, or the unit leads no task of the battle.
        UnknownUnitError, AmbiguousError: the unit means none or several, or the battle must be named.
        ForbiddenError: the caller sees none of the units.
    """
    scope = await scope_of(reader.pool, query.plan, query.battle, at="/query")
    as_of = query.as_of or now
    judged_at = query.judged_as_of or as_of
    scheme = await scheme_used(reader.pool, scope, query.scheme, judged_at=judged_at, at="/query")
    shown = await _previewed(reader, query, scope, scheme, as_of=as_of, judged_at=judged_at, caller=caller, at="/query")
    moving = {"as_of": True, "judged_as_of": True}
    return render(shown, known, moving={**moving, "items": {"__all__": moving}})


async def preview_with(reader: Reader, request: PreviewCreate, *, now: datetime, caller: Caller) -> PreviewRead:
    """As :func:`preview`, by parameters that nobody has made a scheme of; nothing of it is kept.

    Raises:
        AppError: as for :func:`preview`.
    """
    scope = await scope_of(reader.pool, request.plan, request.battle)
    as_of = request.as_of or now
    scheme = SchemeUsed(id=None, version=None, parameters=request.parameters, note=_TRIED_NOTE)
    judged_at = request.judged_as_of or as_of
    return await _previewed(reader, request, scope, scheme, as_of=as_of, judged_at=judged_at, caller=caller, at="/body")


async def _previewed(
    reader: Reader,
    asked: PreviewQuery | PreviewCreate,
    scope: Scope,
    scheme: SchemeUsed,
    *,
    as_of: datetime,
    judged_at: datetime,
    caller: Caller,
    at: str,
) -> PreviewRead:
    unit = None
    if asked.unit is not None:
        named = await assessed_unit(reader.pool, reader, asked.unit, scope, at=at)
        _demand_seen(caller, scope, named["code"])
        unit = named["id"]
    units = await facts_of_units(reader.pool, scope, unit=unit, as_of=as_of, judged_at=judged_at)
    # Of the battle alone nobody sees what is owed apart from battles, and so no score.
    seen = [one for one in units if caller.granted_visibility.admits(Subject(scope.plan, unit=one.code))]
    if not seen:
        _demand_seen(caller, scope, None)
    results = [_result(one, scope, scheme, as_of, judged_at) for one in seen]
    return PreviewRead(
        plan=scope.plan,
        battle=scope.battle,
        year=scope.year,
        as_of=as_of,
        judged_as_of=judged_at,
        items=results,
        explanation=_explain(scope, scheme, results, interim=as_of < scope.year_ends),
    )


def _demand_seen(caller: Caller, scope: Scope, unit: str | None) -> None:
    if not caller.granted_visibility.admits(Subject(scope.plan, unit=unit)):
        what = "考核须能查阅该单位或整个总体方案;可用 unit 查阅本单位"
        raise forbidden(caller.actor, Capability.READ_PROGRESS, what)


async def freeze(
    db: Database, reader: Reader, request: AssessmentCreate, *, now: datetime, caller: Caller
) -> list[UUID]:
    """Settle the results of the units of a battle, or of one.

    Raises:
        UnknownReferenceError: no such plan, battle or scheme, or the unit leads no task of the battle.
        UnknownUnitError, AmbiguousError: the unit means none or several, or the battle must be named.
        ForbiddenError: the plan is not one that the caller supervises.
        InvalidRequestError: the instant lies ahead.
        ConflictError: a unit's result of the year is settled, or is to be, and a fault of it is not decided.
    """
    if not may_assess(caller.actor, Subject(request.plan)):
        raise forbidden(caller.actor, Capability.ASSESS, request.plan)
    as_of = request.as_of or now
    if as_of > now:
        detail = "不能按将来的时刻定案"
        raise InvalidRequestError(detail, faults=[Fault("/body/as_of", "lies_ahead", detail)])
    scope = await scope_of(db, request.plan, request.battle)
    unit = None if request.unit is None else (await assessed_unit(db, reader, request.unit, scope))["id"]
    scheme = await scheme_used(db, scope, request.scheme, judged_at=now)
    await db.fetch(_ALONE, battle=scope.battle)
    return await settle(db, scope, scheme, unit=unit, as_of=as_of, now=now, caller=caller, anew=False)


async def settle(
    db: Database,
    scope: Scope,
    scheme: SchemeUsed,
    *,
    unit: int | None,
    as_of: datetime,
    now: datetime,
    caller: Caller,
    anew: bool,
) -> list[UUID]:
    """Keep what units come to as their newest revision; returns the ids. Marks and decisions are those of ``now``.

    Raises:
        ConflictError: of a year that is over, a fault is not decided; or it is settled, unless it is done ``anew``.
        InvalidRequestError: no unit leads a task of the battle.
    """
    units = await facts_of_units(db, scope, unit=unit, as_of=as_of, judged_at=now)
    if not units:
        detail = f"{scope.battle_name}没有牵头单位可以考核"
        raise InvalidRequestError(detail, faults=[Fault("/body/battle", "nothing_to_assess", detail)])
    keys = [one.key for one in units]
    standing = {row["unit_id"]: row for row in await db.fetch(_STANDING, battle=scope.battle_key, units=keys)}
    settled = [one.name for one in units if one.key in standing and not standing[one.key]["interim"]]
    if settled and not anew:
        raise ConflictError(f"{'、'.join(settled)} {scope.year} 年度的考核已经定案,只能经申诉成立另出一版")
    interim = as_of < scope.year_ends
    undecided = [one.name for one in units if one.facts.pending]
    if undecided and not interim:
        raise ConflictError(f"{'、'.join(undecided)}有已登记而尚未认定的过错,须先认定或不予认定")
    results: list[dict[str, Any]] = []
    for one in units:
        result = _result(one, scope, scheme, as_of, now)
        content = _canonical(result)
        results.append(
            {
                "id": uuid_utils.compat.uuid7(),
                "unit_id": one.key,
                "unit": one.code,
                "revision": standing[one.key]["revision"] + 1 if one.key in standing else 1,
                # Text, so that it stays exact.
                "total": None if result.total is None else str(result.total),
                "grade": result.grade,
                "content": content,
                "content_hash": hashlib.sha256(content.encode()).hexdigest(),
            }
        )
    await db.fetch(
        _KEEP,
        plan=scope.plan_key,
        battle=scope.battle_key,
        year=scope.year,
        interim=interim,
        scheme=scheme.id,
        scheme_version=scheme.version,
        as_of=as_of,
        now=now,
        by=caller.actor.id,
        by_name=caller.actor.name,
        results=orjson.dumps(results).decode(),
    )
    await _tell(db, scope, results, now=now, caller=caller)
    return [one["id"] for one in results]


async def _tell(
    db: Database, scope: Scope, results: Sequence[dict[str, Any]], *, now: datetime, caller: Caller
) -> None:
    kept = ("revision", "total", "grade", "content_hash")
    acts = [
        Act(
            AuditAction.ASSESSMENT_FREEZE,
            str(one["id"]),
            scope.plan,
            one["unit"],
            after={name: one[name] for name in kept},
        )
        for one in results
    ]
    await record(db, caller, acts, now=now)
    events = [
        NewEvent(
            EventType.ASSESSMENT_FROZEN,
            at=now,
            plan=scope.plan,
            battle=scope.battle,
            unit=one["unit"],
            subject=one["id"],
            data={"kind": one["grade"], "revision": one["revision"], "content_hash": one["content_hash"]},
        )
        for one in results
    ]
    await emit(db, events)


def _canonical(result: ResultRead) -> str:
    """The text of a result that is hashed: whoever has its JSON comes to the same."""
    return json.dumps(result.model_dump(mode="json"), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _result(one: KnownOfUnit, scope: Scope, scheme: SchemeUsed, as_of: datetime, judged_at: datetime) -> ResultRead:
    scored = score(scheme.parameters.scheme(), one.facts)
    interim = as_of < scope.year_ends
    return ResultRead(
        unit=UnitRef(unit=one.code, name=one.name),
        plan=scope.plan,
        battle=scope.battle,
        year=scope.year,
        as_of=as_of,
        judged_as_of=judged_at,
        interim=interim,
        scheme=scheme,
        lines=[_line(line) for line in scored.lines],
        total=scored.total,
        grade=scored.grade,
        capped_by=[
            CapRead(reason=cap.reason, tasks=list(cap.tasks), explanation=cap.explanation) for cap in scored.capped_by
        ],
        pending_faults=one.facts.pending,
        explanation=f"{one.name} {scope.year} 年度{'中期' if interim else ''}考核:{scored.explanation}",
    )


def _line(line: Line) -> LineRead:
    mark = line.mark
    return LineRead(
        aspect=line.item if isinstance(line.item, Aspect) else None,
        fault=line.item if isinstance(line.item, FaultKind) else None,
        formula=line.formula,
        inputs={name: Decimal(value) for name, value in line.inputs.items()},
        weight=line.weight,
        counted_weight=line.counted_weight,
        ratio=line.ratio,
        points=line.points,
        mark=None if mark is None else MarkGiven(value=mark.value, by=mark.by, reason=mark.reason),
        source=line.source,
        explanation=line.explanation,
    )


def _explain(scope: Scope, scheme: SchemeUsed, results: Sequence[ResultRead], *, interim: bool) -> str:
    by = {None: "试算的参数", 0: "默认办法"}.get(scheme.version, f"第 {scheme.version} 版考核办法")
    grades = "、".join(
        f"{grade.label} {count} 个"
        for grade in dict.fromkeys(sorted(one.grade for one in results))
        if (count := sum(one.grade is grade for one in results))
    )
    span = f"{scope.year} 年度{'(尚未结束)' if interim else ''}"
    return f"按{by}试算{scope.battle_name} {span}牵头单位 {len(results)} 个:{grades or '没有'};试算不保存"
