"""监管执法季度排名: who is among the last, which time in the year, and what follows.

Attachment 5, 二(一)2: the city ranks in each of eight sectors the departments of its counties, by quarter. A county
department among the last three is talked to the first time, and loses the year's awards the second. Townships are
ranked by quarter as well, and nothing is said to follow. The document does not say whether the two times are to be
consecutive: either count is answered.

Among the last three is whoever has fewer than three ranked below: ``rank > of - 3``. Of several who share a rank all
have the better one, so that sharing it puts nobody among the last.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from app.domain.plan import Labelled

__all__ = [
    "LAST_PLACES",
    "RANKING_RULES",
    "SANCTION_RULES",
    "Counting",
    "Placing",
    "RankingKind",
    "Sanction",
    "is_among_last",
    "sanction_for",
    "times",
]

LAST_PLACES: Final = 3
"""How many are the last, where the rule of the plan does not say otherwise."""


class RankingKind(Labelled):
    """Which ranking it is."""

    CITY_DEPARTMENTS = "city_departments", "市八部门监管执法排名"
    COUNTY_TOWNSHIPS = "county_townships", "乡镇监管执法排名"


class Counting(Labelled):
    """How the times among the last are counted."""

    CUMULATIVE = "cumulative", "全年累计"
    CONSECUTIVE = "consecutive", "逐季连续"


RANKING_RULES: Final = MappingProxyType(
    {
        RankingKind.CITY_DEPARTMENTS: "quarterly-ranking-departments",
        RankingKind.COUNTY_TOWNSHIPS: "quarterly-ranking-townships",
    }
)
"""The rule of a plan that asks for each ranking."""

SANCTION_RULES: Final = MappingProxyType(
    {
        RankingKind.CITY_DEPARTMENTS: ("ranking-first-talk", "ranking-second-no-award"),
        RankingKind.COUNTY_TOWNSHIPS: (),
    }
)
"""The rules of a plan that say what follows from each."""


@dataclass(frozen=True, slots=True)
class Placing:
    """The place of a unit in one quarter of a year, 1 to 4."""

    quarter: int
    rank: int
    of: int


@dataclass(frozen=True, slots=True)
class Sanction:
    """What follows from the ``occurrence``-th time, and where the document says so."""

    rule: str
    occurrence: int
    measure: str
    imposed_by: str | None
    locator: str


def is_among_last(rank: int, of: int, places: int = LAST_PLACES) -> bool:
    """Whether a rank is among the last ``places`` of so many."""
    return rank > of - places


def times(placings: Sequence[Placing], counting: Counting, places: int = LAST_PLACES) -> list[tuple[Placing, int]]:
    """The quarters of a year in which a unit was among the last, in order, each with which time it was.

    Counted consecutively, a quarter in which it was not, or in which there was no ranking of it, starts anew.
    """
    found: list[tuple[Placing, int]] = []
    for placing in sorted(placings, key=lambda one: one.quarter):
        if not is_among_last(placing.rank, placing.of, places):
            continue
        follows = found and (counting is Counting.CUMULATIVE or found[-1][0].quarter == placing.quarter - 1)
        found.append((placing, found[-1][1] + 1 if follows else 1))
    return found


def sanction_for(time: int, sanctions: Sequence[Sanction]) -> Sanction | None:
    """What follows from so many times: of the later ones nothing more than from the last that the document names."""
    due = [one for one in sanctions if one.occurrence <= time]
    return max(due, key=lambda one: one.occurrence, default=None)
