"""Accounts, the roles they hold, their keys, and what a caller may know of itself."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticKnownError

from app.domain.actions import AccountAction, KeyAction
from app.domain.permissions import Capability
from app.domain.roles import Role
from app.schemas.base import OFFERED, AskedInstant, BattleCode, Instant, ListQuery, PageRead, PlanCode, Read, UnitCode

__all__ = [
    "AccountCode",
    "AccountCreate",
    "AccountPage",
    "AccountPatch",
    "AccountQuery",
    "AccountRead",
    "GrantsWrite",
    "HeldRole",
    "KeyCreate",
    "KeyId",
    "KeyIssued",
    "KeyPage",
    "KeyQuery",
    "KeyRead",
    "KeyRotate",
    "MeRead",
    "RoleWrite",
]

AccountCode = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]{10}$"),
    Field(description="账号编码,由服务给出", examples=["k3v9x0a7pd"]),
]
KeyId = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9A-Za-z]{12}$"),
    Field(description="密钥编号:密钥中公开的一段", examples=["8Zk3mQ0aTfYx"]),
]
AccountName = Annotated[
    str,
    Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f]*[^\s\x00-\x1f][^\x00-\x1f]*$", description="账号名称"),
]
NetworkText = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[0-9A-Fa-f.:/]+$")]
Networks = Annotated[
    list[NetworkText] | None,
    Field(
        max_length=50,
        description="只能从这些网段使用,如 10.20.0.0/16;省略或 null 为不限,空列表为都不能用",
        examples=[["10.20.0.0/16"]],
    ),
]


def _number(value: object) -> object:
    """Take nothing but a JSON number: Pydantic alone would read a text or a truth value as one."""
    if isinstance(value, str | bool):
        raise PydanticKnownError("int_type")
    return value


Seconds = Annotated[int, BeforeValidator(_number)]
_STRICT = ConfigDict(extra="forbid", frozen=True)


class RoleWrite(BaseModel):
    """A role to be held."""

    model_config = _STRICT

    role: Role
    plan: PlanCode | None = Field(default=None, description="限定的总体方案;省略为全部")
    unit: UnitCode | None = Field(default=None, description="所代表或限定的单位")
    battle: BattleCode | None = Field(default=None, description="所协调的仗")


class HeldRole(Read):
    """A role that is held."""

    role: Role
    plan: PlanCode | None = Field(description="限定的总体方案;null 为全部")
    unit: UnitCode | None = Field(description="所代表或限定的单位;null 为不限")
    battle: BattleCode | None = Field(description="所协调的仗")
    text: str = Field(description="同一授权的文字写法", examples=["reporter:431228-jyj@431228-2023"])


class GrantsWrite(BaseModel):
    """All roles that an account is to hold."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"example": {"grants": [{"role": "reporter", "unit": "431228-jyj"}]}},
    )

    grants: list[RoleWrite] = Field(max_length=500, description="全部授权;此前的一律取代")


class AccountCreate(BaseModel):
    """A new account, without a key yet."""

    model_config = _STRICT

    name: AccountName = Field(examples=["县教育局进度上报脚本"])
    grants: list[RoleWrite] = Field(default_factory=list[RoleWrite], max_length=500, description="授权")


class AccountPatch(BaseModel):
    """What is to change of an account; what is left out stays."""

    model_config = _STRICT

    name: AccountName | None = Field(default=None, description="新的名称;省略则不变")
    disabled: bool | None = Field(
        default=None, strict=True, description="true 停用(密钥随即不能用),false 恢复;省略则不变"
    )


class AccountRead(Read):
    """An account with the roles it holds."""

    code: AccountCode
    name: str = Field(description="账号名称")
    created_at: Instant = Field(description="创建时刻")
    disabled_at: Instant | None = Field(description="停用时刻;在用为 null")
    grants: list[HeldRole] = Field(description="授权")
    allowed_actions: list[AccountAction] = Field(description=OFFERED)


class AccountPage(PageRead[AccountRead]):
    """一页账号."""


class AccountQuery(ListQuery):
    """Filters of the account list."""

    role: Role | None = Field(default=None, description="只要持有该角色的")
    unit: UnitCode | None = Field(default=None, description="只要有授权限定到该单位的")
    disabled: bool | None = Field(default=None, description="true 只要已停用的,false 只要在用的")
    sort: Literal["code", "-code", "name", "-name"] = Field(default="code", description="排序;前加 - 为倒序")


class KeyCreate(BaseModel):
    """A new key."""

    model_config = _STRICT

    expires_at: AskedInstant | None = Field(default=None, description="何时失效(RFC 3339,须带时区);省略为不失效")
    networks: Networks = None


class KeyRotate(BaseModel):
    """A key in place of an older one."""

    model_config = _STRICT

    overlap_seconds: Seconds = Field(default=3600, ge=0, le=30 * 86_400, description="旧密钥还可用多少秒;0 为即刻失效")
    expires_at: AskedInstant | None = Field(default=None, description="新密钥何时失效;省略为不失效")


class KeyRead(Read):
    """A key, without its secret."""

    key_id: KeyId
    created_at: Instant = Field(description="签发时刻")
    expires_at: Instant | None = Field(description="失效时刻;null 为不失效")
    revoked_at: Instant | None = Field(description="吊销时刻;未吊销为 null")
    networks: list[str] | None = Field(description="只能从这些网段使用;null 为不限,空列表为都不能用")
    last_used_at: Instant | None = Field(description="最近使用的时刻,精确到分钟;未用过为 null")
    replaced_by: KeyId | None = Field(description="轮换后的新密钥的编号;未轮换为 null")
    allowed_actions: list[KeyAction] = Field(description=OFFERED)


class KeyIssued(KeyRead):
    """A key that was just issued, with its secret, which is never shown again."""

    key: str = Field(description="密钥全文:只在此时给出一次,服务只存它的摘要,请妥善保存")


class KeyPage(PageRead[KeyRead]):
    """一页密钥."""


class KeyQuery(ListQuery):
    """Which keys of an account."""

    sort: Literal["created_at", "-created_at"] = Field(
        default="created_at", description="排序:按签发先后;前加 - 为倒序"
    )


class MeRead(Read):
    """Who the caller is to the service."""

    id: str = Field(description="身份编号:account:… 为账号,oidc:… 为身份提供方的用户", examples=["account:k3v9x0a7pd"])
    name: str = Field(description="名称")
    roles: list[HeldRole] = Field(description="持有的授权")
    capabilities: list[Capability] = Field(description="能做的各类操作;具体到哪些单位与方案,看授权的限定")
    units: list[UnitCode] = Field(description="所代表的单位:持有其报送或评估认定角色的")
