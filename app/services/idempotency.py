"""A request that is sent again has its effect once.

What a request with an ``Idempotency-Key`` was answered is written in the transaction of its effect: there are both or
none, wherever the service is killed. While it runs its key is locked; the lock goes with the connection, so that
nothing is left behind that somebody would have to clear.

Only what had an effect is kept. A refused request did nothing, so sending it again is safe, and it is judged anew.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import orjson
from sqlalchemy import text

from app.db import Database, Query
from app.errors import ConflictError, Fault, InvalidRequestError, KeyReusedError, StillRunningError
from app.security.sealing import SealError, seal, unseal
from app.services.reader import decoded

__all__ = ["Attempt", "Kept", "attempt_of", "forget_expired", "keep", "take_up"]

MOST_CHARACTERS: Final = 255
_KEY = re.compile(r'[!#-~]+|"[!#-~]+"')

# The row alone would not tell of a request that still runs, nor the lock of one that has ended.
_TAKE_UP = Query(
    text("""
    SELECT pg_try_advisory_xact_lock(hashtextextended(CAST(:lock AS text), 0)) AS is_free,
           k.fingerprint, k.status, CAST(k.headers AS text) AS headers, k.body, k.sealed
    FROM (SELECT) AS asked LEFT JOIN idempotency_keys k
        ON k.actor = CAST(:actor AS text) AND k.key = CAST(:key AS text) AND k.expires_at > CAST(:now AS timestamptz)
""")
)
_KEEP = Query(
    text("""
    INSERT INTO idempotency_keys AS kept (actor, key, fingerprint, status, headers, body, sealed, created_at,
                                          expires_at)
    VALUES (:actor, :key, :fingerprint, CAST(:status AS int), CAST(CAST(:headers AS text) AS jsonb), :body, :sealed,
            CAST(:now AS timestamptz), CAST(:expires_at AS timestamptz))
    ON CONFLICT (actor, key) DO UPDATE
    SET fingerprint = excluded.fingerprint, status = excluded.status, headers = excluded.headers,
        body = excluded.body, sealed = excluded.sealed, created_at = excluded.created_at,
        expires_at = excluded.expires_at
    WHERE kept.expires_at <= excluded.created_at
    RETURNING true
""")
)
# A key that is taken anew meanwhile is looked at again, and has not expired then.
_FORGET = Query(
    text("""
    DELETE FROM idempotency_keys
    WHERE expires_at <= CAST(:now AS timestamptz) AND (actor, key) IN (
        SELECT actor, key FROM idempotency_keys WHERE expires_at <= CAST(:now AS timestamptz)
        ORDER BY expires_at LIMIT CAST(:most AS int))
""")
)


class Attempt(NamedTuple):
    """One sending of a request.

    Attributes:
        actor: who sends it; keys of different actors have nothing to do with each other.
        key: the caller's name for the request.
        fingerprint: the SHA-256 of what is asked: method, address, condition and body.
        credential: what the caller presents; with the key it opens what is shown once.
    """

    actor: str
    key: str
    fingerprint: bytes
    credential: str

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


def attempt_of(header: str, *, actor: str, credential: str, asked: tuple[bytes, ...]) -> Attempt:
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
    return Attempt(actor, key.strip('"'), hashlib.sha256(content).digest(), credential)


async def take_up(db: Database, attempt: Attempt, *, now: datetime) -> Kept | None:
    """What the request was answered before; ``None`` where it is to be carried out now, in this transaction.

    Raises:
        KeyReusedError: the key was used for another request.
        StillRunningError: the request is being carried out at this moment.
        ConflictError: the answer was shown once, and this caller's credential does not open it.
    """
    row = await db.fetch_row(
        _TAKE_UP, lock=f"{attempt.actor} {attempt.key}", actor=attempt.actor, key=attempt.key, now=now
    )
    assert row is not None, "an outer join with one row"
    if row["fingerprint"] is None:
        if not row["is_free"]:
            raise _still_running()
        return None
    if row["fingerprint"] != attempt.fingerprint:
        raise KeyReusedError("这个 Idempotency-Key 已用于另一个请求(方法、地址或请求体不同);新的请求须用新的键")
    body: bytes = row["body"]
    if row["sealed"]:
        try:
            body = unseal(body, attempt.secret)
        except SealError:
            raise ConflictError("这个请求已经完成,答复中有只显示一次的内容,须用当初的凭证重发才能再次取得") from None
    return Kept(row["status"], decoded(row["headers"]), body, row["sealed"])


async def keep(db: Database, attempt: Attempt, answer: Kept, *, now: datetime, lifetime: timedelta) -> None:
    """Keep what the request is answered, in the transaction of its effect.

    Raises:
        StillRunningError: another sending was faster; the transaction has to be undone.
    """
    kept = await db.fetch_value(
        _KEEP,
        actor=attempt.actor,
        key=attempt.key,
        fingerprint=attempt.fingerprint,
        status=answer.status,
        headers=orjson.dumps(answer.headers).decode(),
        body=seal(answer.body, attempt.secret) if answer.shown_once else answer.body,
        sealed=answer.shown_once,
        now=now,
        expires_at=now + lifetime,
    )
    if kept is None:
        raise _still_running()


async def forget_expired(db: Database, *, now: datetime, most: int = 1000) -> None:
    """Drop up to ``most`` answers whose time is over, those that have been longest first."""
    await db.fetch(_FORGET, now=now, most=most)


def _still_running() -> StillRunningError:
    return StillRunningError("同一请求(Idempotency-Key 相同)正在处理,请稍候重发,将得到它的答复")
