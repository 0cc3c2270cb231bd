"""The ledger of the demonstration: a case of each kind, through its whole life or a part of it, and some orders.

Each step is taken by the service's own use case at the instant it is said to have happened, by whoever may take it.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from app.clock import SHANGHAI
from app.db import Database, Query
from app.domain.cases import CaseKind
from app.rendering import Known
from app.schemas.case import (
    AssignStep,
    CandidateQuery,
    CandidatesRead,
    CaseCreate,
    DoneStep,
    EscalateStep,
    EvidenceCreate,
    HandleStep,
    NoteStep,
    ReasonStep,
    RecheckStep,
)
from app.services import case_steps
from app.services.candidates import list_candidates
from app.services.cases import register_case
from app.services.reader import Reader
from seed.demo_callers import OFFICE, of_unit

__all__ = ["fill_ledger"]

PLAN = "431228-2023"
_IS_LOADED = Query(text("SELECT EXISTS (SELECT FROM plans WHERE code = CAST(:plan AS text))"))
# The day on which orders are issued on what lags, and how many.
ORDERED_ON, ORDERS = date(2023, 8, 2), 3


class _Step(NamedTuple):
    """A step, on the day that it is taken, with what is said."""

    day: date
    name: str
    said: Any = None


def _day(month: int, day: int) -> date:
    return date(2023, month, day)


def _assigned(day: date, due_on: date, person: str) -> list[_Step]:
    """Assigned, received the next day, begun the day after."""
    step = AssignStep(responsible_person=person, due_on=due_on, note="演示数据")
    return [
        _Step(day, "assign", step),
        _Step(day + timedelta(days=1), "receive"),
        _Step(day + timedelta(days=2), "start"),
    ]


def _done(day: date) -> _Step:
    evidence = EvidenceCreate(title="整改前后照片", reference="演示数据:档案 2023-017")
    return _Step(day, "report_done", DoneStep(result="演示数据:已按要求办结。", evidence=[evidence]))


def _closed(day: date) -> list[_Step]:
    return [_Step(day, "verify"), _Step(day + timedelta(days=1), "close")]


_LIVES: Sequence[tuple[dict[str, Any], date, list[_Step]]] = (
    # Closed in time, and in order when it was looked at again.
    (
        {"kind": CaseKind.MAJOR_HAZARD, "battle": 5, "unit": "县住房和城乡建设局", "title": "演示:储罐安全阀超期未检"},
        _day(4, 18),
        [
            *_assigned(_day(4, 19), _day(5, 20), "张三"),
            _done(_day(5, 8)),
            *_closed(_day(5, 11)),
            _Step(_day(6, 11), "recheck", RecheckStep(passed=True, reason="演示数据:设施完好")),
        ],
    ),
    # Overdue, reminded and escalated.
    (
        {"kind": CaseKind.MAJOR_HAZARD, "battle": 5, "unit": "县交通运输局", "title": "演示:临水路段护栏缺失"},
        _day(5, 22),
        [
            *_assigned(_day(5, 23), _day(6, 20), "李四"),
            _Step(_day(6, 16), "remind", ReasonStep(reason="演示数据:临近期限,未见进展")),
            _Step(_day(6, 21), "escalate", EscalateStep(level=1, reason="演示数据:逾期未办结")),
            _Step(_day(7, 3), "escalate", EscalateStep(level=2, reason="演示数据:警示后仍未办结")),
        ],
    ),
    # Found not to be in order when it was looked at again.
    (
        {"kind": CaseKind.INSPECTION_FINDING, "battle": 5, "unit": "县应急管理局", "title": "演示:应急预案未演练"},
        _day(4, 24),
        [
            *_assigned(_day(4, 25), _day(5, 15), "王五"),
            _done(_day(5, 22)),
            *_closed(_day(5, 24)),
            _Step(_day(8, 23), "recheck", RecheckStep(passed=False, reason="演示数据:只演练了一次")),
        ],
    ),
    (
        {
            "kind": CaseKind.ENTERPRISE_PROBLEM,
            "battle": 3,
            "unit": "县商务科技和工业信息化局",
            "title": "演示:厂区用电增容",
            "enterprise": "演示食品厂",
        },
        _day(5, 10),
        [*_assigned(_day(5, 10), _day(6, 9), "赵六"), _done(_day(5, 30)), *_closed(_day(6, 1))],
    ),
    # Returned, and not reported again.
    (
        {
            "kind": CaseKind.ENTERPRISE_PROBLEM,
            "battle": 3,
            "unit": "县发展与改革局",
            "title": "演示:技改项目备案",
            "enterprise": "演示建材公司",
        },
        _day(8, 7),
        [
            *_assigned(_day(8, 8), _day(9, 5), "钱七"),
            _done(_day(8, 28)),
            _Step(_day(8, 30), "return_", ReasonStep(reason="演示数据:企业反映尚未办结")),
        ],
    ),
    # Waits for its verification.
    (
        {"kind": CaseKind.RISK_FILE, "battle": 4, "unit": "县政府金融办", "title": "演示:投资公司兑付风险"},
        _day(6, 5),
        [*_assigned(_day(6, 6), _day(9, 30), "孙八"), _done(_day(9, 26))],
    ),
    # Not assigned yet.
    (
        {"kind": CaseKind.RISK_FILE, "battle": 4, "unit": "县政府金融办", "title": "演示:农信机构不良率上升"},
        _day(9, 27),
        [],
    ),
)
_STEPS: dict[str, Any] = {
    "assign": case_steps.assign_case,
    "receive": case_steps.receive_case,
    "start": case_steps.start_case,
    "report_done": case_steps.report_case_done,
    "verify": case_steps.verify_case,
    "return_": case_steps.return_case,
    "close": case_steps.close_case,
    "remind": case_steps.remind_case,
    "escalate": case_steps.escalate_case,
    "recheck": case_steps.recheck_case,
}
_OF_UNIT = {"receive", "start", "report_done"}
_UNSAID: dict[str, Any] = {
    "receive": HandleStep(),
    "start": HandleStep(),
    "verify": NoteStep(note="演示数据:属实"),
    "close": NoteStep(note="演示数据:同意销号"),
}


async def fill_ledger(db: Database, reader: Reader) -> int:
    """Fill the ledger of 2023, within the transaction that ``db`` is; returns how many cases that are.

    Its cases name units of one county; where its plan is not loaded, there are none.
    """
    if not await db.fetch_value(_IS_LOADED, plan=PLAN):
        return 0
    # What was just reported is seen in this transaction alone.
    within = Reader(db, reader.fragments)
    for said, day, steps in _LIVES:
        about: dict[str, Any] = {**said, "plan": PLAN, "battle": f"{PLAN}-{said['battle']}"}
        await _live(db, within, CaseCreate(**about, description="演示数据,并非真实事项。"), day, steps)
    return len(_LIVES) + await _orders(db, within)


async def _orders(db: Database, within: Reader) -> int:
    """Orders on the first few of what lags: one is closed, one is escalated, one has just been received."""
    query = CandidateQuery(plan=PLAN, as_of=_at(ORDERED_ON, 8))
    found = await list_candidates(within, query, Known.parse(None), now=_at(ORDERED_ON, 8), caller=OFFICE)
    assert found.body is not None, "nothing is known yet"
    lagging = CandidatesRead.model_validate_json(found.body).items[:ORDERS]
    person = "牵头单位负责人"
    begun = _assigned(ORDERED_ON, _day(8, 20), person)
    lives = (
        [*begun, _done(_day(8, 16)), *_closed(_day(8, 17))],
        [*begun, _Step(_day(8, 21), "escalate", EscalateStep(level=1, reason="演示数据:逾期未办结"))],
        begun[:2],
    )
    for one, steps in zip(lagging, lives, strict=False):
        order = CaseCreate(
            plan=PLAN,
            task=one.task,
            kind=CaseKind.SUPERVISION_ORDER,
            unit=one.unit.unit,
            title=f"演示:督办“{one.title}”"[:200],
            description=f"演示数据。{one.explanation}",
        )
        await _live(db, within, order, ORDERED_ON, steps)
    return len(lagging)


async def _live(db: Database, within: Reader, case: CaseCreate, day: date, steps: Sequence[_Step]) -> None:
    made = await register_case(db, within, case, now=_at(day, 9), caller=OFFICE)
    identity = UUID(bytes=made.id.bytes)
    for hour, step in enumerate(steps, 10):
        caller = of_unit(made.unit.unit) if step.name in _OF_UNIT else OFFICE
        said = step.said if step.said is not None else _UNSAID[step.name]
        await _STEPS[step.name](db, identity, said, match=None, now=_at(step.day, hour), caller=caller)


def _at(day: date, hour: int) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=SHANGHAI)
