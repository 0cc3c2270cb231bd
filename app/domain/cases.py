"""台账: one ledger for supervision orders, hazards, enterprise problems, inspection findings and risks.

::

    registered ──assign──▶ assigned ──receive──▶ received ──start──▶ working ──report_done──▶ reported_done ──verify──▶
                              ▲                                        ▲ ▲                        │
                              │                                  start │ └────────── report_done ─┤
                              │                                     returned ◀────── return ──────┘
                              │                                        ▲
                              └──reopen── closed ◀──close── verified ──┘ return

    registered: edit;  assigned to verified: remind, escalate, add_evidence;  closed: recheck (回头看)

What differs between the kinds stands in one table, :data:`KINDS`. 一单四制, by which major hazards are managed:

- 清单: the ledger itself
- 交办制: the step ``assign``
- 台账制: the history of the case
- 销号制: the step ``close``
- 通报制: a level of escalation, which puts the case into a circular
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from types import MappingProxyType
from typing import Final

from app.domain.plan import Labelled
from app.domain.state_table import StateTable

__all__ = [
    "KINDS",
    "TRANSITIONS",
    "CaseAction",
    "CaseFacts",
    "CaseKind",
    "CaseReminder",
    "CaseState",
    "KindRule",
    "Level",
    "allowed",
    "apply",
    "explain",
]


class CaseKind(Labelled):
    """What a case is about."""

    SUPERVISION_ORDER = "supervision_order", "督办单"
    MAJOR_HAZARD = "major_hazard", "重大隐患"
    ENTERPRISE_PROBLEM = "enterprise_problem", "企业问题"
    INSPECTION_FINDING = "inspection_finding", "巡查发现"
    RISK_FILE = "risk_file", "风险台账"


class CaseState(Labelled):
    """Where a case stands."""

    REGISTERED = "registered", "已登记"
    ASSIGNED = "assigned", "已交办"
    RECEIVED = "received", "已签收"
    WORKING = "working", "办理中"
    REPORTED_DONE = "reported_done", "已报办结"
    RETURNED = "returned", "已退回"
    VERIFIED = "verified", "已核验"
    CLOSED = "closed", "已销号"


class CaseAction(Labelled):
    """A step that somebody takes with a case."""

    REGISTER = "register", "登记"
    EDIT = "edit", "修改"
    ASSIGN = "assign", "交办"
    RECEIVE = "receive", "签收"
    START = "start", "开始办理"
    REPORT_DONE = "report_done", "报告办结"
    VERIFY = "verify", "核验"
    RETURN = "return", "退回"
    CLOSE = "close", "销号"
    REOPEN = "reopen", "重新立项"
    RECHECK = "recheck", "回头看"
    REMIND = "remind", "催办"
    ESCALATE = "escalate", "升级督办"
    ADD_EVIDENCE = "add_evidence", "补充佐证"


class CaseReminder(Labelled):
    """What the clock alone makes of a case that is assigned and not closed."""

    DUE_SOON = "due_soon", "临近期限"
    OVERDUE = "overdue", "逾期"


@dataclass(frozen=True, slots=True)
class Level:
    """A level of escalation: its number, from 1, and its name (Chinese)."""

    number: int
    name: str


@dataclass(frozen=True, slots=True)
class KindRule:
    """What holds for one kind of case.

    Attributes:
        locator: where the document asks for it.
        days: within how many days it is to be closed, unless whoever assigns it says otherwise; the document gives no
            number for any kind, so each is our own default.
        remind_days: how many days ahead of the due day it is due soon.
        recheck_days: after how many days what was closed is looked at again; ``None``: it need not be.
        managers_only: whether nobody but those who manage cases may register one.
        needs_evidence: whether it cannot be reported done without evidence.
        levels: the levels of escalation, lowest first.
    """

    locator: str
    days: int
    remind_days: int
    recheck_days: int | None
    managers_only: bool
    needs_evidence: bool
    levels: tuple[Level, ...]

    def level_name(self, number: int) -> str | None:
        """The name of a level; ``None`` for 0, not escalated."""
        return next((level.name for level in self.levels if level.number == number), None)


def _levels(*names: str) -> tuple[Level, ...]:
    return tuple(Level(number, name) for number, name in enumerate(names, 1))


# Attachment 5, 二(四)6 names what follows on idleness: warning, talk, measures; 二(一)2 says who talks.
_OF_UNITS = _levels("书面警示", "通报", "分管县领导约谈", "移送追责问责")

KINDS: Final[Mapping[CaseKind, KindRule]] = MappingProxyType(
    {
        CaseKind.SUPERVISION_ORDER: KindRule(
            "附件6/三/(四)",
            days=15,
            remind_days=3,
            recheck_days=None,
            managers_only=True,
            needs_evidence=False,
            levels=_OF_UNITS,
        ),
        # 回头看 is asked for by the general plan, 二(五), and by attachment 5.
        CaseKind.MAJOR_HAZARD: KindRule(
            "附件5/二/(一)/1",
            days=30,
            remind_days=5,
            recheck_days=30,
            managers_only=False,
            needs_evidence=True,
            levels=_OF_UNITS,
        ),
        CaseKind.ENTERPRISE_PROBLEM: KindRule(
            "附件3/二/(一)/5",
            days=20,
            remind_days=3,
            recheck_days=None,
            managers_only=False,
            needs_evidence=False,
            levels=_levels("提醒牵头部门", "提请分管县领导协调", "提请专班召集人协调"),
        ),
        # The next quarter's round looks at it again.
        CaseKind.INSPECTION_FINDING: KindRule(
            "附件5/二/(四)/5",
            days=30,
            remind_days=5,
            recheck_days=90,
            managers_only=False,
            needs_evidence=False,
            levels=_levels("书面警示", "通报", "曝光", "移送追责问责"),
        ),
        CaseKind.RISK_FILE: KindRule(
            "附件4/二/(二)/9",
            days=90,
            remind_days=10,
            recheck_days=None,
            managers_only=False,
            needs_evidence=False,
            levels=_levels("风险提示", "提请分管县领导调度", "提请专班召集人调度"),
        ),
    }
)

_KEEPING: Final = (CaseAction.REMIND, CaseAction.ESCALATE, CaseAction.ADD_EVIDENCE)


def _open(state: CaseState, steps: Mapping[CaseAction, CaseState]) -> Mapping[CaseAction, CaseState]:
    """The steps from an open state, with those that keep it."""
    return {**steps, **dict.fromkeys(_KEEPING, state)}


# From each state, the steps that are open, in the order in which they are offered, and where each leads.
TRANSITIONS: Final[Mapping[CaseState, Mapping[CaseAction, CaseState]]] = MappingProxyType(
    {
        CaseState.REGISTERED: {
            CaseAction.EDIT: CaseState.REGISTERED,
            CaseAction.ASSIGN: CaseState.ASSIGNED,
        },
        CaseState.ASSIGNED: _open(CaseState.ASSIGNED, {CaseAction.RECEIVE: CaseState.RECEIVED}),
        CaseState.RECEIVED: _open(CaseState.RECEIVED, {CaseAction.START: CaseState.WORKING}),
        CaseState.WORKING: _open(CaseState.WORKING, {CaseAction.REPORT_DONE: CaseState.REPORTED_DONE}),
        CaseState.REPORTED_DONE: _open(
            CaseState.REPORTED_DONE,
            {CaseAction.VERIFY: CaseState.VERIFIED, CaseAction.RETURN: CaseState.RETURNED},
        ),
        CaseState.RETURNED: _open(
            CaseState.RETURNED,
            {CaseAction.START: CaseState.WORKING, CaseAction.REPORT_DONE: CaseState.REPORTED_DONE},
        ),
        CaseState.VERIFIED: _open(
            CaseState.VERIFIED, {CaseAction.CLOSE: CaseState.CLOSED, CaseAction.RETURN: CaseState.RETURNED}
        ),
        # A re-check that is passed; one that is failed reopens the case.
        CaseState.CLOSED: {
            CaseAction.REOPEN: CaseState.ASSIGNED,
            CaseAction.RECHECK: CaseState.CLOSED,
        },
    }
)


_TABLE: Final = StateTable("台账事项", TRANSITIONS)
allowed = _TABLE.allowed
apply = _TABLE.apply


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """A case as it stood on a day; days are those of Shanghai, and a due day counts to its end.

    ``recheck_due_on`` is ``None`` once it was looked at again, or where that is not asked for.
    """

    kind: CaseKind
    unit_name: str
    state: CaseState
    level: int
    due_on: date | None
    closed_on: date | None
    recheck_due_on: date | None

    def is_overdue(self, day: date) -> bool:
        """Whether it is open beyond its due day."""
        return self.state is not CaseState.CLOSED and self.due_on is not None and self.due_on < day

    def is_recheck_due(self, day: date) -> bool:
        """Whether it is closed and is to be looked at again by now."""
        return self.state is CaseState.CLOSED and self.recheck_due_on is not None and self.recheck_due_on <= day

    def days_late(self, day: date) -> int:
        """By how many days it is, or was closed, beyond its due day; 0 where it is not."""
        end = self.closed_on if self.closed_on is not None else day
        return 0 if self.due_on is None else max(0, (end - self.due_on) // timedelta(days=1))


def explain(facts: CaseFacts, day: date) -> str:
    """How a case stands on a day, in one Chinese sentence."""
    said = [f"{facts.kind.label},{facts.unit_name}承办,{facts.state.label}"]
    late = facts.days_late(day)
    if facts.due_on is None:
        said.append("尚未交办,未定期限")
    elif facts.closed_on is not None:
        in_time = f"超期 {late} 天" if late else "按期"
        said.append(f"期限 {facts.due_on},{facts.closed_on} {in_time}销号")
    else:
        said.append(f"期限 {facts.due_on},已逾期 {late} 天" if late else f"期限 {facts.due_on}")
    if facts.level:
        said.append(f"督办级别 {facts.level}({KINDS[facts.kind].level_name(facts.level)})")
    if facts.is_recheck_due(day):
        said.append(f"应于 {facts.recheck_due_on} 回头看,尚未进行")
    elif facts.recheck_due_on is not None:
        said.append(f"{facts.recheck_due_on} 回头看")
    return ";".join(said)
