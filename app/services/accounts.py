"""Accounts of scripts and other systems: made, given roles, given keys. A key is shown once and kept as a digest."""

import secrets
import string
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Text, bindparam, cast, exists, func, literal, select, text
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import aliased

from app.db import Database, Query
from app.domain.actions import account_actions, key_actions
from app.domain.audit import AuditAction
from app.domain.permissions import Capability
from app.domain.roles import Grant, GrantError, Role, format_grant
from app.errors import ConflictError, Fault, InvalidRequestError, NotFoundError, PreconditionError
from app.models import Account, AccountGrant, ApiKey
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, render
from app.schemas.account import (
    AccountPage,
    AccountPatch,
    AccountQuery,
    AccountRead,
    HeldRole,
    KeyCreate,
    KeyIssued,
    KeyPage,
    KeyQuery,
    KeyRead,
    KeyRotate,
    MeRead,
    RoleWrite,
)
from app.security.addresses import Network, NetworkError, parse_networks
from app.security.api_keys import issue_key
from app.services.audit import Act, record
from app.services.caller import Caller, by_command
from app.services.reader import Reader, decoded, equal_to, page_request

__all__ = [
    "create_account",
    "create_first_administrator",
    "create_key",
    "get_account",
    "get_me",
    "grants_of",
    "list_accounts",
    "list_keys",
    "patch_account",
    "put_grants",
    "revoke_key",
    "rotate_key",
]

_ALPHABET = string.ascii_lowercase + string.digits
_FIRST = 4312282024
_BOUNDS = ("role", "plan", "unit", "battle")
_GRANTS = (
    select(
        func.json_agg(
            aggregate_order_by(
                func.json_build_object(*(part for name in _BOUNDS for part in (name, getattr(AccountGrant, name)))),
                AccountGrant.position,
            )
        )
    )
    .where(AccountGrant.account_id == Account.id)
    .scalar_subquery()
)
_ACCOUNTS: Statement = select(
    Account.code.label("sort_key"),
    Account.code,
    Account.name,
    Account.created_at,
    Account.disabled_at,
    cast(_GRANTS, Text).label("grants"),
)


def _holding(condition: Any) -> Any:
    return exists(select(literal(1)).where(AccountGrant.account_id == Account.id, condition))


_LISTING = Listing(
    statement=_ACCOUNTS,
    key=Account.code,
    sorts={"code": Account.code, "name": Account.name},
    conditions={
        "role": _holding(AccountGrant.role == bindparam("role")),
        "unit": _holding(AccountGrant.unit == bindparam("unit")),
        "disabled": Account.disabled_at.is_not(None),
        "enabled": Account.disabled_at.is_(None),
    },
)
_BY_CODE = Query(_ACCOUNTS.where(Account.code == bindparam("code")))
_LOCK = Query(text("SELECT id FROM accounts WHERE code = CAST(:code AS text) FOR UPDATE"))
_CREATE = Query(
    text("INSERT INTO accounts (code, name, created_at) VALUES (:code, :name, CAST(:now AS timestamptz)) RETURNING id")
)
_CHANGE = Query(
    text("""
    UPDATE accounts SET name = coalesce(CAST(:name AS text), name),
        disabled_at = CASE CAST(:disabled AS bool) WHEN true THEN coalesce(disabled_at, CAST(:now AS timestamptz))
                                                   WHEN false THEN NULL ELSE disabled_at END
    WHERE id = :id
""")
)
_DROP_GRANTS = Query(text("DELETE FROM account_grants WHERE account_id = :id"))
_KEEP_GRANTS = Query(
    text("""
    INSERT INTO account_grants (account_id, position, role, plan, unit, battle)
    SELECT CAST(:id AS bigint), n, r, p, u, b
    FROM unnest(CAST(:roles AS text[]), CAST(:plans AS text[]), CAST(:units AS text[]), CAST(:battles AS text[]))
         WITH ORDINALITY AS g (r, p, u, b, n)
""")
)
_UNKNOWN = Query(
    text("""
    SELECT 'plan' AS bound, c AS code FROM unnest(CAST(:plans AS text[])) AS c
        WHERE NOT EXISTS (SELECT FROM plans WHERE code = c)
    UNION SELECT 'unit', c FROM unnest(CAST(:units AS text[])) AS c WHERE NOT EXISTS (SELECT FROM units WHERE code = c)
    UNION SELECT 'battle', c FROM unnest(CAST(:battles AS text[])) AS c
        WHERE NOT EXISTS (SELECT FROM battles WHERE code = c)
""")
)
_SUCCESSOR = aliased(ApiKey)
_KEYS: Statement = (
    select(
        ApiKey.id.label("sort_key"),
        ApiKey.key_id,
        ApiKey.created_at,
        ApiKey.expires_at,
        ApiKey.revoked_at,
        ApiKey.networks,
        ApiKey.last_used_at,
        _SUCCESSOR.key_id.label("replaced_by"),
    )
    .join(Account, Account.id == ApiKey.account_id)
    .outerjoin(_SUCCESSOR, _SUCCESSOR.id == ApiKey.replaced_by)
)
_KEY_LISTING = Listing(
    statement=_KEYS,
    key=ApiKey.id,
    sorts={"created_at": ApiKey.id},
    conditions={"account": Account.code == bindparam("account")},
)
_ONE_KEY = Query(_KEYS.where(ApiKey.key_id == bindparam("key_id")))
_LOCK_KEY = Query(
    text("""
    SELECT k.id, k.account_id, k.expires_at, k.revoked_at, k.networks, k.replaced_by FROM api_keys k
    JOIN accounts a ON a.id = k.account_id
    WHERE a.code = CAST(:code AS text) AND k.key_id = CAST(:key_id AS text) FOR UPDATE OF k
""")
)
_KEEP_KEY = Query(
    text("""
    INSERT INTO api_keys (account_id, key_id, digest, created_at, expires_at, networks)
    VALUES (:account, :key_id, :digest, CAST(:now AS timestamptz), CAST(:expires_at AS timestamptz),
            CAST(:networks AS cidr[])) RETURNING id
""")
)
_RETIRE = Query(
    text("""
    UPDATE api_keys SET replaced_by = CAST(:by AS bigint),
        expires_at = greatest(created_at, least(expires_at, CAST(:until AS timestamptz)))
    WHERE id = :id
""")
)
_REVOKE = Query(text("UPDATE api_keys SET revoked_at = coalesce(revoked_at, CAST(:now AS timestamptz)) WHERE id = :id"))


def grants_of(wanted: Sequence[RoleWrite], *, at: str = "/body/grants") -> list[Grant]:
    """The grants that a body asks for, each once.

    Raises:
        InvalidRequestError: a role has not the bounds that it takes.
    """
    grants: dict[Grant, None] = {}
    faults: list[Fault] = []
    for index, one in enumerate(wanted):
        try:
            grants[Grant(one.role, one.plan, one.unit, one.battle)] = None
        except GrantError as error:
            faults.append(Fault(f"{at}/{index}", "invalid_grant", error.detail))
    if faults:
        raise InvalidRequestError("授权有误: " + ";".join(one.detail for one in faults[:3]), faults=faults)
    return list(grants)


async def list_accounts(reader: Reader, query: AccountQuery, known: Known) -> Rendered:
    """One page of accounts."""
    filters = equal_to(query, "role", "unit")
    if query.disabled is not None:
        filters["disabled" if query.disabled else "enabled"] = {}
    page = await _LISTING.page(reader.pool, page_request(query, sort=query.sort), filters)
    items = [_account(row) for row in page.rows]
    return render(AccountPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


async def get_account(db: Database, code: str, known: Known) -> Rendered:
    """One account.

    Raises:
        NotFoundError: none has this code.
    """
    return render(await _read(db, code), known)


async def create_account(
    db: Database, name: str, grants: Sequence[Grant], *, now: datetime, caller: Caller
) -> AccountRead:
    """Make an account; it has no key yet.

    Raises:
        InvalidRequestError: a grant names a plan, unit or battle that does not exist.
    """
    code = "".join(secrets.choice(_ALPHABET) for _ in range(10))
    identity = await db.fetch_value(_CREATE, code=code, name=name, now=now)
    await _keep_grants(db, identity, grants)
    made = await _read(db, code)
    await record(db, caller, [Act(AuditAction.ACCOUNT_CREATE, code, after=_kept(made))], now=now)
    return made


async def patch_account(
    db: Database, code: str, patch: AccountPatch, *, match: Known | None, now: datetime, caller: Caller
) -> Rendered:
    """Rename, disable or enable an account.

    Raises:
        NotFoundError: none has this code.
        PreconditionError: it has changed since the caller read it.
    """
    identity = await _locked(db, code, match)
    before = await _read(db, code)
    await db.fetch(_CHANGE, id=identity, name=patch.name, disabled=patch.disabled, now=now)
    return await _changed(db, AuditAction.ACCOUNT_CHANGE, before, now=now, caller=caller)


async def put_grants(
    db: Database, code: str, grants: Sequence[Grant], *, match: Known | None, now: datetime, caller: Caller
) -> Rendered:
    """Let an account hold these roles and no others.

    Raises:
        NotFoundError, PreconditionError: as for :func:`patch_account`.
        InvalidRequestError: a grant names a plan, unit or battle that does not exist.
    """
    identity = await _locked(db, code, match)
    before = await _read(db, code)
    await db.fetch(_DROP_GRANTS, id=identity)
    await _keep_grants(db, identity, grants)
    return await _changed(db, AuditAction.ACCOUNT_GRANT, before, now=now, caller=caller)


async def list_keys(db: Database, code: str, query: KeyQuery, known: Known, *, now: datetime) -> Rendered:
    """One page of the keys of an account, without their secrets.

    Raises:
        NotFoundError: no account has this code.
    """
    await _read(db, code)
    page = await _KEY_LISTING.page(db, page_request(query, sort=query.sort), {"account": {"account": code}})
    items = [KeyRead.model_validate(_key(row, now)) for row in page.rows]
    return render(KeyPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


async def create_key(
    db: Database, code: str, wanted: KeyCreate, environment: str, *, now: datetime, caller: Caller
) -> KeyIssued:
    """Issue a key to an account.

    Raises:
        NotFoundError: no account has this code.
        InvalidRequestError: it would have expired already, or a network is none.
    """
    account = await _locked(db, code, None)
    _refuse_past(wanted.expires_at, now)
    _, issued = await _issue(
        db, account, environment, now=now, expires_at=wanted.expires_at, networks=_networks(wanted.networks)
    )
    act = Act(AuditAction.KEY_ISSUE, issued.key_id, after={"account": code, **_kept(issued)})
    await record(db, caller, [act], now=now)
    return issued


async def rotate_key(
    db: Database, code: str, key_id: str, wanted: KeyRotate, environment: str, *, now: datetime, caller: Caller
) -> KeyIssued:
    """Issue a key in place of an older one, which works for the overlap and no longer than it would have.

    Raises:
        NotFoundError: the account has no such key.
        ConflictError: the key is revoked, has expired or has been replaced.
        InvalidRequestError: the new key would have expired already.
    """
    old = await _locked_key(db, code, key_id)
    before = await _read_key(db, key_id, now)
    if old["revoked_at"] is not None or old["replaced_by"] is not None:
        raise ConflictError(f"密钥 {key_id} 已{'吊销' if old['revoked_at'] else '轮换'},不能再轮换;可另行签发")
    if old["expires_at"] is not None and old["expires_at"] <= now:
        raise ConflictError(f"密钥 {key_id} 已过期,不能轮换;可另行签发")
    _refuse_past(wanted.expires_at, now)
    identity, issued = await _issue(
        db, old["account_id"], environment, now=now, expires_at=wanted.expires_at, networks=old["networks"]
    )
    until = now + timedelta(seconds=wanted.overlap_seconds)
    await db.fetch(_RETIRE, id=old["id"], by=identity, until=until)
    after = await _read_key(db, key_id, now)
    acts = [
        Act(AuditAction.KEY_ROTATE, key_id, before=_kept(before), after={"account": code, **_kept(after)}),
        Act(AuditAction.KEY_ISSUE, issued.key_id, after={"account": code, **_kept(issued)}),
    ]
    await record(db, caller, acts, now=now)
    return issued


async def revoke_key(db: Database, code: str, key_id: str, *, now: datetime, caller: Caller) -> KeyRead:
    """Make a key work no more; one that is revoked already keeps its first instant.

    Raises:
        NotFoundError: the account has no such key.
    """
    key = await _locked_key(db, code, key_id)
    before = await _read_key(db, key_id, now)
    await db.fetch(_REVOKE, id=key["id"], now=now)
    after = await _read_key(db, key_id, now)
    act = Act(AuditAction.KEY_REVOKE, key_id, before=_kept(before), after={"account": code, **_kept(after)})
    await record(db, caller, [act], now=now)
    return after


async def create_first_administrator(db: Database, environment: str, *, now: datetime) -> KeyIssued | None:
    """Where there is no account at all, make an administrator and issue its key; otherwise ``None``."""
    async with db.transaction() as alone:
        await alone.fetch(Query(text("SELECT pg_advisory_xact_lock(CAST(:lock AS bigint))")), lock=_FIRST)
        if await alone.fetch_value(Query(select(exists(select(Account.id))))):
            return None
        caller = by_command("serve")
        account = await create_account(alone, "管理员", [Grant(Role.ADMINISTRATOR)], now=now, caller=caller)
        return await create_key(alone, account.code, KeyCreate(), environment, now=now, caller=caller)


def get_me(caller: Caller, known: Known) -> Rendered:
    """Who the caller is, and what it may do."""
    actor = caller.actor
    own = {grant.unit for grant in actor.grants if grant.role in {Role.REPORTER, Role.CERTIFIER}}
    me = MeRead(
        id=actor.id,
        name=actor.name,
        roles=[_held(grant) for grant in actor.grants],
        capabilities=[capability for capability in Capability if caller.may(capability)],
        units=sorted(unit for unit in own if unit is not None),
    )
    return render(me, known)


async def _read(db: Database, code: str) -> AccountRead:
    row = await db.fetch_row(_BY_CODE, code=code)
    if row is None:
        raise NotFoundError(f"没有账号 {code}")
    return _account(row)


async def _read_key(db: Database, key_id: str, now: datetime) -> KeyRead:
    return KeyRead.model_validate(_key(await db.fetch_row(_ONE_KEY, key_id=key_id), now))


async def _changed(
    db: Database, action: AuditAction, before: AccountRead, *, now: datetime, caller: Caller
) -> Rendered:
    """The account as it is now, what it was before recorded."""
    after = await _read(db, before.code)
    await record(db, caller, [Act(action, after.code, before=_kept(before), after=_kept(after))], now=now)
    return render(after, Known.parse(None))


async def _locked(db: Database, code: str, match: Known | None) -> int:
    """The account, locked, and as the caller has seen it."""
    identity = await db.fetch_value(_LOCK, code=code)
    if identity is None:
        raise NotFoundError(f"没有账号 {code}")
    if match is not None and (await get_account(db, code, match)).body is not None:
        raise PreconditionError("该账号已被更改,请重新读取")
    return identity


async def _locked_key(db: Database, code: str, key_id: str) -> Any:
    key = await db.fetch_row(_LOCK_KEY, code=code, key_id=key_id)
    if key is None:
        raise NotFoundError(f"账号 {code} 没有密钥 {key_id}")
    return key


async def _keep_grants(db: Database, account: int, grants: Sequence[Grant]) -> None:
    bounds = {name: [getattr(grant, name) for grant in grants] for name in ("plan", "unit", "battle")}
    columns = {f"{name}s": values for name, values in bounds.items()}
    missing = {
        (row["bound"], row["code"])
        for row in await db.fetch(
            _UNKNOWN, **{name: [code for code in codes if code is not None] for name, codes in columns.items()}
        )
    }
    labels = {"plan": "总体方案", "unit": "单位", "battle": "仗"}
    faults = [
        Fault(f"/body/grants/{index}/{name}", f"unknown_{name}", f"没有{labels[name]} {code}")
        for index, grant in enumerate(grants)
        for name, code in ((name, getattr(grant, name)) for name in labels)
        if (name, code) in missing
    ]
    if faults:
        raise InvalidRequestError("授权有误: " + ";".join(one.detail for one in faults[:3]), faults=faults)
    await db.fetch(_KEEP_GRANTS, id=account, roles=[grant.role.value for grant in grants], **columns)


async def _issue(
    db: Database,
    account: int,
    environment: str,
    *,
    now: datetime,
    expires_at: datetime | None,
    networks: Sequence[Network] | None,
) -> tuple[int, KeyIssued]:
    key = issue_key(environment)
    identity: int = await db.fetch_value(
        _KEEP_KEY,
        account=account,
        key_id=key.key_id,
        digest=key.digest,
        now=now,
        expires_at=expires_at,
        networks=networks,
    )
    shown = _key(await db.fetch_row(_ONE_KEY, key_id=key.key_id), now)
    return identity, KeyIssued.model_validate({**shown, "key": key.text})


def _networks(texts: Sequence[str] | None) -> tuple[Network, ...] | None:
    """None stays none: every address; an empty list stays empty: no address."""
    if texts is None:
        return None
    try:
        return parse_networks(texts)
    except NetworkError as error:
        fault = Fault("/body/networks", "invalid_network", error.detail)
        raise InvalidRequestError(error.detail, faults=[fault]) from None


def _refuse_past(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is not None and expires_at <= now:
        detail = "失效时刻须在现在之后"
        raise InvalidRequestError(detail, faults=[Fault("/body/expires_at", "not_later", detail)])


def _kept(shown: AccountRead | KeyRead | KeyIssued) -> dict[str, Any]:
    """What the audit trail keeps of an account or a key: all that it is, but the secret and its use."""
    kept = shown.model_dump(mode="json", exclude={"code", "key", "key_id", "last_used_at", "allowed_actions"})
    if isinstance(shown, AccountRead):
        kept["grants"] = [held.text for held in shown.grants]
    return kept


def _held(grant: Grant) -> HeldRole:
    return HeldRole(role=grant.role, plan=grant.plan, unit=grant.unit, battle=grant.battle, text=format_grant(grant))


def _account(row: Any) -> AccountRead:
    return AccountRead(
        **{name: row[name] for name in ("code", "name", "created_at", "disabled_at")},
        grants=[
            _held(Grant(Role(held["role"]), held["plan"], held["unit"], held["battle"]))
            for held in decoded(row["grants"]) or ()
        ],
        allowed_actions=list(account_actions(disabled=row["disabled_at"] is not None)),
    )


def _key(row: Any, now: datetime) -> dict[str, Any]:
    networks = None if row["networks"] is None else [str(network) for network in row["networks"]]
    instants = {name: row[name] for name in ("expires_at", "revoked_at")}
    actions = key_actions(**instants, replaced=row["replaced_by"] is not None, now=now)
    names = set(KeyRead.model_fields) - {"networks", "allowed_actions"}
    return {**{name: row[name] for name in names}, "networks": networks, "allowed_actions": actions}
