"""Targets: listed with their filters, and read for their owners."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, DateTime, bindparam, func, literal, select
from sqlalchemy.orm import aliased

from app.clock import SHANGHAI
from app.db import Query
from app.domain.permissions import Subject
from app.domain.search import EntryKind
from app.errors import NotFoundError
from app.models import (
    Battle,
    GivenFigure,
    Indicator,
    Observation,
    Plan,
    Submission,
    SubmissionRevision,
    Target,
    Task,
    Unit,
)
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, render
from app.schemas.base import AsOfQuery
from app.schemas.target import TargetDetail, TargetPage, TargetQuery, TargetRead
from app.services.caller import Caller
from app.services.reader import Reader, equal_to, key_of, page_request
from app.services.search import matching, matching_values
from app.services.standing import at_instant, revision_shown
from app.services.units import resolve_unit, task_roles

__all__ = ["get_target", "list_targets", "target_read", "target_shown", "targets_where"]

_replaced, _replacing = aliased(Target), aliased(Target)
_later = aliased(GivenFigure)
_SELECTED: Statement = select(
    Target.sort_key,
    Target.code,
    Target.task_group_id,
    Indicator.code.label("indicator"),
    Indicator.name.label("indicator_name"),
    Indicator.unit_of_measure,
    Indicator.direction,
    Indicator.accumulation,
    Target.operator,
    Target.value,
    Target.value_max,
    Target.qualitative,
    Target.text,
    Target.baseline,
    Target.due_on,
    Target.due_printed,
    Target.locator,
    Target.note,
    GivenFigure.document_number,
    GivenFigure.document_title,
    GivenFigure.document_issuer,
    GivenFigure.document_issued_on,
    GivenFigure.given_at,
    _replaced.code.label("replaces"),
    _replacing.code.label("superseded_by"),
)
_COLUMNS: Statement = (
    _SELECTED.join(Indicator, Indicator.id == Target.indicator_id)
    .outerjoin(GivenFigure, GivenFigure.target_id == Target.id)
    .outerjoin(_replaced, _replaced.id == GivenFigure.replaces_id)
    .outerjoin(_later, _later.replaces_id == GivenFigure.target_id)
    .outerjoin(_replacing, _replacing.id == _later.target_id)
)
_OWNERS = ("plan", "battle", "group", "task")
_FIELDS = tuple(name for name in TargetRead.model_fields if name not in {*_OWNERS, "given_by"})
_DOCUMENT = ("number", "title", "issuer", "issued_on")
_ROLES = task_roles()

_LISTING = Listing(
    statement=_COLUMNS,
    key=Target.sort_key,
    sorts={"code": Target.sort_key, "due_on": Target.due_on},
    conditions={
        "plan": Target.plan_id == key_of(Plan, "plan"),
        "battle": Target.battle_id == key_of(Battle, "battle"),
        "task": Target.task_id == key_of(Task, "task"),
        "unit": Target.task_id.in_(select(_ROLES.c.task_id).where(_ROLES.c.unit_id == bindparam("unit"))),
        "q": matching(EntryKind.TARGET, Target.code),
        "quantified": Target.operator.is_not(None),
        "unquantified": Target.operator.is_(None),
    },
)
_BY_CODE = Query(_COLUMNS.where(Target.code == bindparam("code")))
_OBSERVED = Query(
    select(
        Submission.period,
        Unit.code.label("unit"),
        Observation.value,
        func.coalesce(
            SubmissionRevision.certified_at <= bindparam("as_of", type_=DateTime(timezone=True)), literal(value=False)
        ).label("certified"),
    )
    .select_from(Target)
    .join(Submission, Submission.task_id == Target.task_id)
    .join(
        SubmissionRevision,
        (SubmissionRevision.task_id == Submission.task_id)
        & (SubmissionRevision.submission_id == Submission.id)
        & (SubmissionRevision.revision == revision_shown()),
    )
    .join(
        Observation,
        (Observation.task_id == Submission.task_id)
        & (Observation.submission_id == Submission.id)
        & (Observation.revision == SubmissionRevision.revision)
        & (Observation.target_id == Target.id),
    )
    .join(Unit, Unit.id == Submission.unit_id)
    .where(Target.code == bindparam("code"))
    .order_by(Submission.period_start, Unit.code)
)


def targets_where(condition: ColumnElement[bool]) -> Query:
    """A query for the targets of some owners, in print order."""
    return Query(_COLUMNS.where(condition).order_by(Target.sort_key))


def target_shown(row: Any) -> dict[str, Any]:
    """A target as the API shows it, in plain values; its code holds the codes of what it belongs to."""
    owner = row["code"].rpartition("-")[0].split("-")
    codes = {name: "-".join(owner[:size]) if size <= len(owner) else None for size, name in enumerate(_OWNERS, 2)}
    return {"code": row["code"], **codes, **{name: row[name] for name in _FIELDS}, "given_by": _given_by(row)}


def _given_by(row: Any) -> dict[str, Any] | None:
    """The document that gave a target after the plan was issued, ``None`` for one of the plan itself."""
    if row["given_at"] is None:
        return None
    return {
        "document": {name: row[f"document_{name}"] for name in _DOCUMENT},
        "given_at": row["given_at"].astimezone(SHANGHAI).isoformat(),
        "replaces": row["replaces"],
        "superseded_by": row["superseded_by"],
    }


def target_read(row: Any) -> TargetRead:
    """A target as the API shows it."""
    return TargetRead.model_validate(target_shown(row))


async def list_targets(reader: Reader, query: TargetQuery, known: Known) -> Rendered:
    """One page of targets.

    Raises:
        UnknownUnitError: the unit filter means no unit.
        AmbiguousError: the unit filter means several units.
    """
    filters = equal_to(query, "plan", "battle", "task")
    if query.unit is not None:
        scope = query.task or query.battle or query.plan
        filters["unit"] = {"unit": await resolve_unit(reader, query.unit, scope=scope)}
    if query.q is not None:
        filters["q"] = matching_values(query.q)
    if query.quantified is not None:
        filters["quantified" if query.quantified else "unquantified"] = {}
    page = await _LISTING.page(reader.pool, page_request(query, sort=query.sort), filters)
    items = [target_read(row) for row in page.rows]
    return render(TargetPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


async def get_target(
    reader: Reader, code: str, query: AsOfQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """One target with what had been reported for it at ``query.as_of`` (default ``now``) and the caller may see.

    Raises:
        NotFoundError: no target has this code.
    """
    row = await reader.pool.fetch_row(_BY_CODE, code=code)
    if row is None:
        raise NotFoundError(f"没有目标 {code}")
    shown = target_shown(row)
    observations: list[dict[str, Any]] = []
    if not caller.visibility.nothing:
        found = await reader.pool.fetch(_OBSERVED, code=code, **at_instant(query.as_of or now))
        observations = [dict(one) for one in found if caller.sees(Subject(shown["plan"], shown["battle"], one["unit"]))]
    return render(TargetDetail.model_validate({**shown, "observations": observations}), known)
