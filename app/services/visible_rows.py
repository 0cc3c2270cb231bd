"""What a caller may read, as conditions of lists: the meaning of :class:`app.domain.visibility.Visibility` in SQL.

Codes become keys in sub-selects that run once, so that the keys can be looked up in an index. Whoever may read all
costs no condition.
"""

from dataclasses import replace
from typing import Any

from sqlalchemy import ARRAY, Boolean, ColumnElement, Text, and_, any_, bindparam, func, or_, select, tuple_

from app.domain.visibility import Visibility
from app.models import Battle, Plan, Unit

__all__ = ["draft_rights", "seen_conditions", "seen_filter", "sees_draft", "whole_of"]


def _keys(model: Any, parameter: str) -> ColumnElement[Any]:
    codes = bindparam(parameter, type_=ARRAY(Text))
    return func.array(select(model.id).where(model.code == any_(codes)).correlate(None).scalar_subquery())


def _among(column: Any, model: Any, parameter: str) -> ColumnElement[bool]:
    return column == any_(_keys(model, parameter))


def _pairs(unit: Any, plan: Any, parameter: str) -> ColumnElement[bool]:
    """Units that are shown in one plan: given as unit and plan in one text each, with a blank between."""
    pair = func.unnest(bindparam(parameter, type_=ARRAY(Text))).column_valued("pair")
    found = (
        select(Unit.id, Plan.id)
        .where(Unit.code == func.split_part(pair, " ", 1), Plan.code == func.split_part(pair, " ", 2))
        .correlate(None)
    )
    return tuple_(unit, plan).in_(found)


def _with_drafts(plan: Any, unit: Any) -> ColumnElement[bool]:
    return or_(
        _among(plan, Plan, "seen_draft_plans"),
        _among(unit, Unit, "seen_draft_units"),
        _pairs(unit, plan, "seen_draft_pairs"),
    )


def sees_draft(*, plan: Any, unit: Any) -> ColumnElement[bool]:
    """Whether the caller sees the drafts of a row, for a statement that shows it to all; see :func:`draft_rights`."""
    return or_(bindparam("seen_drafts", type_=Boolean), _with_drafts(plan, unit))


def draft_rights(visibility: Visibility) -> dict[str, Any]:
    """The parameters of :func:`sees_draft` for one caller."""
    return {
        "seen_drafts": visibility.drafts_everywhere,
        "seen_draft_plans": sorted(visibility.plans_with_drafts),
        "seen_draft_units": sorted({s.unit for s in visibility.units if s.plan is None and s.drafts}),
        "seen_draft_pairs": sorted({f"{s.unit} {s.plan}" for s in visibility.units if s.plan and s.drafts}),
    }


def seen_conditions(
    *, plan: Any, unit: Any = None, battle: Any = None, draft: ColumnElement[bool] | None = None
) -> dict[str, ColumnElement[bool]]:
    """The conditions that :func:`seen_filter` switches on; the columns are keys, and ``draft`` says what is one."""
    shown = [_among(plan, Plan, "seen_plans")]
    if unit is not None:
        shown += [_among(unit, Unit, "seen_units"), _pairs(unit, plan, "seen_pairs")]
    if battle is not None:
        shown.append(_among(battle, Battle, "seen_battles"))
    if draft is None:
        return {"seen": or_(*shown)}
    with_drafts = _with_drafts(plan, unit)
    return {"seen": or_(with_drafts, and_(~draft, or_(*shown))), "handed_in": or_(with_drafts, ~draft)}


def seen_filter(visibility: Visibility, *, drafts: bool = False) -> dict[str, dict[str, Any]]:
    """The filter of a listing for one caller; ``drafts`` where its rows can be drafts. Empty: everything is shown."""
    if visibility.drafts_everywhere or (visibility.everything and not drafts):
        return {}
    own = draft_rights(visibility)
    if visibility.everything:
        return {"handed_in": own}
    seen: dict[str, Any] = {
        "seen_plans": sorted(visibility.plans | visibility.plans_with_drafts),
        "seen_battles": sorted(visibility.battles),
        "seen_units": sorted({s.unit for s in visibility.units if s.plan is None}),
        "seen_pairs": sorted({f"{s.unit} {s.plan}" for s in visibility.units if s.plan}),
    }
    return {"seen": {**seen, **own} if drafts else seen}


def whole_of(visibility: Visibility, *, battles: bool = True) -> Visibility:
    """What may be rolled up over all units: whole plans and, with ``battles``, whole battles."""
    kept = visibility.battles if battles else frozenset[str]()
    return replace(visibility, units=frozenset(), battles=kept)
