"""How far work is, how far it should be, and what a report may say about it.

序时进度 and 亮灯: where a plan gives no points of its own, work should advance evenly over the plan year. The light
tells how many points the reported per cent lies above or below that; codes only, for cities disagree about colours.

Per cents and points are Decimals from 0 to 100; a missing figure is ``None`` and never taken for zero.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from operator import attrgetter
from typing import Final, NamedTuple

from app.domain.plan import Accumulation, Labelled

__all__ = [
    "DEFAULT_JUMP_POINTS",
    "DEFAULT_THRESHOLDS",
    "Figure",
    "Light",
    "PointRefusal",
    "Refusal",
    "ReportWarning",
    "Stage",
    "Stretch",
    "Thresholds",
    "WarningCode",
    "check_report",
    "deviation",
    "light",
    "percent_of",
    "refuse_report",
    "refuse_schedule",
    "schedule_progress",
    "stretches",
]

_HUNDRED: Final = Decimal(100)
_CENT: Final = Decimal("0.01")


class Stage(Labelled):
    """Where a task stands, in the reporting unit's own words."""

    NOT_STARTED = "not_started", "未启动"
    IN_PROGRESS = "in_progress", "推进中"
    COMPLETED = "completed", "已完成"


class Light(Labelled):
    """亮灯: a task measured against its schedule."""

    COMPLETED = "completed", "已完成"
    AHEAD = "ahead", "超序时"
    ON_TRACK = "on_track", "达序时"
    BEHIND = "behind", "滞后"
    FAR_BEHIND = "far_behind", "严重滞后"


class WarningCode(Labelled):
    """What looks odd about a report that is accepted all the same."""

    PERCENT_FELL = "percent_fell", "进度回落"
    PERCENT_JUMPED = "percent_jumped", "进度跳增"
    FIGURE_FELL = "figure_fell", "累计数回落"
    FAR_FROM_SCHEDULE = "far_from_schedule", "偏离序时"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Points of deviation at which the light changes; the defaults are Yinchuan's published rule (10 and 30).

    Raises:
        ValueError: one of them is negative; in Chinese.
    """

    behind_points: Decimal = Decimal(30)
    ahead_points: Decimal = Decimal(10)

    def __post_init__(self) -> None:
        if self.behind_points < 0 or self.ahead_points < 0:
            raise ValueError("亮灯的阈值不能为负")


DEFAULT_THRESHOLDS: Final = Thresholds()
DEFAULT_JUMP_POINTS: Final = Decimal(40)


class Figure(NamedTuple):
    """A reported figure of an indicator, in the indicator's own unit of measure.

    ``previous`` is the last certified figure before it in the same year. ``target_value`` is what the year should
    reach, where the figure is expected to grow towards it by the schedule; ``None`` for ceilings and aims without a
    value.
    """

    name: str
    accumulation: Accumulation
    value: Decimal
    previous: Decimal | None = None
    target_value: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ReportWarning:
    """Something to look at again: a code, and one Chinese sentence."""

    code: WarningCode
    detail: str


class Refusal(NamedTuple):
    """A field that contradicts another: its name, a code, and one Chinese sentence that says what to do."""

    field: str
    code: str
    detail: str


class Stretch(NamedTuple):
    """A span over which a schedule grows evenly: what is due at the end of its first and of its last day."""

    from_day: date
    to_day: date
    from_percent: Decimal
    to_percent: Decimal


class PointRefusal(NamedTuple):
    """A point of a schedule that cannot stand: its place in what was given, the field, a code, a Chinese sentence."""

    place: int
    field: str
    code: str
    detail: str


def percent_of(part: int, whole: int) -> Decimal | None:
    """How many per cent a part is of a whole, to two places, half up; ``None`` of a whole that is nothing."""
    return (_HUNDRED * part / whole).quantize(_CENT, ROUND_HALF_UP) if whole else None


def schedule_progress(year: int, day: date, points: Sequence[tuple[date, Decimal]] = ()) -> Decimal:
    """Return how many per cent (0-100, two decimals) of a year's work should be done at the end of ``day``.

    Without ``points`` it grows by the same share every day, to 100 at the end of 31 December. With ``points``, each
    the per cent due at the end of its day, in any order, it grows evenly from 0 at the start of the year to the first,
    from each to the next, and holds after the last. Before the year it is 0.

    Raises:
        ValueError: the points make no schedule (see :func:`refuse_schedule`); in Chinese.
    """
    course = stretches(year, points)
    at = min(max(day, course[0].from_day), course[-1].to_day)
    left, right, low, high = course[bisect_left(course, at, key=attrgetter("to_day"))]
    return (low + (high - low) * (at - left).days / (right - left).days).quantize(_CENT, ROUND_HALF_UP)


def stretches(year: int, points: Sequence[tuple[date, Decimal]] = ()) -> list[Stretch]:
    """Return a schedule as the stretches it is made of, in order, the first from the last day before the year.

    Each begins where the one before it ends, so the schedule at a day is the sum of what each has risen by then.

    Raises:
        ValueError: the points make no schedule (see :func:`refuse_schedule`); in Chinese.
    """
    refused = refuse_schedule(year, points)
    if refused:
        raise ValueError(refused[0].detail)
    course = [(date(year - 1, 12, 31), Decimal(0)), *(sorted(points) or [(date(year, 12, 31), _HUNDRED)])]
    return [Stretch(left, right, low, high) for (left, low), (right, high) in pairwise(course)]


def refuse_schedule(year: int, points: Sequence[tuple[date, Decimal]]) -> list[PointRefusal]:
    """Return why ``points`` make no schedule of a year; empty where they do.

    A point may not lie outside the year or outside 0-100, no two on one day, and the schedule may not fall.
    """
    found: list[PointRefusal] = []
    for index, (day, percent) in enumerate(points):
        if day.year != year:
            found.append(PointRefusal(index, "period", "outside_year", f"序时进度的节点须在 {year} 年内:{day}"))
        if not 0 <= percent <= _HUNDRED:
            detail = f"序时进度须在 0 至 100 之间:{day} 为 {_plain(percent)}"
            found.append(PointRefusal(index, "percent", "out_of_range", detail))
    ordered = sorted(range(len(points)), key=lambda index: points[index])
    for earlier, later in pairwise(ordered):
        (day, percent), (next_day, next_percent) = points[earlier], points[later]
        if day == next_day:
            found.append(PointRefusal(later, "period", "repeated", f"序时进度的节点重复:{day}"))
        elif next_percent < percent:
            detail = f"序时进度不能回落:{next_day} 的 {_plain(next_percent)} 低于 {day} 的 {_plain(percent)}"
            found.append(PointRefusal(later, "percent", "falls", detail))
    return found


def deviation(actual: Decimal, scheduled: Decimal) -> Decimal:
    """Points by which the work is ahead of its schedule; negative where it lags."""
    return actual - scheduled


def light(stage: Stage, actual: Decimal, scheduled: Decimal, thresholds: Thresholds = DEFAULT_THRESHOLDS) -> Light:
    """Return the light of a task: completed work is completed, whenever; all other by its deviation.

    At the schedule or above is on track, ``ahead_points`` above it or more is ahead; up to and including
    ``behind_points`` below is behind, more is far behind.
    """
    if stage is Stage.COMPLETED:
        return Light.COMPLETED
    points = deviation(actual, scheduled)
    if points >= 0:
        return Light.AHEAD if points >= thresholds.ahead_points else Light.ON_TRACK
    return Light.BEHIND if points >= -thresholds.behind_points else Light.FAR_BEHIND


def check_report(
    *,
    percent: Decimal,
    previous_percent: Decimal | None,
    scheduled: Decimal,
    figures: Sequence[Figure] = (),
    jump_points: Decimal = DEFAULT_JUMP_POINTS,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
) -> list[ReportWarning]:
    """Return what looks odd about a report, the per cent first, then the figures in their order; nothing is refused.

    ``previous_percent`` is that of the last period reported, ``None`` for a first report, which cannot fall or jump.
    A jump is a rise of more than ``jump_points``. Far from schedule is more than ``behind_points``, on either side;
    cumulative figures with a ``target_value`` are measured by the share of it that they have reached.
    """
    found: list[ReportWarning] = []

    def warn(code: WarningCode, detail: str) -> None:
        found.append(ReportWarning(code, detail))

    if previous_percent is not None:
        rise = percent - previous_percent
        if rise < 0:
            warn(
                WarningCode.PERCENT_FELL,
                f"完成进度 {_plain(percent)}% 低于上期的 {_plain(previous_percent)}%,请核对",
            )
        elif rise > jump_points:
            warn(
                WarningCode.PERCENT_JUMPED,
                f"完成进度比上期增加 {_plain(rise)} 个百分点,超过 {_plain(jump_points)} 个百分点,请核对",
            )
    off = deviation(percent, scheduled)
    if abs(off) > thresholds.behind_points:
        warn(
            WarningCode.FAR_FROM_SCHEDULE,
            f"完成进度 {_plain(percent)}% {_off_schedule(off, scheduled)},请核对",
        )

    for figure in figures:
        if figure.accumulation is not Accumulation.CUMULATIVE:
            continue
        if figure.previous is not None and figure.value < figure.previous:
            warn(
                WarningCode.FIGURE_FELL,
                f"{figure.name}为累计数,本期 {_plain(figure.value)} 低于上期的 {_plain(figure.previous)},请核对",
            )
        if figure.target_value is not None and figure.target_value > 0:
            reached = (_HUNDRED * figure.value / figure.target_value).quantize(_CENT, ROUND_HALF_UP)
            off = deviation(reached, scheduled)
            if abs(off) > thresholds.behind_points:
                warn(
                    WarningCode.FAR_FROM_SCHEDULE,
                    f"{figure.name} {_plain(figure.value)} 为目标值的 {_plain(reached)}%,"
                    f"{_off_schedule(off, scheduled)},请核对",
                )
    return found


def refuse_report(stage: Stage, percent: Decimal) -> list[Refusal]:
    """Return where stage and per cent contradict each other; empty where the report can be taken.

    That ``percent`` lies within 0-100 is the schema's business.
    """
    match stage:
        case Stage.IN_PROGRESS if percent >= _HUNDRED:
            return [Refusal("stage", "full_not_completed", "完成进度为 100 时,阶段须为已完成")]
        case Stage.IN_PROGRESS:
            return []
        case Stage.COMPLETED if percent < _HUNDRED:
            return [
                Refusal(
                    "percent_complete", "completed_below_100", "阶段为已完成时,完成进度须为 100;未满 100 的请填推进中"
                )
            ]
        case Stage.NOT_STARTED if percent > 0:
            return [
                Refusal(
                    "percent_complete", "progress_not_started", "阶段为未启动时,完成进度须为 0;已有进展的请改填阶段"
                )
            ]
        case _:
            return []


def _off_schedule(off: Decimal, scheduled: Decimal) -> str:
    side = "高于" if off > 0 else "低于"
    return f"{side}序时进度 {_plain(scheduled)}% 达 {_plain(abs(off))} 个百分点"


def _plain(value: Decimal) -> str:
    """Write a figure without an exponent and without zeros that say nothing."""
    return f"{value.normalize():f}"
