"""A request that is sent again has its effect once.

What a request with an ``Idempotency-Key`` was answered is written in the transaction of its effect: there are both or
none, wherever the service is killed. While it runs its key is locked; the lock goes with the connection, so that
nothing is left behind that somebody would have to clear.

Only what had an effect is kept. A refused request did nothing, so sending it again is safe, and it is judged anew.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import text

from app.db import Database, Query
from app.errors import AppError, ConflictError, Fault, InvalidRequestError, KeyReusedError, StillRunningError
from app.security.sealing import SealError, seal, unseal
from app.services.reader import decoded

__all__ = ["Attempt", "Kept", "attempt_of", "forget_expired", "keep", "still_running", "take_up"]

MOST_CHARACTERS: Final = 255
_KEY = re.compile(r'[!#-~]+|"[!#-~]+"')

# The row alone would not tell of a request that still runs, nor the lock of one that has ended.
_TAKE_UP = Query(
    text("""
    SELECT pg_try_advisory_xact_lock(hashtextextended(a.actor || ' ' || a.key, 0)) AS is_free,
           k.fingerprint, k.status, CAST(k.headers AS text) AS headers, k.body, k.sealed
    FROM unnest(CAST(:actors AS text[]), CAST(:keys AS text[])) WITH ORDINALITY AS a(actor, key, n)
    LEFT JOIN idempotency_keys k ON k.actor = a.actor AND k.key = a.key AND k.expires_at > CAST(:now AS timestamptz)
    ORDER BY a.n
""")
)
_KEEP = Query(
    text("""
    INSERT INTO idempotency_keys AS kept (actor, key, fingerprint, status, headers, body, sealed, created_at,
                                          expires_at)
    SELECT a.actor, a.key, a.fingerprint, a.status, CAST(a.headers AS jsonb), a.body, a.sealed,
           CAST(:now AS timestamptz), a.expires_at
    FROM unnest(CAST(:actors AS text[]), CAST(:keys AS text[]), CAST(:fingerprints AS bytea[]),
                CAST(:statuses AS int[]), CAST(:headers AS text[]), CAST(:bodies AS bytea[]),
                CAST(:sealed AS bool[]), CAST(:expiries AS timestamptz[]))
         AS a(actor, key, fingerprint, status, headers, body, sealed, expires_at)
    ORDER BY a.actor, a.key
    ON CONFLICT (actor, key) DO UPDATE
    SET fingerprint = excluded.fingerprint, status = excluded.status, headers = excluded.headers,
        body = excluded.body, sealed = excluded.sealed, created_at = excluded.created_at,
        expires_at = excluded.expires_at
    WHERE kept.expires_at <= excluded.created_at
    RETURNING true
""")
)
# Whoever takes a key anew at this moment holds it and keeps it; nobody is waited for.
_FORGET = Query(
    text("""
    WITH over AS MATERIALIZED (
        SELECT actor, key FROM idempotency_keys WHERE expires_at <= CAST(:now AS timestamptz)
        ORDER BY expires_at LIMIT CAST(:most AS int) FOR UPDATE SKIP LOCKED
    )
    DELETE FROM idempotency_keys k USING over o WHERE k.actor = o.actor AND k.key = o.key
""")
)


class Attempt(NamedTuple):
    """One sending of a request.

    Attributes:
        actor: who sends it; keys of different actors have nothing to do with each other.
        key: the caller's name for the request.
        fingerprint: the SHA-256 of what is asked: method, address, condition and body.
        credential: what the caller presents; with the key it opens what is shown once.
        lifetime: how long its answer is kept.
    """

    actor: str
    key: str
    fingerprint: bytes
    credential: str
    lifetime: timedelta

    @property
    def name(self) -> tuple[str, str]:
        """What tells requests apart."""
        return self.actor, self.key

    @property
    def secret(self) -> str:
        """What a body that is shown once is sealed with."""
        return f"{self.credential}\0{self.key}"


class Kept(NamedTuple):
    """What the first sending was answered; ``shown_once`` where the body may not be kept as it is."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    shown_once: bool = False


def attempt_of(header: str, *, actor: str, credential: str, asked: tuple[bytes, ...], lifetime: timedelta) -> Attempt:
    """The attempt that an ``Idempotency-Key`` header names; a quoted key is the same as a bare one.

    ``asked`` are the parts of the request that have to be the same when it is sent again.

    Raises:
        InvalidRequestError: the key is empty, too long, or of other than printable ASCII characters.
    """
    key = header.strip()
    if _KEY.fullmatch(key) is None or len(key.strip('"')) > MOST_CHARACTERS:
        detail = f"Idempotency-Key 须为 1-{MOST_CHARACTERS} 个可见的 ASCII 字符,如一个 UUID"
        raise InvalidRequestError(detail, faults=[Fault("/header/Idempotency-Key", "invalid_key", detail)])
    # The length of each part comes with it, so that no two requests are one text.
    content = b"".join(b"%d:%b" % (len(part), part) for part in asked)
    return Attempt(actor, key.strip('"'), hashlib.sha256(content).digest(), credential, lifetime)


async def take_up(db: Database, attempts: Sequence[Attempt], *, now: datetime) -> list[Kept | AppError | None]:
    """What each request was answered before; ``None`` where it is to be carried out now, in this transaction.

    It is not to be where an error stands in its place: the key was used for another request (KeyReusedError), it is
    being carried out at this moment (StillRunningError), or its answer was shown once and this caller's credential does
    not open it (ConflictError).
    """
    rows = await db.fetch(_TAKE_UP, **_named(attempts), now=now)
    return [_found(attempt, row) for attempt, row in zip(attempts, rows, strict=True)]


def _named(attempts: Sequence[Attempt]) -> dict[str, list[str]]:
    return {"actors": [one.actor for one in attempts], "keys": [one.key for one in attempts]}


def _found(attempt: Attempt, row: Any) -> Kept | AppError | None:
    if row["fingerprint"] is None:
        return None if row["is_free"] else still_running()
    if row["fingerprint"] != attempt.fingerprint:
        return KeyReusedError("这个 Idempotency-Key 已用于另一个请求(方法、地址或请求体不同);新的请求须用新的键")
    body: bytes = row["body"]
    if row["sealed"]:
        try:
            body = unseal(body, attempt.secret)
        except SealError:
            return ConflictError("这个请求已经完成,答复中有只显示一次的内容,须用当初的凭证重发才能再次取得")
    return Kept(row["status"], decoded(row["headers"]), body, row["sealed"])


async def keep(db: Database, answers: Sequence[tuple[Attempt, Kept]], *, now: datetime) -> bool:
    """Keep what requests are answered, in the transaction of their effects.

    False where another sending was faster: then the transaction has to be undone.
    """
    if not answers:
        return True
    attempts = [attempt for attempt, _ in answers]
    kept = await db.fetch(
        _KEEP,
        **_named(attempts),
        fingerprints=[attempt.fingerprint for attempt in attempts],
        statuses=[answer.status for _, answer in answers],
        headers=[orjson.dumps(answer.headers).decode() for _, answer in answers],
        bodies=[seal(one.body, attempt.secret) if one.shown_once else one.body for attempt, one in answers],
        sealed=[answer.shown_once for _, answer in answers],
        expiries=[now + attempt.lifetime for attempt in attempts],
        now=now,
    )
    return len(kept) == len(answers)


async def forget_expired(db: Database, *, now: datetime, most: int = 1000) -> None:
    """Drop up to ``most`` answers whose time is over, those that have been longest first."""
    await db.fetch(_FORGET, now=now, most=most)


def still_running() -> StillRunningError:
    """The refusal of a request that is being carried out."""
    return StillRunningError("同一请求(Idempotency-Key 相同)正在处理,请稍候重发,将得到它的答复")
