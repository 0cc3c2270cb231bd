"""清单: what a unit breaks a task down into, and the six-ones that a project is to have.

The six are of attachment 6, 三(三): every project has one county leader in charge, one responsible unit, one
responsible person, one plan with its ledger, and is followed through to its end. The document says it of the projects
of one battle and gives no test of "followed through". We read it so that it can be seen in any list: of every project
of every battle, a plan with its ledger is a plan with at least one dated milestone, and what is followed through has a
day by which it is to end. What is missing is shown and never refused, and of a project that was given up nothing is
asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from app.domain.plan import Labelled

__all__ = [
    "SIX_ONES_LOCATOR",
    "Milestone",
    "SixOne",
    "WorkItemFacts",
    "WorkItemKind",
    "WorkItemState",
    "is_overdue",
    "missing_ones",
    "next_due",
]

SIX_ONES_LOCATOR = "附件6/三/(三)"


class WorkItemKind(Labelled):
    """Which of the three lists an item is in."""

    PROJECT = "project", "项目"
    TASK = "task", "任务"
    POLICY = "policy", "政策"


class WorkItemState(Labelled):
    """How far an item is."""

    PLANNED = "planned", "未启动"
    UNDER_WAY = "under_way", "推进中"
    COMPLETED = "completed", "已完成"
    CANCELLED = "cancelled", "已取消"


class SixOne(Labelled):
    """One of the six-ones."""

    PROJECT = "project", "一个项目"
    LEADER = "leader", "一名县级领导牵头"
    UNIT = "unit", "一个责任单位"
    PERSON = "person", "一名责任人"
    LEDGER = "ledger", "一套方案台账"
    FOLLOW_THROUGH = "follow_through", "一抓到底"


@dataclass(frozen=True, slots=True)
class Milestone:
    """A step of an item: until when, and when it was done."""

    due_on: date
    done_on: date | None


@dataclass(frozen=True, slots=True)
class WorkItemFacts:
    """What of an item the six-ones are judged by; a unit and a title it always has."""

    kind: WorkItemKind
    state: WorkItemState
    has_leader: bool
    has_person: bool
    has_scheme: bool
    milestones: Sequence[Milestone]
    due_on: date | None


def missing_ones(item: WorkItemFacts) -> tuple[SixOne, ...]:
    """The six-ones that a project lacks; of what is no project, or was given up, none is asked."""
    if item.kind is not WorkItemKind.PROJECT or item.state is WorkItemState.CANCELLED:
        return ()
    held = {
        SixOne.LEADER: item.has_leader,
        SixOne.PERSON: item.has_person,
        SixOne.LEDGER: item.has_scheme and bool(item.milestones),
        SixOne.FOLLOW_THROUGH: item.due_on is not None,
    }
    return tuple(one for one in SixOne if not held.get(one, True))


def next_due(state: WorkItemState, milestones: Sequence[Milestone]) -> date | None:
    """The first day by which a milestone that is not done is due; none once the item is completed or given up."""
    if state in {WorkItemState.COMPLETED, WorkItemState.CANCELLED}:
        return None
    return min((one.due_on for one in milestones if one.done_on is None), default=None)


def is_overdue(due: date | None, today: date) -> bool:
    """Whether what was due on a day, that day included, is late."""
    return due is not None and due < today
