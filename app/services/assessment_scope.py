"""Whom an assessment is about: a plan, one battle of it, and the units that lead its tasks."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text

from app.clock import SHANGHAI
from app.db import Database, Query
from app.errors import AmbiguousError, Fault, unknown_reference
from app.services.reader import Reader
from app.services.units import unit_named

__all__ = ["Scope", "assessed_unit", "scope_of"]

# Where no battle is named it is the one whose rules lay down the grades; nothing here knows which that is.
_SCOPE = Query(
    text("""
    SELECT p.id AS plan, p.year, b.id AS battle, b.code, b.name FROM plans p
    LEFT JOIN battles b ON b.plan_id = p.id AND CASE
        WHEN CAST(:battle AS text) IS NULL THEN b.id = ANY(ARRAY(
            SELECT r.battle_id FROM rules r
            WHERE r.plan_id = p.id AND r.kind = 'evaluation' AND r.parameters -> 'grades' IS NOT NULL))
        ELSE b.code = CAST(:battle AS text) END
    WHERE p.code = CAST(:plan AS text)
    ORDER BY b.code
""")
)
_LEADS = Query(
    text("""
    SELECT EXISTS (
        SELECT FROM obligations o JOIN rules r ON r.id = o.rule_id
        WHERE o.unit_id = :unit AND o.battle_id = :battle AND o.task_id IS NOT NULL AND r.kind = 'reporting')
""")
)


@dataclass(frozen=True, slots=True)
class Scope:
    """The plan and the battle, by key and by code."""

    plan_key: int
    plan: str
    year: int
    battle_key: int
    battle: str
    battle_name: str

    @property
    def year_ends(self) -> datetime:
        """The first instant after the year."""
        return datetime(self.year + 1, 1, 1, tzinfo=SHANGHAI)


async def scope_of(db: Database, plan: str, battle: str | None, *, at: str = "/body") -> Scope:
    """The plan and the battle that a request names.

    Raises:
        UnknownReferenceError: there is no such plan, or no such battle in it.
        AmbiguousError: no battle is named, and several lay down grades.
    """
    rows = await db.fetch(_SCOPE, plan=plan, battle=battle)
    if not rows:
        raise unknown_reference(f"{at}/plan", "unknown_plan", f"没有总体方案 {plan}")
    if rows[0]["battle"] is None:
        detail = f"{plan} 没有规定考核等次的仗,请给出 battle" if battle is None else f"{plan} 没有仗 {battle}"
        raise unknown_reference(f"{at}/battle", "unknown_battle", detail)
    if len(rows) > 1:
        detail = f"{plan} 有多个仗规定了考核等次,请给出 battle"
        faults = [Fault(f"{at}/battle", "ambiguous_battle", detail)]
        raise AmbiguousError(detail, faults=faults, candidates=[{"battle": row["code"]} for row in rows])
    (row,) = rows
    return Scope(row["plan"], plan, row["year"], row["battle"], row["code"], row["name"])


async def assessed_unit(db: Database, reader: Reader, name: str, scope: Scope, *, at: str = "/body") -> Any:
    """The unit that a name means; it leads tasks of the battle.

    Raises:
        UnknownUnitError, AmbiguousError: the name means no unit or several.
        UnknownReferenceError: the unit leads no task of the battle.
    """
    unit = await unit_named(reader, name, scope=scope.plan, at=at)
    if not await db.fetch_value(_LEADS, unit=unit["id"], battle=scope.battle_key):
        detail = f"“{unit['name']}”不是{scope.battle_name}的牵头单位,不在考核之列"
        raise unknown_reference(f"{at}/unit", "not_assessed", detail)
    return unit
