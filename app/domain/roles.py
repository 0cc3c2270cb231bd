"""Who somebody is to the service: roles, each bound to what it is for, and the actor who holds them.

A :class:`Grant` is one role within its bounds: a plan, a unit, a battle. A bound that is ``None`` is no bound. Grants
have one textual form, in which an account administrator types them and an identity provider's claim carries them::

    role[:unit or battle][@plan]    reporter:431228-jyj    certifier:431228-tjj@431228-2023    coordinator:431228-2023-6

(Not to be confused with extensions and waivers, which ``app.services.grants`` hands out.)
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, cast

from app.domain.plan import Labelled

__all__ = [
    "ANONYMOUS",
    "ROLE_BOUNDS",
    "Actor",
    "Bounds",
    "ClaimedGrants",
    "Grant",
    "GrantError",
    "Need",
    "Role",
    "format_grant",
    "grants_of_claims",
    "parse_grant",
]

PLAN = re.compile(r"[0-9]{6}-[0-9]{4}")
BATTLE = re.compile(r"[0-9]{6}-[0-9]{4}-[0-9]{1,2}")
UNIT = re.compile(r"[0-9]{6}-[a-z][a-z0-9]{1,39}")

# Far above what a person holds; a claim that is longer is cut, and that is reported.
MOST_CLAIMED = 200


class Role(Labelled):
    """What somebody may be to the service."""

    READER = "reader", "查阅"
    REPORTER = "reporter", "报送"
    CERTIFIER = "certifier", "评估认定"
    COORDINATOR = "coordinator", "专班协调"
    SUPERVISOR = "supervisor", "督导"
    AUDITOR = "auditor", "审计"
    ADMINISTRATOR = "administrator", "管理员"


class Need(Labelled):
    """Whether a role is given with a bound of a kind."""

    REQUIRED = "required", "必填"
    OPTIONAL = "optional", "可选"
    NONE = "none", "不填"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Which bounds a role takes, and in one Chinese sentence what it is given with and for."""

    plan: Need
    unit: Need
    battle: Need
    sentence: str


ROLE_BOUNDS: Final[Mapping[Role, Bounds]] = MappingProxyType(
    {
        Role.READER: Bounds(Need.OPTIONAL, Need.OPTIONAL, Need.NONE, "查阅角色可限定到一个总体方案、一个单位"),
        Role.REPORTER: Bounds(Need.OPTIONAL, Need.REQUIRED, Need.NONE, "报送角色必须指明所代表的单位"),
        Role.CERTIFIER: Bounds(
            Need.OPTIONAL, Need.REQUIRED, Need.NONE, "评估认定角色必须指明其所在的评估认定单位,如统计局"
        ),
        Role.COORDINATOR: Bounds(Need.OPTIONAL, Need.NONE, Need.REQUIRED, "专班协调角色必须指明所协调的一仗"),
        Role.SUPERVISOR: Bounds(
            Need.OPTIONAL, Need.NONE, Need.NONE, "督导角色(政府办)可限定到一个总体方案,不限定单位和仗"
        ),
        Role.AUDITOR: Bounds(Need.OPTIONAL, Need.NONE, Need.NONE, "审计角色可限定到一个总体方案,不限定单位和仗"),
        Role.ADMINISTRATOR: Bounds(Need.NONE, Need.NONE, Need.NONE, "管理员角色不带总体方案、单位和仗"),
    }
)


class GrantError(ValueError):
    """A grant that cannot be: ``detail`` (Chinese) says what the role needs."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Grant:
    """One role within its bounds; codes as in the API, ``None`` for no bound: every plan, every unit, every battle.

    A battle's code names its plan, so a coordinator needs no ``plan``; one that is given must be that of the battle.

    Raises:
        GrantError: the bounds are not those that the role takes, or a code is not written as one.
    """

    role: Role
    plan: str | None = None
    unit: str | None = None
    battle: str | None = None

    def __post_init__(self) -> None:
        bounds = ROLE_BOUNDS[self.role]
        for value, need, name, pattern, example in (
            (self.plan, bounds.plan, "总体方案", PLAN, "431228-2023"),
            (self.unit, bounds.unit, "单位", UNIT, "431228-jyj"),
            (self.battle, bounds.battle, "仗", BATTLE, "431228-2023-6"),
        ):
            if value is None:
                if need is Need.REQUIRED:
                    raise GrantError(f"{bounds.sentence};现缺少{name}编码,如 {example}")
            elif need is Need.NONE:
                raise GrantError(f"{bounds.sentence};请去掉{name}编码“{value[:60]}”")
            elif pattern.fullmatch(value) is None:
                raise GrantError(f"{name}编码“{value[:60]}”写法不对,应如 {example}")
        if self.plan is not None and self.battle is not None and not self.battle.startswith(f"{self.plan}-"):
            raise GrantError(f"仗“{self.battle}”不属于总体方案“{self.plan}”")


_ACCOUNT: Final = "account"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: a stable id (``account:…``, ``oidc:…``) for the records, a name for readers, and the grants held."""

    id: str
    name: str
    grants: tuple[Grant, ...] = ()

    def __post_init__(self) -> None:
        if not self.identified and self.grants:
            raise GrantError("未登录的访问者不能持有角色")

    @classmethod
    def of_account(cls, code: str, name: str, grants: tuple[Grant, ...]) -> "Actor":
        """A service account."""
        return cls(f"{_ACCOUNT}:{code}", name, grants)

    @property
    def account(self) -> str | None:
        """The code of the service account that this is; ``None`` for anybody else."""
        kind, _, code = self.id.partition(":")
        return code if kind == _ACCOUNT else None

    @property
    def identified(self) -> bool:
        """Whether the service knows who this is; nobody can be identified as the anonymous one."""
        return self.id != "anonymous"

    @property
    def roles(self) -> frozenset[Role]:
        """The roles held, whatever their bounds."""
        return frozenset(grant.role for grant in self.grants)


ANONYMOUS: Final = Actor("anonymous", "未登录的访问者")


def parse_grant(text: str) -> Grant:
    """Read the textual form, as :func:`format_grant` writes it; nothing is trimmed or guessed.

    Raises:
        GrantError: the role is unknown, or the bounds are not those that it takes.
    """
    head, at, plan = text.partition("@")
    name, colon, bound = head.partition(":")
    try:
        role = Role(name)
    except ValueError:
        known = "、".join(f"{role}({role.label})" for role in Role)
        raise GrantError(f"没有角色“{name[:40]}”;可用的角色:{known}") from None
    if (at and not plan) or (colon and not bound):
        raise GrantError(f"“{text[:100]}”在“:”或“@”之后缺少编码,应如 reporter:431228-jyj@431228-2023")
    given = bound or None
    if ROLE_BOUNDS[role].battle is Need.REQUIRED:
        return Grant(role, plan=plan or None, battle=given)
    return Grant(role, plan=plan or None, unit=given)


def format_grant(grant: Grant) -> str:
    """Write a grant as text that :func:`parse_grant` reads back."""
    bound = grant.unit or grant.battle
    return f"{grant.role}{f':{bound}' if bound else ''}{f'@{grant.plan}' if grant.plan else ''}"


@dataclass(frozen=True, slots=True)
class ClaimedGrants:
    """What a claim grants, each once and in its order, and the entries that no grant was made of, for the log."""

    grants: tuple[Grant, ...]
    unknown: tuple[str, ...] = ()


def grants_of_claims(claims: Mapping[str, Any], claim_name: str) -> ClaimedGrants:
    """Map the claim ``claim_name`` of a verified token, a list of grants as text, to grants.

    The claim is one top-level member, whatever dots or slashes its name has. Other applications share the list, so an
    entry that is no grant of ours is passed over and reported, never an error and never a guess. A missing claim
    grants nothing; one that is no list of texts grants nothing and is reported.
    """
    claimed: Any = claims.get(claim_name)
    if claimed is None:
        return ClaimedGrants(())
    if not isinstance(claimed, list):
        return ClaimedGrants((), (_shown(claimed),))
    entries = cast("list[Any]", claimed)
    grants: dict[Grant, None] = {}
    unknown: list[str] = []
    for entry in entries[:MOST_CLAIMED]:
        try:
            grants[parse_grant(entry if isinstance(entry, str) else "")] = None
        except GrantError:
            unknown.append(_shown(entry))
    if len(entries) > MOST_CLAIMED:
        unknown.append(f"… +{len(entries) - MOST_CLAIMED}")
    return ClaimedGrants(tuple(grants), tuple(unknown))


def _shown(entry: Any) -> str:
    """An entry of somebody else's as it may stand in a log: one line, of bounded length."""
    return (entry if isinstance(entry, str) and entry.isprintable() else ascii(entry))[:100]
