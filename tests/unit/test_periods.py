"""Codes of reporting periods and the days they stand for."""

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.domain.periods import MAX_YEAR, MIN_YEAR, Period, parse_period, period_of, periods_between
from app.domain.plan import Frequency

frequencies = st.sampled_from(Frequency)
days = st.dates(date(MIN_YEAR, 1, 1), date(MAX_YEAR, 12, 31))
periods = st.builds(period_of, frequencies, days)
# A year and a bit away from both ends, where every period has neighbours.
inner = st.builds(period_of, frequencies, st.dates(date(MIN_YEAR + 2, 1, 1), date(MAX_YEAR - 2, 12, 31)))


@pytest.mark.parametrize(
    ("code", "frequency", "start", "end"),
    [
        ("2023-04", Frequency.MONTH, date(2023, 4, 1), date(2023, 4, 30)),
        ("2023-12", Frequency.MONTH, date(2023, 12, 1), date(2023, 12, 31)),
        ("2023-02", Frequency.MONTH, date(2023, 2, 1), date(2023, 2, 28)),
        ("2024-02", Frequency.MONTH, date(2024, 2, 1), date(2024, 2, 29)),
        ("1900-02", Frequency.MONTH, date(1900, 2, 1), date(1900, 2, 28)),
        ("2023-Q1", Frequency.QUARTER, date(2023, 1, 1), date(2023, 3, 31)),
        ("2023-Q2", Frequency.QUARTER, date(2023, 4, 1), date(2023, 6, 30)),
        ("2023-Q4", Frequency.QUARTER, date(2023, 10, 1), date(2023, 12, 31)),
        ("2023", Frequency.YEAR, date(2023, 1, 1), date(2023, 12, 31)),
        ("9998", Frequency.YEAR, date(9998, 1, 1), date(9998, 12, 31)),
        ("2023-04-D1", Frequency.DEKAD, date(2023, 4, 1), date(2023, 4, 10)),
        ("2023-04-D2", Frequency.DEKAD, date(2023, 4, 11), date(2023, 4, 20)),
        ("2023-04-D3", Frequency.DEKAD, date(2023, 4, 21), date(2023, 4, 30)),
        ("2023-12-D3", Frequency.DEKAD, date(2023, 12, 21), date(2023, 12, 31)),
        ("2023-02-D3", Frequency.DEKAD, date(2023, 2, 21), date(2023, 2, 28)),
        ("2024-02-D3", Frequency.DEKAD, date(2024, 2, 21), date(2024, 2, 29)),
        ("2023-W15", Frequency.WEEK, date(2023, 4, 10), date(2023, 4, 16)),
        # 1 January 2023 is a Sunday and still belongs to 2022; 2024 ends on a Tuesday that belongs to 2025.
        ("2022-W52", Frequency.WEEK, date(2022, 12, 26), date(2023, 1, 1)),
        ("2023-W01", Frequency.WEEK, date(2023, 1, 2), date(2023, 1, 8)),
        ("2025-W01", Frequency.WEEK, date(2024, 12, 30), date(2025, 1, 5)),
        ("2020-W53", Frequency.WEEK, date(2020, 12, 28), date(2021, 1, 3)),
        ("2026-W53", Frequency.WEEK, date(2026, 12, 28), date(2027, 1, 3)),
        ("1900-W01", Frequency.WEEK, date(1900, 1, 1), date(1900, 1, 7)),
        ("9998-W53", Frequency.WEEK, date(9998, 12, 28), date(9999, 1, 3)),
    ],
)
def test_a_code_stands_for_its_days(code: str, frequency: Frequency, start: date, end: date) -> None:
    period = parse_period(code)
    assert (period.frequency, period.code, period.start, period.end) == (frequency, code, start, end)
    assert period_of(frequency, start) == period_of(frequency, end) == period
    assert start in period
    assert end in period
    assert start - timedelta(days=1) not in period
    assert end + timedelta(days=1) not in period


@pytest.mark.parametrize(
    "code",
    [
        "", "2023-4", "2023-04-01", "2023/04", "202304", " 2023-04", "2023-04\n", "2023-Q5", "2023-Q0", "2023-q2",
        "2023Q2", "2023-04-D0", "2023-04-D4", "2023-04-d1", "2023-D1", "2023-w15", "2023-W1", "2023-Q2-D1",
        "2023-W15-D1", "23-04", "12023-04", "-2023", "二〇二三", "2023年4月", "\uff12\uff10\uff12\uff13-04",
        "٢٠٢٣-٠٤", "x" * 10_000, "2023-04\x00",
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_the_forms_that_are_known(code: str) -> None:
    with pytest.raises(ValueError, match=r"^报送期须写作 2023-04\(月\)"):
        parse_period(code)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("2023-00", "2023-00 不存在:月份须为 01 至 12"),
        ("2023-13", "2023-13 不存在:月份须为 01 至 12"),
        ("2023-13-D1", "2023-13-D1 不存在:月份须为 01 至 12"),
        ("2023-W00", "2023-W00 不存在:2023 年只有 01 至 52 周"),
        ("2023-W53", "2023-W53 不存在:2023 年只有 01 至 52 周"),
        ("2020-W54", "2020-W54 不存在:2020 年只有 01 至 53 周"),
        ("2023-W99", "2023-W99 不存在:2023 年只有 01 至 52 周"),
        ("1899", "报送期的年份须在 1900 至 9998 之间"),
        ("0000-01", "报送期的年份须在 1900 至 9998 之间"),
        ("9999-W01", "报送期的年份须在 1900 至 9998 之间"),
        ("9999-12-D3", "报送期的年份须在 1900 至 9998 之间"),
    ],
)
def test_a_period_that_does_not_exist_is_refused_with_the_reason(code: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"不存在|年份") as caught:
        parse_period(code)
    assert str(caught.value) == message


@given(st.text(st.sampled_from("0123456789-QWD"), max_size=11))
def test_whatever_is_read_is_written_the_same_way(code: str) -> None:
    try:
        period = parse_period(code)
    except ValueError as error:
        assert "报送期" in str(error) or "不存在" in str(error)  # noqa: PT017 - most texts are no code
    else:
        assert period.code == code


@pytest.mark.parametrize(
    ("frequency", "day"),
    [
        (Frequency.MONTH, date(1899, 12, 31)),
        (Frequency.WEEK, date(1899, 12, 31)),
        (Frequency.WEEK, date.max),
        (Frequency.MONTH, date.max),
        (Frequency.DEKAD, date.max),
        (Frequency.QUARTER, date.max),
        (Frequency.YEAR, date.max),
        (Frequency.WEEK, date.min),
    ],
)
def test_a_day_too_far_away_has_no_period(frequency: Frequency, day: date) -> None:
    with pytest.raises(ValueError, match="年份须在 1900 至 9998 之间"):
        period_of(frequency, day)


@pytest.mark.parametrize("frequency", Frequency)
def test_the_first_and_the_last_period_end_the_line(frequency: Frequency) -> None:
    first, last = period_of(frequency, date(1900, 1, 1)), period_of(frequency, date(9998, 12, 31))
    with pytest.raises(ValueError, match="年份"):
        first.previous()
    with pytest.raises(ValueError, match="年份"):
        last.next()
    assert list(periods_between(last.previous(), last)) == [last.previous(), last]


@pytest.mark.parametrize(
    ("code", "following"),
    [
        ("2023-12", "2024-01"),
        ("2023-Q4", "2024-Q1"),
        ("2023", "2024"),
        ("2023-02-D3", "2023-03-D1"),
        ("2023-12-D3", "2024-01-D1"),
        ("2023-04-D1", "2023-04-D2"),
        ("2020-W53", "2021-W01"),
        ("2023-W52", "2024-W01"),
        ("2022-W52", "2023-W01"),
    ],
)
def test_periods_follow_each_other_over_months_and_years(code: str, following: str) -> None:
    assert parse_period(code).next().code == following
    assert parse_period(following).previous().code == code


@given(periods)
def test_a_code_reads_back_as_its_period(period: Period) -> None:
    again = parse_period(period.code)
    assert again == period
    assert (again.frequency, again.code) == (period.frequency, period.code)


@given(inner)
def test_next_and_previous_undo_each_other(period: Period) -> None:
    assert period.previous().next() == period.next().previous() == period


@given(inner)
def test_periods_leave_no_day_out_and_share_none(period: Period) -> None:
    assert period.next().start - period.end == timedelta(days=1)
    assert period.previous() < period < period.next()
    assert period.start <= period.end


@given(frequencies, days)
def test_every_day_lies_in_its_period(frequency: Frequency, day: date) -> None:
    period = period_of(frequency, day)
    assert day in period
    assert period.frequency is frequency


@given(periods, periods)
def test_periods_are_ordered_by_their_start_and_equal_only_to_themselves(one: Period, other: Period) -> None:
    if one.start != other.start:
        assert (one < other) == (one.start < other.start)
    assert (one == other) == (one.code == other.code)
    assert (one == other) <= (hash(one) == hash(other))


def test_periods_with_the_same_start_are_all_different() -> None:
    codes = ["2024-01-D1", "2024-W01", "2024-01", "2024-Q1", "2024"]
    assert [period.code for period in sorted(map(parse_period, reversed(codes)))] == [
        "2024-W01", "2024-01-D1", "2024-01", "2024-Q1", "2024",
    ]  # fmt: skip
    assert len(set(map(parse_period, codes))) == 5


def test_the_monthly_form_of_2023_has_nine_periods() -> None:
    months = periods_between(parse_period("2023-04"), parse_period("2023-12"))
    assert [period.code for period in months] == [f"2023-{month:02}" for month in range(4, 13)]


@pytest.mark.parametrize(
    ("first", "last", "count"),
    [("2023-04-D1", "2023-12-D3", 27), ("2023-W14", "2023-W52", 39), ("2023-Q2", "2023-Q4", 3), ("2023", "2023", 1)],
)
def test_periods_between_counts_both_ends(first: str, last: str, count: int) -> None:
    assert len(list(periods_between(parse_period(first), parse_period(last)))) == count


def test_nothing_lies_between_a_period_and_an_earlier_one() -> None:
    assert list(periods_between(parse_period("2023-05"), parse_period("2023-04"))) == []


def test_periods_of_two_frequencies_have_nothing_between_them() -> None:
    with pytest.raises(ValueError, match=r"2023-04 按月,2023-Q4 按季"):
        # The call itself refuses: nobody has to take a step first.
        periods_between(parse_period("2023-04"), parse_period("2023-Q4"))


@given(inner, st.integers(0, 60))
def test_a_walk_is_unbroken(first: Period, steps: int) -> None:
    last = first
    for _ in range(steps):
        assume(last.end.year < MAX_YEAR)
        last = last.next()
    walk = list(periods_between(first, last))
    assert len(walk) == steps + 1
    assert all(one.next() == other for one, other in pairwise(walk))
