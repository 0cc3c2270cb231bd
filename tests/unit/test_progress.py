"""Schedule progress, lights, and what a report is warned of or refused for."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.plan import Accumulation
from app.domain.progress import (
    Figure,
    Light,
    Refusal,
    ReportWarning,
    Stage,
    Stretch,
    Thresholds,
    WarningCode,
    check_report,
    deviation,
    light,
    refuse_report,
    refuse_schedule,
    schedule_progress,
    stretches,
)

D = Decimal
percents = st.decimals(0, 100, places=2)
unfinished = st.sampled_from([Stage.NOT_STARTED, Stage.IN_PROGRESS])
days_of_2023 = st.dates(date(2023, 1, 1), date(2023, 12, 31))
POINTS = [
    (date(2023, 3, 31), D(10)),
    (date(2023, 6, 30), D(50)),
    (date(2023, 9, 30), D(50)),
    (date(2023, 11, 30), D(100)),
]


@st.composite
def schedules(draw: st.DrawFn) -> list[tuple[date, Decimal]]:
    """Points of a year, in no order; empty for the even schedule."""
    days = draw(st.lists(days_of_2023, unique=True, max_size=6))
    rising = sorted(draw(st.lists(percents, min_size=len(days), max_size=len(days))))
    return draw(st.permutations(list(zip(sorted(days), rising, strict=True))))


@pytest.mark.parametrize(
    ("year", "day", "expected"),
    [
        (2023, date(2022, 12, 31), "0.00"),
        (2023, date(2020, 5, 5), "0.00"),
        (2023, date(2023, 1, 1), "0.27"),
        (2023, date(2023, 4, 20), "30.14"),
        (2023, date(2023, 6, 30), "49.59"),
        (2023, date(2023, 7, 2), "50.14"),
        (2024, date(2024, 7, 1), "50.00"),
        (2024, date(2024, 2, 29), "16.39"),
        (2023, date(2023, 12, 30), "99.73"),
        (2023, date(2023, 12, 31), "100.00"),
        (2023, date(2024, 3, 1), "100.00"),
    ],
)
def test_the_even_schedule_grows_by_the_same_share_every_day(year: int, day: date, expected: str) -> None:
    assert str(schedule_progress(year, day)) == expected


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (date(2022, 12, 31), "0.00"),
        (date(2023, 1, 1), "0.11"),
        (date(2023, 2, 14), "5.00"),
        (date(2023, 3, 31), "10.00"),
        (date(2023, 4, 1), "10.44"),
        (date(2023, 6, 30), "50.00"),
        (date(2023, 8, 15), "50.00"),
        (date(2023, 9, 30), "50.00"),
        (date(2023, 10, 31), "75.41"),
        (date(2023, 11, 30), "100.00"),
        (date(2023, 12, 31), "100.00"),
        (date(2024, 6, 1), "100.00"),
    ],
)
def test_a_schedule_of_its_own_goes_from_point_to_point_and_holds(day: date, expected: str) -> None:
    assert str(schedule_progress(2023, day, POINTS)) == expected
    assert str(schedule_progress(2023, day, POINTS[::-1])) == expected


def test_a_schedule_that_stops_below_a_hundred_stays_there() -> None:
    assert schedule_progress(2023, date(2023, 12, 31), [(date(2023, 6, 30), D(80))]) == 80


def test_a_point_on_the_first_day_counts_on_the_first_day() -> None:
    points = [(date(2023, 1, 1), D(40))]
    assert schedule_progress(2023, date(2022, 12, 31), points) == 0
    assert schedule_progress(2023, date(2023, 1, 1), points) == 40


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([(date(2022, 12, 31), D(10))], "须在 2023 年内:2022-12-31"),
        ([(date(2024, 1, 1), D(10))], "须在 2023 年内:2024-01-01"),
        ([(date(2023, 5, 1), D("100.01"))], "须在 0 至 100 之间:2023-05-01 为 100.01"),
        ([(date(2023, 5, 1), D(-1))], "须在 0 至 100 之间:2023-05-01 为 -1"),
        ([(date(2023, 5, 1), D(10)), (date(2023, 5, 1), D(20))], "节点重复:2023-05-01"),
        ([(date(2023, 6, 1), D(10)), (date(2023, 5, 1), D(20))], "不能回落:2023-06-01 的 10 低于 2023-05-01 的 20"),
    ],
)
def test_a_schedule_without_sense_is_refused(points: list[tuple[date, Decimal]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        schedule_progress(2023, date(2023, 1, 1), points)


def test_every_point_that_cannot_stand_is_named_by_its_place() -> None:
    points = [(date(2023, 6, 30), D(40)), (date(2024, 1, 31), D(101)), (date(2023, 9, 30), D(30)), POINTS[1]]
    assert [(one.place, one.field, one.code) for one in refuse_schedule(2023, points)] == [
        (1, "period", "outside_year"),
        (1, "percent", "out_of_range"),
        (3, "period", "repeated"),
        (2, "percent", "falls"),
    ]
    assert refuse_schedule(2023, POINTS[::-1]) == refuse_schedule(2023, []) == []


def test_a_schedule_is_made_of_stretches_from_the_eve_of_the_year() -> None:
    eve = date(2022, 12, 31)
    assert stretches(2023) == [Stretch(eve, date(2023, 12, 31), D(0), D(100))]
    days, due = [eve, *(day for day, _ in POINTS)], [D(0), *(percent for _, percent in POINTS)]
    assert stretches(2023, POINTS[::-1]) == [Stretch(*of) for of in zip(days, days[1:], due, due[1:], strict=False)]
    with pytest.raises(ValueError, match="节点重复"):
        stretches(2023, [*POINTS, POINTS[0]])


@given(schedules(), st.dates(date(2022, 1, 1), date(2024, 12, 31)))
def test_a_schedule_is_the_sum_of_what_its_stretches_rise(points: list[tuple[date, Decimal]], day: date) -> None:
    risen = D(0)
    for one in stretches(2023, points):
        days = (one.to_day - one.from_day).days
        risen += (one.to_percent - one.from_percent) * min(max((day - one.from_day).days, 0), days) / days
    assert abs(risen - schedule_progress(2023, day, points)) <= D("0.005")


@given(schedules(), st.dates(date(2022, 1, 1), date(2024, 12, 31)), st.integers(0, 400))
def test_a_schedule_never_falls_and_stays_a_per_cent(points: list[tuple[date, Decimal]], day: date, later: int) -> None:
    now = schedule_progress(2023, day, points)
    then = schedule_progress(2023, day + timedelta(days=later), points)
    assert 0 <= now <= then <= 100
    assert now.as_tuple().exponent == -2


@given(schedules().filter(bool))
def test_a_schedule_passes_through_its_points(points: list[tuple[date, Decimal]]) -> None:
    assert all(schedule_progress(2023, day, points) == percent for day, percent in points)


@given(percents, percents)
def test_deviation_is_actual_less_scheduled(actual: Decimal, scheduled: Decimal) -> None:
    assert deviation(actual, scheduled) == actual - scheduled == -deviation(scheduled, actual)


@pytest.mark.parametrize(
    ("actual", "scheduled", "expected"),
    [
        ("60", "50", Light.AHEAD),
        ("59.99", "50", Light.ON_TRACK),
        ("50", "50", Light.ON_TRACK),
        ("49.99", "50", Light.BEHIND),
        ("20", "50", Light.BEHIND),
        ("19.99", "50", Light.FAR_BEHIND),
        ("0", "100", Light.FAR_BEHIND),
        ("99", "100", Light.BEHIND),
        ("0", "0", Light.ON_TRACK),
        ("0", "30", Light.BEHIND),
        ("0", "30.01", Light.FAR_BEHIND),
    ],
)
@pytest.mark.parametrize("stage", [Stage.NOT_STARTED, Stage.IN_PROGRESS])
def test_the_light_changes_at_the_thresholds(stage: Stage, actual: str, scheduled: str, expected: Light) -> None:
    assert light(stage, D(actual), D(scheduled), Thresholds()) is expected


def test_thresholds_are_data() -> None:
    strict = Thresholds(behind_points=D(5), ahead_points=D(0))
    assert light(Stage.IN_PROGRESS, D(50), D(50), strict) is Light.AHEAD
    assert light(Stage.IN_PROGRESS, D(45), D(50), strict) is Light.BEHIND
    assert light(Stage.IN_PROGRESS, D(44), D(50), strict) is Light.FAR_BEHIND


@pytest.mark.parametrize("name", ["behind_points", "ahead_points"])
def test_thresholds_are_not_negative(name: str) -> None:
    with pytest.raises(ValueError, match="不能为负"):
        Thresholds(**{name: D("-0.01")})


@given(percents, percents)
def test_completed_work_is_completed_whenever(actual: Decimal, scheduled: Decimal) -> None:
    assert light(Stage.COMPLETED, actual, scheduled) is Light.COMPLETED


WORST_FIRST = [Light.FAR_BEHIND, Light.BEHIND, Light.ON_TRACK, Light.AHEAD]


@given(unfinished, percents, percents, percents, st.builds(Thresholds, percents, percents))
def test_more_done_never_makes_the_light_worse(
    stage: Stage, one: Decimal, other: Decimal, scheduled: Decimal, thresholds: Thresholds
) -> None:
    less, more = (light(stage, actual, scheduled, thresholds) for actual in sorted((one, other)))
    assert WORST_FIRST.index(less) <= WORST_FIRST.index(more)


@given(unfinished, percents, percents, percents)
def test_more_expected_never_makes_the_light_better(
    stage: Stage, actual: Decimal, one: Decimal, other: Decimal
) -> None:
    less, more = (light(stage, actual, scheduled) for scheduled in sorted((one, other)))
    assert WORST_FIRST.index(less) >= WORST_FIRST.index(more)


@pytest.mark.parametrize(
    ("percent", "previous", "scheduled", "codes"),
    [
        ("30", "25", "30.14", []),
        ("25", "25", "30.14", []),
        ("24.99", "25", "30.14", ["percent_fell"]),
        ("65", "25", "60", []),
        ("65.01", "25", "60", ["percent_jumped"]),
        ("60", None, "50", []),
        ("0", None, "30", []),
        ("0", None, "30.01", ["far_from_schedule"]),
        ("80", "75", "50", []),
        ("80.01", "75", "50", ["far_from_schedule"]),
        ("100", "0", "50", ["percent_jumped", "far_from_schedule"]),
        ("0", "100", "50", ["percent_fell", "far_from_schedule"]),
    ],
)
def test_an_odd_per_cent_is_warned_of(percent: str, previous: str | None, scheduled: str, codes: list[str]) -> None:
    found = check_report(percent=D(percent), previous_percent=D(previous) if previous else None, scheduled=D(scheduled))
    assert [warning.code for warning in found] == codes


def figure(value: str, previous: str | None = None, target: str | None = None, **changes: Accumulation) -> Figure:
    return Figure(
        name="接待游客人次",
        accumulation=changes.get("accumulation", Accumulation.CUMULATIVE),
        value=D(value),
        previous=D(previous) if previous else None,
        target_value=D(target) if target else None,
    )


@pytest.mark.parametrize(
    ("reported", "codes"),
    [
        (figure("120", "110"), []),
        (figure("110", "110"), []),
        (figure("109.9", "110"), ["figure_fell"]),
        (figure("0", None), []),
        (figure("109.9", "110", accumulation=Accumulation.PERIOD), []),
        (figure("109.9", "110", accumulation=Accumulation.POINT), []),
        (figure("66.4", None, "332"), []),
        (figure("66.3", None, "332"), ["far_from_schedule"]),
        (figure("265.6", None, "332"), []),
        (figure("265.7", None, "332"), ["far_from_schedule"]),
        (figure("1", None, "332", accumulation=Accumulation.PERIOD), []),
        (figure("5", None, "0"), []),
        (figure("-5", None, "-2"), []),
        (figure("0", "110", "332"), ["figure_fell", "far_from_schedule"]),
    ],
)
def test_an_odd_figure_is_warned_of_where_it_accumulates(reported: Figure, codes: list[str]) -> None:
    found = check_report(percent=D(50), previous_percent=D(45), scheduled=D(50), figures=[reported])
    assert [warning.code for warning in found] == codes


def test_warnings_say_in_chinese_what_to_look_at() -> None:
    found = check_report(
        percent=D("10.50"),
        previous_percent=D("20.00"),
        scheduled=D("50.00"),
        figures=[figure("30", "1E+2", "300")],
    )
    assert found == [
        ReportWarning(WarningCode.PERCENT_FELL, "完成进度 10.5% 低于上期的 20%,请核对"),
        ReportWarning(WarningCode.FAR_FROM_SCHEDULE, "完成进度 10.5% 低于序时进度 50% 达 39.5 个百分点,请核对"),
        ReportWarning(WarningCode.FIGURE_FELL, "接待游客人次为累计数,本期 30 低于上期的 100,请核对"),
        ReportWarning(
            WarningCode.FAR_FROM_SCHEDULE, "接待游客人次 30 为目标值的 10%,低于序时进度 50% 达 40 个百分点,请核对"
        ),
    ]
    jumped = check_report(percent=D(90), previous_percent=D(20), scheduled=D(50))
    assert [warning.detail for warning in jumped] == [
        "完成进度比上期增加 70 个百分点,超过 40 个百分点,请核对",
        "完成进度 90% 高于序时进度 50% 达 40 个百分点,请核对",
    ]


def test_the_thresholds_of_warnings_are_data() -> None:
    found = check_report(
        percent=D(26),
        previous_percent=D(20),
        scheduled=D(20),
        jump_points=D(5),
        thresholds=Thresholds(behind_points=D(5)),
    )
    assert [warning.code for warning in found] == [WarningCode.PERCENT_JUMPED, WarningCode.FAR_FROM_SCHEDULE]


@given(percents, percents)
def test_a_report_on_schedule_that_grows_a_little_is_never_warned_of(previous: Decimal, rise: Decimal) -> None:
    percent = min(previous + rise, D(100))
    found = check_report(percent=percent, previous_percent=previous, scheduled=percent)
    assert [warning.code for warning in found] == (["percent_jumped"] if percent - previous > 40 else [])


@pytest.mark.parametrize(
    ("stage", "percent", "refused"),
    [
        (Stage.NOT_STARTED, "0", None),
        (Stage.NOT_STARTED, "0.01", ("percent_complete", "progress_not_started")),
        (Stage.NOT_STARTED, "100", ("percent_complete", "progress_not_started")),
        (Stage.IN_PROGRESS, "0", None),
        (Stage.IN_PROGRESS, "99.99", None),
        (Stage.IN_PROGRESS, "100", ("stage", "full_not_completed")),
        (Stage.COMPLETED, "100.00", None),
        (Stage.COMPLETED, "99.99", ("percent_complete", "completed_below_100")),
        (Stage.COMPLETED, "0", ("percent_complete", "completed_below_100")),
    ],
)
def test_stage_and_per_cent_may_not_contradict_each_other(
    stage: Stage, percent: str, refused: tuple[str, str] | None
) -> None:
    assert [(field, code) for field, code, _ in refuse_report(stage, D(percent))] == ([refused] if refused else [])


def test_a_refusal_says_in_chinese_what_to_do() -> None:
    assert refuse_report(Stage.IN_PROGRESS, D(100)) == [
        Refusal("stage", "full_not_completed", "完成进度为 100 时,阶段须为已完成")
    ]


@given(percents)
def test_every_per_cent_can_be_reported_in_some_stage(percent: Decimal) -> None:
    assert any(not refuse_report(stage, percent) for stage in Stage)
