"""Schemes of assessment: each version is added, none is changed; without one the default is used."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import DateTime, Text, Uuid, bindparam, cast, select, text

from app.clock import day_of
from app.db import Database, Query
from app.domain.assessment import DEFAULT_SCHEME, DEFAULT_SCHEME_NOTE
from app.domain.audit import AuditAction
from app.domain.permissions import Capability, Subject, may_assess
from app.errors import NotFoundError, unknown_reference
from app.models import AssessmentScheme, Plan
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, render
from app.schemas.assessment import SchemeUsed
from app.schemas.assessment_scheme import (
    AssessmentSchemeCreate,
    AssessmentSchemePage,
    AssessmentSchemeQuery,
    AssessmentSchemeRead,
    SchemeParameters,
)
from app.services.assessment_scope import Scope
from app.services.audit import Act, record
from app.services.caller import Caller, forbidden
from app.services.reader import Reader, decoded, equal_to, key_of, page_request

__all__ = ["create_scheme", "get_scheme", "list_schemes", "scheme_used"]

_COLUMNS: Statement = select(
    AssessmentScheme.id.label("sort_key"),
    AssessmentScheme.id,
    Plan.code.label("plan"),
    AssessmentScheme.version,
    AssessmentScheme.effective_on,
    cast(AssessmentScheme.parameters, Text).label("parameters"),
    AssessmentScheme.note,
    AssessmentScheme.created_at,
    AssessmentScheme.created_by_name.label("created_by"),
).join(Plan, Plan.id == AssessmentScheme.plan_id)
_LISTING = Listing(
    statement=_COLUMNS.where(AssessmentScheme.created_at <= bindparam("as_of", type_=DateTime(timezone=True))),
    key=AssessmentScheme.id,
    sorts={"id": AssessmentScheme.id},
    conditions={"plan": AssessmentScheme.plan_id == key_of(Plan, "plan")},
)
_BY_ID = Query(_COLUMNS.where(AssessmentScheme.id == bindparam("id", type_=Uuid)))
_PLAN = Query(text("SELECT id FROM plans WHERE code = CAST(:plan AS text)"))
# Of two that are made at once one is the second.
_ALONE = Query(text("SELECT pg_advisory_xact_lock(hashtextextended('assessment scheme ' || CAST(:plan AS text), 0))"))
_KEEP = Query(
    text("""
    INSERT INTO assessment_schemes
        (id, plan_id, version, effective_on, parameters, note, created_at, created_by, created_by_name)
    SELECT CAST(:id AS uuid), CAST(:plan AS bigint),
           coalesce((SELECT max(version) FROM assessment_schemes WHERE plan_id = CAST(:plan AS bigint)), 0) + 1,
           CAST(:effective_on AS date), CAST(:parameters AS jsonb), CAST(:note AS text), CAST(:now AS timestamptz),
           CAST(:by AS text), CAST(:by_name AS text)
    RETURNING version
""")
)
_USED = Query(
    text("""
    SELECT s.id, s.version, CAST(s.parameters AS text) AS parameters, s.note FROM assessment_schemes s
    WHERE s.plan_id = :plan AND CASE
        WHEN CAST(:scheme AS uuid) IS NULL
        THEN s.effective_on <= CAST(:day AS date) AND s.created_at <= CAST(:judged_at AS timestamptz)
        ELSE s.id = CAST(:scheme AS uuid) END
    ORDER BY s.version DESC LIMIT 1
""")
)


async def create_scheme(
    db: Database, request: AssessmentSchemeCreate, *, now: datetime, caller: Caller
) -> AssessmentSchemeRead:
    """Add a version.

    Raises:
        UnknownReferenceError: there is no such plan.
        ForbiddenError: the plan is not one that the caller supervises.
    """
    if not may_assess(caller.actor, Subject(request.plan)):
        raise forbidden(caller.actor, Capability.ASSESS, request.plan)
    plan = await db.fetch_value(_PLAN, plan=request.plan)
    if plan is None:
        raise unknown_reference("/body/plan", "unknown_plan", f"没有总体方案 {request.plan}")
    await db.fetch(_ALONE, plan=request.plan)
    identity = uuid_utils.compat.uuid7()
    said = {"effective_on": request.effective_on, "note": request.note}
    parameters = request.parameters.model_dump_json()
    by = {"by": caller.actor.id, "by_name": caller.actor.name}
    version = await db.fetch_value(_KEEP, id=identity, plan=plan, parameters=parameters, now=now, **said, **by)
    after = {"version": version, "effective_on": request.effective_on.isoformat(), "parameters": decoded(parameters)}
    await record(db, caller, [Act(AuditAction.SCHEME_CREATE, str(identity), request.plan, after=after)], now=now)
    return _scheme(await db.fetch_row(_BY_ID, id=identity))


async def list_schemes(reader: Reader, query: AssessmentSchemeQuery, known: Known, *, now: datetime) -> Rendered:
    """One page of the versions made by ``query.as_of`` (default ``now``), oldest first."""
    always = {"as_of": query.as_of or now}
    page = await _LISTING.page(reader.pool, page_request(query, sort=query.sort), equal_to(query, "plan"), always)
    items = [_scheme(row) for row in page.rows]
    return render(AssessmentSchemePage(items=items, next_cursor=page.next_cursor, total=page.total), known)


async def get_scheme(reader: Reader, identity: UUID, known: Known) -> Rendered:
    """One version.

    Raises:
        NotFoundError: there is none of this id.
    """
    row = await reader.pool.fetch_row(_BY_ID, id=identity)
    if row is None:
        raise NotFoundError(f"没有考核办法 {identity}")
    return render(_scheme(row), known)


async def scheme_used(
    db: Database, scope: Scope, scheme: UUID | None, *, judged_at: datetime, at: str = "/body"
) -> SchemeUsed:
    """The version that is asked for, else the newest that is in force at ``judged_at``, else the default.

    Raises:
        UnknownReferenceError: the plan has no such version.
    """
    day: date = day_of(judged_at)
    row = await db.fetch_row(_USED, plan=scope.plan_key, scheme=scheme, day=day, judged_at=judged_at)
    if row is not None:
        parameters = SchemeParameters.model_validate_json(row["parameters"])
        return SchemeUsed(id=row["id"], version=row["version"], parameters=parameters, note=row["note"])
    if scheme is not None:
        raise unknown_reference(f"{at}/scheme", "unknown_scheme", f"{scope.plan} 没有考核办法 {scheme}")
    return SchemeUsed(id=None, version=0, parameters=SchemeParameters.of(DEFAULT_SCHEME), note=DEFAULT_SCHEME_NOTE)


def _scheme(row: Any) -> AssessmentSchemeRead:
    shown = {name: row[name] for name in AssessmentSchemeRead.model_fields if name != "parameters"}
    return AssessmentSchemeRead(**shown, parameters=SchemeParameters.model_validate_json(row["parameters"]))
