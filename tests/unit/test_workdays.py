"""The real working calendar: weekends, holidays, 调休, and years that are not announced yet."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.plan import HolidayPolicy
from app.domain.workdays import Workday, calendar_version, is_workday, shift

days = st.dates(date(1900, 1, 1), date(9998, 12, 31))
policies = st.sampled_from(HolidayPolicy)
# A year that no paper will reach while this code is in use.
FAR_YEAR = 2999


@pytest.mark.parametrize(
    ("day", "workday"),
    [
        (date(2023, 4, 20), True),
        (date(2023, 4, 23), True),  # a Sunday worked for Labour Day
        (date(2023, 5, 1), False),
        (date(2023, 10, 7), True),  # a Saturday worked for National Day
        (date(2025, 4, 20), False),  # Sunday
        (date(2025, 7, 20), False),  # Sunday
        (date(2026, 2, 20), False),  # Friday of Spring Festival
        (date(2026, 2, 14), True),  # a Saturday worked for it
        (date(2026, 6, 20), False),  # Dragon Boat
        (date(2026, 6, 19), False),
        (date(2026, 9, 20), True),  # a Sunday worked by 调休
        (date(2024, 2, 29), True),
        (date(2022, 12, 31), False),  # moved by the paper of 2023
        (date(2023, 12, 31), False),
        (date(2018, 12, 29), True),  # a Saturday worked by the paper of 2019
    ],
)
def test_the_announced_calendar_is_known_for_certain(day: date, workday: bool) -> None:
    assert is_workday(day) == Workday(workday, provisional=False)


@given(st.dates(date(FAR_YEAR, 1, 1), date(FAR_YEAR + 50, 12, 31)) | st.dates(date(1900, 1, 1), date(1999, 12, 31)))
def test_an_unknown_year_is_provisional_and_has_weekends_only(day: date) -> None:
    assert is_workday(day) == Workday(day.weekday() < 5, provisional=True)


def test_new_years_day_of_an_unknown_year_is_not_guessed_a_holiday() -> None:
    new_year = date(FAR_YEAR, 1, 1)
    assert new_year.weekday() == 1
    assert is_workday(new_year) == Workday(workday=True, provisional=True)


def test_the_last_week_of_december_waits_for_the_paper_of_the_next_year() -> None:
    # Whichever year the library ends with: found, not written down, so that a new release does not break the test.
    last = next(year for year in range(2026, FAR_YEAR) if is_workday(date(year + 1, 6, 1)).provisional)
    assert not is_workday(date(last, 12, 24)).provisional
    assert is_workday(date(last, 12, 25)).provisional
    assert is_workday(date(last, 12, 31)).provisional
    assert not is_workday(date(last - 1, 12, 31)).provisional


@pytest.mark.parametrize(
    ("day", "following", "preceding"),
    [
        (date(2023, 4, 20), date(2023, 4, 20), date(2023, 4, 20)),
        (date(2025, 4, 20), date(2025, 4, 21), date(2025, 4, 18)),
        (date(2025, 7, 20), date(2025, 7, 21), date(2025, 7, 18)),
        (date(2026, 2, 20), date(2026, 2, 24), date(2026, 2, 14)),  # over the holiday, to the Saturday worked for it
        (date(2026, 6, 20), date(2026, 6, 22), date(2026, 6, 18)),
        (date(2026, 9, 20), date(2026, 9, 20), date(2026, 9, 20)),
        (date(2023, 10, 1), date(2023, 10, 7), date(2023, 9, 28)),
        (date(2023, 1, 1), date(2023, 1, 3), date(2022, 12, 30)),
    ],
)
def test_a_holiday_moves_to_the_workday_that_the_policy_names(day: date, following: date, preceding: date) -> None:
    assert shift(day, HolidayPolicy.NONE) == (day, False)
    assert shift(day, HolidayPolicy.NEXT_WORKDAY) == (following, False)
    assert shift(day, HolidayPolicy.PREVIOUS_WORKDAY) == (preceding, False)


def test_without_a_policy_an_unknown_year_is_as_certain_as_any() -> None:
    assert shift(date(FAR_YEAR, 1, 1), HolidayPolicy.NONE) == (date(FAR_YEAR, 1, 1), False)


@pytest.mark.parametrize("policy", [HolidayPolicy.NEXT_WORKDAY, HolidayPolicy.PREVIOUS_WORKDAY])
def test_a_day_of_an_unknown_year_moves_provisionally(policy: HolidayPolicy) -> None:
    sunday = date(FAR_YEAR, 1, 6)
    assert sunday.weekday() == 6
    moved, provisional = shift(sunday, policy)
    assert moved == (date(FAR_YEAR, 1, 7) if policy is HolidayPolicy.NEXT_WORKDAY else date(FAR_YEAR, 1, 4))
    assert provisional


@given(days, policies)
def test_a_day_lands_on_a_workday_with_none_passed_over(day: date, policy: HolidayPolicy) -> None:
    moved, provisional = shift(day, policy)
    if policy is HolidayPolicy.NONE:
        assert moved == day
        return
    assert is_workday(moved).workday
    assert (moved >= day) if policy is HolidayPolicy.NEXT_WORKDAY else (moved <= day)
    passed = [min(day, moved) + timedelta(days=n) for n in range(abs((moved - day).days) + 1)]
    assert not any(is_workday(other).workday for other in passed if other != moved)
    assert provisional == any(is_workday(other).provisional for other in passed)


@given(st.dates(date(2003, 12, 1), date(2028, 1, 31)), policies)
def test_a_later_day_never_lands_earlier(day: date, policy: HolidayPolicy) -> None:
    assert shift(day, policy)[0] <= shift(day + timedelta(days=1), policy)[0]


@pytest.mark.parametrize("policy", HolidayPolicy)
def test_the_ends_of_the_calendar_are_workdays(policy: HolidayPolicy) -> None:
    assert shift(date.min, policy)[0] == date.min
    assert shift(date.max, policy)[0] == date.max


def test_the_version_names_library_and_release() -> None:
    name, release = calendar_version().split(" ")
    assert name == "chinesecalendar"
    assert all(part.isdigit() for part in release.split("."))
