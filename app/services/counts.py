"""Counts that plans and battles show of what they hold."""

from typing import Any

from sqlalchemy import distinct, func, select

from app.models import (
    Assignment,
    Clause,
    Task,
    TaskGroup,
)

__all__ = ["count_of", "units_named"]


def count_of(model: Any, *conditions: Any) -> Any:
    """How many rows of ``model`` meet ``conditions``, as a column of the query around it."""
    return select(func.count()).select_from(model).where(*conditions).scalar_subquery()


def units_named(*scope: Any) -> Any:
    """How many units the brackets of some groups, and of the tasks in them, name."""
    return (
        select(func.count(distinct(Assignment.unit_id)))
        .join(Clause, Clause.id == Assignment.clause_id)
        .outerjoin(Task, Task.id == Clause.task_id)
        .join(TaskGroup, TaskGroup.id == func.coalesce(Clause.task_group_id, Task.task_group_id))
        .where(*scope)
        .scalar_subquery()
    )
