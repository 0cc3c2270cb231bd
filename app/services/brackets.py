"""Responsible-unit brackets, read for tasks and for group headings alike."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ARRAY, BigInteger, any_, bindparam, or_, select

from app.db import Query
from app.models import Assignment, Clause, Unit
from app.services.reader import Reader

__all__ = ["Brackets", "leads_of", "read_brackets"]

_BRACKETS = Query(
    select(
        Clause.task_id,
        Clause.task_group_id,
        Clause.code,
        Clause.ordinal,
        Clause.summary,
        Clause.open_ended,
        Clause.note,
        Unit.code.label("unit"),
        Unit.name,
        Assignment.printed_name,
        Assignment.role,
        Assignment.position,
    )
    .join(Assignment, Assignment.clause_id == Clause.id)
    .join(Unit, Unit.id == Assignment.unit_id)
    .where(
        or_(
            Clause.task_id == any_(bindparam("tasks", type_=ARRAY(BigInteger))),
            Clause.task_group_id == any_(bindparam("groups", type_=ARRAY(BigInteger))),
        )
    )
    .order_by(Clause.task_id, Clause.task_group_id, Clause.ordinal, Assignment.position)
)


class Brackets:
    """The clauses of some tasks and groups as the API shows them, by the key of their owner."""

    __slots__ = ("of_group", "of_task")

    def __init__(self) -> None:
        """Start empty; :func:`read_brackets` fills in."""
        self.of_task: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
        self.of_group: dict[int, dict[str, Any]] = {}


async def read_brackets(reader: Reader, *, tasks: Iterable[int], groups: Iterable[int]) -> Brackets:
    """Read the brackets of ``tasks`` and of the headings of ``groups`` in one query."""
    rows = await reader.pool.fetch(_BRACKETS, tasks=list(tasks), groups=list(groups))
    brackets = Brackets()
    code = None
    assignments: list[dict[str, Any]] = []
    for task, group, clause, ordinal, summary, open_ended, note, unit, name, printed_name, role, position in rows:
        if clause != code:
            code, assignments = clause, []
            shown = {
                "code": clause,
                "ordinal": ordinal,
                "summary": summary,
                "open_ended": open_ended,
                "note": note,
                "assignments": assignments,
            }
            if task is not None:
                brackets.of_task[task].append(shown)
            else:
                brackets.of_group[group] = shown
        assignments.append(
            {"unit": unit, "name": name, "printed_name": printed_name, "role": role, "position": position}
        )
    return brackets


def leads_of(*clauses: dict[str, Any]) -> list[dict[str, str]]:
    """The lead units of several clauses, each once, in print order."""
    leads = {
        assignment["unit"]: assignment["name"]
        for clause in clauses
        for assignment in clause["assignments"]
        if assignment["role"] == "lead"
    }
    return [{"unit": unit, "name": name} for unit, name in leads.items()]
