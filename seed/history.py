"""Which tasks of a plan are history, so that the plan can no longer be written without them."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models import GivenFigure, Obligation, Target, Task, WorkItem

__all__ = ["tasks_of_history"]


async def tasks_of_history(
    connection: AsyncConnection, plan: int, *, without: Sequence[str], now: datetime
) -> list[tuple[str, str]]:
    """The tasks of ``plan`` that are history, but for those ``without``, each with what (Chinese) makes it so."""
    owed = or_(Obligation.due_at <= now, Obligation.submitted_at.is_not(None))
    given = select(Target.task_id).join(GivenFigure, GivenFigure.target_id == Target.id)
    kept = (
        ("已有到期或已报送的应报", select(Obligation.task_id).where(owed, Obligation.task_id.is_not(None))),
        ("已有清单事项", select(WorkItem.task_id)),
        ("已有补登的目标值", given),
    )
    found: list[tuple[str, str]] = []
    for said, tasks in kept:
        statement = select(Task.code).where(Task.plan_id == plan, Task.code.not_in(without), Task.id.in_(tasks))
        found += [(code, said) for code in (await connection.execute(statement.order_by(Task.code))).scalars()]
    return found
