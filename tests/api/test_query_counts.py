"""A page of fifty costs as many statements as a page of one, and few of them, with the fragment cache or without."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from app.fragments import FragmentCache
from app.main import create_app
from app.services.reader import Reader
from app.settings import Settings
from tests.conftest import CountingDatabase, serving

CACHE_SIZES = (0, 20_000)
BATTLE = "431228-2023-4"
TASK = "431228-2023-4-2-7"

# A path with its filters, and how many statements it may cost at most: found by counting, never to grow unnoticed.
LISTS: dict[str, int] = {
    # The tasks, their brackets.
    "/api/v1/tasks": 2,
    "/api/v1/tasks?battle=431228-2023-4": 2,
    "/api/v1/tasks?q=风险": 2,
    "/api/v1/tasks?role=lead": 2,
    "/api/v1/tasks?has_targets=true": 2,
    "/api/v1/tasks?sort=-title": 2,
    # The unit's name first.
    "/api/v1/tasks?unit=县发改局": 3,
    "/api/v1/tasks?unit=县发改局&role=lead": 3,
    "/api/v1/units/431228-fgj/tasks": 3,
    # The total last.
    "/api/v1/tasks?include_total=true": 3,
    "/api/v1/targets": 1,
    "/api/v1/targets?quantified=true": 1,
    "/api/v1/targets?unit=县发改局": 2,
    "/api/v1/units": 1,
    "/api/v1/units?q=局": 1,
    "/api/v1/units?battle=431228-2023-4&role=lead": 1,
    "/api/v1/plans": 1,
    "/api/v1/battles": 1,
    "/api/v1/rules": 1,
    "/api/v1/anomalies": 1,
    "/api/v1/search?q=局": 1,
    "/api/v1/assessment-schemes": 1,
    "/api/v1/assessments": 1,
    "/api/v1/marks": 1,
    "/api/v1/faults": 1,
    "/api/v1/appeals": 1,
}
SINGLE: dict[str, int] = {
    "/api/v1/plans/431228-2023": 1,
    # The battle, its groups, their brackets, targets; the task force, its heads, its members.
    f"/api/v1/battles/{BATTLE}": 7,
    # The task, its brackets, its targets.
    f"/api/v1/tasks/{TASK}": 3,
    "/api/v1/units/431228-fgj": 1,
    "/api/v1/rules/monthly-form": 1,
}


class CountingClient:
    """A client that says how many statements an answer took."""

    def __init__(self, client: httpx.AsyncClient, reader: Reader, pool: CountingDatabase, *, cached: bool) -> None:
        self.client = client
        self.reader = reader
        self.pool = pool
        self.cached = cached

    async def get(self, path: str, **headers: str) -> tuple[httpx.Response, int]:
        before = len(self.pool.statements)
        answer = await self.client.get(path, headers=headers)
        return answer, len(self.pool.statements) - before

    async def count(self, path: str) -> int:
        answer, count = await self.get(path)
        assert answer.status_code == 200, answer.text
        return count


def with_limit(path: str, limit: int) -> str:
    return f"{path}{'&' if '?' in path else '?'}limit={limit}"


@pytest_asyncio.fixture(scope="module", params=CACHE_SIZES, ids=["cache off", "cache on"])
async def counting(database: str, request: pytest.FixtureRequest) -> AsyncGenerator[CountingClient]:
    app = create_app(Settings(database_url=database))
    lifespan = app.router.lifespan_context
    readers: list[Reader] = []

    @asynccontextmanager
    async def counted(of: FastAPI) -> AsyncGenerator[dict[str, Any]]:
        async with lifespan(of) as state:
            readers.append(Reader(CountingDatabase(state["reader"].pool), FragmentCache(request.param)))
            yield {**state, "reader": readers[0]}

    app.router.lifespan_context = counted
    async with serving(app) as client:
        pool = readers[0].pool
        assert isinstance(pool, CountingDatabase)
        yield CountingClient(client, readers[0], pool, cached=request.param > 0)


@pytest.mark.parametrize("path", LISTS)
async def test_a_page_of_fifty_costs_what_a_page_of_one_costs(counting: CountingClient, path: str) -> None:
    counts = set[int]()
    for limit in (1, 50):
        counting.reader.fragments.clear()
        counts.add(await counting.count(with_limit(path, limit)))
    assert len(counts) == 1
    assert counts.pop() <= LISTS[path]


@pytest.mark.parametrize("path", SINGLE)
async def test_one_thing_costs_few_statements(counting: CountingClient, path: str) -> None:
    counting.reader.fragments.clear()
    assert await counting.count(path) <= SINGLE[path]


async def test_a_page_later_on_costs_what_the_first_costs(counting: CountingClient) -> None:
    counting.reader.fragments.clear()
    answer, first = await counting.get("/api/v1/tasks?limit=50")
    cursor = answer.json()["next_cursor"]
    assert await counting.count(f"/api/v1/tasks?limit=50&cursor={cursor}") == first


async def test_every_battle_costs_the_same(counting: CountingClient) -> None:
    counts = {await counting.count(f"/api/v1/battles/431228-2023-{ordinal}") for ordinal in range(1, 7)}
    assert len(counts) == 1


@pytest.mark.parametrize("path", ["/api/v1/tasks?limit=50", f"/api/v1/tasks/{TASK}"])
async def test_what_is_cached_is_not_read_again(counting: CountingClient, path: str) -> None:
    counting.reader.fragments.clear()
    answer, cold = await counting.get(path)
    again, warm = await counting.get(path)
    assert again.content == answer.content
    assert cold > 1
    assert warm == (1 if counting.cached else cold)


@pytest.mark.parametrize("path", ["/api/v1/tasks?limit=50", f"/api/v1/tasks/{TASK}"])
async def test_an_unchanged_answer_costs_one_statement(counting: CountingClient, path: str) -> None:
    answer, _ = await counting.get(path)
    counting.reader.fragments.clear()
    again, count = await counting.get(path, **{"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, count) == (304, 1)


async def test_a_page_half_cached_is_the_same_page(counting: CountingClient) -> None:
    counting.reader.fragments.clear()
    whole, _ = await counting.get("/api/v1/tasks?limit=50")
    counting.reader.fragments.clear()
    await counting.get("/api/v1/tasks?limit=20")
    again, count = await counting.get("/api/v1/tasks?limit=50")
    assert again.content == whole.content
    assert count <= LISTS["/api/v1/tasks"]
