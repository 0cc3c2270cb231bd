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

from app.domain.plan import Labelled, plan_of
from app.domain.roles import Actor, Grant, Role

__all__ = [
    "ROLE_CAPABILITIES",
    "RULES",
    "Capability",
    "Subject",
    "has_capability",
    "may_answer_assessment",
    "may_assess",
    "may_certify",
    "may_edit_bulletin",
    "may_file_material",
    "may_give_figure",
    "may_grant_extension",
    "may_grant_waiver",
    "may_handle_case",
    "may_judge_case",
    "may_manage_accounts",
    "may_manage_case",
    "may_manage_subscription",
    "may_manage_webhooks",
    "may_manage_work_item",
    "may_read_audit",
    "may_read_bulletin",
    "may_read_plan",
    "may_read_progress",
    "may_read_self",
    "may_record_ranking",
    "may_register_case",
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
    MANAGE_WORK_ITEMS = "manage_work_items", "管理清单"
    GIVE_FIGURES = "give_figures", "补登上级下达的目标值"
    REGISTER_CASES = "register_cases", "台账登记"
    MANAGE_CASES = "manage_cases", "交办、督办与销号"
    HANDLE_CASES = "handle_cases", "承办台账事项"
    EDIT_BULLETINS = "edit_bulletins", "编发简报通报"
    RECORD_RANKINGS = "record_rankings", "登记排名与巡查"
    ASSESS = "assess", "考核"
    ANSWER_ASSESSMENTS = "answer_assessments", "申辩与申诉"


_EVERYONE = frozenset({Capability.READ_PLAN, Capability.MANAGE_SUBSCRIPTIONS, Capability.READ_SELF})
_READS = _EVERYONE | {Capability.READ_PROGRESS, Capability.SUBSCRIBE}
_TOLD = _READS | {Capability.MANAGE_WEBHOOKS}
# What follows from the figures: done by the office of a task force for its battle, and by the government office.
_FOLLOWS = frozenset(
    {
        Capability.MANAGE_WORK_ITEMS,
        Capability.GIVE_FIGURES,
        Capability.REGISTER_CASES,
        Capability.MANAGE_CASES,
        Capability.EDIT_BULLETINS,
        Capability.RECORD_RANKINGS,
    }
)

ROLE_CAPABILITIES: Final[Mapping[Role, frozenset[Capability]]] = MappingProxyType(
    {
        Role.READER: _TOLD,
        Role.REPORTER: _TOLD
        | {Capability.READ_DRAFT, Capability.REPORT, Capability.FILE_MATERIAL, Capability.SET_SCHEDULE}
        | {Capability.MANAGE_WORK_ITEMS, Capability.REGISTER_CASES, Capability.HANDLE_CASES}
        | {Capability.ANSWER_ASSESSMENTS},
        Role.CERTIFIER: _TOLD | {Capability.CERTIFY},
        Role.COORDINATOR: _TOLD | _FOLLOWS,
        Role.SUPERVISOR: _TOLD | _FOLLOWS | {Capability.GRANT, Capability.ASSESS},
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
    """可以查阅的是:查阅角色所限定的总体方案和单位、报送角色的本单位、评估认定与督导角色的总体方案、专班协调角色的一仗、审计角色的总体方案。服务公开进度时,任何人都可以查阅进度、应报与印发的简报通报,清单、台账、排名、巡查和考核仍只给有授权的人看。草稿除外,另按“查看草稿”的规则。

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


def may_manage_work_item(actor: Actor, subject: Subject) -> bool:
    """清单事项由责任单位的报送角色、本仗的专班协调角色、总体方案的督导角色建立和修改。

    理由:清单由各部门细化分解(总体方案四(二)),专班和政府办要能补列、改正。
    """
    return _reports_for(actor, subject) or _coordinates(actor, subject)


def may_give_figure(actor: Actor, subject: Subject) -> bool:
    """上级下达的目标值由本仗的专班协调角色或总体方案的督导角色补登,须写明下达的文件。

    理由:数从省、市的文件来(附件6二),不由承办单位自己定。
    """
    return _coordinates(actor, subject)


def may_register_case(actor: Actor, subject: Subject) -> bool:
    """台账事项可由责任单位的报送角色、本仗的专班协调角色、总体方案的督导角色登记,督办单只能由后两者登记;交办之前可由登记的人和后两者修改。

    理由:隐患、企业问题和风险由发现的一方登记;督办是上级对下级的事。
    """
    return _reports_for(actor, subject) or _coordinates(actor, subject)


def may_manage_case(actor: Actor, subject: Subject) -> bool:
    """台账事项由本仗的专班协调角色或总体方案的督导角色交办、催办、升级和重新立项。

    理由:交办与督办是上级对下级的事。
    """
    return _coordinates(actor, subject)


def may_judge_case(actor: Actor, subject: Subject) -> bool:
    """核验、退回、销号和回头看由本仗的专班协调角色或总体方案的督导角色办理,但本人不得持有责任单位的报送角色。

    理由:办的一方不判自己办结,与认定同理。
    """
    own = {grant.unit for grant in actor.grants if grant.role is Role.REPORTER}
    return subject.unit not in own and _coordinates(actor, subject)


def may_handle_case(actor: Actor, subject: Subject) -> bool:
    """台账事项由责任单位的报送角色签收、办理、报告办结、补充佐证。

    理由:谁的事由谁办、由谁报。
    """
    return _reports_for(actor, subject)


def may_edit_bulletin(actor: Actor, subject: Subject) -> bool:
    """一仗的简报、通报、总结由其专班协调角色编发,督导角色可以编发各仗和总体方案的。

    理由:由各专班牵头负责人调度并报县政府(总体方案四(三))。
    """
    return _coordinates(actor, subject)


def may_read_bulletin(actor: Actor, subject: Subject, public: bool) -> bool:
    """印发的简报、通报、总结,能查阅该总体方案进度的角色都可以查阅;没有印发的,只有可以编发的和审计角色可以查阅。

    理由:通报发给各单位看;没有印发的还不是专班的意见。
    """
    if subject.draft:
        return _coordinates(actor, subject) or _reads_drafts_of_all(actor, subject)
    return public or any(
        Capability.READ_PROGRESS in ROLE_CAPABILITIES[grant.role] and _reaches_plan(grant, subject)
        for grant in actor.grants
    )


def may_record_ranking(actor: Actor, subject: Subject) -> bool:
    """排名和巡查由本仗的专班协调角色或总体方案的督导角色登记、更正。

    理由:排名由市里公布或县安委办评定(附件5二(一)2),专班据以登记。
    """
    return _coordinates(actor, subject)


def may_assess(actor: Actor, subject: Subject) -> bool:
    """考核办法、评分、错报瞒报的登记与认定、定案和复核,由总体方案的督导角色办理;复核须由定案之外的另一人作出。

    理由:考核纳入全县绩效考核体系(附件6三(五)),由政府办组织;专班与单位都不给自己打分。
    """
    return _supervises(actor, subject)


def may_answer_assessment(actor: Actor, subject: Subject) -> bool:
    """单位的报送角色可以对本单位的错报、瞒报登记申辩,对本单位的考核结果申诉。

    理由:扣分之前要听被扣分的一方怎么说。
    """
    return _reports_for(actor, subject)


def may_read_self(actor: Actor) -> bool:
    """已登录的人都可以查看自己是谁、有哪些授权,还没有任何角色的也可以。

    理由:没有权限的人要能看到自己缺什么权限。
    """
    return actor.identified


RULES: Final[Mapping[Capability, tuple[Callable[..., bool], ...]]] = MappingProxyType(
    {
        Capability.READ_PLAN: (may_read_plan,),
        Capability.READ_PROGRESS: (may_read_progress, may_read_bulletin),
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
        Capability.MANAGE_WORK_ITEMS: (may_manage_work_item,),
        Capability.GIVE_FIGURES: (may_give_figure,),
        Capability.REGISTER_CASES: (may_register_case,),
        Capability.MANAGE_CASES: (may_manage_case, may_judge_case),
        Capability.HANDLE_CASES: (may_handle_case,),
        Capability.EDIT_BULLETINS: (may_edit_bulletin,),
        Capability.RECORD_RANKINGS: (may_record_ranking,),
        Capability.ASSESS: (may_assess,),
        Capability.ANSWER_ASSESSMENTS: (may_answer_assessment,),
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


def _coordinates(actor: Actor, subject: Subject) -> bool:
    """Whether somebody acts for the task force of the battle, or for the government office."""
    return _supervises(actor, subject) or any(
        grant.role is Role.COORDINATOR and grant.battle == subject.battle for grant in actor.grants
    )


def _reaches_plan(grant: Grant, subject: Subject) -> bool:
    return _in_plan(grant, subject) and (grant.battle is None or plan_of(grant.battle) == subject.plan)


def _reads_drafts_of_all(actor: Actor, subject: Subject) -> bool:
    return any(grant.role is Role.AUDITOR and _in_plan(grant, subject) for grant in actor.grants)
