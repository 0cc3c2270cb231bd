"""Reports and forms that come one by one and are taken in together: each has its own answer, whatever the others'."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from app.clock import SHANGHAI
from app.db import Database, open_write_pool
from app.domain.roles import Actor, Grant, Role
from app.schemas.submission import ReportWrite
from app.services.caller import Caller
from app.services.intake import Intake
from app.services.reports import Report, Taken
from app.services.submissions import take
from tests.conftest import Clone, CountingDatabase

NOW = datetime(2023, 6, 10, 9, 0, tzinfo=SHANGHAI)
OWED = (
    "SELECT t.code AS task, u.code AS unit FROM obligations o JOIN tasks t ON t.id = o.task_id "
    "JOIN units u ON u.id = o.unit_id JOIN rules r ON r.id = o.rule_id AND r.kind = 'reporting' "
    "WHERE o.period = '2023-05' ORDER BY t.code, u.code"
)


class Desk:
    """An intake on a database of its own, and the reports that are owed there for May."""

    def __init__(self, db: CountingDatabase, owed: list[asyncpg.Record]) -> None:
        self.db = db
        self.intake = Intake(db)
        self.reports = [report(row["task"], row["unit"]) for row in owed]

    async def take(self, *reports: Report) -> list[Any]:
        """What became of reports that arrive together: an answer or an error each."""
        return await asyncio.gather(*map(self.intake.take, reports), return_exceptions=True)

    async def rows(self, statement: str) -> list[asyncpg.Record]:
        return await self.db._on.fetch(statement)

    async def kept(self) -> set[tuple[str, str]]:
        """Task and unit of every submission that is there with its revision, step and obligation."""
        rows = await self.rows(
            "SELECT t.code, u.code FROM submissions s JOIN tasks t ON t.id = s.task_id "
            "JOIN units u ON u.id = s.unit_id JOIN submission_revisions r ON r.submission_id = s.id "
            "JOIN submission_transitions x ON x.submission_id = s.id JOIN obligations o ON o.unit_id = s.unit_id "
            "AND o.task_id = s.task_id AND o.period = s.period AND o.submitted_at IS NOT NULL"
        )
        return {(row[0], row[1]) for row in rows}


def _caller(unit: str) -> Caller:
    return Caller(Actor("account:test", "测试", (Grant(Role.REPORTER, unit=unit),)))


def report(task: str, unit: str, **said: Any) -> Report:
    content = ReportWrite.model_validate({"stage": "in_progress", "percent_complete": 40, **said})
    return Report(task, unit, "2023-05", submit=True, said=content, at=NOW, caller=_caller(unit))


def names(*reports: Report) -> set[tuple[str, str]]:
    return {(one.task, one.unit) for one in reports}


@pytest_asyncio.fixture
async def desk(clone: Clone) -> AsyncGenerator[Desk]:
    async with clone() as url, open_write_pool(url, size=4) as pool:
        desk = Desk(CountingDatabase(Database(pool)), await pool.fetch(OWED))
        yield desk
        # Nobody is left behind: who works still ends by itself, and no other comes after it.
        working = [task for task in asyncio.all_tasks() if "services/intake.py" in repr(task)]
        await asyncio.wait_for(asyncio.gather(*working), 20)
        assert not [task for task in asyncio.all_tasks() if "services/intake.py" in repr(task)]


async def test_reports_that_arrive_together_each_get_their_own_answer(desk: Desk) -> None:
    first, second, third, *others = desk.reports
    refused = third._replace(said=third.said.model_copy(update={"stage": "completed"}))
    unknown = third._replace(task="431228-2023-9-9-9")
    answers = await desk.take(first, second, refused, first, unknown, *others)
    assert all(isinstance(answer, Taken) for answer in answers)
    taken, other, contradicts, again, nothing, *rest = answers
    assert taken.id != other.id
    assert [fault.code for fault in contradicts.faults] == ["completed_below_100"]
    assert [fault.code for fault in again.faults] == ["already_reported"]
    assert str(again.existing) == taken.id
    assert [fault.code for fault in nothing.faults] == ["unknown_task"]
    assert [answer.about.task_id is not None for answer in rest] == [True] * len(others)
    assert len({answer.id for answer in [taken, other, *rest]}) == len(others) + 2
    assert await desk.kept() == names(first, second, *others)
    rows = await desk.rows("SELECT s.id, t.code FROM submissions s JOIN tasks t ON t.id = s.task_id")
    assert {str(row["id"]): row["code"] for row in rows} == {
        answer.id: one.task for one, answer in zip([first, second, *others], [taken, other, *rest], strict=True)
    }


async def test_they_share_statements(desk: Desk) -> None:
    await desk.take(*desk.reports)
    # The first goes at once, the second as well; all others wait for these and go together, a hundred at most.
    assert len(desk.reports) > 10
    assert len(desk.db.statements) <= 3 * (2 + -(-len(desk.reports) // 100) + 1)


async def test_one_that_the_database_refuses_does_not_spoil_the_others(desk: Desk) -> None:
    bad = desk.reports[3]
    spoiled = [one for one in desk.reports if one.unit == bad.unit]
    await desk.rows(
        "CREATE FUNCTION refuse_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.unit_id = "
        f"(SELECT id FROM units WHERE code = '{bad.unit}') THEN RAISE 'not this one'; END IF; RETURN NEW; END $$"
    )
    await desk.rows("CREATE TRIGGER refuse_it BEFORE INSERT ON submissions FOR EACH ROW EXECUTE FUNCTION refuse_it()")
    answers = await desk.take(*desk.reports)
    for one, answer in zip(desk.reports, answers, strict=True):
        assert isinstance(answer, asyncpg.RaiseError if one in spoiled else Taken), one
    assert await desk.kept() == names(*desk.reports) - names(*spoiled)
    await desk.rows("DROP TRIGGER refuse_it ON submissions")
    assert [answer.faults for answer in await desk.take(*spoiled)] == [[]] * len(spoiled)


async def test_an_error_that_is_not_the_databases_reaches_all_who_wait_and_nobody_after(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, *_ = desk.reports

    async def broken(*_: Any, **__: Any) -> None:
        raise ConnectionResetError

    with monkeypatch.context() as patched:
        patched.setattr("app.services.intake.take", broken)
        assert [type(error) for error in await desk.take(first, second)] == [ConnectionResetError] * 2
    assert [answer.faults for answer in await desk.take(first, second)] == [[], []]


async def test_the_report_of_a_client_that_hangs_up_is_kept(desk: Desk) -> None:
    asking = [asyncio.create_task(desk.intake.take(one)) for one in desk.reports]
    # One on its way, one that still waits for its group.
    await asyncio.sleep(0)
    asking[0].cancel()
    asking[-1].cancel()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert isinstance(answers[-1], asyncio.CancelledError)
    assert all(isinstance(answer, Taken) for answer in answers[1:-1])
    for _ in range(100):
        if len(await desk.kept()) == len(desk.reports):
            break
        await asyncio.sleep(0.02)
    assert await desk.kept() == names(*desk.reports)


async def test_a_report_on_its_own_waits_for_nobody(desk: Desk) -> None:
    for one in desk.reports[:5]:
        before = len(desk.db.statements)
        (answer,) = await desk.take(one)
        assert answer.id is not None
        assert len(desk.db.statements) == before + 3


async def test_one_that_waits_for_a_lock_does_not_hold_up_those_that_come_later(desk: Desk) -> None:
    blocked, *others = desk.reports
    pool = desk.db._on
    async with pool.acquire() as other, other.transaction():  # type: ignore[union-attr]
        # Not yet committed by somebody else: whoever reports the same has to wait for the outcome.
        await other.execute(
            "INSERT INTO submissions (task_id, id, unit_id, plan_id, battle_id, period, period_start, state, revision, "
            "version, created_at) SELECT t.id, gen_random_uuid(), u.id, t.plan_id, t.battle_id, '2023-05', "
            "'2023-05-01', 'draft', 1, 1, $3 FROM tasks t, units u WHERE t.code = $1 AND u.code = $2",
            blocked.task,
            blocked.unit,
            NOW,
        )
        waiting = asyncio.create_task(desk.intake.take(blocked))
        await asyncio.sleep(0.05)
        answers = await asyncio.wait_for(desk.take(*others), 20)
        assert [answer.faults for answer in answers] == [[]] * len(others)
        assert not waiting.done()
    assert [fault.code for fault in (await waiting).faults] == ["already_reported"]


def forms(desk: Desk) -> list[list[Report]]:
    """The reports of the desk as the forms of their units."""
    units = dict.fromkeys(one.unit for one in desk.reports)
    return [[one for one in desk.reports if one.unit == unit] for unit in units]


async def put(desk: Desk, *given: list[Report]) -> list[Any]:
    """What became of forms that arrive together."""
    return await asyncio.gather(*map(desk.intake.take_form, given), return_exceptions=True)


def ids(form: list[Taken]) -> list[bool]:
    return [one.id is not None for one in form]


async def test_forms_that_arrive_together_share_statements_and_each_has_its_own_answer(desk: Desk) -> None:
    given = forms(desk)
    assert len(given) > 5
    answers = await put(desk, *given)
    assert [ids(answer) for answer in answers] == [[True] * len(form) for form in given]
    assert [[one.about.unit.code for one in answer] for answer in answers] == [[one.unit for one in f] for f in given]
    # All are there before the first is taken up.
    assert len(desk.db.statements) == 3
    assert await desk.kept() == names(*desk.reports)


async def test_of_a_form_that_is_refused_nothing_is_kept_and_the_others_are(desk: Desk) -> None:
    *others, bad = sorted(forms(desk), key=len)
    assert len(bad) > 1
    refused = [bad[0]._replace(period="2023-07"), *bad[1:]]
    *answers, answer = await put(desk, *others, refused)
    assert [fault.code for fault in answer[0].faults] == ["period_ahead"]
    assert ids(answer) == [False] * len(bad)
    assert all(all(ids(one)) for one in answers)
    assert await desk.kept() == names(*desk.reports) - names(*bad)


async def test_of_two_forms_of_a_unit_one_wins_whoever_comes_with_them(desk: Desk) -> None:
    given = forms(desk)
    answers = await put(desk, *given, *given)
    for form, first, second in zip(given, answers, answers[len(given) :], strict=False):
        assert sorted([ids(first), ids(second)]) == [[False] * len(form), [True] * len(form)]
        won, lost = (first, second) if all(ids(first)) else (second, first)
        assert [str(one.existing) for one in lost] == [one.id for one in won]
    assert await desk.kept() == names(*desk.reports)


async def test_a_form_that_another_process_forestalls_spoils_none_of_those_beside_it(desk: Desk) -> None:
    first, second, *others = forms(desk)
    reports = [*first, *second, *(one for form in others for one in form)]
    async with desk.db._on.acquire() as elsewhere, elsewhere.transaction():
        # Uncommitted: not seen by those who look things up, but in the way of those who write.
        await take(Database(elsewhere), [others[0][0]])
        putting = asyncio.create_task(put(desk, first, second, *others))
        await asyncio.sleep(0.5)
    answers = await asyncio.wait_for(putting, 20)
    assert [all(ids(answer)) for answer in answers] == [True, True, False, *[True] * (len(others) - 1)]
    assert [fault.code for fault in answers[2][0].faults] == ["already_reported"]
    assert await desk.kept() == names(*reports) - names(*others[0][1:])


async def test_of_a_form_sent_again_and_again_one_is_kept_however_many_groups_it_takes(desk: Desk) -> None:
    """No group holds more than five hundred reports."""
    form = desk.reports
    copies = -(-1100 // len(form))
    answers = await put(desk, *[form] * copies)
    assert sum(all(ids(answer)) for answer in answers) == 1
    assert sum(not any(ids(answer)) for answer in answers) == copies - 1
    assert await desk.kept() == names(*form)
