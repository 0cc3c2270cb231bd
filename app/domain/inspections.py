"""一季一巡查、一考核、一通报、一曝光: the four parts of an inspection, and which are still lacking.

Attachment 5, 二(四)5: three standing teams inspect every township and line department once a quarter; each inspection
is assessed, told in a circular and exposed. We read the assessment as a score, the circular and the exposure as the
documents or reports in which they stand, and the line departments as the members of the battle's task force.
"""

from typing import Final

from app.domain.plan import Labelled

__all__ = ["DEFAULT_TEAMS", "INSPECTION_RULE", "InspectionPart", "lacking_parts"]

INSPECTION_RULE: Final = "quarterly-inspection"
"""The rule of a plan that asks for inspections."""

DEFAULT_TEAMS: Final = 3
"""How many standing teams there are, where the rule of the plan does not say otherwise."""


class InspectionPart(Labelled):
    """One of the four parts."""

    INSPECTION = "inspection", "巡查"
    ASSESSMENT = "assessment", "考核"
    CIRCULAR = "circular", "通报"
    EXPOSURE = "exposure", "曝光"


def lacking_parts(*, inspected: bool, scored: bool, told: bool, exposed: bool) -> tuple[InspectionPart, ...]:
    """The parts that are not there yet, in order."""
    there = dict(zip(InspectionPart, (inspected, scored, told, exposed), strict=True))
    return tuple(part for part, done in there.items() if not done)
