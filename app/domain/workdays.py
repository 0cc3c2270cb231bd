"""Working days of the People's Republic: weekends, public holidays and 调休, as the State Council announces them.

Each November or so the State Council's office announces the holidays of the next year and the weekend days worked in
exchange. A library carries those papers; until it carries the one of a year, every answer about that year is
provisional and knows weekends only: a holiday is never guessed.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

# The library has neither annotations nor stubs. Nothing but these three names is taken from it, and their types are
# written down here.
import chinese_calendar  # pyright: ignore[reportMissingTypeStubs]

from app.domain.plan import HolidayPolicy

__all__ = ["Workday", "calendar_version", "is_workday", "shift"]

_HOLIDAYS: Final[frozenset[date]] = frozenset(chinese_calendar.holidays)
_WORKED_WEEKENDS: Final[frozenset[date]] = frozenset(chinese_calendar.workdays)
_VERSION: Final[str] = chinese_calendar.__version__

# Every year has a New Year's Day, so a year without a holiday is a year without its paper.
_KNOWN_YEARS: Final = frozenset(day.year for day in _HOLIDAYS)

# New Year's Day reaches back: the papers of 2007, 2018 and 2019 moved days as early as 29 December of the year before.
_NEXT_PAPER_FROM: Final = 25

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Workday:
    """Whether a day is worked, and whether a paper that is not out yet may still change that."""

    workday: bool
    provisional: bool


def is_workday(day: date) -> Workday:
    """Whether offices work on ``day``, a calendar day in China.

    Provisional for the years whose paper the library does not carry, and for the last week of December before one.
    """
    known = day.year in _KNOWN_YEARS
    workday = day in _WORKED_WEEKENDS or (day.weekday() < 5 and day not in _HOLIDAYS)
    if known and day.month == 12 and day.day >= _NEXT_PAPER_FROM:
        known = day.year + 1 in _KNOWN_YEARS
    return Workday(workday, provisional=not known)


def shift(day: date, policy: HolidayPolicy) -> tuple[date, bool]:
    """Move ``day`` to a workday by ``policy``; return the new day and whether any day looked at is provisional.

    A workday stays where it is, and without a policy every day does: the calendar is then not asked, so nothing is
    provisional.
    """
    if policy is HolidayPolicy.NONE:
        return day, False
    step = _DAY if policy is HolidayPolicy.NEXT_WORKDAY else -_DAY
    provisional = False
    while True:
        answer = is_workday(day)
        provisional |= answer.provisional
        if answer.workday:
            return day, provisional
        day += step


def calendar_version() -> str:
    """Name and version of the library that knows the papers, as stored with every obligation it helped to date."""
    return f"chinesecalendar {_VERSION}"
