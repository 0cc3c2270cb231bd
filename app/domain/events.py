"""What the service tells other systems of, and how often it tries to.

An event says that something became so, and names it; what exactly was reported is read by its codes, by whoever may.
"""

from datetime import timedelta
from typing import Final

from app.domain.plan import Labelled

__all__ = [
    "MOST_TRIES",
    "OPENED",
    "DeliveryState",
    "EventType",
    "PauseReason",
    "Reminder",
    "WebhookState",
    "event_id",
    "position_of",
    "try_again_after",
]


class EventType(Labelled):
    """What can happen that others may want to know of."""

    SUBMITTED = "submission.submitted", "进度已报送"
    CERTIFIED = "submission.certified", "进度已认定"
    RETURNED = "submission.returned", "进度已退回"
    CORRECTED = "submission.corrected", "更正已报送"
    DUE_SOON = "obligation.due_soon", "应报临近期限"
    OVERDUE = "obligation.overdue", "应报逾期"
    MISSED = "obligation.missed", "应报漏报"
    EXTENDED = "extension.granted", "延期已批准"
    WORK_ITEM_CREATED = "work_item.created", "清单事项已建立"
    WORK_ITEM_CHANGED = "work_item.changed", "清单事项已修改"
    TARGET_GIVEN = "target.given", "上级下达的目标值已补登"
    CASE_REGISTERED = "case.registered", "台账事项已登记"
    CASE_ASSIGNED = "case.assigned", "台账事项已交办"
    CASE_REPORTED_DONE = "case.reported_done", "台账事项已报告办结"
    CASE_RETURNED = "case.returned", "台账事项已退回"
    CASE_CLOSED = "case.closed", "台账事项已销号"
    CASE_REOPENED = "case.reopened", "台账事项已重新立项"
    CASE_REMINDED = "case.reminded", "台账事项已催办"
    CASE_ESCALATED = "case.escalated", "台账事项已升级督办"
    CASE_DUE_SOON = "case.due_soon", "台账事项临近期限"
    CASE_OVERDUE = "case.overdue", "台账事项逾期"
    BULLETIN_ISSUED = "bulletin.issued", "简报通报已印发"
    RANKING_RECORDED = "ranking.recorded", "排名已登记"
    INSPECTION_RECORDED = "inspection.recorded", "巡查已登记"
    FAULT_RECORDED = "fault.recorded", "错报、瞒报已登记"
    FAULT_DECIDED = "fault.decided", "错报、瞒报已认定或撤销"
    ASSESSMENT_FROZEN = "assessment.frozen", "考核已定案"
    APPEAL_DECIDED = "appeal.decided", "考核复核已作出"


OPENED: Final = frozenset(
    {
        *(EventType.SUBMITTED, EventType.CERTIFIED, EventType.RETURNED, EventType.CORRECTED),
        *(EventType.DUE_SOON, EventType.OVERDUE, EventType.MISSED, EventType.EXTENDED, EventType.BULLETIN_ISSUED),
    }
)
"""What everyone is told of where the deployment opens progress to everyone; all else is for those who have a grant."""


class Reminder(Labelled):
    """What the clock alone makes of an obligation that is neither filed nor waived."""

    DUE_SOON = "due_soon", "临近期限"
    OVERDUE = "overdue", "逾期"
    MISSED = "missed", "漏报"


class WebhookState(Labelled):
    """Whether a webhook is told of events."""

    ACTIVE = "active", "启用"
    PAUSED = "paused", "暂停"


class PauseReason(Labelled):
    """Why a webhook is paused."""

    REQUESTED = "requested", "经请求暂停"
    EXHAUSTED = "exhausted", "多次送达失败"
    GONE = "gone", "接收方答复 410,不再接收"
    ACCOUNT_DISABLED = "account_disabled", "所属账号已停用"


class DeliveryState(Labelled):
    """How far one event has come on its way to one webhook."""

    PENDING = "pending", "待送达"
    DELIVERED = "delivered", "已送达"
    DEAD = "dead", "多次失败,已放弃"
    WITHHELD = "withheld", "所属账号已无权查阅,不再送达"


# Seconds first, for what a restart of the receiver takes; half days at last, over a long weekend: more than three days.
_DELAYS: Final = (
    *(timedelta(seconds=seconds) for seconds in (5, 20, 60)),
    *(timedelta(minutes=minutes) for minutes in (5, 15, 30)),
    *(timedelta(hours=hours) for hours in (1, 2, 4, 8, 12, 12, 12, 12, 12)),
)

MOST_TRIES: Final = len(_DELAYS) + 1
"""After so many tries that failed an event is a dead letter."""

_SPREAD = 0.25


def try_again_after(failed: int, *, spread: float) -> timedelta | None:
    """How long to wait after ``failed`` tries; ``None``: there is no further one.

    ``spread``, from 0 to 1 and random, lengthens the wait by up to a quarter, so that those who failed together do not
    come back together.
    """
    if failed > len(_DELAYS):
        return None
    return _DELAYS[failed - 1] * (1 + _SPREAD * spread)


def event_id(position: int) -> str:
    """The public id of the event at a position of the stream."""
    return f"evt_{position}"


def position_of(event: str) -> int:
    """The position that :func:`event_id` made an id of."""
    return int(event.removeprefix("evt_"))
