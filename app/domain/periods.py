"""报送期: the spans of days that reports are owed for, and the codes that people and scripts write for them.

========= ================================ ==========================================
frequency code                             days
========= ================================ ==========================================
dekad     ``2023-04-D1`` / ``D2`` / ``D3`` 上旬 1-10, 中旬 11-20, 下旬 21 to the month's end
week      ``2023-W15``                     ISO 8601 week, Monday to Sunday
month     ``2023-04``                      calendar month
quarter   ``2023-Q2``                      calendar quarter
year      ``2023``                         calendar year
========= ================================ ==========================================

Days are calendar days of the place where the plan is carried out; an instant belongs to a period only after somebody
has said in which time zone.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from typing import Final

from app.domain.plan import Frequency

__all__ = ["MAX_YEAR", "MIN_YEAR", "Period", "parse_period", "period_of", "periods_between"]

# Room on both sides for the neighbours of a period and for what falls due after it.
MIN_YEAR: Final = 1900
MAX_YEAR: Final = 9998

_CODE: Final = re.compile(
    r"(?P<year>[0-9]{4})"
    r"(-Q(?P<quarter>[1-4])|-W(?P<week>[0-9]{2})|-(?P<month>[0-9]{2})(-D(?P<dekad>[1-3]))?)?"
)
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, order=True, slots=True)
class Period:
    """One span of days, first and last included; made by :func:`parse_period` and :func:`period_of` only.

    Periods are ordered by their start, and of two that start on one day the shorter comes first. Their days alone tell
    them apart: no dekad is as long as a week, and nothing else is as short as either.
    """

    frequency: Frequency = field(compare=False)
    code: str = field(compare=False)
    start: date
    end: date

    def next(self) -> "Period":
        """The period that begins on the day after this one; ValueError after the last that has a code."""
        return period_of(self.frequency, self.end + _DAY)

    def previous(self) -> "Period":
        """The period that ends on the day before this one; ValueError before the first that has a code."""
        return period_of(self.frequency, self.start - _DAY)

    def __contains__(self, day: date) -> bool:
        """Whether ``day`` is one of the period's days."""
        return self.start <= day <= self.end


@lru_cache(maxsize=1000)
def parse_period(code: str) -> Period:
    """Read a period's code, exactly as the table above writes it.

    Raises:
        ValueError: the text is no such code, or names a month, week or year that does not exist; in Chinese.
    """
    match = _CODE.fullmatch(code)
    if match is None:
        raise ValueError(
            "报送期须写作 2023-04(月)、2023-Q2(季)、2023(年)、"
            "2023-04-D1(旬:D1 上旬、D2 中旬、D3 下旬)或 2023-W15(周,按 ISO 8601)"
        )
    year = _known(int(match["year"]))
    if match["week"]:
        try:
            return period_of(Frequency.WEEK, date.fromisocalendar(year, int(match["week"]), 1))
        except ValueError:
            # 28 December lies in the last ISO week of its year.
            last = date(year, 12, 28).isocalendar().week
            raise ValueError(f"{code} 不存在:{year} 年只有 01 至 {last} 周") from None
    if match["quarter"]:
        return period_of(Frequency.QUARTER, date(year, 3 * int(match["quarter"]), 1))
    if not match["month"]:
        return period_of(Frequency.YEAR, date(year, 1, 1))
    month = int(match["month"])
    if not 1 <= month <= 12:
        raise ValueError(f"{code} 不存在:月份须为 01 至 12")
    if match["dekad"]:
        return period_of(Frequency.DEKAD, date(year, month, 10 * int(match["dekad"]) - 9))
    return period_of(Frequency.MONTH, date(year, month, 1))


def period_of(frequency: Frequency, day: date) -> Period:
    """Return the period of this frequency that ``day`` lies in.

    Raises:
        ValueError: the period's year (for a week its ISO year) is not within 1900-9998; in Chinese.
    """
    year, month = day.year, day.month
    match frequency:
        case Frequency.DEKAD:
            dekad = min((day.day - 1) // 10, 2)
            start = date(year, month, 10 * dekad + 1)
            end = _month_end(year, month) if dekad == 2 else date(year, month, 10 * dekad + 10)
            code = f"{year}-{month:02}-D{dekad + 1}"
        case Frequency.WEEK:
            year, week, _ = day.isocalendar()
            _known(year)
            start = date.fromisocalendar(year, week, 1)
            end = start + 6 * _DAY
            code = f"{year}-W{week:02}"
        case Frequency.MONTH:
            start, end = date(year, month, 1), _month_end(year, month)
            code = f"{year}-{month:02}"
        case Frequency.QUARTER:
            quarter = (month - 1) // 3 + 1
            start, end = date(year, 3 * quarter - 2, 1), _month_end(year, 3 * quarter)
            code = f"{year}-Q{quarter}"
        case Frequency.YEAR:
            start, end = date(year, 1, 1), date(year, 12, 31)
            code = f"{year}"
    _known(year)
    return Period(frequency, code, start, end)


def periods_between(first: Period, last: Period) -> Iterator[Period]:
    """All periods from ``first`` to ``last``, both included, in order; none where ``last`` comes before ``first``.

    Raises:
        ValueError: the two are of different frequencies; at the call, not at the first step; in Chinese.
    """
    if first.frequency is not last.frequency:
        raise ValueError(
            f"起止报送期须同为一种:{first.code} 按{first.frequency.label},{last.code} 按{last.frequency.label}"
        )
    return _walk(first, last)


def _walk(first: Period, last: Period) -> Iterator[Period]:
    if first > last:
        return
    period = first
    yield period
    # The last period that has a code has no next one, so the step comes only when another is due.
    while period < last:
        period = period.next()
        yield period


def _known(year: int) -> int:
    if not MIN_YEAR <= year <= MAX_YEAR:
        raise ValueError(f"报送期的年份须在 {MIN_YEAR} 至 {MAX_YEAR} 之间")
    return year


def _month_end(year: int, month: int) -> date:
    """The last day of a month; the day before the next month's first, which in year 9999 might not exist."""
    return date(year, 12, 31) if month == 12 else date(year, month + 1, 1) - _DAY
