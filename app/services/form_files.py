"""The monthly form of a unit as a file to be filled in, with what is known of its tasks already."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import ARRAY, Text, any_, bindparam, select, text

from app.clock import SHANGHAI
from app.db import Database, Query
from app.domain.deadlines import deadline_text
from app.domain.periods import Period
from app.domain.plan import AssignmentRole, Operator, plan_of
from app.files.form_csv import write_csv
from app.files.form_workbook import write_workbook
from app.files.forms import Form, FormTarget, FormTask, aim_text
from app.models import Task
from app.rendering import Known, Rendered, tag_of
from app.schemas.file import FormFileQuery
from app.schemas.submission import FormItem, FormRead
from app.services.caller import Caller
from app.services.deadlines import parsed_period
from app.services.owed_reports import read_form
from app.services.reader import Reader
from app.services.report_checks import previous_figure_of, previous_of
from app.services.units import task_roles, unit_named

__all__ = ["get_form_file", "plan_of_form"]

_MEDIA: Final = {
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "text/csv; charset=utf-8",
}

_ROLES_OF = task_roles()
_ROLES = Query(
    select(Task.code, _ROLES_OF.c.role)
    .join(_ROLES_OF, _ROLES_OF.c.task_id == Task.id)
    .where(_ROLES_OF.c.unit_id == bindparam("unit"), Task.code == any_(bindparam("tasks", type_=ARRAY(Text))))
)
# What was reported last, and the targets that figures can be reported for.
_LAST = Query(
    text(f"""
    SELECT t.code AS task, q.percent_complete, g.code AS target, i.name, i.unit_of_measure, g.operator, g.value,
           g.value_max,
           CASE WHEN g.id IS NOT NULL THEN {
        previous_figure_of(
            "g.id",
            task="t.id",
            unit="CAST(:unit AS bigint)",
            start="CAST(:start AS date)",
            previous_id="q.submission_id",
            previous_revision="q.revision",
        )
    } END AS previous
    FROM tasks t
    LEFT JOIN LATERAL ({previous_of("t.id", "CAST(:unit AS bigint)", "CAST(:start AS date)")}) q ON true
    LEFT JOIN targets g ON g.task_id = t.id AND g.operator IS NOT NULL
    LEFT JOIN indicators i ON i.id = g.indicator_id
    WHERE t.code = ANY(CAST(:tasks AS text[]))
    ORDER BY t.sort_key, g.sort_key
""")  # noqa: S608 - of constants
)


async def get_form_file(
    reader: Reader,
    trail: Database,
    unit: str,
    period: str,
    *,
    query: FormFileQuery,
    known: Known,
    now: datetime,
    caller: Caller,
) -> tuple[Rendered, str]:
    """The form of a unit to be filled in, and the name of the file.

    Raises:
        UnknownUnitError, AmbiguousError: the unit means none or several.
        UnknownReferenceError: the period is none.
        NotFoundError: it is a form that the caller may not see.
    """
    named = await unit_named(reader, unit, scope=None, at="/path")
    of = parsed_period(period, "/path/period")
    shown = await read_form(reader, trail, named, of.code, now=now, caller=caller)
    form = await _form(reader, named, of, shown)
    # Of two files with the same content no byte need be the same: a workbook holds when it was made.
    etag = tag_of(f"{query.format} {form}".encode())
    write = write_csv if query.format == "csv" else write_workbook
    body = None if etag in known else await asyncio.to_thread(write, form)
    return Rendered(etag, body, _MEDIA[query.format]), f"{named['name']}{of.code}进度表.{query.format}"


async def _form(reader: Reader, named: Any, period: Period, shown: FormRead) -> Form:
    codes = [item.task for item in shown.items]
    roles: defaultdict[str, set[str]] = defaultdict(set)
    for row in await reader.pool.fetch(_ROLES, unit=named["id"], tasks=codes):
        roles[row["code"]].add(row["role"])
    last: defaultdict[str, list[Any]] = defaultdict(list)
    for row in await reader.pool.fetch(_LAST, unit=named["id"], start=period.start, tasks=codes):
        last[row["task"]].append(row)
    due = sorted({deadline_text(item.due_at, SHANGHAI) for item in shown.items})
    return Form(
        plan=plan_of_form(shown),
        unit=named["code"],
        unit_name=named["name"],
        period=period.code,
        due="、".join(due),
        tasks=[_task(item, roles[item.task], last[item.task]) for item in shown.items],
    )


def plan_of_form(shown: FormRead) -> str:
    """The code of the plan that the tasks of a form are of; empty where it has none."""
    return plan_of(shown.items[0].task) if shown.items else ""


def _task(item: FormItem, roles: set[str], last: Sequence[Any]) -> FormTask:
    said = item.submission
    values: dict[str, Decimal] = {one.target: one.value for one in said.observations} if said else {}
    return FormTask(
        code=item.task,
        title=item.title,
        role="、".join(role.label for role in AssignmentRole if role.value in roles),
        state=said.state if said else None,
        previous_percent=last[0]["percent_complete"],
        stage=said.stage if said else None,
        percent=said.percent_complete if said else None,
        progress=said.progress if said else None,
        problems=said.problems if said else None,
        next_steps=said.next_steps if said else None,
        targets=[
            FormTarget(
                code=row["target"],
                indicator=row["name"],
                aim=aim_text(Operator(row["operator"]), row["value"], row["value_max"]),
                measure=row["unit_of_measure"],
                previous=row["previous"],
                value=values.get(row["target"]),
            )
            for row in last
            if row["target"] is not None
        ],
    )
