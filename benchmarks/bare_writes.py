"""The yardstick of writing: bare Starlette + asyncpg + orjson inserting the rows that reports entail, in one statement.

It is told every key, checks nothing, warns of nothing and hashes nothing: what is left is what the same rows cost at
the least, triggers and durable commit included.
"""

import os
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.clock import system_clock

# Of each report, what stands in a column of its own, and the type of that column.
COLUMNS = {
    "task_id": "bigint",
    "unit_id": "bigint",
    "plan_id": "bigint",
    "battle_id": "bigint",
    "obligation_id": "bigint",
    "target_id": "bigint",
    "percent_complete": "numeric",
    "progress": "text",
    "value": "numeric",
    "period": "text",
    "chain": "text",
    "plan": "text",
    "battle": "text",
    "unit": "text",
    "task": "text",
    # The idempotency key, for those that have one.
    "key": "text",
}
# What the audit trail keeps of a report, as long as it usually is.
ACT = orjson.dumps(
    {
        "task": "430001-2023-6-1-10",
        "period": "2023-05",
        "state": "submitted",
        "revision": 1,
        "content_hash": "0" * 64,
    }
).decode()
# What is kept of an answer, as long as it usually is.
ANSWER = {"content-type": "application/json", "etag": f'"{"0" * 36}"', "location": f"/api/v1/submissions/{'0' * 36}"}
INSERT = f"""
    WITH given AS (
        SELECT * FROM unnest($2::uuid[], {", ".join(f"${n}::{kind}[]" for n, kind in enumerate(COLUMNS.values(), 3))})
                      AS g(id, {", ".join(COLUMNS)})
    ), kept AS (
        INSERT INTO submissions (task_id, id, unit_id, plan_id, battle_id, period, period_start, state, revision,
                                 version, created_at)
        SELECT task_id, id, unit_id, plan_id, battle_id, period, (period || '-01')::date, 'submitted', 1, 1, $1
        FROM given
    ), revisions AS (
        INSERT INTO submission_revisions (task_id, submission_id, revision, stage, percent_complete, progress, warnings,
                                          created_at, submitted_at, content_hash)
        SELECT task_id, id, 1, 'in_progress', percent_complete, progress, '[]', $1, $1, repeat('0', 64) FROM given
    ), figures AS (
        INSERT INTO observations (task_id, submission_id, revision, target_id, value)
        SELECT task_id, id, 1, target_id, value FROM given
    ), steps AS (
        INSERT INTO submission_transitions (task_id, submission_id, revision, action, to_state, at, actor_unit_id)
        SELECT task_id, id, 1, 'submit', 'submitted', $1, unit_id FROM given
    ), told AS (
        INSERT INTO outbox (at, type, plan, battle, unit, subject, data)
        SELECT $1, 'submission.submitted', plan, battle, unit, id,
               json_build_object('task', task, 'period', period, 'revision', 1, 'content_hash', repeat('0', 64))
        FROM given
    ), answered AS (
        INSERT INTO idempotency_keys (actor, key, fingerprint, status, headers, body, sealed, created_at, expires_at)
        SELECT 'account:k3v9x0a7pd', key, decode(repeat('00', 32), 'hex'), 201, '{orjson.dumps(ANSWER).decode()}',
               convert_to(repeat('x', 1000), 'UTF8'), false, $1, $1 + interval '1 day'
        FROM given WHERE key IS NOT NULL
    ), owed AS (
        UPDATE obligations o SET submitted_at = $1 FROM given g WHERE o.unit_id = g.unit_id AND o.id = g.obligation_id
        RETURNING o.id
    ), heads AS (
        -- Told how far each chain is, as of its keys: what the service must wait for, this need not.
        INSERT INTO audit_heads AS h (chain, position, hash)
        SELECT g.chain, count(*), decode(repeat('00', 32), 'hex') FROM given g
        WHERE (SELECT count(*) FROM owed) > 0 GROUP BY g.chain ORDER BY g.chain
        ON CONFLICT (chain) DO UPDATE SET position = h.position + excluded.position
        RETURNING h.chain, h.position
    )
    INSERT INTO audit_entries (chain, position, at, actor, actor_name, address, request_id, action, subject, plan, unit,
                               after, previous_hash, hash)
    SELECT g.chain, h.position + 1 - row_number() OVER (PARTITION BY g.chain ORDER BY g.id), $1, 'account:k3v9x0a7pd',
           '430001', '127.0.0.1', repeat('0', 32), 'submission.create', CAST(g.id AS text), g.plan, g.unit, '{ACT}',
           decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex')
    FROM given g JOIN heads h ON h.chain = g.chain
"""


async def insert(request: Request) -> Response:
    """Insert the reports of the body; answers their ids."""
    reports: list[dict[str, Any]] = orjson.loads(await request.body())["items"]
    ids = [uuid.uuid4() for _ in reports]
    columns = [[report[name] for report in reports] for name in COLUMNS]
    await request.state.pool.execute(INSERT, system_clock(), ids, *columns)
    return Response(orjson.dumps({"ids": ids}), status_code=201, media_type="application/json")


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncGenerator[dict[str, Any]]:
    settings = {"jit": "off", "plan_cache_mode": "force_generic_plan"}
    async with asyncpg.create_pool(
        os.environ["LIUZHANG_DATABASE_URL"], min_size=1, max_size=4, server_settings=settings
    ) as pool:
        yield {"pool": pool}


def create_app() -> Starlette:
    return Starlette(routes=[Route("/reports", insert, methods=["POST"])], lifespan=lifespan)
