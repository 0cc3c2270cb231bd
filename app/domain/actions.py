"""What somebody may do to a row now: the steps that its state leaves open and the rules allow them.

Answers give it as ``allowed_actions``, so that a frontend can offer what will be done and nothing else. Each kind of
row has its set of steps, in the order in which they are taken, and a function that says which are open to whom. With a
row that is shown as it was at another instant nothing can be done.

A step that would be taken and change nothing, or that nobody needs any more, is not offered: disabling what is
disabled, reporting what is waived.
"""

from collections.abc import Iterable
from datetime import date, datetime

from app.domain.bulletins import BulletinAction, BulletinState, allowed_bulletin_steps
from app.domain.cases import KINDS, CaseAction, CaseKind, CaseState
from app.domain.cases import allowed as allowed_of_case
from app.domain.deadlines import Facts
from app.domain.events import WebhookState
from app.domain.hearing import APPEAL_STEPS, AppealAction, AppealState, FaultAction, FaultState, fault_steps
from app.domain.periods import Period
from app.domain.permissions import (
    Subject,
    may_answer_assessment,
    may_assess,
    may_certify,
    may_edit_bulletin,
    may_file_material,
    may_give_figure,
    may_grant_extension,
    may_grant_waiver,
    may_handle_case,
    may_judge_case,
    may_manage_case,
    may_manage_work_item,
    may_record_ranking,
    may_register_case,
    may_report,
    may_return,
    may_set_schedule,
)
from app.domain.plan import Labelled, RuleKind
from app.domain.roles import Actor
from app.domain.workflow import SubmissionAction, SubmissionState, allowed

__all__ = [
    "AccountAction",
    "AssessmentAction",
    "CalendarSubscriptionAction",
    "CandidateAction",
    "DeliveryAction",
    "FigureAction",
    "FormAction",
    "InspectionAction",
    "KeyAction",
    "ObligationAction",
    "RankingAction",
    "ScheduleAction",
    "WebhookAction",
    "WorkItemAction",
    "account_actions",
    "appeal_actions",
    "assessment_actions",
    "bulletin_actions",
    "calendar_subscription_actions",
    "candidate_actions",
    "case_actions",
    "delivery_actions",
    "fault_actions",
    "figure_actions",
    "form_item_actions",
    "inspection_actions",
    "key_actions",
    "may_register_kind",
    "may_take_case_step",
    "obligation_actions",
    "obligation_rights",
    "ranking_actions",
    "schedule_actions",
    "submission_actions",
    "webhook_actions",
    "work_item_actions",
]


class ObligationAction(Labelled):
    """What can be done about a report that is owed."""

    REPORT = "report", "报送"
    EXTEND = "extend", "批准延期"
    WAIVE = "waive", "批准免报或零报告"


class FormAction(Labelled):
    """What can be done with the form of a unit, and with each of its tasks."""

    REPORT = "report", "报送"


class ScheduleAction(Labelled):
    """What can be done with the schedule of a unit for a task."""

    SET = "set", "设定"


class AccountAction(Labelled):
    """What can be done with an account."""

    RENAME = "rename", "改名"
    SET_GRANTS = "set_grants", "设定授权"
    ISSUE_KEY = "issue_key", "签发密钥"
    DISABLE = "disable", "停用"
    ENABLE = "enable", "恢复"


class KeyAction(Labelled):
    """What can be done with an API key."""

    ROTATE = "rotate", "轮换"
    REVOKE = "revoke", "吊销"


class CalendarSubscriptionAction(Labelled):
    """What can be done with a calendar subscription."""

    REVOKE = "revoke", "撤销"


class WebhookAction(Labelled):
    """What can be done with a webhook."""

    CHANGE = "change", "修改"
    TEST = "test", "试送"
    ROTATE_SECRET = "rotate_secret", "轮换签名密钥"
    PAUSE = "pause", "暂停"
    RESUME = "resume", "恢复,启用中的即刻再试"
    DELETE = "delete", "删除"


class DeliveryAction(Labelled):
    """What can be done with a delivery."""

    REDELIVER = "redeliver", "重送"


class CandidateAction(Labelled):
    """What can be done about a task that lags."""

    REGISTER = "register", "登记督办单"


class AssessmentAction(Labelled):
    """What can be done about a result that was settled."""

    APPEAL = "appeal", "申诉"


class FigureAction(Labelled):
    """What can be done with the figures of a task that waits for them."""

    GIVE = "give", "补登"


class RankingAction(Labelled):
    """What can be done with a ranking."""

    CORRECT = "correct", "更正"


class InspectionAction(Labelled):
    """What can be done with an inspection."""

    CHANGE = "change", "补登得分、通报与曝光"


class WorkItemAction(Labelled):
    """What can be done with an item of a list."""

    CHANGE = "change", "修改"


def submission_actions(
    actor: Actor, state: SubmissionState, subject: Subject, certifying_units: Iterable[str]
) -> tuple[SubmissionAction, ...]:
    """The steps of a submission; ``certifying_units`` are the codes of those that the report's rule names."""
    certifiers = tuple(certifying_units)

    def may_take(action: SubmissionAction) -> bool:
        match action:
            case SubmissionAction.EDIT | SubmissionAction.SUBMIT | SubmissionAction.CORRECT:
                return may_report(actor, subject)
            case SubmissionAction.CERTIFY:
                return any(may_certify(actor, subject, unit) for unit in certifiers)
            case SubmissionAction.RETURN:
                return any(may_return(actor, subject, unit) for unit in certifiers)

    return tuple(action for action in allowed(state) if may_take(action))


def obligation_rights(actor: Actor, subject: Subject, kind: RuleKind) -> tuple[ObligationAction, ...]:
    """What the rules allow somebody to do about the reports that a unit owes in a plan, whatever became of them.

    For :func:`obligation_actions`, and apart from it because a list asks this once a unit and not once a row. Of rules
    of other kinds than these two nothing can be handed in here.
    """
    may_hand_in = {RuleKind.REPORTING: may_report, RuleKind.MATERIAL: may_file_material}.get(kind)
    rights = {
        ObligationAction.REPORT: may_hand_in is not None and may_hand_in(actor, subject),
        ObligationAction.EXTEND: may_grant_extension(actor, subject),
        ObligationAction.WAIVE: may_grant_waiver(actor, subject),
    }
    return tuple(action for action, may in rights.items() if may)


def obligation_actions(
    rights: tuple[ObligationAction, ...], owed: Facts, period: Period, *, now: datetime, today: date
) -> tuple[ObligationAction, ...]:
    """What can be done about a report that is owed; about one that is filed or waived, nothing.

    ``rights`` are those of :func:`obligation_rights`; ``today`` is the day where the plan is carried out.
    """
    if not rights or owed.filed_at is not None or owed.waived:
        return ()
    if rights[0] is ObligationAction.REPORT and not _can_be_handed_in(owed, period, now, today):
        return rights[1:]
    return rights


def form_item_actions(
    actor: Actor, subject: Subject, owed: Facts, period: Period, *, now: datetime, today: date
) -> tuple[FormAction, ...]:
    """What can be done with one task of a form; with the whole, what can be done with any of them."""
    may = _can_be_handed_in(owed, period, now, today) and may_report(actor, subject)
    return (FormAction.REPORT,) if may else ()


def schedule_actions(actor: Actor, subject: Subject) -> tuple[ScheduleAction, ...]:
    """What can be done with the schedule of a unit that reports on the task."""
    return (ScheduleAction.SET,) if may_set_schedule(actor, subject) else ()


def may_register_kind(actor: Actor, subject: Subject, kind: CaseKind) -> bool:
    """Whether somebody may register a case of this kind."""
    may = may_manage_case if KINDS[kind].managers_only else may_register_case
    return may(actor, subject)


def may_take_case_step(actor: Actor, subject: Subject, kind: CaseKind, action: CaseAction, registered_by: str) -> bool:
    """Whether the rules allow somebody a step of a case, whatever its state.

    A unit mends what it has registered itself, and not what was found about it.
    """
    match action:
        case CaseAction.REGISTER:
            return may_register_kind(actor, subject, kind)
        case CaseAction.EDIT:
            own = registered_by == actor.id and may_register_kind(actor, subject, kind)
            return own or may_manage_case(actor, subject)
        case CaseAction.ASSIGN | CaseAction.REMIND | CaseAction.ESCALATE | CaseAction.REOPEN:
            return may_manage_case(actor, subject)
        case CaseAction.VERIFY | CaseAction.RETURN | CaseAction.CLOSE | CaseAction.RECHECK:
            return may_judge_case(actor, subject)
        case CaseAction.RECEIVE | CaseAction.START | CaseAction.REPORT_DONE | CaseAction.ADD_EVIDENCE:
            return may_handle_case(actor, subject)


def case_actions(
    actor: Actor, subject: Subject, kind: CaseKind, state: CaseState, *, level: int, registered_by: str
) -> tuple[CaseAction, ...]:
    """What can be done with a case; one at the highest level cannot be escalated."""
    highest = level >= len(KINDS[kind].levels)
    return tuple(
        action
        for action in allowed_of_case(state)
        if not (highest and action is CaseAction.ESCALATE)
        and may_take_case_step(actor, subject, kind, action, registered_by)
    )


def candidate_actions(actor: Actor, subject: Subject, *, has_order: bool) -> tuple[CandidateAction, ...]:
    """What can be done about a task that lags: where an order is open, nothing."""
    may = not has_order and may_register_kind(actor, subject, CaseKind.SUPERVISION_ORDER)
    return (CandidateAction.REGISTER,) if may else ()


def fault_actions(
    actor: Actor, state: FaultState, subject: Subject, *, answer_time_over: bool
) -> tuple[FaultAction, ...]:
    """The steps of a fault that was entered against a unit."""

    def may_take(action: FaultAction) -> bool:
        may = may_answer_assessment if action is FaultAction.ANSWER else may_assess
        return may(actor, subject)

    return tuple(step for step in fault_steps(state, answer_time_over=answer_time_over) if may_take(step))


def assessment_actions(
    actor: Actor, subject: Subject, *, current: bool, appealed: bool
) -> tuple[AssessmentAction, ...]:
    """What can be done about a result: one appeal against the one in force."""
    may = current and not appealed and may_answer_assessment(actor, subject)
    return (AssessmentAction.APPEAL,) if may else ()


def appeal_actions(actor: Actor, state: AppealState, subject: Subject, *, settled_by: str) -> tuple[AppealAction, ...]:
    """The steps of an appeal; not for whoever settled the result."""
    return APPEAL_STEPS[state] if actor.id != settled_by and may_assess(actor, subject) else ()


def figure_actions(actor: Actor, subject: Subject, *, upstream: bool) -> tuple[FigureAction, ...]:
    """What can be done with the figures of a task; of one that waits for none from above, nothing."""
    return (FigureAction.GIVE,) if upstream and may_give_figure(actor, subject) else ()


def ranking_actions(actor: Actor, subject: Subject) -> tuple[RankingAction, ...]:
    """What can be done with a ranking."""
    return (RankingAction.CORRECT,) if may_record_ranking(actor, subject) else ()


def inspection_actions(actor: Actor, subject: Subject) -> tuple[InspectionAction, ...]:
    """What can be done with an inspection."""
    return (InspectionAction.CHANGE,) if may_record_ranking(actor, subject) else ()


def work_item_actions(actor: Actor, subject: Subject) -> tuple[WorkItemAction, ...]:
    """What can be done with an item of a list, however far it is."""
    return (WorkItemAction.CHANGE,) if may_manage_work_item(actor, subject) else ()


# What follows is shown to nobody but whoever may do all of it: administrators, or its owner.


def account_actions(*, disabled: bool) -> tuple[AccountAction, ...]:
    """What can be done with an account; one that is disabled can be prepared for its return."""
    done = AccountAction.DISABLE if disabled else AccountAction.ENABLE
    return tuple(action for action in AccountAction if action is not done)


def key_actions(
    *, expires_at: datetime | None, revoked_at: datetime | None, replaced: bool, now: datetime
) -> tuple[KeyAction, ...]:
    """What can be done with a key: nothing once it has ceased to work; one that is replaced is not replaced again."""
    if not _works(expires_at, revoked_at, now):
        return ()
    return (KeyAction.REVOKE,) if replaced else (KeyAction.ROTATE, KeyAction.REVOKE)


def calendar_subscription_actions(
    *, expires_at: datetime | None, revoked_at: datetime | None, now: datetime
) -> tuple[CalendarSubscriptionAction, ...]:
    """What can be done with a calendar subscription."""
    return (CalendarSubscriptionAction.REVOKE,) if _works(expires_at, revoked_at, now) else ()


def webhook_actions(state: WebhookState) -> tuple[WebhookAction, ...]:
    """What can be done with a webhook."""
    paused = state is WebhookState.PAUSED
    return tuple(action for action in WebhookAction if not (paused and action is WebhookAction.PAUSE))


def delivery_actions() -> tuple[DeliveryAction, ...]:
    """What can be done with a delivery, whatever has become of it."""
    return (DeliveryAction.REDELIVER,)


def _can_be_handed_in(owed: Facts, period: Period, now: datetime, today: date) -> bool:
    """Whether the report has not come yet, and would be taken: a draft or what was returned has not come."""
    has_come = owed.waived or owed.submitted_at is not None or owed.filed_at is not None
    return not has_come and period.start <= today and now <= max(owed.lock_at, owed.effective_due_at)


def _works(expires_at: datetime | None, revoked_at: datetime | None, now: datetime) -> bool:
    return revoked_at is None and (expires_at is None or now < expires_at)


def bulletin_actions(actor: Actor, state: BulletinState, subject: Subject) -> tuple[BulletinAction, ...]:
    """What can be done with a bulletin of a battle or a plan."""
    return allowed_bulletin_steps(state) if may_edit_bulletin(actor, subject) else ()
