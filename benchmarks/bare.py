"""The yardstick: bare Starlette + asyncpg + orjson answering the two hot reads with hand-written SQL.

No validation, no pages, no ETag, no error handling: what is left is what the same answer costs at the least.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

TASK = """
    SELECT id, task_group_id, code, number, title, locator, deliverables, upstream_note FROM tasks
"""
LIST = f"{TASK} WHERE battle_id = (SELECT id FROM battles WHERE code = $1) ORDER BY sort_key LIMIT $2"
ONE = f"{TASK} WHERE code = $1"
BRACKETS = """
    SELECT c.task_id, c.task_group_id, c.code, c.ordinal, c.summary, c.open_ended, c.note, u.code AS unit, u.name,
           a.printed_name, a.role, a.position
    FROM clauses c JOIN assignments a ON a.clause_id = c.id JOIN units u ON u.id = a.unit_id
    WHERE c.task_id = ANY($1::bigint[]) OR c.task_group_id = ANY($2::bigint[])
    ORDER BY c.task_id, c.task_group_id, c.ordinal, a.position
"""
TARGETS = """
    SELECT t.code, i.code AS indicator, i.name AS indicator_name, i.unit_of_measure, i.direction, i.accumulation,
           t.operator, t.value, t.value_max, t.qualitative, t.text, t.baseline, t.due_on, t.due_printed, t.locator,
           t.note
    FROM targets t JOIN indicators i ON i.id = t.indicator_id WHERE t.task_id = $1 ORDER BY t.sort_key
"""


def _shown(row: Any, clauses: list[Any], heading: Any) -> dict[str, Any]:
    task = dict(row)
    del task["id"], task["task_group_id"]
    task["group"] = task["code"].rpartition("-")[0]
    task["battle"] = task["group"].rpartition("-")[0]
    task["plan"] = task["battle"].rpartition("-")[0]
    named = [
        assignment for clause in [*clauses, *([heading] if heading else [])] for assignment in clause["assignments"]
    ]
    leads = {a["unit"]: a["name"] for a in named if a["role"] == "lead"}
    task["leads"] = [{"unit": unit, "name": name} for unit, name in leads.items()]
    task["clauses"] = clauses
    task["group_clause"] = heading
    return task


async def _brackets(pool: Any, rows: list[Any]) -> tuple[dict[int, list[Any]], dict[int, Any]]:
    of_task: dict[int, list[dict[str, Any]]] = {}
    of_group: dict[int, Any] = {}
    code = None
    assignments: list[dict[str, Any]] = []
    groups = list({row["task_group_id"] for row in rows})
    for row in await pool.fetch(BRACKETS, [row["id"] for row in rows], groups):
        if row["code"] != code:
            code, assignments = row["code"], []
            clause = {name: row[name] for name in ("code", "ordinal", "summary", "open_ended", "note")}
            clause["assignments"] = assignments
            if row["task_id"] is None:
                of_group[row["task_group_id"]] = clause
            else:
                of_task.setdefault(row["task_id"], []).append(clause)
        assignments.append({name: row[name] for name in ("unit", "name", "printed_name", "role", "position")})
    return of_task, of_group


async def list_tasks(request: Request) -> Response:
    pool = request.state.pool
    rows = await pool.fetch(LIST, request.query_params["battle"], int(request.query_params["limit"]))
    of_task, of_group = await _brackets(pool, rows)
    items = [_shown(row, of_task.get(row["id"], []), of_group.get(row["task_group_id"])) for row in rows]
    body = orjson.dumps({"items": items, "next_cursor": None, "total": None})
    return Response(body, media_type="application/json")


async def get_task(request: Request) -> Response:
    pool = request.state.pool
    row = await pool.fetchrow(ONE, request.path_params["code"])
    of_task, of_group = await _brackets(pool, [row])
    task = _shown(row, of_task.get(row["id"], []), of_group.get(row["task_group_id"]))
    owners = {name: task[name] for name in ("plan", "battle", "group")}
    owners["task"] = task["code"]
    task["targets"] = [{**target, **owners} for target in await pool.fetch(TARGETS, row["id"])]
    return Response(orjson.dumps(task, default=float), media_type="application/json")


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncGenerator[dict[str, Any]]:
    settings = {"jit": "off"}
    size = int(os.environ.get("BARE_POOL_SIZE", "4"))
    async with asyncpg.create_pool(
        os.environ["LIUZHANG_DATABASE_URL"], min_size=1, max_size=size, server_settings=settings
    ) as pool:
        yield {"pool": pool}


def create_app() -> Starlette:
    routes = [Route("/api/v1/tasks", list_tasks), Route("/api/v1/tasks/{code}", get_task)]
    return Starlette(routes=routes, lifespan=lifespan)
