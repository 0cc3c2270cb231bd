"""From the ``Authorization`` header to who asks: API keys of accounts, tokens of the configured issuer.

A key is looked up in the primary database, for a replica may not know yet that it was revoked. What was found is kept
in this process for :data:`LIFETIME`, so that a request costs no query: a revocation, a new expiry, a disabled account
or changed roles take effect within that time in every process, whoever made the change. The cache is bounded; key ids
that nobody has are kept apart from it, so that making them up drives no good key out.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import asyncpg
from cachetools import LRUCache
from sqlalchemy import text

from app.db import Database, Query
from app.domain.roles import ANONYMOUS, Actor, Grant, Role, grants_of_claims
from app.errors import InvalidCredentialsError, IssuerUnreachableError
from app.security.addresses import Network, network_allowed
from app.security.api_keys import ApiKeyError, PresentedKey, is_api_key, key_matches, parse_key
from app.security.bearer import BearerError, ChallengeError, bearer_token, challenge
from app.security.issuer_keys import IssuerUnavailableError
from app.security.tokens import TokenError, TokenVerifier
from app.services.caller import Caller, Origin, Public
from app.services.reader import decoded

__all__ = ["GRANTS_HELD", "LIFETIME", "Identity", "Rules", "Source", "grants_held"]

LIFETIME: Final = timedelta(seconds=5)
"""How long a key that was looked up is believed without looking again."""

NOTED_EVERY: Final = timedelta(minutes=1)
MOST_KEPT: Final = 10_000

_log = logging.getLogger("liuzhang.identity")

GRANTS_HELD: Final = """
    CAST((SELECT json_agg(json_build_array(g.role, g.plan, g.unit, g.battle) ORDER BY g.position)
          FROM account_grants g WHERE g.account_id = a.id) AS text)
"""
"""The grants of an account ``a`` in a select, as :func:`grants_held` reads them."""

_KEY = Query(
    text(f"""
    SELECT k.digest, k.expires_at, k.revoked_at, k.networks, a.code, a.name, a.disabled_at, {GRANTS_HELD} AS grants
    FROM api_keys k JOIN accounts a ON a.id = k.account_id WHERE k.key_id = CAST(:key_id AS text)
""")  # noqa: S608 - of constants
)
_NOTE_USE = Query(
    text("""
    UPDATE api_keys SET last_used_at = CAST(:now AS timestamptz)
    WHERE key_id = CAST(:key_id AS text) AND (last_used_at IS NULL OR last_used_at < CAST(:now AS timestamptz))
""")
)


@dataclass(frozen=True, slots=True)
class Rules:
    """How callers are told apart in this deployment.

    Attributes:
        environment: that whose keys are taken.
        trusted: the proxies that are believed.
        public: what is open to everyone.
        claim: the member of a token that lists grants.
    """

    environment: str = "prod"
    trusted: Sequence[Network] = ()
    public: Public = field(default_factory=Public)
    claim: str = "liuzhang_grants"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a request comes from, as it says: the socket's other end, all ``X-Forwarded-For`` lines, its id."""

    peer: str | None
    forwarded: Sequence[str]
    request_id: str


@dataclass(frozen=True, slots=True)
class _Key:
    """A key as it was found at an instant, and whose it is."""

    found_at: datetime
    digest: bytes
    actor: Actor
    networks: Sequence[Network] | None
    expires_at: datetime | None
    refusal: str | None


class Identity:
    """Tells who asks, for one process and one event loop."""

    def __init__(self, db: Database, rules: Rules, verifier: TokenVerifier | None = None) -> None:
        """Look keys up in ``db``, a pool on the primary; without ``verifier`` no token is believed."""
        self._db = db
        self._rules = rules
        self._verifier = verifier
        self._known: LRUCache[str, _Key] = LRUCache(maxsize=MOST_KEPT)
        self._unknown: LRUCache[str, datetime] = LRUCache(maxsize=MOST_KEPT)
        self._noted: LRUCache[str, datetime] = LRUCache(maxsize=MOST_KEPT)
        self._noting: set[asyncio.Task[None]] = set()

    async def caller(self, authorization: Sequence[str], source: Source, *, now: datetime) -> Caller:
        """Who sends a request that came at ``now``; ``authorization`` are all lines of that header.

        Raises:
            InvalidCredentialsError: credentials are given and not believed; they are never taken for none.
            IssuerUnreachableError: whether a token is to be believed cannot be known now.
        """
        origin = Origin(source.peer, source.forwarded, self._rules.trusted)
        actor = await self._actor(authorization, origin, now)
        return Caller(actor, origin, source.request_id, self._rules.public)

    async def _actor(self, authorization: Sequence[str], origin: Origin, now: datetime) -> Actor:
        if not authorization:
            return ANONYMOUS
        if len(authorization) > 1:
            raise _invalid("Authorization 请求头只能出现一次")
        try:
            token = bearer_token(authorization[0])
            assert token is not None, "the header is there"
            if is_api_key(token):
                return await self._holder(parse_key(token, self._rules.environment), origin, now)
            return await self._person(token)
        except (BearerError, ApiKeyError, TokenError) as error:
            raise _invalid(error.detail) from None

    async def _holder(self, presented: PresentedKey, origin: Origin, now: datetime) -> Actor:
        """The account of a key."""
        key = await self._find(presented.key_id, now)
        if key is None or not key_matches(presented, key.digest):
            raise _invalid("没有这个 API 密钥,请核对后重试或请管理员重新签发")
        if key.refusal is not None:
            raise _invalid(key.refusal)
        if key.expires_at is not None and key.expires_at <= now:
            raise _invalid("API 密钥已过期,请换用新的密钥或请管理员重新签发")
        if key.networks is not None and not network_allowed(origin.address, key.networks):
            raise _invalid(f"API 密钥限定了网段,不能从 {origin.address or '未知地址'} 使用")
        self._note_use(presented.key_id, now)
        return key.actor

    async def _find(self, key_id: str, now: datetime) -> _Key | None:
        found = self._known.get(key_id)
        if found is not None and _is_fresh(found.found_at, now):
            return found
        missed_at = self._unknown.get(key_id)
        if missed_at is not None and _is_fresh(missed_at, now):
            return None
        row = await self._db.fetch_row(_KEY, key_id=key_id)
        if row is None:
            self._unknown[key_id] = now
            return None
        refusal = "API 密钥已吊销,请换用新的密钥或请管理员重新签发" if row["revoked_at"] is not None else None
        if row["disabled_at"] is not None:
            refusal = "账号已停用,请联系管理员"
        actor = Actor.of_account(row["code"], row["name"], grants_held(row["grants"]))
        key = _Key(now, row["digest"], actor, row["networks"], row["expires_at"], refusal)
        self._known[key_id] = key
        return key

    async def _person(self, token: str) -> Actor:
        """Whoever a token of the issuer names."""
        if self._verifier is None:
            raise _invalid("凭证不是本服务的 API 密钥(以 lz_ 开头),而本服务没有设置身份提供方,不接受登录令牌")
        try:
            verified = await self._verifier.verify(token)
        except IssuerUnavailableError as error:
            _log.warning("issuer unavailable: %s", error.reason)
            raise IssuerUnreachableError(error.detail) from None
        claimed = grants_of_claims(verified.claims, self._rules.claim)
        if claimed.unknown:
            _log.debug("claims of %s that are no grants: %s", verified.actor_id, claimed.unknown)
        return Actor(verified.actor_id, verified.name, claimed.grants)

    def _note_use(self, key_id: str, now: datetime) -> None:
        """Write that a key was used, beside the request and at most once in :data:`NOTED_EVERY`."""
        before = self._noted.get(key_id)
        if before is not None and abs(now - before) < NOTED_EVERY:
            return
        self._noted[key_id] = now
        task = asyncio.create_task(self._write_use(key_id, now))
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    async def _write_use(self, key_id: str, now: datetime) -> None:
        try:
            await self._db.fetch(_NOTE_USE, key_id=key_id, now=now)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            # A record for administrators, and no reason to refuse anything.
            _log.warning("last use of key %s not noted: %s", key_id, error)

    async def settle(self) -> None:
        """Wait until every use is written; before the pool is closed."""
        while self._noting:
            await asyncio.gather(*self._noting)


def grants_held(listed: str | None) -> tuple[Grant, ...]:
    """The grants that :data:`GRANTS_HELD` selected."""
    return tuple(Grant(Role(role), plan, unit, battle) for role, plan, unit, battle in decoded(listed) or ())


def _is_fresh(since: datetime, now: datetime) -> bool:
    """Whether what was looked up may still be believed; a clock that was put back makes it old as well."""
    return timedelta() <= now - since < LIFETIME


def _invalid(detail: str) -> InvalidCredentialsError:
    return InvalidCredentialsError(detail, challenge=challenge(ChallengeError.INVALID_TOKEN))
