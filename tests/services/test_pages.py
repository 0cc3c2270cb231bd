"""No page of a list of what comes in without end is sorted: it is found through the index of its order."""

import asyncpg
import pytest

from app.db import open_read_pool
from app.pagination import Listing
from app.services import grant_reads, materials, submission_reads
from tests.conftest import Clone

LISTINGS = {
    "submissions": submission_reads._LISTING,
    "materials": materials._LISTING,
    "extensions": grant_reads._EXTENSIONS,
    "waivers": grant_reads._WAIVERS,
}


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("paged", [False, True])
@pytest.mark.parametrize("name", LISTINGS)
async def test_a_page_is_found_through_the_index_of_its_order(
    clone: Clone, name: str, *, paged: bool, descending: bool
) -> None:
    plan = await _plan(clone, LISTINGS[name], paged=paged, descending=descending)
    assert f"using ix_{name}_id on {name}" in plan.replace("Scan Backward", "Scan")
    assert f"Sort Key: {name}.id" not in plan
    assert (f"Index Cond: (id {'<' if descending else '>'}" in plan) == paged


async def _plan(clone: Clone, listing: Listing, *, paged: bool, descending: bool) -> str:
    """How PostgreSQL would read a page of a table too large for anything else."""
    query = listing._query((), "id", descending=descending, paged=paged)
    async with clone() as url, open_read_pool(url, size=1) as pool, pool.acquire() as connection:
        # The tables of a test are so small that all ways cost the same.
        for way in ("seqscan", "bitmapscan", "sort", "hashjoin", "mergejoin"):
            await connection.execute(f"SET enable_{way} = off")
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        statement = await connection.prepare(query.sql)
        types = ", ".join(kind.name for kind in statement.get_parameters())
        nulls = ", ".join(["NULL"] * len(statement.get_parameters()))
        await connection.execute(f"PREPARE page ({types}) AS {query.sql}")
        rows: list[asyncpg.Record] = await connection.fetch(f"EXPLAIN EXECUTE page ({nulls})")
    return "\n".join(row[0] for row in rows)
