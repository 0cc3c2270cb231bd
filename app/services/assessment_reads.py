"""Results that were settled, as the API shows them: in a list by what was decided, one with all that it rests on."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Boolean, DateTime, Text, Uuid, any_, bindparam, cast, exists, select
from sqlalchemy.orm import aliased

from app.db import Database, Query
from app.domain.actions import assessment_actions
from app.domain.assessment import Grade
from app.domain.permissions import Subject
from app.errors import NotFoundError
from app.models import Appeal, Assessment, Battle, Plan, Unit
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, exact, render, tag_of
from app.schemas.assessment import AssessmentItem, AssessmentPage, AssessmentQuery, FrozenRead
from app.schemas.task import UnitRef
from app.services.caller import Caller
from app.services.reader import Reader, equal_to, key_of, page_request
from app.services.units import resolve_unit
from app.services.visible_rows import seen_conditions, seen_filter

__all__ = ["get_assessment", "list_assessments", "settled"]

_AS_OF = bindparam("as_of", type_=DateTime(timezone=True))
_LATER = aliased(Assessment)
_SUPERSEDED = exists().where(
    _LATER.battle_id == Assessment.battle_id,
    _LATER.unit_id == Assessment.unit_id,
    _LATER.revision > Assessment.revision,
    _LATER.frozen_at <= _AS_OF,
)
_APPEALED = exists().where(Appeal.assessment_id == Assessment.id, Appeal.filed_at <= _AS_OF)
_SHOWN = ("id", "year", "revision", "interim", "scheme_version", "as_of", "total", "grade", "content_hash", "frozen_at")
_COLUMNS: Statement = (
    select(
        Assessment.id.label("sort_key"),
        *(getattr(Assessment, name) for name in _SHOWN),
        Assessment.frozen_by_name.label("frozen_by"),
        Plan.code.label("plan"),
        Battle.code.label("battle"),
        Unit.code.label("unit"),
        Unit.name.label("unit_name"),
        _SUPERSEDED.label("superseded"),
        _APPEALED.label("appealed"),
    )
    .join(Plan, Plan.id == Assessment.plan_id)
    .join(Battle, Battle.id == Assessment.battle_id)
    .join(Unit, Unit.id == Assessment.unit_id)
    .where(Assessment.frozen_at <= _AS_OF)
)
_LISTING = Listing(
    statement=_COLUMNS,
    key=Assessment.id,
    sorts={"id": Assessment.id},
    conditions={
        "plan": Assessment.plan_id == key_of(Plan, "plan"),
        "battle": Assessment.battle_id == key_of(Battle, "battle"),
        "unit": Assessment.unit_id == bindparam("unit"),
        "year": Assessment.year == bindparam("year"),
        "grade": Assessment.grade == bindparam("grade"),
        "current": bindparam("current", type_=Boolean) != _SUPERSEDED,
        **seen_conditions(plan=Assessment.plan_id, unit=Assessment.unit_id, battle=Assessment.battle_id),
    },
)
_ONE = Query(
    _COLUMNS.add_columns(cast(Assessment.content, Text).label("content")).where(
        Assessment.id == bindparam("id", type_=Uuid)
    )
)
_SETTLED = Query(_COLUMNS.where(Assessment.id == any_(bindparam("ids", type_=ARRAY(Uuid)))))


async def list_assessments(
    reader: Reader, query: AssessmentQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """One page of the results settled by ``query.as_of`` (default ``now``) that the caller may see, oldest first.

    Raises:
        UnknownUnitError, AmbiguousError: the unit filter means none or several.
    """
    filters: dict[str, dict[str, Any]] = {
        **equal_to(query, "plan", "battle", "grade"),
        **seen_filter(caller.granted_visibility),
    }
    if query.unit is not None:
        filters["unit"] = {"unit": await resolve_unit(reader, query.unit, scope=query.battle or query.plan)}
    if query.year is not None:
        filters["year"] = {"year": query.year}
    if query.current is not None:
        filters["current"] = {"current": query.current}
    always = {"as_of": query.as_of or now}
    page = await _LISTING.page(reader.pool, page_request(query, sort=query.sort), filters, always)
    items = [_item(row, caller, past=query.as_of is not None) for row in page.rows]
    return render(AssessmentPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


async def get_assessment(reader: Reader, identity: UUID, known: Known, *, now: datetime, caller: Caller) -> Rendered:
    """One result with its content, which is answered as it was hashed.

    Raises:
        NotFoundError: there is none of this id that the caller may see.
    """
    row = await reader.pool.fetch_row(_ONE, id=identity, as_of=now)
    if row is None or not caller.granted_visibility.admits(Subject(row["plan"], row["battle"], row["unit"])):
        raise NotFoundError(f"没有考核结果 {identity}")
    body = _item(row, caller, past=False).model_dump_json().removesuffix("}")
    whole = f'{body},"result":{row["content"]}}}'.encode()
    etag = tag_of(whole)
    return Rendered(etag, None if etag in known else whole)


async def settled(db: Database, identities: list[UUID], *, now: datetime, caller: Caller) -> FrozenRead:
    """What was settled just now, in its order."""
    rows = await db.fetch(_SETTLED, ids=identities, as_of=now)
    items = sorted((_item(row, caller, past=False) for row in rows), key=lambda item: item.unit.unit)
    grades = "、".join(f"{grade.label} {sum(item.grade is grade for item in items)} 个" for grade in Grade)
    return FrozenRead(items=items, explanation=f"已定案 {len(items)} 个单位:{grades}")


def _item(row: Any, caller: Caller, *, past: bool) -> AssessmentItem:
    subject = Subject(row["plan"], row["battle"], row["unit"])
    current = not row["superseded"]
    offered = () if past else assessment_actions(caller.actor, subject, current=current, appealed=row["appealed"])
    shown = {name: row[name] for name in (*_SHOWN, "plan", "battle", "frozen_by")}
    total = "没有可计分的方面" if row["total"] is None else f"总分 {exact(row['total'])}"
    grade = Grade(row["grade"])
    kind = "中期" if row["interim"] else ""
    later = "" if current else ",已被后一版取代"
    return AssessmentItem.model_validate(
        {
            **shown,
            "unit": UnitRef(unit=row["unit"], name=row["unit_name"]),
            "current": current,
            "explanation": (
                f"{row['unit_name']} {row['year']} 年度{kind}考核第 {row['revision']} 版:"
                f"{total},等次{grade.label}{later}"
            ),
            "allowed_actions": list(offered),
        }
    )
