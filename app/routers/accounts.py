"""账号与本人身份."""

from typing import Annotated

from fastapi import APIRouter, Response

from app.deps import Reading, Writing, query_parameters, reading, writing
from app.domain.permissions import Capability
from app.errors import ConflictError, InvalidCursorError, NotFoundError, PreconditionError
from app.routers.answers import answer, done, once, read_answers, step_answers, write_answers
from app.routers.bodies import JsonRoute
from app.routers.matching import MatchDep
from app.schemas.account import (
    AccountCode,
    AccountCreate,
    AccountPage,
    AccountPatch,
    AccountQuery,
    AccountRead,
    GrantsWrite,
    KeyCreate,
    KeyId,
    KeyIssued,
    KeyPage,
    KeyQuery,
    KeyRead,
    KeyRotate,
    MeRead,
)
from app.schemas.base import NoQuery
from app.services import accounts

router = APIRouter(route_class=JsonRoute, tags=["accounts"])

Managing = Annotated[Writing[NoQuery], writing(NoQuery, Capability.MANAGE_ACCOUNTS)]


@router.get("/me", summary="本人身份", response_model=MeRead, responses=read_answers())
async def get_me(taken: Annotated[Reading[NoQuery], reading(NoQuery, Capability.READ_SELF)]) -> Response:
    """凭证属于谁,持有哪些授权,因此能做哪些操作。"""
    return answer(accounts.get_me(taken.caller, taken.known))


@router.get(
    "/accounts",
    summary="账号列表",
    response_model=AccountPage,
    responses=read_answers(InvalidCursorError),
    openapi_extra=query_parameters(AccountQuery),
)
async def list_accounts(
    taken: Annotated[Reading[AccountQuery], reading(AccountQuery, Capability.MANAGE_ACCOUNTS)],
) -> Response:
    """脚本与其他系统的账号,附授权。"""
    return answer(await accounts.list_accounts(taken.reader, taken.query, taken.known))


@router.post(
    "/accounts",
    summary="创建账号",
    status_code=201,
    response_model=AccountRead,
    responses=write_answers(),
)
async def create_account(account: AccountCreate, taken: Managing) -> Response:
    """新账号还没有密钥;密钥另行签发。"""
    grants = accounts.grants_of(account.grants)
    shown = await accounts.create_account(taken.db, account.name, grants, now=taken.now, caller=taken.caller)
    return done(shown, status=201, location=f"/api/v1/accounts/{shown.code}")


@router.get("/accounts/{code}", summary="一个账号", response_model=AccountRead, responses=read_answers(NotFoundError))
async def get_account(
    code: AccountCode, taken: Annotated[Reading[NoQuery], reading(NoQuery, Capability.MANAGE_ACCOUNTS)]
) -> Response:
    """名称、授权与是否停用。"""
    return answer(await accounts.get_account(taken.reader.pool, code, taken.known))


@router.patch(
    "/accounts/{code}",
    summary="改名、停用或恢复账号",
    response_model=AccountRead,
    responses=step_answers(NotFoundError, PreconditionError),
)
async def patch_account(code: AccountCode, patch: AccountPatch, match: MatchDep, taken: Managing) -> Response:
    """停用后其密钥几秒之内在各服务进程都不能用。账号不能删除:记录里有它。"""
    return answer(await accounts.patch_account(taken.db, code, patch, match=match, now=taken.now, caller=taken.caller))


@router.put(
    "/accounts/{code}/grants",
    summary="设定账号的授权",
    response_model=AccountRead,
    responses=step_answers(NotFoundError, PreconditionError),
)
async def put_grants(code: AccountCode, wanted: GrantsWrite, match: MatchDep, taken: Managing) -> Response:
    """以这些授权取代原有的全部授权,几秒之内在各服务进程生效。"""
    grants = accounts.grants_of(wanted.grants)
    return answer(await accounts.put_grants(taken.db, code, grants, match=match, now=taken.now, caller=taken.caller))


@router.get(
    "/accounts/{code}/keys",
    summary="账号的密钥",
    response_model=KeyPage,
    responses=read_answers(NotFoundError, InvalidCursorError),
    openapi_extra=query_parameters(KeyQuery),
)
async def list_keys(
    code: AccountCode, taken: Annotated[Reading[KeyQuery], reading(KeyQuery, Capability.MANAGE_ACCOUNTS)]
) -> Response:
    """密钥的编号、期限、网段与最近使用时刻;密钥本身不可再得。"""
    return answer(await accounts.list_keys(taken.reader.pool, code, taken.query, taken.known, now=taken.now))


@router.post(
    "/accounts/{code}/keys",
    summary="签发密钥",
    status_code=201,
    response_model=KeyIssued,
    responses=write_answers(NotFoundError),
)
async def create_key(code: AccountCode, wanted: KeyCreate, taken: Managing) -> Response:
    """密钥全文只在这一次的答复中给出。"""
    issued = await accounts.create_key(taken.db, code, wanted, taken.environment, now=taken.now, caller=taken.caller)
    return once(issued, status=201)


@router.post(
    "/accounts/{code}/keys/{key_id}/rotate",
    summary="轮换密钥",
    status_code=201,
    response_model=KeyIssued,
    responses=write_answers(NotFoundError, ConflictError),
)
async def rotate_key(code: AccountCode, key_id: KeyId, wanted: KeyRotate, taken: Managing) -> Response:
    """签发新密钥,网段不变;旧密钥在 overlap_seconds 之内仍可用,以便各处换用。"""
    issued = await accounts.rotate_key(
        taken.db, code, key_id, wanted, taken.environment, now=taken.now, caller=taken.caller
    )
    return once(issued, status=201)


@router.delete(
    "/accounts/{code}/keys/{key_id}",
    summary="吊销密钥",
    response_model=KeyRead,
    responses=step_answers(NotFoundError),
)
async def revoke_key(code: AccountCode, key_id: KeyId, taken: Managing) -> Response:
    """几秒之内在各服务进程都不能用;重复吊销不改变首次的时刻。"""
    return done(await accounts.revoke_key(taken.db, code, key_id, now=taken.now, caller=taken.caller))
