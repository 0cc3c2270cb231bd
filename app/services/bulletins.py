"""Bulletins as they are made: drawn up, edited, generated anew, issued or given up; each act once, whoever comes first.

Whoever takes a step holds the row. Numbers run without gaps within a battle or plan, kind and year, so issues of one
such series wait for each other.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import text

from app.db import Database, Query
from app.domain.audit import AuditAction
from app.domain.bulletins import (
    BulletinAction,
    BulletinState,
    apply_bulletin_step,
    canonical,
    default_title,
    hash_of,
)
from app.domain.events import EventType
from app.domain.permissions import Capability, Subject, may_edit_bulletin
from app.errors import (
    ConflictError,
    Fault,
    InvalidRequestError,
    PreconditionError,
    unknown_reference,
)
from app.rendering import Known, Rendered, render
from app.schemas.bulletin import (
    BulletinCreate,
    BulletinDiscard,
    BulletinIssue,
    BulletinParts,
    BulletinPatch,
    BulletinRead,
    BulletinRegenerate,
)
from app.services.audit import Act, record
from app.services.bulletin_content import compose_content
from app.services.bulletin_reads import (
    asked_of,
    bulletin_of,
    bulletin_row,
    content_text,
    demand_editor,
    document_hash_of,
    refuse_as_of,
    shown_bulletin,
)
from app.services.caller import Caller, forbidden
from app.services.events import NewEvent, emit
from app.services.reader import Reader, decoded
from app.services.state_steps import open_steps_named

__all__ = ["create_bulletin", "discard_bulletin", "issue_bulletin", "patch_bulletin", "regenerate_bulletin"]

_KEEP = Query(
    text("""
    INSERT INTO bulletins (id, plan_id, battle_id, unit_id, kind, period, period_start, year, as_of, state, title,
                           content, content_hash, parts, created_at, created_by, updated_at)
    VALUES (:id, :plan, :battle, :unit, :kind, :period, :start, :year, :as_of, 'draft', :title,
            :content, :content_hash, :parts, CAST(:now AS timestamptz), :by, CAST(:now AS timestamptz))
    ON CONFLICT DO NOTHING RETURNING id
""")
)
_STANDING = Query(
    text("""
    SELECT id FROM bulletins
    WHERE plan_id = :plan AND battle_id IS NOT DISTINCT FROM CAST(:battle AS bigint) AND kind = :kind
      AND period = :period AND state <> 'discarded'
""")
)
_LOCK = Query(text("SELECT FROM bulletins WHERE id = :id FOR UPDATE"))
_EDIT = Query(text("UPDATE bulletins SET title = :title, parts = :parts, updated_at = :now WHERE id = :id"))
_REGENERATE = Query(
    text("""
    UPDATE bulletins SET as_of = :as_of, content = :content, content_hash = :content_hash, updated_at = :now
    WHERE id = :id
""")
)
_DISCARD = Query(
    text("""
    UPDATE bulletins SET state = 'discarded', discarded_at = CAST(:now AS timestamptz), discard_reason = :reason,
                         updated_at = CAST(:now AS timestamptz)
    WHERE id = :id
""")
)
_QUEUE = Query(text("SELECT pg_advisory_xact_lock(hashtextextended(CAST(:series AS text), 0))"))
_NEXT = Query(
    text("""
    SELECT coalesce(max(number), 0) + 1 FROM bulletins
    WHERE plan_id = :plan AND battle_id IS NOT DISTINCT FROM CAST(:battle AS bigint) AND kind = :kind AND year = :year
""")
)
# What a task force owes of this period under whatever rule, as long as it is still accepted.
_FILE = Query(
    text("""
    WITH filed AS (
        UPDATE obligations o SET submitted_at = CAST(:now AS timestamptz), filed_at = CAST(:now AS timestamptz)
        FROM rule_versions v
        WHERE o.plan_id = :plan AND o.battle_id = CAST(:battle AS bigint) AND o.period = :period
          AND o.task_id IS NULL AND o.filed_at IS NULL
          AND CAST(:now AS timestamptz) <= greatest(o.lock_at, o.effective_due_at)
          AND v.rule_id = o.rule_id AND v.version = o.rule_version AND v.schedule ->> 'obligor' = 'task_force'
          AND EXISTS (SELECT FROM rules r WHERE r.id = o.rule_id AND r.kind = 'bulletin')
        RETURNING 1
    )
    SELECT count(*) FROM filed
""")
)
_ISSUE = Query(
    text("""
    UPDATE bulletins SET state = 'issued', number = :number, parts = :parts, issued_at = CAST(:now AS timestamptz),
                         issued_by = :by, document_hash = :document_hash, filed = :filed,
                         updated_at = CAST(:now AS timestamptz)
    WHERE id = :id
""")
)


async def create_bulletin(
    db: Database, reader: Reader, wanted: BulletinCreate, *, now: datetime, caller: Caller
) -> BulletinRead:
    """Draw a bulletin up from the data of an instant.

    Raises:
        ForbiddenError: the battle, or the plan, is not one that the caller acts for.
        UnknownReferenceError: no such plan, battle or period, or the period is not of this kind.
        InvalidRequestError: the instant lies ahead or before the period.
        ConflictError: there is one of this kind and period already.
    """
    demand_editor(wanted, caller, at="/body")
    of = await bulletin_of(reader, wanted, at="/body")
    as_of = wanted.as_of or now
    refuse_as_of(of, as_of, now=now, at="/body")
    series = {"plan": of.plan_id, "battle": of.battle_id, "kind": of.kind.value, "period": of.period.code}
    content = content_text(await compose_content(reader, of, as_of=as_of))
    identity: UUID = uuid_utils.compat.uuid7()
    kept = await db.fetch_value(
        _KEEP,
        **series,
        id=identity,
        unit=of.unit_id,
        start=of.period.start,
        year=of.year,
        as_of=as_of,
        title=default_title(of.kind, of.period, of.scope_name),
        content=content,
        content_hash=hash_of(content),
        parts=_parts_text(BulletinParts(signer=of.signer)),
        now=now,
        by=caller.actor.name,
    )
    if kept is None:
        existing = await db.fetch_value(_STANDING, **series)
        raise ConflictError(
            f"{of.period.code} 的{of.kind.label}已经编制,请修改、重新生成或先作废", existing=str(existing)
        )
    after = await bulletin_row(db, identity, caller)
    await _recorded(db, AuditAction.BULLETIN_CREATE, None, after, now=now, caller=caller)
    return shown_bulletin(after, caller)


async def patch_bulletin(
    db: Database,
    reader: Reader,
    identity: UUID,
    patch: BulletinPatch,
    *,
    match: Known | None,
    now: datetime,
    caller: Caller,
) -> Rendered:
    """Change what was written by hand.

    Raises:
        NotFoundError, ForbiddenError, PreconditionError, WrongStepError: as for :func:`issue_bulletin`.
        UnknownReferenceError: a remark is on a task that the bulletin does not list.
    """
    was = await _taken(db, identity, BulletinAction.EDIT, caller, match=match)
    given = patch.model_dump(exclude_unset=True)
    title = given.pop("title", was["title"])
    parts = BulletinParts.model_validate(decoded(was["parts"]))
    if "signer" in given and given["signer"] is None:
        given["signer"] = await _signer(reader, was)
    parts = parts.model_copy(update=given)
    listed = {one["task"] for one in decoded(was["content"])["laggards"]}
    if "remarks" in given and (unknown := sorted(set(parts.remarks) - listed)):
        raise unknown_reference(f"/body/remarks/{unknown[0]}", "not_lagging", f"本期滞后任务中没有 {unknown[0]}")
    await db.fetch(_EDIT, id=identity, title=title, parts=_parts_text(parts), now=now)
    after = await bulletin_row(db, identity, caller)
    await _recorded(db, AuditAction.BULLETIN_EDIT, was, after, now=now, caller=caller)
    return render(shown_bulletin(after, caller), Known.parse(None))


async def regenerate_bulletin(
    db: Database,
    reader: Reader,
    identity: UUID,
    step: BulletinRegenerate,
    *,
    match: Known | None,
    now: datetime,
    caller: Caller,
) -> Rendered:
    """Take the figures of another instant; what was written by hand stays.

    Raises:
        NotFoundError, ForbiddenError, PreconditionError, WrongStepError: as for :func:`issue_bulletin`.
        InvalidRequestError: the instant lies ahead or before the period.
    """
    was = await _taken(db, identity, BulletinAction.REGENERATE, caller, match=match)
    of = await bulletin_of(reader, asked_of(was), at="/path")
    as_of = step.as_of or now
    refuse_as_of(of, as_of, now=now, at="/body")
    content = content_text(await compose_content(reader, of, as_of=as_of))
    await db.fetch(_REGENERATE, id=identity, as_of=as_of, content=content, content_hash=hash_of(content), now=now)
    after = await bulletin_row(db, identity, caller)
    await _recorded(db, AuditAction.BULLETIN_EDIT, was, after, now=now, caller=caller)
    return render(shown_bulletin(after, caller), Known.parse(None))


async def issue_bulletin(
    db: Database, identity: UUID, step: BulletinIssue, *, match: Known | None, now: datetime, caller: Caller
) -> Rendered:
    """Number a bulletin and issue it: from now on it stays as it is, and what its task force owed of it is filed.

    Raises:
        NotFoundError: there is none of this id, or none for this caller.
        ForbiddenError: the caller may not edit it.
        PreconditionError: it has changed since the caller read it.
        WrongStepError: it is no draft any more.
        InvalidRequestError: the number is not the next one.
    """
    was = await _taken(db, identity, BulletinAction.ISSUE, caller, match=match)
    series = {name: was[f"{name}_id"] for name in ("plan", "battle")}
    await db.fetch(_QUEUE, series=f"bulletin {was['battle'] or was['plan']} {was['kind']} {was['year']}")
    number: int = await db.fetch_value(_NEXT, **series, kind=was["kind"], year=was["year"])
    if step.number is not None and step.number != number:
        detail = f"下一个期号为第{number}期,不是第{step.number}期"
        raise InvalidRequestError(detail, faults=[Fault("/body/number", "wrong_number", detail)])
    parts = BulletinParts.model_validate(decoded(was["parts"]))
    if step.signer is not None:
        parts = parts.model_copy(update={"signer": step.signer})
    issued = {"number": number, "parts": _parts_text(parts), "issued_at": now, "issued_by": caller.actor.name}
    filed: int = await db.fetch_value(_FILE, **series, period=was["period"], now=now)
    await db.fetch(
        _ISSUE,
        id=identity,
        number=number,
        parts=issued["parts"],
        now=now,
        by=caller.actor.name,
        document_hash=document_hash_of({**dict(was), **issued}),
        filed=filed,
    )
    after = await bulletin_row(db, identity, caller)
    await _recorded(db, AuditAction.BULLETIN_ISSUE, was, after, now=now, caller=caller)
    told = {"period": after["period"], "kind": after["kind"], "content_hash": after["content_hash"]}
    await emit(
        db,
        [
            NewEvent(
                EventType.BULLETIN_ISSUED,
                at=now,
                plan=after["plan"],
                battle=after["battle"],
                unit=after["unit"],
                subject=identity,
                data=told,
            )
        ],
    )
    return render(shown_bulletin(after, caller), Known.parse(None))


async def discard_bulletin(
    db: Database, identity: UUID, step: BulletinDiscard, *, match: Known | None, now: datetime, caller: Caller
) -> Rendered:
    """Give a draft up; another one may be drawn up in its place.

    Raises:
        NotFoundError, ForbiddenError, PreconditionError, WrongStepError: as for :func:`issue_bulletin`.
    """
    was = await _taken(db, identity, BulletinAction.DISCARD, caller, match=match)
    await db.fetch(_DISCARD, id=identity, reason=step.reason, now=now)
    after = await bulletin_row(db, identity, caller)
    await _recorded(db, AuditAction.BULLETIN_DISCARD, was, after, now=now, caller=caller)
    return render(shown_bulletin(after, caller), Known.parse(None))


async def _taken(db: Database, identity: UUID, action: BulletinAction, caller: Caller, *, match: Known | None) -> Any:
    """The row that a step is to be taken with, held until the end."""
    await bulletin_row(db, identity, caller)
    await db.fetch(_LOCK, id=identity)
    # Read again: it may have been changed before the lock was had.
    row = await bulletin_row(db, identity, caller)
    if not may_edit_bulletin(caller.actor, Subject(row["plan"], row["battle"])):
        raise forbidden(caller.actor, Capability.EDIT_BULLETINS, row["battle_name"] or row["plan_title"])
    if match is not None and render(shown_bulletin(row, caller), match).body is not None:
        raise PreconditionError("该简报通报已被更改,请重新读取")
    with open_steps_named():
        apply_bulletin_step(BulletinState(row["state"]), action)
    return row


async def _signer(reader: Reader, row: Any) -> str:
    """Who signs where nobody else is named."""
    of = await bulletin_of(reader, asked_of(row), at="/path")
    return of.signer


def _parts_text(parts: BulletinParts) -> str:
    return canonical(parts.model_dump(mode="json"))


async def _recorded(db: Database, action: AuditAction, was: Any, after: Any, *, now: datetime, caller: Caller) -> None:
    act = Act(
        action,
        str(after["id"]),
        after["plan"],
        after["unit"],
        before=None if was is None else _kept(was),
        after=_kept(after),
    )
    await record(db, caller, [act], now=now)


def _kept(row: Any) -> dict[str, Any]:
    """What the audit trail keeps of a bulletin: what it is, and the hashes of what it says."""
    names = ("battle", "kind", "period", "state", "number", "title", "content_hash", "document_hash", "discard_reason")
    return {**{name: row[name] for name in names}, "as_of": row["as_of"].isoformat(), "parts": decoded(row["parts"])}
