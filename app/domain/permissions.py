"""What somebody may do: one named rule for each kind of operation, denied unless a grant of theirs allows it.

Two questions, asked in this order:

1. :func:`has_capability`, before anything is loaded: does any role of the actor take part in this kind of operation at
   all? :data:`ROLE_CAPABILITIES` answers.
2. ``may_…``, on the facts of the row: does a grant's plan, unit, battle reach it?

Roles add up: what one grant allows, no other takes away, but for one thing: nobody certifies figures of a unit of
their own. Which rows a list may show is the same rules as data, in ``app.domain.visibility``.

The docstrings of the rules are Chinese, the rule first and its reason second: ``docs/permissions.md`` prints them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from app.domain.plan import Labelled
from app.domain.roles import Actor, Grant, Role

__all__ = [
    "ROLE_CAPABILITIES",
    "RULES",
    "Capability",
    "Subject",
    "has_capability",
    "may_certify",
    "may_file_material",
    "may_grant_extension",
    "may_grant_waiver",
    "may_manage_accounts",
    "may_manage_subscription",
    "may_manage_webhooks",
    "may_read_audit",
    "may_read_plan",
    "may_read_progress",
    "may_read_self",
    "may_report",
    "may_return",
    "may_see_draft",
    "may_set_schedule",
    "may_subscribe",
]


class Capability(Labelled):
    """A kind of operation; every operation of the API is of exactly one."""

    READ_PLAN = "read_plan", "查阅方案"
    READ_PROGRESS = "read_progress", "查阅进度"
    READ_DRAFT = "read_draft", "查看草稿"
    SUBSCRIBE = "subscribe", "订阅期限日历"
    MANAGE_SUBSCRIPTIONS = "manage_subscriptions", "查看与撤销日历订阅"
    REPORT = "report", "报送进度"
    FILE_MATERIAL = "file_material", "报送材料"
    SET_SCHEDULE = "set_schedule", "设定序时进度"
    CERTIFY = "certify", "认定与退回"
    GRANT = "grant", "批准延期与免报"
    READ_AUDIT = "read_audit", "查阅审计记录"
    MANAGE_ACCOUNTS = "manage_accounts", "管理账号"
    MANAGE_WEBHOOKS = "manage_webhooks", "管理 Webhook"
    READ_SELF = "read_self", "查看本人身份"


_EVERYONE = frozenset({Capability.READ_PLAN, Capability.MANAGE_SUBSCRIPTIONS, Capability.READ_SELF})
_READS = _EVERYONE | {Capability.READ_PROGRESS, Capability.SUBSCRIBE}
_TOLD = _READS | {Capability.MANAGE_WEBHOOKS}

ROLE_CAPABILITIES: Final[Mapping[Role, frozenset[Capability]]] = MappingProxyType(
    {
        Role.READER: _TOLD,
        Role.REPORTER: _TOLD
        | {Capability.READ_DRAFT, Capability.REPORT, Capability.FILE_MATERIAL, Capability.SET_SCHEDULE},
        Role.CERTIFIER: _TOLD | {Capability.CERTIFY},
        Role.COORDINATOR: _TOLD,
        Role.SUPERVISOR: _TOLD | {Capability.GRANT},
        Role.AUDITOR: _READS | {Capability.READ_DRAFT, Capability.READ_AUDIT},
        Role.ADMINISTRATOR: _EVERYONE | {Capability.MANAGE_ACCOUNTS},
    }
)

# What a deployment may open to everyone, the unidentified included. Nothing else can ever be.
_OPENABLE = frozenset({Capability.READ_PLAN, Capability.READ_PROGRESS})


@dataclass(frozen=True, slots=True)
class Subject:
    """The facts of a row, or of a whole, that a rule asks about; codes as in the API.

    ``None`` is not "any": it says that the row is of no one plan, battle or unit, and no grant bound to one reaches
    it. So a figure over all units of a plan is ``Subject(plan=…)``, which a reporter's grant does not reach.

    Raises:
        ValueError: a battle without its plan, or of another one: a mistake of the caller's.
    """

    plan: str | None = None
    battle: str | None = None
    unit: str | None = None
    draft: bool = False

    def __post_init__(self) -> None:
        if self.battle is not None and not (self.plan and self.battle.startswith(f"{self.plan}-")):
            raise ValueError(f"battle {self.battle} is not of plan {self.plan}")


def has_capability(actor: Actor, capability: Capability, *, public: bool = False) -> bool:
    """Whether the actor could do an operation of this kind to anything at all; if not, refuse it unread (403).

    ``public`` says that the deployment opens this kind to everyone; only reading a plan and its progress can be.
    Whoever is identified may ask who they are, with no grant yet.
    """
    if public and capability in _OPENABLE:
        return True
    if capability is Capability.READ_SELF:
        return actor.identified
    return any(capability in ROLE_CAPABILITIES[grant.role] for grant in actor.grants)


def may_read_plan(actor: Actor, public: bool) -> bool:
    """持有任一角色的人可以查阅全部总体方案、任务、单位、目标和规则;服务公开方案时,任何人都可以。

    理由:总体方案是印发的文件,任务与责任单位须各方共知;管理员授权时也要查到单位和仗的编码。
    """
    return has_capability(actor, Capability.READ_PLAN, public=public)


def may_read_progress(actor: Actor, subject: Subject, public: bool) -> bool:
    """可以查阅的是:查阅角色所限定的总体方案和单位、报送角色的本单位、评估认定与督导角色的总体方案、专班协调角色的一仗、审计角色的总体方案。服务公开进度时,任何人都可以查阅。草稿除外,另按“查看草稿”的规则。

    理由:报送角色看不到别的单位的进度,也看不到跨单位的汇总,以免互相比照着填数;需要汇总的人另有查阅、督导或专班协调角色。管理员管账号,不看数。
    """
    if subject.draft:
        return may_see_draft(actor, subject)
    return public or any(_reads(grant, subject) for grant in actor.grants)


def may_see_draft(actor: Actor, subject: Subject) -> bool:
    """草稿只有本单位的报送角色和审计角色可以查看;审计角色查看其他单位的草稿,每次都须留下审计记录。

    理由:没有报送的数不是单位的意见,上级和同级看到就等于已经报送;审计要能查清一个数是怎样改成的。
    """
    return any(_reads_drafts(grant, subject) for grant in actor.grants)


def may_subscribe(actor: Actor) -> bool:
    """能查阅进度的角色可以为自己订阅期限日历;订阅地址只给出期限,范围不超过本人当时的权限。

    理由:手机和 Outlook 不能带凭证,只能把令牌放在地址里;地址容易外泄,所以不含任何进度。
    """
    return has_capability(actor, Capability.READ_PROGRESS)


def may_manage_subscription(actor: Actor, owner: str) -> bool:
    """订阅只有本人和管理员可以查看、撤销。

    理由:地址外泄或人员离岗时,管理员要能停掉它;订阅里没有进度,看到也不涉及数。
    """
    return may_manage_accounts(actor) or (actor.id == owner and has_capability(actor, Capability.MANAGE_SUBSCRIPTIONS))


def may_report(actor: Actor, subject: Subject) -> bool:
    """报送角色只能填报、修改、报送、更正本单位的进度;限定了总体方案的,只能填报该方案的进度。

    理由:谁的任务由谁如实填报(附件6三(四)),专班、督导和管理员都不代填。
    """
    return _reports_for(actor, subject)


def may_file_material(actor: Actor, subject: Subject) -> bool:
    """报送角色只能报送本单位的工作信息和经验典型材料。

    理由:材料计入各单位的报送数,由本单位负责。
    """
    return _reports_for(actor, subject)


def may_set_schedule(actor: Actor, subject: Subject) -> bool:
    """报送角色只能设定本单位任务的序时进度。

    理由:序时进度是单位对自己工作的安排,亮灯以它为准,不能由别的单位改动。
    """
    return _reports_for(actor, subject)


def may_certify(actor: Actor, subject: Subject, certifying_unit: str | None) -> bool:
    """评估认定角色代表规则所定的评估认定单位,认定其总体方案中已报送的进度;凡本人持有其报送或评估认定角色的单位,其进度都不能由本人认定。

    理由:认定是同级部门的复核(附件6三(四)),自己不能认定自己;草稿还没有报送,无从认定。
    """
    return _certifies(actor, subject, certifying_unit)


def may_return(actor: Actor, subject: Subject, certifying_unit: str | None) -> bool:
    """能认定的人才能退回,条件相同;退回须写明理由,不能改数。

    理由:退回与认定是同一次复核的两种结论。
    """
    return _certifies(actor, subject, certifying_unit)


def may_grant_extension(actor: Actor, subject: Subject) -> bool:
    """督导角色可以批准其总体方案内的延期。

    理由:期限由政府办督办,报送单位、评估认定单位和专班都不能自行放宽。
    """
    return _supervises(actor, subject)


def may_grant_waiver(actor: Actor, subject: Subject) -> bool:
    """督导角色可以批准其总体方案内的免报和零报告。

    理由:免报减少应报数、影响按时率,须由督办的一方决定。
    """
    return _supervises(actor, subject)


def may_read_audit(actor: Actor) -> bool:
    """审计记录只有不限定总体方案的审计角色可以查阅。

    理由:审计记录跨总体方案,并含登录和授权;管理员是被审计的一方,不能查阅。
    """
    return any(grant.role is Role.AUDITOR and grant.plan is None for grant in actor.grants)


def may_manage_accounts(actor: Actor) -> bool:
    """账号、密钥和授权只能由管理员管理。

    理由:管账号的人不看数、不填数,填数的人不给自己授权。
    """
    return any(grant.role is Role.ADMINISTRATOR for grant in actor.grants)


def may_manage_webhooks(actor: Actor) -> bool:
    """持有查阅、报送、评估认定、专班协调或督导角色的账号可以管理自己的 Webhook,送达的只有该账号当时能查阅的。

    理由:事件推送与查阅是同一份内容,不能比查阅给得更多;送到哪里由管理员所列的目标限定。审计角色什么也不改动,要事件可以查阅事件流。
    """
    return has_capability(actor, Capability.MANAGE_WEBHOOKS)


def may_read_self(actor: Actor) -> bool:
    """已登录的人都可以查看自己是谁、有哪些授权,还没有任何角色的也可以。

    理由:没有权限的人要能看到自己缺什么权限。
    """
    return actor.identified


RULES: Final[Mapping[Capability, tuple[Callable[..., bool], ...]]] = MappingProxyType(
    {
        Capability.READ_PLAN: (may_read_plan,),
        Capability.READ_PROGRESS: (may_read_progress,),
        Capability.READ_DRAFT: (may_see_draft,),
        Capability.SUBSCRIBE: (may_subscribe,),
        Capability.MANAGE_SUBSCRIPTIONS: (may_manage_subscription,),
        Capability.REPORT: (may_report,),
        Capability.FILE_MATERIAL: (may_file_material,),
        Capability.SET_SCHEDULE: (may_set_schedule,),
        Capability.CERTIFY: (may_certify, may_return),
        Capability.GRANT: (may_grant_extension, may_grant_waiver),
        Capability.READ_AUDIT: (may_read_audit,),
        Capability.MANAGE_ACCOUNTS: (may_manage_accounts,),
        Capability.MANAGE_WEBHOOKS: (may_manage_webhooks,),
        Capability.READ_SELF: (may_read_self,),
    }
)


def _in_plan(grant: Grant, subject: Subject) -> bool:
    return grant.plan is None or grant.plan == subject.plan


def _reads(grant: Grant, subject: Subject) -> bool:
    """Whether a grant reaches a row that is no draft. A certifier's unit says who acts, not whose rows are read."""
    match grant.role:
        case Role.READER:
            return _in_plan(grant, subject) and (grant.unit is None or grant.unit == subject.unit)
        case Role.REPORTER:
            return _in_plan(grant, subject) and grant.unit == subject.unit
        case Role.COORDINATOR:
            return grant.battle == subject.battle
        case Role.CERTIFIER | Role.SUPERVISOR | Role.AUDITOR:
            return _in_plan(grant, subject)
        case Role.ADMINISTRATOR:
            return False


def _reads_drafts(grant: Grant, subject: Subject) -> bool:
    return grant.role in {Role.REPORTER, Role.AUDITOR} and _reads(grant, subject)


def _reports_for(actor: Actor, subject: Subject) -> bool:
    return any(grant.role is Role.REPORTER and _reads(grant, subject) for grant in actor.grants)


def _certifies(actor: Actor, subject: Subject, certifying_unit: str | None) -> bool:
    own = {grant.unit for grant in actor.grants if grant.role in {Role.REPORTER, Role.CERTIFIER}}
    if subject.draft or certifying_unit is None or subject.unit is None or subject.unit in own:
        return False
    return any(
        grant.role is Role.CERTIFIER and grant.unit == certifying_unit and _in_plan(grant, subject)
        for grant in actor.grants
    )


def _supervises(actor: Actor, subject: Subject) -> bool:
    return any(grant.role is Role.SUPERVISOR and _in_plan(grant, subject) for grant in actor.grants)
