"""日历订阅: addresses of the calendar with a token in them, for phones and Outlook, which send no header.

An address gets into backups, chats and logs of proxies, so its token opens the calendar alone, and the calendar tells
whoever comes by it nothing but due instants. It is looked up in the primary database each time: a phone asks a few
times a day, and what was revoked is to be so at once.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import bindparam, select, text

from app.db import Database, Query
from app.domain.actions import calendar_subscription_actions
from app.domain.audit import AuditAction
from app.domain.permissions import may_manage_accounts, may_manage_subscription
from app.domain.roles import Actor, format_grant, grants_of_claims
from app.errors import ConflictError, Fault, InvalidCredentialsError, InvalidRequestError, NotFoundError
from app.models import CalendarSubscription
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, render
from app.schemas.agenda import CalendarQuery
from app.schemas.calendar_subscription import (
    CalendarSubscriptionCreate,
    CalendarSubscriptionIssued,
    CalendarSubscriptionPage,
    CalendarSubscriptionQuery,
    CalendarSubscriptionRead,
)
from app.security.api_keys import FEED_TOKEN, ApiKeyError, issue_key, key_matches, parse_key
from app.security.bearer import ChallengeError, challenge
from app.services.agenda import refuse_unknown
from app.services.audit import Act, record
from app.services.caller import Caller
from app.services.identity import GRANTS_HELD, grants_held
from app.services.reader import Reader, equal_to, page_request
from app.services.units import unit_named

__all__ = [
    "Subscription",
    "create_calendar_subscription",
    "get_calendar_subscription",
    "list_calendar_subscriptions",
    "open_subscription",
    "revoke_calendar_subscription",
]

LONGEST_OF_A_PERSON: Final = timedelta(days=366)
"""Whether a person still holds what they held when they subscribed, nobody tells the service."""

MOST_IN_USE: Final = 50

_STORED = tuple(name for name in CalendarSubscriptionRead.model_fields if name != "allowed_actions")
_COLUMNS: Statement = select(
    CalendarSubscription.id.label("sort_key"),
    *(getattr(CalendarSubscription, name) for name in _STORED),
)
_LISTING = Listing(
    statement=_COLUMNS,
    key=CalendarSubscription.id,
    sorts={"created_at": CalendarSubscription.id},
    conditions={
        "owner": CalendarSubscription.owner == bindparam("owner"),
        "own": CalendarSubscription.owner == bindparam("caller"),
    },
)
_BY_ID = Query(_COLUMNS.where(CalendarSubscription.token_id == bindparam("token_id")))
_KEEP = Query(
    text("""
    INSERT INTO calendar_subscriptions
        (token_id, digest, owner, account_id, grants, name, unit, rule, plan, created_at, expires_at)
    SELECT :token_id, :digest, CAST(:owner AS text), (SELECT id FROM accounts WHERE code = CAST(:account AS text)),
           CAST(:grants AS text[]), :name, :unit, :rule, :plan, CAST(:now AS timestamptz),
           CAST(:expires_at AS timestamptz)
    WHERE (SELECT count(*) FROM calendar_subscriptions WHERE owner = CAST(:owner AS text) AND revoked_at IS NULL
           AND coalesce(expires_at > CAST(:now AS timestamptz), true)) < CAST(:most AS int)
    RETURNING token_id
""")
)
_LOCK = Query(text("SELECT FROM calendar_subscriptions WHERE token_id = CAST(:token_id AS text) FOR UPDATE"))
_REVOKE = Query(
    text("""
    UPDATE calendar_subscriptions SET revoked_at = coalesce(revoked_at, CAST(:now AS timestamptz))
    WHERE token_id = CAST(:token_id AS text)
""")
)
_OPEN = Query(
    text(f"""
    SELECT s.digest, s.owner, s.unit, s.rule, s.plan, s.expires_at, s.revoked_at, s.account_id, a.disabled_at,
           s.grants AS claimed, {GRANTS_HELD} AS held
    FROM calendar_subscriptions s LEFT JOIN accounts a ON a.id = s.account_id
    WHERE s.token_id = CAST(:token_id AS text)
""")  # noqa: S608 - of constants
)


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription that a token opened: for whom it is looked, and what it shows."""

    actor: Actor
    unit: str | None
    rule: str | None
    plan: str | None

    def narrowed(self, query: CalendarQuery) -> CalendarQuery:
        """The query of the subscription's own filter.

        Raises:
            InvalidRequestError: ``query`` asks for something else; the token is for what it was made for.
        """
        own = {"unit": self.unit, "rule": self.rule, "plan": self.plan, "as_of": None}
        faults = [
            Fault(f"/query/{name}", "fixed_by_subscription", "由订阅确定,不能另行指定")
            for name, value in own.items()
            if getattr(query, name) not in {None, value}
        ]
        if faults:
            raise InvalidRequestError("带 token 时,其余筛选条件由订阅确定,请只用订阅地址本身", faults=faults)
        return query.model_copy(update=own)


async def create_calendar_subscription(
    db: Database,
    reader: Reader,
    wanted: CalendarSubscriptionCreate,
    environment: str,
    *,
    now: datetime,
    caller: Caller,
) -> CalendarSubscriptionIssued:
    """Make a subscription of the caller's own, and the address that opens it.

    Raises:
        UnknownUnitError, AmbiguousError: the unit means none or several.
        UnknownReferenceError: no such rule or plan.
        InvalidRequestError: it would have expired already, or is to last longer than a person's may.
        ConflictError: the caller has as many in use as one may have.
    """
    actor = caller.actor
    unit = None
    if wanted.unit is not None:
        unit = (await unit_named(reader, wanted.unit, scope=wanted.plan, at="/body"))["code"]
    await refuse_unknown(reader, wanted.rule, wanted.plan, at="/body")
    token = issue_key(environment, FEED_TOKEN)
    kept = await db.fetch_value(
        _KEEP,
        token_id=token.key_id,
        digest=token.digest,
        owner=actor.id,
        account=actor.account,
        grants=None if actor.account else [format_grant(grant) for grant in actor.grants],
        name=wanted.name,
        unit=unit,
        rule=wanted.rule,
        plan=wanted.plan,
        now=now,
        expires_at=_expiry(wanted.expires_at, now, bounded=actor.account is None),
        most=MOST_IN_USE,
    )
    if kept is None:
        raise ConflictError(f"在用的日历订阅已有 {MOST_IN_USE} 个,请先撤销不用的")
    shown = _read(await db.fetch_row(_BY_ID, token_id=token.key_id), now)
    act = Act(AuditAction.CALENDAR_SUBSCRIPTION_CREATE, shown.token_id, after=_kept(shown))
    await record(db, caller, [act], now=now)
    return CalendarSubscriptionIssued(**shown.model_dump(), feed_url=f"/api/v1/calendar.ics?token={token.text}")


async def list_calendar_subscriptions(
    reader: Reader, query: CalendarSubscriptionQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """One page of the caller's own subscriptions; of everybody's for an administrator."""
    filters = equal_to(query, "owner")
    if not may_manage_accounts(caller.actor):
        filters["own"] = {"caller": caller.actor.id}
    page = await _LISTING.page(reader.pool, page_request(query, sort=query.sort), filters)
    items = [_read(row, now) for row in page.rows]
    return render(CalendarSubscriptionPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


async def get_calendar_subscription(
    db: Database, token_id: str, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """One subscription.

    Raises:
        NotFoundError: there is none of this id that the caller may see.
    """
    return render(await _found(db, token_id, now, caller), known)


async def revoke_calendar_subscription(
    db: Database, token_id: str, *, now: datetime, caller: Caller
) -> CalendarSubscriptionRead:
    """Make an address work no more; one that is revoked already keeps its first instant.

    Raises:
        NotFoundError: there is none of this id that the caller may see.
    """
    await db.fetch(_LOCK, token_id=token_id)
    before = await _found(db, token_id, now, caller)
    await db.fetch(_REVOKE, token_id=token_id, now=now)
    after = await _found(db, token_id, now, caller)
    act = Act(AuditAction.CALENDAR_SUBSCRIPTION_REVOKE, token_id, before=_kept(before), after=_kept(after))
    await record(db, caller, [act], now=now)
    return after


async def open_subscription(db: Database, token: str, environment: str, *, now: datetime) -> Subscription:
    """The subscription that a token opens, with what its owner may see now.

    The actor has no name of the owner's: whoever found the address is told nothing of whose it is.

    Raises:
        InvalidCredentialsError: the token is none, or no longer one.
    """
    try:
        presented = parse_key(token, environment, FEED_TOKEN)
    except ApiKeyError as error:
        raise _refused(error.detail) from None
    row = await db.fetch_row(_OPEN, token_id=presented.key_id)
    if row is None or not key_matches(presented, row["digest"]):
        raise _refused("没有这个日历订阅,请核对订阅地址,或重新建立订阅")
    if row["revoked_at"] is not None or row["disabled_at"] is not None:
        raise _refused("日历订阅已撤销或所属账号已停用,请重新建立订阅")
    if row["expires_at"] is not None and row["expires_at"] <= now:
        raise _refused("日历订阅已过期,请重新建立订阅")
    of_account = row["account_id"] is not None
    grants = grants_held(row["held"]) if of_account else grants_of_claims({"claimed": row["claimed"]}, "claimed").grants
    return Subscription(Actor(row["owner"], "日历订阅", grants), row["unit"], row["rule"], row["plan"])


def _expiry(wanted: datetime | None, now: datetime, *, bounded: bool) -> datetime | None:
    latest = now + LONGEST_OF_A_PERSON if bounded else None
    if wanted is None:
        return latest
    if wanted <= now:
        code, detail = "not_later", "失效时刻须在现在之后"
    elif latest is not None and wanted > latest:
        code, detail = "too_late", f"以登录令牌建立的订阅至多 {LONGEST_OF_A_PERSON.days} 日有效"
    else:
        return wanted
    raise InvalidRequestError(detail, faults=[Fault("/body/expires_at", code, detail)])


async def _found(db: Database, token_id: str, now: datetime, caller: Caller) -> CalendarSubscriptionRead:
    row = await db.fetch_row(_BY_ID, token_id=token_id)
    if row is None or not may_manage_subscription(caller.actor, row["owner"]):
        raise NotFoundError(f"没有日历订阅 {token_id}")
    return _read(row, now)


def _read(row: Any, now: datetime) -> CalendarSubscriptionRead:
    stored = {name: row[name] for name in _STORED}
    actions = calendar_subscription_actions(expires_at=row["expires_at"], revoked_at=row["revoked_at"], now=now)
    return CalendarSubscriptionRead(**stored, allowed_actions=list(actions))


def _kept(shown: CalendarSubscriptionRead) -> dict[str, Any]:
    """What the audit trail keeps of a subscription."""
    return shown.model_dump(mode="json", exclude={"token_id", "allowed_actions"})


def _refused(detail: str) -> InvalidCredentialsError:
    return InvalidCredentialsError(detail, challenge=challenge(ChallengeError.INVALID_TOKEN))
