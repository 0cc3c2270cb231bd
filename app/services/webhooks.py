"""Webhooks of an account: made, changed, tested, paused and resumed, each for its owner alone."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import uuid_utils.compat
from sqlalchemy import Uuid, bindparam, select, text

from app.clock import SHANGHAI
from app.db import Database, Query
from app.domain.actions import webhook_actions
from app.domain.audit import AuditAction
from app.domain.events import PauseReason, WebhookState
from app.errors import (
    ConflictError,
    Fault,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    PreconditionError,
    StillRunningError,
)
from app.models import Account, Webhook
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, render
from app.schemas.webhook import (
    ResumeStep,
    SecretRotate,
    TestRead,
    WebhookCreate,
    WebhookIssued,
    WebhookPage,
    WebhookPatch,
    WebhookQuery,
    WebhookRead,
)
from app.security.outbound import Outbound, Outcome
from app.security.targets import TargetError, origin_of
from app.security.webhook_secrets import secret_text, signature_headers, webhook_secret
from app.services.audit import Act, record
from app.services.caller import Caller
from app.services.reader import Reader, page_request
from app.version import VERSION

__all__ = [
    "Sender",
    "create_webhook",
    "delete_webhook",
    "get_webhook",
    "list_webhooks",
    "patch_webhook",
    "resume_webhook",
    "rotate_webhook_secret",
    "test_webhook",
    "webhook_of",
]

_STORED = tuple(name for name in WebhookRead.model_fields if name != "allowed_actions")
_COLUMNS: Statement = select(
    Webhook.id.label("sort_key"),
    *(getattr(Webhook, name) for name in _STORED),
    Webhook.secret_version,
).join(Account, Account.id == Webhook.account_id)
_OWN = Account.code == bindparam("owner")
_LISTING = Listing(
    statement=_COLUMNS,
    key=Webhook.id,
    sorts={"id": Webhook.id},
    conditions={"owner": _OWN, "state": Webhook.state == bindparam("state")},
)
_ONE = Query(_COLUMNS.where(_OWN, Webhook.id == bindparam("id", type_=Uuid)))
_LOCK_OWNER = Query(text("SELECT id FROM accounts WHERE code = CAST(:owner AS text) FOR UPDATE"))
_COUNT = Query(text("SELECT count(*) FROM webhooks WHERE account_id = :account"))
_CREATE = Query(
    text("""
    INSERT INTO webhooks (id, account_id, url, types, plan, unit, created_at, state, secret_version, position, failures)
    VALUES (:id, :account, :url, CAST(:types AS text[]), :plan, :unit, :now, 'active', 1,
            (SELECT coalesce(max(position), 0) FROM events), 0)
""")
)
_LOCK = Query(text("SELECT FROM webhooks WHERE id = :id FOR UPDATE"))
_CHANGE = Query(
    text("""
    UPDATE webhooks SET url = :url, types = CAST(:types AS text[]), plan = :plan, unit = :unit, state = :state,
                        pause_reason = :pause_reason
    WHERE id = :id
""")
)
_DELETE = Query(text("DELETE FROM webhooks WHERE id = :id"))
_ROTATE = Query(
    text("""
    UPDATE webhooks SET secret_version = secret_version + 1, overlap_until = CAST(:until AS timestamptz) WHERE id = :id
""")
)
_RESUME = Query(
    text("""
    WITH again AS (
        UPDATE webhook_deliveries
        SET state = 'pending', tries = 0, next_try_at = CAST(:now AS timestamptz), settled_at = NULL
        WHERE webhook_id = :id AND (state = 'pending' OR state = 'dead' AND NOT CAST(:skip_dead AS bool))
    )
    UPDATE webhooks SET state = 'active', pause_reason = NULL, failures = 0, retry_at = NULL WHERE id = :id
""")
)
_UNKNOWN = Query(
    text("""
    SELECT CAST(:plan AS text) IS NOT NULL AND NOT EXISTS (SELECT FROM plans WHERE code = CAST(:plan AS text)) AS plan,
           CAST(:unit AS text) IS NOT NULL AND NOT EXISTS (SELECT FROM units WHERE code = CAST(:unit AS text)) AS unit
""")
)
# A test that is sent within a transaction holds a connection for as long as its receiver is silent; no more than one
# of all is to be held, or the tests of a few webhooks would stop every write.
_TEST_ALONE = Query(text("SELECT pg_try_advisory_xact_lock(hashtextextended('webhook test', 0))"))
_MOST = 20


@dataclass(frozen=True, slots=True)
class Sender:
    """What webhooks are sent with: how to get out, and the key that their secrets are derived from.

    Without a key, or without targets, there can be no webhooks.
    """

    outbound: Outbound
    key: str | None

    async def send(self, webhook: Any, message: str, body: bytes, now: datetime) -> Outcome:
        """Send a message to a webhook, a row with ``id``, ``url``, ``secret_version`` and ``overlap_until``."""
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"liuzhang/{VERSION}",
            **signature_headers(self._secrets(webhook, now), message, now, body),
        }
        return await self.outbound.post(webhook["url"], headers, body)

    def secret(self, webhook: UUID, version: int) -> bytes:
        """One secret of a webhook.

        Raises:
            ConflictError: the operator has set no key.
        """
        if self.key is None:
            raise ConflictError("服务没有设置 LIUZHANG_WEBHOOK_KEY,不能使用 Webhook;请联系管理员")
        return webhook_secret(self.key, webhook, version)

    def _secrets(self, webhook: Any, now: datetime) -> list[bytes]:
        version, until = webhook["secret_version"], webhook["overlap_until"]
        versions = [version, version - 1] if until is not None and until > now else [version]
        return [self.secret(webhook["id"], one) for one in versions]


async def list_webhooks(reader: Reader, query: WebhookQuery, known: Known, *, caller: Caller) -> Rendered:
    """One page of the caller's own webhooks.

    Raises:
        ForbiddenError: the caller is no account.
    """
    filters: dict[str, dict[str, Any]] = {"owner": {"owner": _owner(caller)}}
    if query.state is not None:
        filters["state"] = {"state": query.state.value}
    page = await _LISTING.page(reader.pool, page_request(query, sort=query.sort), filters)
    items = [_shown(row) for row in page.rows]
    return render(WebhookPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


async def get_webhook(db: Database, identity: UUID, known: Known, *, caller: Caller) -> Rendered:
    """One webhook of the caller's own.

    Raises:
        NotFoundError: the caller has none of this id.
        ForbiddenError: the caller is no account.
    """
    return render(_shown(await webhook_of(db, identity, caller)), known)


async def create_webhook(
    db: Database, sender: Sender, wanted: WebhookCreate, *, now: datetime, caller: Caller
) -> WebhookIssued:
    """Make a webhook; it is told of what happens from now on.

    Raises:
        ForbiddenError: the caller is no account.
        ConflictError: the account has as many as it may have, or the operator has set no key.
        InvalidRequestError: the URL is at no listed target, or a filter names what does not exist.
    """
    owner = _owner(caller)
    _check_target(sender, wanted.url)
    await _check_filters(db, wanted.plan, wanted.unit)
    identity: UUID = uuid_utils.compat.uuid7()
    secret = secret_text(sender.secret(identity, 1))
    account = await db.fetch_value(_LOCK_OWNER, owner=owner)
    if await db.fetch_value(_COUNT, account=account) >= _MOST:
        raise ConflictError(f"一个账号至多有 {_MOST} 个 Webhook,请先删除不用的")
    await db.fetch(_CREATE, id=identity, account=account, now=now, **wanted.model_dump(mode="json"))
    made = await _recorded(db, AuditAction.WEBHOOK_CREATE, identity, now=now, caller=caller)
    return WebhookIssued(**dict(_shown(made)), secret=secret)


async def patch_webhook(
    db: Database,
    sender: Sender,
    identity: UUID,
    patch: WebhookPatch,
    *,
    match: Known | None,
    now: datetime,
    caller: Caller,
) -> Rendered:
    """Change where a webhook leads and what it wants, or pause it; what it was given already still goes out.

    Raises:
        NotFoundError: the caller has none of this id.
        PreconditionError: it has changed since the caller read it.
        InvalidRequestError: as for :func:`create_webhook`.
    """
    was = await _locked(db, identity, caller)
    before = _shown(was)
    if match is not None and render(before, match).body is not None:
        raise PreconditionError("该 Webhook 已被更改,请重新读取")
    given = patch.model_dump(exclude_unset=True)
    paused = given.pop("paused", None)
    if paused and before.state is WebhookState.ACTIVE:
        given.update(state=WebhookState.PAUSED, pause_reason=PauseReason.REQUESTED)
    after = before.model_copy(update=given)
    if "url" in given:
        _check_target(sender, after.url)
    await _check_filters(db, after.plan, after.unit)
    changed = after.model_dump(mode="json", include={"url", "types", "plan", "unit", "state", "pause_reason"})
    await db.fetch(_CHANGE, id=identity, **changed)
    row = await _recorded(db, AuditAction.WEBHOOK_CHANGE, identity, was, now=now, caller=caller)
    return render(_shown(row), Known.parse(None))


async def delete_webhook(db: Database, identity: UUID, *, now: datetime, caller: Caller) -> WebhookRead:
    """Take a webhook away, with what waits for it and its log; returns what it was.

    Raises:
        NotFoundError: the caller has none of this id.
    """
    last = await _locked(db, identity, caller)
    await db.fetch(_DELETE, id=identity)
    await record(db, caller, [Act(AuditAction.WEBHOOK_DELETE, str(identity), before=_kept(last))], now=now)
    return _shown(last)


async def rotate_webhook_secret(
    db: Database, sender: Sender, identity: UUID, wanted: SecretRotate, *, now: datetime, caller: Caller
) -> WebhookIssued:
    """Give a webhook a new secret; for the overlap both sign.

    Raises:
        NotFoundError: the caller has none of this id.
        ConflictError: the operator has set no key.
    """
    was = await _locked(db, identity, caller)
    secret = secret_text(sender.secret(identity, was["secret_version"] + 1))
    overlap = timedelta(seconds=wanted.overlap_seconds)
    await db.fetch(_ROTATE, id=identity, until=now + overlap if overlap else None)
    row = await _recorded(db, AuditAction.WEBHOOK_ROTATE_SECRET, identity, was, now=now, caller=caller)
    return WebhookIssued(**dict(_shown(row)), secret=secret)


async def resume_webhook(
    db: Database, sender: Sender, identity: UUID, step: ResumeStep, *, now: datetime, caller: Caller
) -> Rendered:
    """Go on where a webhook stopped, in order; of one that is active, try again at once.

    Raises:
        NotFoundError: the caller has none of this id.
        InvalidRequestError: its URL is at no listed target any more.
    """
    was = await _locked(db, identity, caller)
    _check_target(sender, was["url"], at="/path/id")
    await db.fetch(_RESUME, id=identity, now=now, skip_dead=step.skip_dead)
    row = await _recorded(
        db, AuditAction.WEBHOOK_RESUME, identity, was, now=now, caller=caller, skip_dead=step.skip_dead
    )
    return render(_shown(row), Known.parse(None))


async def test_webhook(db: Database, sender: Sender, identity: UUID, *, now: datetime, caller: Caller) -> TestRead:
    """Send a message that says nothing, paused or not, and tell what became of it.

    Raises:
        NotFoundError: the caller has none of this id.
        ConflictError: the operator has set no key.
        StillRunningError: one is sent at this moment that holds a transaction, as this would.
    """
    row = await webhook_of(db, identity, caller)
    if not db.stands_alone and not await db.fetch_value(_TEST_ALONE):
        raise StillRunningError("正在试送另一个 Webhook,请稍候重发")
    message = f"test_{uuid_utils.compat.uuid7()}"
    said = {"id": message, "type": "webhook.test", "at": now.astimezone(SHANGHAI).isoformat()}
    outcome = await sender.send(row, message, orjson.dumps(said), now)
    came = TestRead(
        delivered=outcome.succeeded, status=outcome.status, error=outcome.error, latency_ms=outcome.latency_ms
    )
    after = {**_place(row["url"]), "message": message, **came.model_dump(include={"delivered", "status", "error"})}
    await record(db, caller, [Act(AuditAction.WEBHOOK_TEST, str(identity), after=after)], now=now)
    return came


async def webhook_of(db: Database, identity: UUID, caller: Caller) -> Any:
    """The row of a webhook of the caller's own.

    Raises:
        NotFoundError: the caller has none of this id.
        ForbiddenError: the caller is no account.
    """
    row = await db.fetch_row(_ONE, owner=_owner(caller), id=identity)
    if row is None:
        raise NotFoundError(f"没有 Webhook {identity}")
    return row


async def _locked(db: Database, identity: UUID, caller: Caller) -> Any:
    await webhook_of(db, identity, caller)
    await db.fetch(_LOCK, id=identity)
    # Read again: it may have been changed, or have gone, before the lock was had.
    return await webhook_of(db, identity, caller)


async def _recorded(
    db: Database,
    action: AuditAction,
    identity: UUID,
    was: Any = None,
    *,
    now: datetime,
    caller: Caller,
    **said: Any,
) -> Any:
    """The row of a webhook as an act has left it; what it was, what it is and what was said is recorded."""
    row = await webhook_of(db, identity, caller)
    act = Act(action, str(identity), before=None if was is None else _kept(was), after={**_kept(row), **said})
    await record(db, caller, [act], now=now)
    return row


def _kept(row: Any) -> dict[str, Any]:
    """What the audit trail keeps of a webhook: all but the path of its URL, in which receivers have their own keys."""
    shown = _shown(row).model_dump(mode="json", exclude={"id", "url", "allowed_actions"})
    return {**_place(row["url"]), **shown, "secret_version": row["secret_version"]}


def _place(url: str) -> dict[str, str]:
    return {"target": origin_of(url), "url_hash": hashlib.sha256(url.encode()).hexdigest()}


def _owner(caller: Caller) -> str:
    """The code of the account that asks; a person's roles are known only while they are logged in."""
    code = caller.actor.account
    if code is None:
        raise ForbiddenError("Webhook 属于账号:请用账号的 API 密钥,不能用登录令牌")
    return code


def _check_target(sender: Sender, url: str, *, at: str = "/body/url") -> None:
    try:
        sender.outbound.targets.check(url)
    except TargetError as error:
        raise InvalidRequestError(error.detail, faults=[Fault(at, "target_not_allowed", error.detail)]) from None


async def _check_filters(db: Database, plan: str | None, unit: str | None) -> None:
    unknown = await db.fetch_row(_UNKNOWN, plan=plan, unit=unit)
    assert unknown is not None
    faults = [
        Fault(f"/body/{name}", f"unknown_{name}", f"没有{label} {code}")
        for name, label, code in (("plan", "总体方案", plan), ("unit", "单位", unit))
        if unknown[name]
    ]
    if faults:
        raise InvalidRequestError(";".join(fault.detail for fault in faults), faults=faults)


def _shown(row: Any) -> WebhookRead:
    actions = webhook_actions(WebhookState(row["state"]))
    return WebhookRead.model_validate({**{name: row[name] for name in _STORED}, "allowed_actions": actions})
