"""The 20th to the microsecond: due instants, verdicts, and the sentences that explain them."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.deadlines import (
    Due,
    DueRule,
    Facts,
    LateStage,
    ObligationStatus,
    Verdict,
    due_of,
    explain,
    judge,
)
from app.domain.periods import Period, parse_period, period_of
from app.domain.plan import Frequency, HolidayPolicy

SHANGHAI = ZoneInfo("Asia/Shanghai")
NEW_YORK = ZoneInfo("America/New_York")
TICK = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)

# Rule 1 of the document, as it is seeded.
THE_20TH = DueRule(frequency=Frequency.MONTH, due_day=20, time_zone=SHANGHAI)


def at(text: str) -> datetime:
    """An instant; without an offset it is Shanghai's."""
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=SHANGHAI)


def facts_of(due: Due, *, submitted: datetime | None = None, filed: datetime | None = None) -> Facts:
    return Facts(
        due_at=due.due_at,
        effective_due_at=due.due_at,
        lock_at=due.lock_at,
        submitted_at=submitted,
        filed_at=filed,
    )


# Due instants ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("due_day", "inclusive", "expected"),
    [
        (20, True, "2023-04-20T23:59:59.999999+08:00"),
        (20, False, "2023-04-19T23:59:59.999999+08:00"),
        (1, False, "2023-03-31T23:59:59.999999+08:00"),
        (30, True, "2023-04-30T23:59:59.999999+08:00"),
        (31, True, "2023-04-30T23:59:59.999999+08:00"),
        (31, False, "2023-04-29T23:59:59.999999+08:00"),
        (None, True, "2023-04-30T23:59:59.999999+08:00"),
    ],
)
def test_the_due_instant_is_the_last_that_is_on_time(due_day: int | None, inclusive: bool, expected: str) -> None:
    rule = replace(THE_20TH, due_day=due_day, inclusive=inclusive)
    due = due_of(rule, parse_period("2023-04"))
    assert due.due_at.isoformat() == expected
    assert due.due_at.tzinfo is SHANGHAI
    assert not due.provisional


@pytest.mark.parametrize(
    ("period", "due_day", "offset", "due_on", "lock_on"),
    [
        ("2023-04", 20, 0, date(2023, 4, 20), date(2023, 5, 20)),
        ("2023-12", 20, 0, date(2023, 12, 20), date(2024, 1, 20)),
        ("2023-11", 20, 1, date(2023, 12, 20), date(2024, 1, 20)),
        ("2023-12", 5, 1, date(2024, 1, 5), date(2024, 2, 5)),
        ("2023-12", 5, 12, date(2024, 12, 5), date(2025, 1, 5)),
        ("2023-01", 31, 1, date(2023, 2, 28), date(2023, 3, 31)),
        ("2024-01", 30, 1, date(2024, 2, 29), date(2024, 3, 30)),
        ("2023-01", None, 1, date(2023, 2, 28), date(2023, 3, 31)),
        ("2023-11", None, 1, date(2023, 12, 31), date(2024, 1, 31)),
        ("2023-Q1", None, 0, date(2023, 3, 31), date(2023, 6, 30)),
        ("2023-Q1", None, 1, date(2023, 4, 30), date(2023, 7, 31)),
        ("2023-Q4", 10, 1, date(2024, 1, 10), date(2024, 4, 10)),
        ("2023-Q2", 20, 0, date(2023, 6, 20), date(2023, 9, 20)),
        ("2023", None, 0, date(2023, 12, 31), date(2024, 12, 31)),
        ("2023", 31, 1, date(2024, 1, 31), date(2025, 1, 31)),
        ("2023-04-D1", None, 0, date(2023, 4, 10), date(2023, 4, 20)),
        ("2023-02-D3", None, 0, date(2023, 2, 28), date(2023, 3, 10)),
        ("2023-12-D3", None, 0, date(2023, 12, 31), date(2024, 1, 10)),
        ("2023-W52", None, 0, date(2023, 12, 31), date(2024, 1, 7)),
        ("2020-W53", None, 0, date(2021, 1, 3), date(2021, 1, 10)),
    ],
)
def test_due_and_lock_fall_on_their_days(
    period: str, due_day: int | None, offset: int, due_on: date, lock_on: date
) -> None:
    parsed = parse_period(period)
    rule = DueRule(frequency=parsed.frequency, due_day=due_day, due_month_offset=offset, time_zone=SHANGHAI)
    due = due_of(rule, parsed)
    assert (due.due_at.date(), due.lock_at.date()) == (due_on, lock_on)
    assert not due.provisional


@pytest.mark.parametrize(
    ("period", "policy", "inclusive", "due_on"),
    [
        ("2023-04", HolidayPolicy.NONE, True, date(2023, 4, 20)),
        ("2023-04", HolidayPolicy.NEXT_WORKDAY, True, date(2023, 4, 20)),
        ("2023-04", HolidayPolicy.PREVIOUS_WORKDAY, True, date(2023, 4, 20)),
        ("2025-04", HolidayPolicy.NONE, True, date(2025, 4, 20)),
        ("2025-04", HolidayPolicy.NEXT_WORKDAY, True, date(2025, 4, 21)),
        ("2025-04", HolidayPolicy.PREVIOUS_WORKDAY, True, date(2025, 4, 18)),
        ("2025-07", HolidayPolicy.NEXT_WORKDAY, True, date(2025, 7, 21)),
        ("2025-07", HolidayPolicy.PREVIOUS_WORKDAY, True, date(2025, 7, 18)),
        ("2026-02", HolidayPolicy.NONE, True, date(2026, 2, 20)),
        ("2026-02", HolidayPolicy.NEXT_WORKDAY, True, date(2026, 2, 24)),
        ("2026-02", HolidayPolicy.PREVIOUS_WORKDAY, True, date(2026, 2, 14)),
        ("2026-06", HolidayPolicy.NEXT_WORKDAY, True, date(2026, 6, 22)),
        ("2026-06", HolidayPolicy.PREVIOUS_WORKDAY, True, date(2026, 6, 18)),
        ("2026-09", HolidayPolicy.NEXT_WORKDAY, True, date(2026, 9, 20)),
        ("2026-09", HolidayPolicy.PREVIOUS_WORKDAY, True, date(2026, 9, 20)),
        # The due day moves first; then the day that it became is already late.
        ("2025-04", HolidayPolicy.NONE, False, date(2025, 4, 19)),
        ("2025-04", HolidayPolicy.NEXT_WORKDAY, False, date(2025, 4, 20)),
        ("2025-04", HolidayPolicy.PREVIOUS_WORKDAY, False, date(2025, 4, 17)),
    ],
)
def test_the_holiday_policy_moves_the_due_day(
    period: str, policy: HolidayPolicy, inclusive: bool, due_on: date
) -> None:
    due = due_of(replace(THE_20TH, holiday_policy=policy, inclusive=inclusive), parse_period(period))
    assert due.due_at == datetime(due_on.year, due_on.month, due_on.day, 23, 59, 59, 999999, tzinfo=SHANGHAI)
    assert not due.provisional


@pytest.mark.parametrize("policy", HolidayPolicy)
def test_a_year_without_its_paper_is_provisional_only_where_the_calendar_counts(policy: HolidayPolicy) -> None:
    due = due_of(replace(THE_20TH, holiday_policy=policy), parse_period("2999-06"))
    assert due.provisional == (policy is not HolidayPolicy.NONE)


def test_a_lock_in_a_year_without_its_paper_is_provisional_too() -> None:
    known = date(2026, 1, 1)
    rule = replace(THE_20TH, holiday_policy=HolidayPolicy.NEXT_WORKDAY)
    while not due_of(rule, period_of(Frequency.MONTH, known.replace(month=6))).provisional:
        known = known.replace(year=known.year + 1)
    last_december = parse_period(f"{known.year - 1}-12")
    assert not due_of(rule, last_december.previous()).provisional
    assert due_of(rule, last_december).provisional


def test_a_rule_asks_for_its_own_kind_of_period() -> None:
    with pytest.raises(ValueError, match="2023-Q2 不是按月报送的报送期"):
        due_of(THE_20TH, parse_period("2023-Q2"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"frequency": Frequency.MONTH, "due_day": 0}, "截止日须为 1 至 31"),
        ({"frequency": Frequency.MONTH, "due_day": 32}, "截止日须为 1 至 31"),
        ({"frequency": Frequency.MONTH, "due_month_offset": -1}, "截止月"),
        ({"frequency": Frequency.MONTH, "remind_days": -1}, "提醒天数"),
        ({"frequency": Frequency.DEKAD, "due_days_after": -1}, "报送期末当日或之后"),
        ({"frequency": Frequency.MONTH, "due_days_after": 3, "due_day": 5}, "不能另定截止日或截止月"),
        ({"frequency": Frequency.MONTH, "due_days_after": 3, "due_month_offset": 1}, "不能另定截止日或截止月"),
        ({"frequency": Frequency.WEEK, "due_day": 5}, "按周报送的,截止日按期末"),
        ({"frequency": Frequency.DEKAD, "due_month_offset": 1}, "按旬报送的,截止日按期末"),
    ],
)
def test_a_rule_without_sense_is_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DueRule(time_zone=SHANGHAI, **arguments)


@pytest.mark.parametrize(
    ("period", "due_on", "locked_on"),
    [
        ("2023-04-D1", (2023, 4, 13), (2023, 4, 23)),
        ("2023-02-D3", (2023, 3, 3), (2023, 3, 13)),
        ("2023-12-D3", (2024, 1, 3), (2024, 1, 13)),
        ("2023-W15", (2023, 4, 19), (2023, 4, 26)),
    ],
)
def test_days_are_counted_from_the_end_of_a_period(
    period: str, due_on: tuple[int, int, int], locked_on: tuple[int, int, int]
) -> None:
    wanted = parse_period(period)
    due = due_of(DueRule(frequency=wanted.frequency, due_days_after=3, time_zone=SHANGHAI), wanted)
    assert (due.due_at.date(), due.lock_at.date()) == (date(*due_on), date(*locked_on))


@pytest.mark.parametrize(("period", "offset"), [("9998-12", 0), ("9998-11", 1), ("9998-11", 12), ("9990-01", 5000)])
def test_what_falls_due_after_the_last_year_is_refused(period: str, offset: int) -> None:
    with pytest.raises(ValueError, match="9998"):
        due_of(replace(THE_20TH, due_month_offset=offset), parse_period(period))


def test_a_day_whose_last_hour_comes_twice_ends_with_the_second() -> None:
    # Sao Paulo put its clocks back from midnight to 23:00.
    rule = DueRule(frequency=Frequency.MONTH, due_day=17, time_zone=ZoneInfo("America/Sao_Paulo"))
    due = due_of(rule, parse_period("2018-02"))
    assert due.due_at.isoformat() == "2018-02-17T23:59:59.999999-03:00"
    assert (due.due_at.astimezone(UTC) + TICK).isoformat() == "2018-02-18T03:00:00+00:00"


@st.composite
def rules(draw: st.DrawFn) -> DueRule:
    frequency = draw(st.sampled_from(Frequency))
    counts_months = frequency not in {Frequency.DEKAD, Frequency.WEEK}
    return DueRule(
        frequency=frequency,
        due_day=draw(st.none() | st.integers(1, 31)) if counts_months else None,
        due_month_offset=draw(st.integers(0, 12)) if counts_months else 0,
        inclusive=draw(st.booleans()),
        holiday_policy=draw(st.sampled_from(HolidayPolicy)),
        time_zone=draw(st.sampled_from([SHANGHAI, NEW_YORK, UTC])),
        remind_days=draw(st.integers(0, 60)),
    )


# Around the years of the real calendar, where weekends, holidays and 调休 are.
plan_days = st.dates(date(2020, 1, 1), date(2030, 12, 31))


@given(rules(), plan_days)
def test_due_instants_follow_the_order_of_their_periods(rule: DueRule, day: date) -> None:
    period = period_of(rule.frequency, day)
    this, following = due_of(rule, period), due_of(rule, period.next())
    assert this.due_at <= this.lock_at == following.due_at
    # Only a holiday longer than a week can bring two due days together.
    if rule.frequency is not Frequency.WEEK:
        assert this.due_at < this.lock_at


@given(rules(), plan_days)
def test_a_due_instant_ends_a_day_of_the_rules_zone(rule: DueRule, day: date) -> None:
    due_at = due_of(rule, period_of(rule.frequency, day)).due_at
    first_late = (due_at.astimezone(UTC) + TICK).astimezone(rule.time_zone)
    assert first_late.date() == due_at.date() + DAY
    assert (first_late.hour, first_late.minute, first_late.second, first_late.microsecond) == (0, 0, 0, 0)


@given(rules(), st.dates(date(1900, 1, 1), date(9998, 12, 31)))
def test_every_period_has_a_due_instant_or_a_reason_in_chinese(rule: DueRule, day: date) -> None:
    period = period_of(rule.frequency, day)
    try:
        assert due_of(rule, period).due_at.tzinfo is rule.time_zone
    except ValueError as error:
        assert day.year >= 9996
        assert "9998" in str(error)  # noqa: PT017 - either outcome is right, each in its years


# Verdicts -------------------------------------------------------------------------------------------------------------

APRIL = due_of(THE_20TH, parse_period("2023-04"))
ON_TIME, LATE = ObligationStatus.ON_TIME, ObligationStatus.LATE
UNIT, CERTIFICATION = LateStage.UNIT, LateStage.CERTIFICATION


@pytest.mark.parametrize(
    ("as_of", "remind_days", "expected"),
    [
        ("2023-04-01T00:00:00", 5, Verdict(ObligationStatus.UPCOMING, None, None, None)),
        # Five days with the 20th as the last: from the beginning of the 16th.
        ("2023-04-15T23:59:59.999999", 5, Verdict(ObligationStatus.UPCOMING, None, None, None)),
        ("2023-04-16T00:00:00", 5, Verdict(ObligationStatus.DUE_SOON, None, None, None)),
        ("2023-04-19T23:59:59.999999", 1, Verdict(ObligationStatus.UPCOMING, None, None, None)),
        ("2023-04-20T00:00:00", 1, Verdict(ObligationStatus.DUE_SOON, None, None, None)),
        ("2023-04-20T23:59:59.999999", 5, Verdict(ObligationStatus.DUE_SOON, None, None, None)),
        ("2023-04-20T23:59:59.999999", 0, Verdict(ObligationStatus.UPCOMING, None, None, None)),
        ("2023-04-21T00:00:00", 5, Verdict(ObligationStatus.OVERDUE, 1, UNIT, False)),
        ("2023-04-22T00:00:00", 5, Verdict(ObligationStatus.OVERDUE, 86401, UNIT, False)),
        ("2023-05-20T23:59:59.999999", 5, Verdict(ObligationStatus.OVERDUE, 30 * 86400, UNIT, False)),
        ("2023-05-21T00:00:00", 5, Verdict(ObligationStatus.MISSED, 30 * 86400 + 1, UNIT, False)),
        ("2024-05-21T00:00:00", 5, Verdict(ObligationStatus.MISSED, 396 * 86400 + 1, UNIT, False)),
    ],
)
def test_what_is_not_filed_runs_from_upcoming_to_missed(as_of: str, remind_days: int, expected: Verdict) -> None:
    assert judge(facts_of(APRIL), as_of=at(as_of), remind_days=remind_days) == expected


@pytest.mark.parametrize(
    ("submitted", "filed", "expected"),
    [
        ("2023-04-18T09:00:00", "2023-04-19T09:00:00", Verdict(ON_TIME, None, None, True)),
        ("2023-04-20T23:59:59.999999", "2023-04-20T23:59:59.999999", Verdict(ON_TIME, None, None, True)),
        ("2023-04-20T23:59:59.999999", "2023-04-21T00:00:00", Verdict(LATE, 1, CERTIFICATION, False)),
        ("2023-04-21T00:00:00", "2023-04-21T00:00:00", Verdict(LATE, 1, UNIT, False)),
        ("2023-04-21T00:00:00", "2023-04-21T00:00:00.999999", Verdict(LATE, 1, UNIT, False)),
        ("2023-04-21T00:00:00", "2023-04-21T00:00:01", Verdict(LATE, 2, UNIT, False)),
        ("2023-04-18T09:00:00", "2023-04-25T09:00:00", Verdict(LATE, 4 * 86400 + 9 * 3600 + 1, CERTIFICATION, False)),
        (None, "2023-04-25T09:00:00", Verdict(LATE, 4 * 86400 + 9 * 3600 + 1, UNIT, False)),
        # After the lock it can only have come through an extension; it came all the same.
        ("2023-06-01T00:00:00", "2023-06-01T00:00:00", Verdict(LATE, 41 * 86400 + 1, UNIT, False)),
    ],
)
def test_what_is_filed_is_on_time_or_late_by_the_stage_that_lost_it(
    submitted: str | None, filed: str, expected: Verdict
) -> None:
    facts = facts_of(APRIL, submitted=at(submitted) if submitted else None, filed=at(filed))
    assert judge(facts, as_of=at("2024-01-01T00:00:00"), remind_days=5) == expected


@pytest.mark.parametrize(
    ("as_of", "status", "stage"),
    [
        ("2023-04-17T00:00:00", ObligationStatus.DUE_SOON, None),
        ("2023-04-19T00:00:00", ObligationStatus.DUE_SOON, None),
        ("2023-04-22T00:00:00", ObligationStatus.OVERDUE, CERTIFICATION),
        ("2023-04-25T08:59:59.999999", ObligationStatus.OVERDUE, CERTIFICATION),
        ("2023-04-25T09:00:00", ObligationStatus.LATE, CERTIFICATION),
        ("2023-06-25T09:00:00", ObligationStatus.LATE, CERTIFICATION),
    ],
)
def test_what_happened_later_has_not_happened_yet(
    as_of: str, status: ObligationStatus, stage: LateStage | None
) -> None:
    facts = facts_of(APRIL, submitted=at("2023-04-18T09:00:00"), filed=at("2023-04-25T09:00:00"))
    verdict = judge(facts, as_of=at(as_of), remind_days=5)
    assert (verdict.status, verdict.late_stage) == (status, stage)


def test_a_report_that_waits_for_certification_beyond_the_lock_is_missed_by_the_certification() -> None:
    facts = facts_of(APRIL, submitted=at("2023-04-18T09:00:00"))
    verdict = judge(facts, as_of=at("2023-06-01T00:00:00"), remind_days=5)
    assert (verdict.status, verdict.late_stage) == (ObligationStatus.MISSED, CERTIFICATION)


def test_a_report_handed_in_after_the_time_waits_at_the_units_own_cost() -> None:
    facts = facts_of(APRIL, submitted=at("2023-04-21T00:00:00"))
    verdict = judge(facts, as_of=at("2023-04-22T00:00:00"), remind_days=5)
    assert (verdict.status, verdict.late_stage) == (ObligationStatus.OVERDUE, UNIT)


@pytest.mark.parametrize("filed", [None, "2023-04-18T09:00:00", "2023-06-18T09:00:00"])
def test_what_is_waived_is_never_late(filed: str | None) -> None:
    facts = replace(facts_of(APRIL, filed=at(filed) if filed else None), waived=True)
    expected = Verdict(ObligationStatus.WAIVED, None, None, None)
    assert judge(facts, as_of=at("2024-01-01T00:00:00"), remind_days=5) == expected


A_FEW_DAYS = "2023-04-25T23:59:59.999999"
BEYOND_LOCK = "2023-06-30T12:00:00"


@pytest.mark.parametrize(
    ("extended_to", "filed", "as_of", "expected"),
    [
        (A_FEW_DAYS, None, "2023-04-20T12:00:00", Verdict(ObligationStatus.UPCOMING, None, None, None)),
        (A_FEW_DAYS, None, "2023-04-22T12:00:00", Verdict(ObligationStatus.DUE_SOON, None, None, False)),
        (A_FEW_DAYS, None, "2023-04-26T00:00:00", Verdict(ObligationStatus.OVERDUE, 1, UNIT, False)),
        (A_FEW_DAYS, None, "2023-05-21T00:00:00", Verdict(ObligationStatus.MISSED, 25 * 86400 + 1, UNIT, False)),
        (A_FEW_DAYS, "2023-04-20T12:00:00", "2023-06-01T00:00:00", Verdict(ON_TIME, None, None, True)),
        (A_FEW_DAYS, "2023-04-25T12:00:00", "2023-06-01T00:00:00", Verdict(ON_TIME, None, None, False)),
        (A_FEW_DAYS, "2023-04-26T00:00:00", "2023-06-01T00:00:00", Verdict(LATE, 1, UNIT, False)),
        # Beyond the lock the extension moves it along: there is nothing between on time and missed.
        (BEYOND_LOCK, None, "2023-06-30T12:00:00", Verdict(ObligationStatus.DUE_SOON, None, None, False)),
        (BEYOND_LOCK, None, "2023-06-30T12:00:00.000001", Verdict(ObligationStatus.MISSED, 1, UNIT, False)),
        (BEYOND_LOCK, "2023-06-30T12:00:00", "2023-07-01T00:00:00", Verdict(ON_TIME, None, None, False)),
    ],
)
def test_an_extension_counts_and_the_original_time_stays_visible(
    extended_to: str, filed: str | None, as_of: str, expected: Verdict
) -> None:
    facts = replace(facts_of(APRIL, filed=at(filed) if filed else None), effective_due_at=at(extended_to))
    assert judge(facts, as_of=at(as_of), remind_days=5) == expected


def test_lateness_is_time_gone_by_not_the_difference_of_two_clocks() -> None:
    # New York put its clocks back an hour in the night between.
    due = due_of(DueRule(frequency=Frequency.MONTH, due_day=4, time_zone=NEW_YORK), parse_period("2023-11"))
    filed = datetime(2023, 11, 5, 3, 0, tzinfo=NEW_YORK)
    verdict = judge(facts_of(due, filed=filed), as_of=filed, remind_days=5)
    assert verdict.late_by_seconds == 4 * 3600 + 1


offsets = st.integers(-14 * 60 + 1, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
instants = st.datetimes(datetime(2023, 3, 1), datetime(2023, 7, 31), timezones=st.just(UTC))  # noqa: DTZ001 - st.datetimes wants naive bounds


def filed_at(instant: datetime, due: Due = APRIL) -> ObligationStatus:
    """What a filing at this instant would be."""
    return judge(facts_of(due, submitted=instant, filed=instant), as_of=instant, remind_days=5).status


@given(offsets)
def test_the_20th_ends_at_the_same_instant_in_every_offset(offset: tzinfo) -> None:
    last = at("2023-04-20T23:59:59.999999").astimezone(offset)
    first = at("2023-04-21T00:00:00").astimezone(offset)
    assert last.utcoffset() == offset.utcoffset(None)
    assert filed_at(last) is ON_TIME
    assert filed_at(first) is LATE
    assert last + TICK == first


@given(instants, instants)
def test_on_time_turns_to_late_once_and_never_back(one: datetime, other: datetime) -> None:
    earlier, later = sorted((one, other))
    assert (filed_at(earlier), filed_at(later)) in {(ON_TIME, ON_TIME), (ON_TIME, LATE), (LATE, LATE)}
    assert filed_at(one) is (ON_TIME if one <= APRIL.due_at else LATE)


@given(rules(), plan_days)
def test_every_rule_turns_at_its_due_instant(rule: DueRule, day: date) -> None:
    due = due_of(rule, period_of(rule.frequency, day))
    turn = due.due_at.astimezone(UTC)
    assert filed_at(turn - TICK, due) is filed_at(turn, due) is ON_TIME
    assert filed_at(turn + TICK, due) is LATE


@st.composite
def histories(draw: st.DrawFn) -> Facts:
    """Any obligation of April, its instants written in any offset; what is filed was handed in before."""
    submitted = draw(st.none() | instants)
    filed = draw(st.none() | instants) if submitted else None
    if submitted and filed:
        submitted, filed = sorted((submitted, filed))
    extension = draw(st.none() | instants)
    effective = max(extension, APRIL.due_at) if extension else APRIL.due_at
    offset = draw(offsets)
    return Facts(
        due_at=APRIL.due_at.astimezone(offset),
        effective_due_at=effective,
        lock_at=APRIL.lock_at,
        submitted_at=submitted.astimezone(offset) if submitted else None,
        filed_at=filed.astimezone(offset) if filed else None,
        waived=draw(st.booleans()),
    )


ORDER = [
    ObligationStatus.UPCOMING,
    ObligationStatus.DUE_SOON,
    ObligationStatus.OVERDUE,
    ObligationStatus.MISSED,
]


@given(histories(), instants, instants)
def test_without_a_filing_time_only_makes_it_worse(facts: Facts, one: datetime, other: datetime) -> None:
    facts = replace(facts, filed_at=None, waived=False)
    earlier, later = (judge(facts, as_of=instant, remind_days=5) for instant in sorted((one, other)))
    assert ORDER.index(earlier.status) <= ORDER.index(later.status)
    assert (earlier.late_by_seconds or 0) <= (later.late_by_seconds or 0)


@given(histories(), instants, instants, instants)
def test_a_filing_settles_the_verdict_for_good(facts: Facts, filed: datetime, one: datetime, other: datetime) -> None:
    facts = replace(facts, filed_at=filed, waived=False)
    first, second = (max(filed, instant) for instant in (one, other))
    verdict = judge(facts, as_of=first, remind_days=5)
    assert verdict == judge(facts, as_of=second, remind_days=5)
    assert verdict.status is (ON_TIME if filed <= facts.effective_due_at else LATE)


@given(histories(), instants, offsets, st.integers(0, 60))
def test_a_verdict_does_not_depend_on_how_its_instants_are_written(
    facts: Facts, as_of: datetime, offset: timezone, remind_days: int
) -> None:
    rewritten = replace(
        facts,
        due_at=facts.due_at.astimezone(offset),
        effective_due_at=facts.effective_due_at.astimezone(offset),
        lock_at=facts.lock_at.astimezone(offset),
        submitted_at=facts.submitted_at and facts.submitted_at.astimezone(offset),
        filed_at=facts.filed_at and facts.filed_at.astimezone(offset),
    )
    verdict = judge(facts, as_of=as_of, remind_days=remind_days)
    assert verdict == judge(rewritten, as_of=as_of.astimezone(offset), remind_days=remind_days)


@given(histories(), instants)
def test_a_verdict_holds_together(facts: Facts, as_of: datetime) -> None:
    verdict = judge(facts, as_of=as_of, remind_days=5)
    behind = verdict.status in {LATE, ObligationStatus.OVERDUE, ObligationStatus.MISSED}
    assert (verdict.late_by_seconds is not None) == (verdict.late_stage is not None) == behind
    assert verdict.late_by_seconds is None or verdict.late_by_seconds >= 1
    if behind:
        assert verdict.on_time_originally is False
    if verdict.status is ON_TIME:
        assert verdict.on_time_originally is not None


# Sentences ------------------------------------------------------------------------------------------------------------


def sentence(facts: Facts, as_of: datetime, *, period: Period | None = None, provisional: bool = False) -> str:
    return explain(
        judge(facts, as_of=as_of, remind_days=5),
        facts,
        period=period or parse_period("2023-04"),
        report="月进度表",
        as_of=as_of,
        zone=SHANGHAI,
        provisional=provisional,
    )


OWED = "2023-04 的月进度表应于 2023年4月20日24时前报出"


@pytest.mark.parametrize(
    ("instant", "outcome"),
    [
        ("2023-04-20T23:59:59.999999", "2023-04-20 23:59:59 报出为按时"),
        ("2023-04-21T00:00:00", "2023-04-21 00:00:00 报出为迟报,迟 1 秒"),
        ("2023-04-20T16:00:00+00:00", "2023-04-21 00:00:00 报出为迟报,迟 1 秒"),
        ("2023-04-22T01:02:02", "2023-04-22 01:02:02 报出为迟报,迟 1 天 1 小时 2 分 3 秒"),
        ("2023-04-21T23:59:59", "2023-04-21 23:59:59 报出为迟报,迟 1 天"),
    ],
)
def test_a_filing_at_an_instant_is_explained(instant: str, outcome: str) -> None:
    moment = at(instant)
    assert sentence(facts_of(APRIL, submitted=moment, filed=moment), moment) == f"{OWED};{outcome}"


@pytest.mark.parametrize(
    ("submitted", "filed", "as_of", "outcome"),
    [
        (None, None, "2023-04-01T00:00:00", "截至 2023-04-01 00:00:00 未到期,还剩 20 天"),
        (None, None, "2023-04-20T12:30:00", "截至 2023-04-20 12:30:00 即将到期,还剩 11 小时 30 分"),
        (None, None, "2023-04-20T23:59:59.999999", "截至 2023-04-20 23:59:59 即将到期,还剩 0 秒"),
        (
            "2023-04-18T09:00:00", None, "2023-04-20T00:00:00",
            "截至 2023-04-20 00:00:00 即将到期,还剩 1 天,报送单位已于 2023-04-18 09:00:00 按时报送,尚待评估认定",
        ),
        ("2023-04-20T09:00:00", None, "2023-04-20T00:00:00", "截至 2023-04-20 00:00:00 即将到期,还剩 1 天"),
        (None, None, "2023-04-21T00:00:00", "截至 2023-04-21 00:00:00 逾期未报,已迟 1 秒"),
        ("2023-04-21T00:00:00", None, "2023-04-21T00:00:00", "截至 2023-04-21 00:00:00 逾期未报,已迟 1 秒"),
        (
            "2023-04-18T09:00:00", None, "2023-04-21T00:00:00",
            "截至 2023-04-21 00:00:00 逾期未报,已迟 1 秒,报送单位已于 2023-04-18 09:00:00 按时报送,尚待评估认定",
        ),
        (
            "2023-04-18T09:00:00", "2023-04-21T00:00:00", "2023-05-01T00:00:00",
            "2023-04-21 00:00:00 报出为迟报,迟 1 秒,迟在评估认定,报送单位已于 2023-04-18 09:00:00 按时报送",
        ),
        (None, None, "2023-05-21T00:00:00", "截至 2023-05-21 00:00:00 仍未报出,补报期限已过,为漏报,已迟 30 天 1 秒"),
    ],
)  # fmt: skip
def test_a_verdict_is_explained(submitted: str | None, filed: str | None, as_of: str, outcome: str) -> None:
    facts = facts_of(APRIL, submitted=at(submitted) if submitted else None, filed=at(filed) if filed else None)
    assert sentence(facts, at(as_of)) == f"{OWED};{outcome}"


def test_an_extension_and_a_waiver_are_explained() -> None:
    moment = at("2023-04-25T12:00:00")
    extended = replace(facts_of(APRIL, submitted=moment, filed=moment), effective_due_at=moment)
    assert sentence(extended, moment) == (
        f"{OWED},经批准延至 2023年4月25日 12:00:00;2023-04-25 12:00:00 报出为按时,按原期限为迟报"
    )
    assert sentence(replace(extended, waived=True), moment).endswith(";已批准免报")
    whole_day = replace(facts_of(APRIL), effective_due_at=at("2023-04-25T23:59:59.999999"))
    assert sentence(whole_day, moment) == (
        f"{OWED},经批准延至 2023年4月25日24时;截至 2023-04-25 12:00:00 即将到期,还剩 12 小时"
    )


def test_a_provisional_instant_says_so() -> None:
    period = parse_period("2999-06")
    due = due_of(replace(THE_20TH, holiday_policy=HolidayPolicy.NEXT_WORKDAY), period)
    text = sentence(facts_of(due), due.due_at, period=period, provisional=due.provisional)
    assert text.startswith("2999-06 的月进度表应于 2999年6月20日24时前报出(节假日安排尚未公布,期限为暂定);")


@given(histories(), instants)
def test_every_verdict_has_one_sentence(facts: Facts, as_of: datetime) -> None:
    text = sentence(facts, as_of)
    assert text.startswith(OWED)
    assert "None" not in text
    assert not text.endswith(("。", ",", " "))
