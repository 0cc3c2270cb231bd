"""Reports and forms that come one by one, taken in together: whoever waits shares statements and commit with others.

Under load a commit for each is what a rush costs most. While one group is on its way to the database the next gathers,
so that nobody waits for others when there are none; each has its own answer, given after its commit.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

import asyncpg

from app.db import Database
from app.errors import AppError
from app.services.idempotency import Attempt, Kept, keep, still_running, take_up
from app.services.reports import Report, Reporters, Taken
from app.services.submissions import SpoiledError, take, take_forms

__all__ = ["Answered", "Intake", "Keyed", "Outcome"]

# Of one process: while one group is written, another is looked up.
_GROUPS_AT_ONCE: Final = 2
_MOST_SINGLE_REPORTS: Final = 100
_MOST_REPORTS_OF_FORMS: Final = 500

GivenT = TypeVar("GivenT")
DoneT = TypeVar("DoneT")
_Group = list[tuple[GivenT, asyncio.Future[DoneT]]]


class _Gathering(Generic[GivenT, DoneT]):
    """What arrives together is done in one go."""

    def __init__(
        self,
        do: Callable[[Sequence[GivenT]], Awaitable[Sequence[DoneT]]],
        *,
        size: Callable[[GivenT], int],
        most: int,
    ) -> None:
        """Let ``do`` do all of a group or none of it; no group is larger than ``most``, unless it is one alone."""
        self._do = do
        self._size = size
        self._most = most
        self._waiting: _Group[GivenT, DoneT] = []
        self._running: set[asyncio.Task[None]] = set()

    async def done(self, given: GivenT) -> DoneT:
        """What became of ``given``; raises what doing it raised."""
        answer: asyncio.Future[DoneT] = asyncio.get_running_loop().create_future()
        self._waiting.append((given, answer))
        if len(self._running) < _GROUPS_AT_ONCE:
            group = asyncio.create_task(self._run())
            self._running.add(group)
            group.add_done_callback(self._running.discard)
        return await answer

    async def _run(self) -> None:
        while self._waiting:
            group = self._next()
            try:
                done = await self._do([given for given, _ in group])
            except (asyncpg.PostgresError, SpoiledError) as error:
                await self._apart(group, error)
            except Exception as error:  # noqa: BLE001 - it belongs to those who wait
                _fail(group, error)
            else:
                _tell(group, done)

    def _next(self) -> _Group[GivenT, DoneT]:
        count, size = 1, self._size(self._waiting[0][0])
        for given, _ in self._waiting[1:]:
            size += self._size(given)
            if size > self._most:
                break
            count += 1
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    async def _apart(self, group: _Group[GivenT, DoneT], error: Exception) -> None:
        """One must not spoil the others: each is tried alone."""
        if len(group) == 1:
            _fail(group, error)
            return
        for one in group:
            try:
                done = await self._do([one[0]])
            except Exception as alone:  # noqa: BLE001 - it belongs to the one who waits
                _fail([one], alone)
            else:
                _tell([one], done)


class Keyed(NamedTuple):
    """A report that has its effect once: the sending it came with, and how what became of it is answered."""

    attempt: Attempt
    report: Report
    answer: Callable[[Report, Taken], Kept]


class Answered(NamedTuple):
    """What a report is answered, and whether that was given before."""

    kept: Kept
    again: bool


Outcome: TypeAlias = Answered | Taken | AppError
"""The answer to a keyed report, why it was refused, or why it is not carried out."""


async def _take_keyed(db: Database, keyed: Sequence[Keyed]) -> list[Outcome]:
    """Take keyed reports in, in one transaction with what is answered to them.

    Raises:
        SpoiledError: nothing was kept, because another sending of one was faster.
    """
    async with db.for_caller(Reporters(one.report for one in keyed)).transaction() as whole:
        now = max(one.report.at for one in keyed)
        found = await take_up(whole, [one.attempt for one in keyed], now=now)
        outcomes: list[Outcome | None] = [Answered(one, again=True) if isinstance(one, Kept) else one for one in found]
        seen: set[tuple[str, str]] = set()
        for index, one in enumerate(keyed):
            # The lock is of the transaction, which does not shut itself out.
            if outcomes[index] is None and one.attempt.name in seen:
                outcomes[index] = still_running()
            seen.add(one.attempt.name)
        fresh = [index for index, outcome in enumerate(outcomes) if outcome is None]
        if fresh:
            taken = await take(whole, [keyed[index].report for index in fresh])
            answers: list[tuple[Attempt, Kept]] = []
            for index, result in zip(fresh, taken, strict=True):
                outcomes[index] = result
                if result.id is not None:
                    one = keyed[index]
                    kept = one.answer(one.report, result)
                    outcomes[index] = Answered(kept, again=False)
                    answers.append((one.attempt, kept))
            if not await keep(whole, answers, now=now):
                raise SpoiledError
    return [outcome for outcome in outcomes if outcome is not None]


class Intake:
    """Takes single reports and whole forms in, those that arrive together in one go."""

    def __init__(self, db: Database) -> None:
        """Write on ``db``, a pool."""
        self._reports = _Gathering[Report, Taken](
            lambda reports: take(db.for_caller(Reporters(reports)), reports),
            size=lambda _: 1,
            most=_MOST_SINGLE_REPORTS,
        )
        self._forms = _Gathering[Sequence[Report], Sequence[Taken]](
            lambda forms: take_forms(db.for_caller(Reporters(chain.from_iterable(forms))), forms),
            size=len,
            most=_MOST_REPORTS_OF_FORMS,
        )
        self._keyed = _Gathering[Keyed, Outcome](
            lambda keyed: _take_keyed(db, keyed), size=lambda _: 1, most=_MOST_SINGLE_REPORTS
        )

    async def take_once(self, keyed: Keyed) -> Outcome:
        """As :meth:`take`, for a report with a key, however often it is sent."""
        try:
            return await self._keyed.done(keyed)
        except SpoiledError:
            return still_running()

    async def take(self, report: Report) -> Taken:
        """What became of the report, once it is committed or refused; raises what the database raised."""
        return await self._reports.done(report)

    async def take_form(self, reports: Sequence[Report]) -> Sequence[Taken]:
        """What became of the reports of a form, of which all are committed or none; raises what the database raised."""
        return await self._forms.done(reports)


def _tell(group: _Group[GivenT, DoneT], done: Sequence[DoneT]) -> None:
    for (_, answer), result in zip(group, done, strict=True):
        # Whoever has hung up meanwhile has been taken in all the same.
        if not answer.done():
            answer.set_result(result)


def _fail(group: _Group[GivenT, DoneT], error: Exception) -> None:
    for _, answer in group:
        if not answer.done():
            answer.set_exception(error)
