"""The rules of a plan that ask for something every quarter, for whoever records it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text

from app.clock import day_of
from app.db import Database, Query
from app.domain.periods import Period
from app.domain.permissions import Capability, Subject, may_record_ranking
from app.domain.plan import Frequency
from app.errors import unknown_reference
from app.services.caller import Caller, forbidden
from app.services.deadlines import parsed_period
from app.services.reader import decoded

__all__ = ["QuarterRule", "demand_recorder", "quarter_rule"]

_RULE = Query(
    text("""
    SELECT p.id AS plan_id, p.year, r.id, r.battle_id, b.code AS battle, r.locator, r.parameters
    FROM plans p LEFT JOIN rules r ON r.plan_id = p.id AND r.code = :rule LEFT JOIN battles b ON b.id = r.battle_id
    WHERE p.code = :plan
""")
)


@dataclass(frozen=True, slots=True)
class QuarterRule:
    """A rule of a plan, and the quarter of the plan's year that it is asked about."""

    id: int
    code: str
    plan: str
    plan_id: int
    battle: str | None
    battle_id: int | None
    locator: str
    parameters: dict[str, Any]
    period: Period

    @property
    def subject(self) -> Subject:
        """What a right to record is asked of: the battle that the rule stands in."""
        return Subject(self.plan, self.battle)


async def quarter_rule(
    db: Database, plan: str, code: str, period: str, *, now: datetime, at: str = "/body"
) -> QuarterRule:
    """The rule of a plan and a quarter that has begun at ``now``; ``at`` is where plan and period were given.

    Raises:
        UnknownReferenceError: there is no such plan, it has no such rule, or the period is no such quarter.
    """
    row = await db.fetch_row(_RULE, plan=plan, rule=code)
    if row is None:
        raise unknown_reference(f"{at}/plan", "unknown_plan", f"没有总体方案 {plan}")
    if row["id"] is None:
        raise unknown_reference(f"{at}/plan", "no_such_rule", f"总体方案 {plan} 没有规则 {code}")
    quarter = parsed_period(period, f"{at}/period")
    if quarter.frequency is not Frequency.QUARTER:
        raise unknown_reference(f"{at}/period", "not_a_quarter", f"{period} 不是季度,须写作 {row['year']}-Q2")
    if quarter.start.year != row["year"]:
        raise unknown_reference(f"{at}/period", "outside_plan", f"{period} 不在总体方案 {plan} 的年度内")
    if quarter.start > day_of(now):
        raise unknown_reference(f"{at}/period", "period_ahead", f"{period} 尚未开始")
    return QuarterRule(
        id=row["id"],
        code=code,
        plan=plan,
        plan_id=row["plan_id"],
        battle=row["battle"],
        battle_id=row["battle_id"],
        locator=row["locator"],
        parameters=decoded(row["parameters"]),
        period=quarter,
    )


def demand_recorder(caller: Caller, subject: Subject) -> None:
    """Refuse whoever may not record what the rule of a battle, or of a plan, asks for.

    Raises:
        ForbiddenError: the caller neither coordinates the battle nor supervises the plan.
    """
    if not may_record_ranking(caller.actor, subject):
        raise forbidden(caller.actor, Capability.RECORD_RANKINGS, subject.battle or subject.plan or "")
