"""Reports that come one by one, taken in together: whoever waits shares the statements and the commit of those beside.

Under load a commit for each report is what a rush costs most. While one group is on its way to the database the next
gathers, so that nobody waits for others when there are none; every report has its own answer, given after its commit.
"""

import asyncio
from collections.abc import Sequence
from typing import TypeAlias

import asyncpg

from app.db import Database
from app.domain.row_scope import reporting_scope
from app.services.submissions import Report, Taken, take

__all__ = ["Intake"]

# Of one process: while one group is written, another is looked up.
_GROUPS_AT_ONCE = 2
_MOST_IN_A_GROUP = 100


_Group: TypeAlias = list[tuple[Report, asyncio.Future[Taken]]]


class Intake:
    """Takes single reports in, those that arrive together in one go."""

    def __init__(self, db: Database) -> None:
        """Write on ``db``, a pool."""
        self._db = db
        self._waiting: _Group = []
        self._running: set[asyncio.Task[None]] = set()

    async def take(self, report: Report) -> Taken:
        """What became of the report, once it is committed or refused; raises what the database raised."""
        answer: asyncio.Future[Taken] = asyncio.get_running_loop().create_future()
        self._waiting.append((report, answer))
        if len(self._running) < _GROUPS_AT_ONCE:
            group = asyncio.create_task(self._run())
            self._running.add(group)
            group.add_done_callback(self._running.discard)
        return await answer

    async def _run(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[:_MOST_IN_A_GROUP], self._waiting[_MOST_IN_A_GROUP:]
            try:
                taken = await self._take(group)
            except asyncpg.PostgresError as error:
                await self._apart(group, error)
            except Exception as error:  # noqa: BLE001 - it belongs to those who wait
                _fail(group, error)
            else:
                _tell(group, taken)

    async def _take(self, group: _Group) -> list[Taken]:
        reports = [report for report, _ in group]
        return await take(self._db.for_caller(_Together(reports)), reports)

    async def _apart(self, group: _Group, error: asyncpg.PostgresError) -> None:
        """One report must not spoil the others: each is tried alone."""
        if len(group) == 1:
            _fail(group, error)
            return
        for one in group:
            try:
                taken = await self._take([one])
            except Exception as alone:  # noqa: BLE001 - it belongs to the one who waits
                _fail([one], alone)
            else:
                _tell([one], taken)


class _Together:
    """All who report in one group."""

    def __init__(self, reports: Sequence[Report]) -> None:
        self.scope = reporting_scope({id(report.caller): report.caller.visibility for report in reports}.values())


def _tell(group: _Group, taken: Sequence[Taken]) -> None:
    for (_, answer), result in zip(group, taken, strict=True):
        # Whoever has hung up meanwhile has been taken in all the same.
        if not answer.done():
            answer.set_result(result)


def _fail(group: _Group, error: Exception) -> None:
    for _, answer in group:
        if not answer.done():
            answer.set_exception(error)
