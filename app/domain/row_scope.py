"""What a caller may see and write of the progress, as the database's policies read it: one JSON object.

The policies compare rows with it, so that a query without its filter shows nothing more (migration 0014); its codes are
turned into keys as it is given to a statement or a transaction (migration 0016). Its parts are
those of :class:`~app.domain.visibility.Visibility`, and what may be written; a part that is empty is left out, and an
object without parts reaches nothing::

    drafts_everywhere, everything, certifies_everywhere          true
    plans, plans_with_drafts, battles, units, reports, certifies, own    [code, …]
    units_in_plans, reports_in_plans                             [[unit, plan], …]

``units`` are shown without drafts; ``reports`` are shown whole and written to; ``certifies`` are the plans whose
reports are judged, but never those of ``own`` units.
"""

import json
from collections.abc import Iterable
from typing import Any

from app.domain.roles import Actor, Role
from app.domain.visibility import UnitScope, Visibility

__all__ = ["reporting_scope", "scope_of"]


def scope_of(actor: Actor, visibility: Visibility) -> str:
    """The scope of one caller, whose rows ``visibility`` names."""
    judging = [grant for grant in actor.grants if grant.role is Role.CERTIFIER]
    own = {grant.unit for grant in actor.grants if grant.role in {Role.REPORTER, Role.CERTIFIER}}
    return _written(
        {
            "drafts_everywhere": visibility.drafts_everywhere,
            "everything": visibility.everything or visibility.drafts_everywhere,
            "plans": sorted(visibility.plans),
            "plans_with_drafts": sorted(visibility.plans_with_drafts),
            "battles": sorted(visibility.battles),
            **_units("units", (scope for scope in visibility.units if not scope.drafts)),
            **_units("reports", (scope for scope in visibility.units if scope.drafts)),
            "certifies_everywhere": any(grant.plan is None for grant in judging),
            "certifies": sorted({grant.plan for grant in judging if grant.plan is not None}),
            # Asked only of whoever judges.
            "own": sorted({unit for unit in own if unit is not None}) if judging else [],
        }
    )


def reporting_scope(visibilities: Iterable[Visibility]) -> str:
    """The scope of one statement that takes in reports of several callers: what they report for, and no more."""
    scopes = {scope for visibility in visibilities for scope in visibility.units if scope.drafts}
    return _written(_units("reports", scopes))


def _units(part: str, scopes: Iterable[UnitScope]) -> dict[str, Any]:
    held = list(scopes)
    return {
        part: sorted({scope.unit for scope in held if scope.plan is None}),
        f"{part}_in_plans": sorted({(scope.unit, scope.plan) for scope in held if scope.plan is not None}),
    }


def _written(parts: dict[str, Any]) -> str:
    return json.dumps({name: value for name, value in parts.items() if value}, separators=(",", ":"))
