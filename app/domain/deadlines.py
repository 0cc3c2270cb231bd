"""When a report is due, and what became of it: the reason the service exists.

Lateness is never stored. It is judged from the instants of an obligation, as they were known at some instant, so that
a report that came late stays visible as late, and a question about the past gets the answer of the past.

Attachment 6, 三(四): 于每月20日前报. Three readings are parameters of :class:`DueRule`, not of the code: that "20日前"
counts the 20th (``inclusive``), that the month reported is the month of the due day (``due_month_offset``), and that a
holiday moves nothing (``holiday_policy``).

All instants are aware datetimes, of any UTC offset; a naive one is a mistake of the caller. They are compared in UTC:
Python compares two instants of one zone by their wall clocks, which is wrong where the clocks were changed between.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

from app.domain.periods import MAX_YEAR, Period, period_of
from app.domain.plan import Frequency, HolidayPolicy, Labelled
from app.domain.workdays import shift

__all__ = [
    "Due",
    "DueRule",
    "Facts",
    "LateStage",
    "ObligationStatus",
    "Verdict",
    "WaiverKind",
    "deadline_text",
    "due_of",
    "explain",
    "judge",
    "report_name",
]

_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)
_TICK: Final = timedelta(microseconds=1)
_UNITS: Final = ((86400, "天"), (3600, "小时"), (60, "分"), (1, "秒"))


class ObligationStatus(Labelled):
    """What has become of an obligation."""

    UPCOMING = "upcoming", "未到期"
    DUE_SOON = "due_soon", "即将到期"
    ON_TIME = "on_time", "按时"
    LATE = "late", "迟报"
    OVERDUE = "overdue", "逾期未报"
    MISSED = "missed", "漏报"
    WAIVED = "waived", "免报"


class LateStage(Labelled):
    """Which stage lost the time of a late report."""

    UNIT = "unit", "报送单位"
    CERTIFICATION = "certification", "评估认定"


class WaiverKind(Labelled):
    """Why a report need not come."""

    EXEMPT = "exempt", "免报"
    NIL = "nil", "零报告"


@dataclass(frozen=True, slots=True, kw_only=True)
class DueRule:
    """When the reports of a rule are due.

    ``due_day`` is a day of the month, 1-31, and ``due_month_offset`` counts months after the last month of the period;
    a day that the month does not have is its last. Without a ``due_day`` a report is due at the end of its period, or
    at the end of the month that many months later. Neither has a meaning for dekads and weeks, which are shorter than
    what they count, so three dekads would be due on one day. ``due_days_after`` counts days from the end of the period,
    of whatever length, and goes with neither.

    ``inclusive``: the due day itself is still on time; otherwise it is already late. ``holiday_policy`` moves the due
    day, before ``inclusive`` is looked at. ``time_zone`` says where a day begins. ``remind_days`` are calendar days,
    the due day included.

    Raises:
        ValueError: a number is out of its range, or has no meaning for the frequency; in Chinese.
    """

    frequency: Frequency
    due_day: int | None = None
    due_month_offset: int = 0
    due_days_after: int = 0
    inclusive: bool = True
    holiday_policy: HolidayPolicy = HolidayPolicy.NONE
    time_zone: tzinfo
    remind_days: int = 5

    def __post_init__(self) -> None:
        if self.due_day is not None and not 1 <= self.due_day <= 31:
            raise ValueError("截止日须为 1 至 31")
        if self.due_month_offset < 0:
            raise ValueError("截止月只能在报送期当月或之后")
        if self.due_days_after < 0:
            raise ValueError("截止日只能在报送期末当日或之后")
        if self.due_days_after and (self.due_day is not None or self.due_month_offset):
            raise ValueError("截止日按报送期末后几天计的,不能另定截止日或截止月")
        if self.remind_days < 0:
            raise ValueError("提醒天数不能为负")
        if self.frequency in {Frequency.DEKAD, Frequency.WEEK} and (self.due_day is not None or self.due_month_offset):
            raise ValueError(f"按{self.frequency.label}报送的,截止日按期末或期末后几天计,不能另定截止日或截止月")


@dataclass(frozen=True, slots=True)
class Due:
    """The instants that bound a report, aware in the rule's time zone, to the microsecond.

    ``due_at`` is the last instant that is on time. ``lock_at`` is the ``due_at`` of the next period: the last instant
    at which a report is accepted without an extension; never before ``due_at``. ``provisional``: one of the two
    depends on a holiday paper that is not out yet.
    """

    due_at: datetime
    lock_at: datetime
    provisional: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One obligation as it was known at some instant.

    ``due_at`` is the original due instant, ``effective_due_at`` the one after all extensions. ``submitted_at`` is when
    the unit handed in the revision that was certified, or the one that now waits for certification; what was returned
    is not handed in. ``filed_at`` is when the first revision was certified. ``waived``: nothing is owed any more.
    """

    due_at: datetime
    effective_due_at: datetime
    lock_at: datetime
    submitted_at: datetime | None = None
    filed_at: datetime | None = None
    waived: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the facts amount to.

    ``late_by_seconds`` runs from ``effective_due_at`` to the filing, or to the instant of the question while nothing
    is filed; every second begun counts, so that the first instant of the next day is one second late. It and
    ``late_stage`` are ``None`` unless the status is late, overdue or missed.

    ``on_time_originally`` judges against the original due instant, extensions aside; ``None`` while that is still
    open, and for what is waived.
    """

    status: ObligationStatus
    late_by_seconds: int | None
    late_stage: LateStage | None
    on_time_originally: bool | None


def due_of(rule: DueRule, period: Period) -> Due:
    """Return when the report of ``period`` is due and when it is locked.

    Raises:
        ValueError: the period is not of the rule's frequency, or it or the next one falls due after the year 9998;
            in Chinese.
    """
    if period.frequency is not rule.frequency:
        raise ValueError(f"{period.code} 不是按{rule.frequency.label}报送的报送期")
    due_day, due_provisional = _due_day(rule, period)
    lock_day, lock_provisional = _due_day(rule, period.next())
    return Due(_last_instant(rule, due_day), _last_instant(rule, lock_day), due_provisional or lock_provisional)


def judge(facts: Facts, *, as_of: datetime, remind_days: int) -> Verdict:
    """Judge an obligation as it stood at ``as_of``: what happened later has not happened yet.

    Filed means certified (attachment 6, 三(四): 经县统计局评估认定后…报), so the on-time test is on ``filed_at``. A
    report that the unit handed in on time and that was certified too late is late by the certification; one that waits
    for certification when the time is up is overdue by it.

    What is not filed when the lock falls is missed, and an extension moves the lock along if it goes beyond it. A
    filing after the lock is late: it can only have come in through an extension.
    """
    if facts.waived:
        return Verdict(ObligationStatus.WAIVED, None, None, None)
    now = as_of.astimezone(UTC)
    due = facts.effective_due_at.astimezone(UTC)
    original = facts.due_at.astimezone(UTC)
    submitted = _happened(facts.submitted_at, now)
    filed = _happened(facts.filed_at, now)

    if filed is not None:
        on_time_originally = filed <= original
        if filed <= due:
            return Verdict(ObligationStatus.ON_TIME, None, None, on_time_originally)
        status, late_until = ObligationStatus.LATE, filed
    else:
        on_time_originally = False if now > original else None
        if now <= due:
            # The due instant ends its day, so counting from less than n times 24 hours before it gives n whole days.
            soon = due - now < remind_days * _DAY
            status = ObligationStatus.DUE_SOON if soon else ObligationStatus.UPCOMING
            return Verdict(status, None, None, on_time_originally)
        # The due instant is past already, so an extension beyond the lock has moved the lock along.
        locked = now > facts.lock_at.astimezone(UTC)
        status, late_until = ObligationStatus.MISSED if locked else ObligationStatus.OVERDUE, now

    in_time = submitted is not None and submitted <= due
    stage = LateStage.CERTIFICATION if in_time else LateStage.UNIT
    return Verdict(status, _seconds(late_until - due), stage, on_time_originally)


def explain(
    verdict: Verdict,
    facts: Facts,
    *,
    period: Period,
    report: str,
    as_of: datetime,
    zone: tzinfo,
    provisional: bool = False,
) -> str:
    """Say a verdict in one Chinese sentence, without the full stop, with all instants in ``zone``.

    ``verdict`` is what :func:`judge` made of ``facts`` at ``as_of``; ``report`` is what is owed (月进度表);
    ``provisional`` is that of :class:`Due`. Whether a filing at an instant would be on time is the same question of
    facts in which it is submitted and filed at that instant, judged at that instant.
    """
    owed = f"{period.code} 的{report}应于 {deadline_text(facts.due_at, zone)}前报出"
    if provisional:
        owed += "(节假日安排尚未公布,期限为暂定)"
    if facts.effective_due_at.astimezone(UTC) != facts.due_at.astimezone(UTC):
        owed += f",经批准延至 {deadline_text(facts.effective_due_at, zone)}"
    return f"{owed};{_outcome(verdict, facts, as_of, zone)}"


def _outcome(verdict: Verdict, facts: Facts, as_of: datetime, zone: tzinfo) -> str:
    asked = f"截至 {_instant(as_of, zone)} "
    filed = f"{_instant(facts.filed_at, zone)} 报出为" if facts.filed_at is not None else ""
    late_by = _duration(verdict.late_by_seconds or 0)
    submitted = _happened(facts.submitted_at, as_of.astimezone(UTC))
    # Who handed in too late is not helped by its having done so at all.
    if submitted is None or verdict.late_stage is LateStage.UNIT:
        handed_in = waiting = ""
    else:
        handed_in = f",报送单位已于 {_instant(submitted, zone)} 按时报送"
        waiting = f"{handed_in},尚待评估认定"
    match verdict.status:
        case ObligationStatus.WAIVED:
            return "已批准免报"
        case ObligationStatus.UPCOMING | ObligationStatus.DUE_SOON:
            left = _duration(_seconds(facts.effective_due_at.astimezone(UTC) - as_of.astimezone(UTC)))
            return f"{asked}{verdict.status.label},还剩 {left}{waiting}"
        case ObligationStatus.ON_TIME:
            return f"{filed}按时" + ("" if verdict.on_time_originally else ",按原期限为迟报")
        case ObligationStatus.LATE:
            return f"{filed}迟报,迟 {late_by}" + (f",迟在评估认定{handed_in}" if handed_in else "")
        case ObligationStatus.OVERDUE:
            return f"{asked}逾期未报,已迟 {late_by}{waiting}"
        case ObligationStatus.MISSED:
            return f"{asked}仍未报出,补报期限已过,为漏报,已迟 {late_by}{waiting}"


def _due_day(rule: DueRule, period: Period) -> tuple[date, bool]:
    """The due day after the holiday policy, and whether it is provisional."""
    day = period.end + rule.due_days_after * _DAY
    if rule.due_day is not None or rule.due_month_offset:
        year, month = divmod(12 * day.year + day.month - 1 + rule.due_month_offset, 12)
        if year > MAX_YEAR:
            raise ValueError(f"{period.code} 的截止日晚于 {MAX_YEAR} 年")
        last = period_of(Frequency.MONTH, date(year, month + 1, 1)).end
        day = last if rule.due_day is None else last.replace(day=min(rule.due_day, last.day))
    return shift(day, rule.holiday_policy)


def _last_instant(rule: DueRule, due_day: date) -> datetime:
    """The last instant on time: the one before the first that is late."""
    first_late = datetime.combine(due_day + _DAY if rule.inclusive else due_day, time.min, rule.time_zone)
    # By way of UTC, so that a day whose last hour comes twice ends with the second.
    return (first_late.astimezone(UTC) - _TICK).astimezone(rule.time_zone)


def _happened(instant: datetime | None, now: datetime) -> datetime | None:
    """The instant in UTC if it has come by ``now``."""
    if instant is None:
        return None
    instant = instant.astimezone(UTC)
    return instant if instant <= now else None


def _seconds(delta: timedelta) -> int:
    """Seconds begun."""
    return -(-delta // _SECOND)


def _duration(seconds: int) -> str:
    """Write a span in days, hours, minutes and seconds, without those that are nought."""
    parts: list[str] = []
    for size, name in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts) or "0 秒"


def report_name(rule: str) -> str:
    """What a rule asks for, without the word for handing it in: 月进度表报送 asks for 月进度表."""
    return rule.removesuffix("报送")


def deadline_text(due_at: datetime, zone: tzinfo) -> str:
    """Write a due instant as notices do: the end of a day is 24时, anything else has its time."""
    local = due_at.astimezone(zone)
    day = f"{local.year}年{local.month}月{local.day}日"
    return f"{day}24时" if local.time() == time.max else f"{day} {local:%H:%M:%S}"


def _instant(instant: datetime, zone: tzinfo) -> str:
    """Write an instant to the second, as a receipt does."""
    return f"{instant.astimezone(zone):%Y-%m-%d %H:%M:%S}"
