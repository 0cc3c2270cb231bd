"""No page of a list of what comes in without end is sorted: it is found through the index of its order."""

import asyncpg
import pytest

from app.db import SERVICE_ROLE, Database, open_read_pool
from app.domain.roles import Actor, parse_grant
from app.pagination import Listing, PageRequest
from app.services import grant_reads, materials, submission_reads
from app.services.caller import Caller
from app.services.visible_rows import draft_rights, seen_filter
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


MANY = """
    INSERT INTO submissions (task_id, id, unit_id, plan_id, battle_id, period, period_start, state, revision, version,
                             created_at)
        SELECT t.id, gen_random_uuid(), u.id, t.plan_id, t.battle_id, '2023-05', '2023-05-01', 'submitted', 1, 1, now()
        FROM tasks t, units u WHERE u.region_code = split_part(t.code, '-', 1);
    INSERT INTO submission_revisions (task_id, submission_id, revision, stage, percent_complete, progress, warnings,
                                      created_at, submitted_at, content_hash)
        SELECT task_id, id, 1, 'in_progress', 40, '', '[]', now(), now(), '' FROM submissions;
    ANALYZE;
"""


async def test_a_page_of_many_reports_costs_what_it_shows(clone: Clone) -> None:
    """As PostgreSQL reads it by itself, for somebody who may read all that was handed in."""
    someone = Caller(Actor("account:1", "某人", (parse_grant("reader"),)))
    request, filters = PageRequest(50, None, "-id", include_total=False), seen_filter(someone.visibility, drafts=True)
    async with clone() as url:
        connection = await asyncpg.connect(url, server_settings={"session_replication_role": "replica"})
        await connection.execute(MANY)
        await connection.close()
        async with open_read_pool(url, size=1, role=SERVICE_ROLE) as pool:
            db = Database(pool).for_caller(someone)
            rights = draft_rights(someone.visibility)
            page = await submission_reads._LISTING.page(db, request, filters, rights)
            query = submission_reads._LISTING._query(tuple(filters), "id", descending=True, paged=False)
            given = {**rights, "page_limit": request.limit + 1}
            sql, arguments = db._run(query, given)
            plan = "\n".join(row[0] for row in await pool.fetch(f"EXPLAIN {sql}", *arguments))
    assert len(page.rows) == request.limit
    assert "Scan Backward using ix_submissions_id on submissions" in plan
    assert "Sort Key: submissions.id" not in plan


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
