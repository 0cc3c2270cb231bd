"""The audit trail as auditors read it: acts by filters, and the newest entry of each chain."""

from typing import Any

from sqlalchemy import DateTime, Text, bindparam, cast, func, literal, select

from app.domain.permissions import Capability, may_read_audit
from app.models import AuditEntry, AuditHead
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, render
from app.schemas.audit import AuditEntryRead, AuditHeadPage, AuditHeadQuery, AuditHeadRead, AuditPage, AuditQuery
from app.services.caller import Caller, forbidden
from app.services.reader import Reader, decoded, equal_to, page_request

__all__ = ["list_audit_entries", "list_audit_heads"]

_SAME = ("chain", "actor", "action", "subject", "unit", "plan", "request_id")
_SHOWN = (
    "chain",
    "position",
    "at",
    "actor",
    "actor_name",
    "address",
    "request_id",
    "action",
    "subject",
    "plan",
    "unit",
)
# Written so that it sorts as the position does.
_KEY = AuditEntry.chain + literal(":") + func.lpad(cast(AuditEntry.position, Text), 19, "0")


def _hex(column: Any) -> Any:
    return func.encode(column, "hex").label(column.name)


_COLUMNS: Statement = select(
    _KEY.label("sort_key"),
    *(getattr(AuditEntry, name) for name in _SHOWN),
    cast(AuditEntry.before, Text).label("before"),
    cast(AuditEntry.after, Text).label("after"),
    _hex(AuditEntry.previous_hash),
    _hex(AuditEntry.hash),
)
_INSTANT = DateTime(timezone=True)
_LISTING = Listing(
    statement=_COLUMNS,
    key=_KEY,
    sorts={"at": AuditEntry.at},
    conditions={
        **{name: getattr(AuditEntry, name) == bindparam(name) for name in _SAME},
        "from": AuditEntry.at >= bindparam("from", type_=_INSTANT),
        "to": AuditEntry.at < bindparam("to", type_=_INSTANT),
    },
)
_HEADS = Listing(
    statement=select(AuditHead.chain.label("sort_key"), AuditHead.chain, AuditHead.position, _hex(AuditHead.hash)),
    key=AuditHead.chain,
    sorts={"chain": AuditHead.chain},
    conditions={},
)


async def list_audit_entries(reader: Reader, query: AuditQuery, known: Known, *, caller: Caller) -> Rendered:
    """One page of what was done, newest first.

    Raises:
        ForbiddenError: the caller audits one plan only; the trail is of all.
    """
    _demand(caller)
    filters = equal_to(query, *_SAME)
    filters |= {name: {name: at} for name, at in (("from", query.from_), ("to", query.to)) if at is not None}
    page = await _LISTING.page(reader.pool, page_request(query, sort=query.sort), filters)
    items = [_entry(row) for row in page.rows]
    return render(AuditPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


async def list_audit_heads(reader: Reader, query: AuditHeadQuery, known: Known, *, caller: Caller) -> Rendered:
    """One page of the newest entries of the chains, for a third party to note down.

    Raises:
        ForbiddenError: as for :func:`list_audit_entries`.
    """
    _demand(caller)
    page = await _HEADS.page(reader.pool, page_request(query, sort=query.sort), {})
    items = [AuditHeadRead(**{name: row[name] for name in ("chain", "position", "hash")}) for row in page.rows]
    return render(AuditHeadPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


def _demand(caller: Caller) -> None:
    if not may_read_audit(caller.actor):
        raise forbidden(caller.actor, Capability.READ_AUDIT, "须为不限定总体方案的审计角色")


def _entry(row: Any) -> AuditEntryRead:
    shown = {name: row[name] for name in (*_SHOWN, "previous_hash", "hash")}
    return AuditEntryRead(**shown, before=decoded(row["before"]), after=decoded(row["after"]))
