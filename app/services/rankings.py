"""Quarterly rankings: recorded, corrected by a revision that keeps the one before, and read as of any instant."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import ColumnElement, DateTime, Uuid, bindparam, exists, func, literal, select, text
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import aliased

from app.db import Database, Query
from app.domain.actions import ranking_actions
from app.domain.audit import AuditAction
from app.domain.events import EventType
from app.domain.permissions import Subject
from app.domain.plan import UnitKind, region_of
from app.domain.rankings import LAST_PLACES, RANKING_RULES, RankingKind, is_among_last
from app.errors import ConflictError, Fault, NotFoundError, PreconditionError, UnknownReferenceError, summary_of
from app.models import Battle, Plan, Ranking, RankingEntry, RankingRevision, Rule, Unit
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, render
from app.schemas.base import AsOfQuery
from app.schemas.ranking import (
    RankingCorrect,
    RankingCreate,
    RankingEntryRead,
    RankingEntryWrite,
    RankingPage,
    RankingQuery,
    RankingRead,
)
from app.schemas.task import UnitRef
from app.services.audit import Act, record
from app.services.caller import Caller
from app.services.deadlines import parsed_period
from app.services.events import NewEvent, emit
from app.services.quarters import demand_recorder, quarter_rule
from app.services.reader import Reader, decoded, equal_to, key_of, page_request
from app.services.units import resolve_unit
from app.services.visible_rows import seen_conditions, seen_filter

__all__ = [
    "correct_ranking",
    "get_ranking",
    "last_places",
    "list_rankings",
    "newest_ranking_revision",
    "record_ranking",
]

_Later = aliased(RankingRevision)


def newest_ranking_revision(as_of: Any = None) -> Any:
    """The newest revision of the ranking of the query around it: of all, or of those there were at an instant."""
    then = () if as_of is None else (_Later.at <= as_of,)
    return (
        select(func.max(_Later.revision))
        .where(_Later.ranking_id == Ranking.id, *then)
        .correlate(Ranking)
        .scalar_subquery()
    )


_AS_OF = bindparam("as_of", type_=DateTime(timezone=True))
_AS_IT_WAS = RankingRevision.revision == newest_ranking_revision(_AS_OF)
_PLACED = (
    select(
        func.json_agg(
            aggregate_order_by(
                func.json_build_object(
                    *("unit", Unit.code, "name", Unit.name, "rank", RankingEntry.rank, "of", RankingEntry.of_ranked)
                ),
                RankingEntry.rank,
                Unit.code,
            )
        )
    )
    .select_from(RankingEntry)
    .join(Unit, Unit.id == RankingEntry.unit_id)
    .where(RankingEntry.ranking_id == Ranking.id, RankingEntry.revision == RankingRevision.revision)
    .correlate(Ranking, RankingRevision)
    .scalar_subquery()
)
_SELECTED: Statement = (
    select(
        Ranking.id.label("sort_key"),
        Ranking.id,
        Plan.code.label("plan"),
        Battle.code.label("battle"),
        Ranking.kind,
        Ranking.period,
        Ranking.recorded_at,
        Rule.code.label("rule"),
        Rule.locator,
        Rule.parameters,
        RankingRevision.revision,
        RankingRevision.at,
        RankingRevision.reason,
        RankingRevision.source,
        _PLACED.label("entries"),
    )
    .select_from(Ranking)
    .join(RankingRevision, RankingRevision.ranking_id == Ranking.id)
    .join(Plan, Plan.id == Ranking.plan_id)
    .join(Rule, Rule.id == Ranking.rule_id)
    .outerjoin(Battle, Battle.id == Ranking.battle_id)
)


def _has_entry(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists(
        select(literal(1))
        .select_from(RankingEntry)
        .where(RankingEntry.ranking_id == Ranking.id, RankingEntry.revision == RankingRevision.revision, condition)
        .correlate(Ranking, RankingRevision)
    )


_SEEN = seen_conditions(plan=Ranking.plan_id, unit=RankingEntry.unit_id, battle=Ranking.battle_id)
_LISTING = Listing(
    statement=_SELECTED.where(_AS_IT_WAS),
    key=Ranking.id,
    sorts={"id": Ranking.id},
    conditions={
        "plan": Ranking.plan_id == key_of(Plan, "plan"),
        "kind": Ranking.kind == bindparam("kind"),
        "period": Ranking.period == bindparam("period"),
        "unit": _has_entry(RankingEntry.unit_id == bindparam("unit")),
        **{name: _has_entry(condition) for name, condition in _SEEN.items()},
    },
)
_ONE = _SELECTED.where(Ranking.id == bindparam("id", type_=Uuid))
_THEN = Query(_ONE.where(_AS_IT_WAS))
_NEWEST = Query(_ONE.where(RankingRevision.revision == newest_ranking_revision()))
_LOCK = Query(text("SELECT FROM rankings WHERE id = :id FOR UPDATE"))
# Whoever comes second waits for the first, and finds that it is there.
_RECORD = Query(
    text("""
    INSERT INTO rankings (id, plan_id, battle_id, rule_id, kind, period, period_start, recorded_at)
    VALUES (:id, :plan_id, :battle_id, :rule_id, :kind, :period, :start, :now)
    ON CONFLICT (plan_id, kind, period_start) DO NOTHING RETURNING id
""")
)
_ADD_REVISION = Query(
    text("""
    WITH revised AS (
        INSERT INTO ranking_revisions (ranking_id, revision, at, actor, reason, source)
        VALUES (CAST(:id AS uuid), CAST(:revision AS int), :at, :actor, :reason, :source)
    )
    INSERT INTO ranking_entries (ranking_id, revision, unit_id, rank, of_ranked)
    SELECT CAST(:id AS uuid), CAST(:revision AS int), e.*
    FROM unnest(CAST(:units AS bigint[]), CAST(:ranks AS int[]), CAST(:ofs AS int[])) AS e
""")
)
_NAMED = Query(
    text("""
    SELECT named.name AS given, u.id, u.code, u.name, u.kind
    FROM unnest(CAST(:names AS text[])) AS named(name)
    JOIN units u ON u.region_code = :region
                AND (u.code = named.name OR EXISTS (
                    SELECT FROM unit_aliases a WHERE a.unit_id = u.id AND a.name = named.name))
""")
)


def last_places(row: Any) -> int:
    """How many of a ranking are the last ones, by the ``parameters`` of its rule."""
    return int(decoded(row["parameters"]).get("bottom-places", LAST_PLACES))


async def list_rankings(
    reader: Reader, query: RankingQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """One page of the rankings of units that the caller may see, as they were at ``query.as_of`` (default ``now``).

    Raises:
        UnknownUnitError, AmbiguousError: the unit filter means none or several.
        UnknownReferenceError: the period is none.
    """
    filters = {**equal_to(query, "plan", "kind"), **seen_filter(caller.granted_visibility)}
    if query.period is not None:
        filters["period"] = {"period": parsed_period(query.period, "/query/period").code}
    if query.unit is not None:
        filters["unit"] = {"unit": await resolve_unit(reader, query.unit, scope=query.plan)}
    always = {"as_of": query.as_of or now}
    page = await _LISTING.page(reader.pool, page_request(query, sort=query.sort), filters, always)
    items = [_read(row, caller, past=query.as_of is not None) for row in page.rows]
    return render(RankingPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


async def get_ranking(
    reader: Reader, identity: UUID, query: AsOfQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """One ranking as it was at ``query.as_of`` (default ``now``).

    Raises:
        NotFoundError: there was none of this id with a unit that the caller may see.
    """
    row = await reader.pool.fetch_row(_THEN, id=identity, as_of=query.as_of or now)
    return render(_seen(row, identity, caller, past=query.as_of is not None), known)


async def record_ranking(
    db: Database, request: RankingCreate, *, now: datetime, caller: Caller
) -> tuple[RankingRead, str]:
    """Record the ranking of a quarter; returns it with its ETag.

    Raises:
        UnknownReferenceError: there is no such plan, it asks for no such ranking, or the period is no quarter of it
            that has begun; or an entry names no unit, the same as another, or one that is not ranked so.
        ForbiddenError: the caller neither coordinates the battle nor supervises the plan.
        ConflictError: the ranking of this quarter is recorded already.
    """
    rule = await quarter_rule(db, request.plan, RANKING_RULES[request.kind], request.period, now=now)
    demand_recorder(caller, rule.subject)
    entries = await _entries(db, request.kind, rule.plan, request.entries)
    identity: UUID = uuid_utils.compat.uuid7()
    made = await db.fetch(
        _RECORD,
        id=identity,
        plan_id=rule.plan_id,
        battle_id=rule.battle_id,
        rule_id=rule.id,
        kind=request.kind.value,
        period=rule.period.code,
        start=rule.period.start,
        now=now,
    )
    if not made:
        raise ConflictError(f"{rule.period.code} 的{request.kind.label}已登记,有误请更正")
    revised = {"id": identity, "revision": 1, "at": now, "reason": None, "source": request.source}
    await db.fetch(_ADD_REVISION, **revised, **entries, actor=caller.actor.name)
    shown = await _told(db, identity, None, now=now, caller=caller)
    return shown, render(shown, Known.parse(None)).etag


async def correct_ranking(
    db: Database, identity: UUID, correction: RankingCorrect, *, match: Known | None, now: datetime, caller: Caller
) -> Rendered:
    """Put a ranking right: a new revision with its reason; the one before stays, and is answered for its time.

    Raises:
        NotFoundError: there is none of this id that the caller may see.
        ForbiddenError, UnknownReferenceError: as for :func:`record_ranking`.
        PreconditionError: it has changed since the caller read it.
    """
    await db.fetch(_LOCK, id=identity)
    row = await db.fetch_row(_NEWEST, id=identity)
    before = _seen(row, identity, caller)
    assert row is not None, "what is seen is there"
    demand_recorder(caller, Subject(before.plan, before.battle))
    if match is not None and render(before, match).body is not None:
        raise PreconditionError("该排名已被更正,请重新读取")
    entries = await _entries(db, before.kind, before.plan, correction.entries)
    revised = {"id": identity, "revision": before.revision + 1, "reason": correction.reason}
    # Of two that came at once, the one that waited is the later.
    at, source = max(now, row["at"]), correction.source
    await db.fetch(_ADD_REVISION, **revised, **entries, at=at, source=source, actor=caller.actor.name)
    return render(await _told(db, identity, before, now=now, caller=caller), Known.parse(None))


async def _told(
    db: Database, identity: UUID, before: RankingRead | None, *, now: datetime, caller: Caller
) -> RankingRead:
    """Put down what was done, tell every unit that is ranked; returns the ranking as it is now."""
    row = await db.fetch_row(_NEWEST, id=identity)
    shown = _seen(row, identity, caller)
    action = AuditAction.RANKING_RECORD if before is None else AuditAction.RANKING_CORRECT
    said = [None if one is None else _audited(one) for one in (before, shown)]
    await record(db, caller, [Act(action, str(identity), shown.plan, None, *said)], now=now)
    data = {"kind": shown.kind, "period": shown.period, "rule": shown.rule, "revision": shown.revision}
    await emit(
        db,
        [
            NewEvent(EventType.RANKING_RECORDED, now, shown.plan, shown.battle, one.unit.unit, shown.id, data)
            for one in shown.entries
        ],
    )
    return shown


def _audited(ranking: RankingRead) -> dict[str, Any]:
    shown = {"kind", "period", "revision", "source", "reason"}
    places = {one.unit.unit: [one.rank, one.of] for one in ranking.entries}
    return {**ranking.model_dump(mode="json", include=shown), "entries": places}


async def _entries(
    db: Database, kind: RankingKind, plan: str, given: Sequence[RankingEntryWrite]
) -> dict[str, list[int]]:
    """The places by the keys of their units.

    Raises:
        UnknownReferenceError: an entry names no unit, the same as another, or one that is not ranked so.
    """
    names = [one.unit for one in given]
    rows = await db.fetch(_NAMED, names=sorted(set(names)), region=region_of(plan))
    units = {row["given"]: row for row in rows}
    faults: list[Fault] = []
    taken: set[int] = set()

    def refuse(place: int, field: str, code: str, detail: str) -> None:
        faults.append(Fault(f"/body/entries/{place}/{field}", code, detail))

    found: dict[str, list[int]] = {"units": [], "ranks": [], "ofs": []}
    for place, one in enumerate(given):
        unit = units.get(one.unit)
        townships = kind is RankingKind.COUNTY_TOWNSHIPS
        of = len(given) if townships and one.of is None else one.of
        if unit is None:
            refuse(place, "unit", "unknown_unit", f"没有名为“{one.unit}”的单位")
            continue
        if unit["id"] in taken:
            refuse(place, "unit", "repeated_unit", f"“{one.unit}”已有名次")
        if (unit["kind"] == UnitKind.TOWNSHIP) is not townships:
            refuse(place, "unit", "not_ranked_here", f"“{one.unit}”不属于{kind.label}的对象")
        if of is None:
            refuse(place, "of", "of_missing", "市里的排名须给出参加排名的个数")
        elif townships and of != len(given):
            refuse(place, "of", "of_differs", f"参加排名的乡镇为所登记的 {len(given)} 个,不是 {of} 个")
        elif one.rank > of:
            refuse(place, "rank", "rank_beyond", f"名次 {one.rank} 大于参加排名的个数 {of}")
        taken.add(unit["id"])
        found["units"].append(unit["id"])
        found["ranks"].append(one.rank)
        found["ofs"].append(of or 0)
    if faults:
        raise UnknownReferenceError(summary_of(faults), faults=faults)
    return found


def _seen(row: Any, identity: UUID, caller: Caller, *, past: bool = False) -> RankingRead:
    """A ranking with the units that the caller may see.

    Raises:
        NotFoundError: there is none, or none of its units is for the caller to see.
    """
    shown = None if row is None else _read(row, caller, past=past)
    if shown is None or not shown.entries:
        raise NotFoundError(f"没有排名 {identity}")
    return shown


def _read(row: Any, caller: Caller, *, past: bool) -> RankingRead:
    places = last_places(row)
    entries = [
        RankingEntryRead(
            unit=UnitRef(unit=one["unit"], name=one["name"]),
            rank=one["rank"],
            of=one["of"],
            among_last=is_among_last(one["rank"], one["of"], places),
        )
        for one in decoded(row["entries"])
        if caller.granted_visibility.admits(Subject(row["plan"], row["battle"], one["unit"]))
    ]
    kind = RankingKind(row["kind"])
    last = "、".join(one.unit.name for one in entries if one.among_last)
    explained = f"{row['period']} {kind.label},末 {places} 位:{last or '无'}(名次大于个数减 {places})"
    if row["reason"] is not None:
        explained += f";第 {row['revision']} 版,更正理由:{row['reason']}"
    names = ("plan", "battle", "kind", "period", "rule", "locator", "revision", "source", "reason", "recorded_at")
    return RankingRead.model_validate(
        {
            **{name: row[name] for name in names},
            "id": row["id"],
            "last_places": places,
            "changed_at": row["at"],
            "entries": entries,
            "explanation": explained,
            "allowed_actions": () if past else ranking_actions(caller.actor, Subject(row["plan"], row["battle"])),
        }
    )
