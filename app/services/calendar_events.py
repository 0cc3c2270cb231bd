"""What the calendar of due instants looks like on a phone and in Outlook: rows of the agenda drawn as iCalendar."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from functools import cache
from typing import Any

from asyncpg import Record
from icalendar import Alarm, Calendar, Event, Timezone, vDuration

from app.clock import SHANGHAI
from app.domain.deadlines import deadline_text, report_name
from app.services.reader import decoded

__all__ = ["drawn_calendar"]

_HOUR = timedelta(hours=1)
_SECOND = timedelta(seconds=1)
_MORNING = time(9, tzinfo=SHANGHAI)
_REFRESH = timedelta(hours=6)


def drawn_calendar(name: str, rows: Iterable[Record], unit: Record | None, *, told: bool) -> bytes:
    """The iCalendar object of these rows; of ``unit`` where it is one unit's.

    Unless it is ``told``, no event says which tasks and units it is about and what of it is filed.
    """
    calendar = _component(
        Calendar,
        {
            "version": "2.0",
            "prodid": "-//liuzhang//deadlines//ZH",
            "calscale": "GREGORIAN",
            "method": "PUBLISH",
            "x-wr-calname": name,
            "x-wr-timezone": SHANGHAI.key,
            # The first is the standard's, the second Outlook's.
            "refresh-interval": vDuration(_REFRESH, params={"VALUE": "DURATION"}),
            "x-published-ttl": vDuration(_REFRESH),
        },
    )
    calendar.add_component(_time_zone())
    for row in rows:
        calendar.add_component(_event(row, unit, told=told))
    body: bytes = calendar.to_ical()
    return body


def _component(kind: Any, properties: Mapping[str, Any]) -> Any:
    component = kind()
    for name, value in properties.items():
        component.add(name, value)
    return component


@cache
def _time_zone() -> Any:
    """Shanghai since its last change of clocks, which no deadline lies before."""
    zone: Any = Timezone.from_tzid(SHANGHAI.key, first_date=date(1992, 1, 1))
    # It says until when the library has looked for changes.
    zone.pop("COMMENT", None)
    return zone


def _event(row: Record, unit: Record | None, *, told: bool) -> Any:
    """The last hour before the due instant, in Shanghai's time.

    Not an all-day event: such a one floats with the time zone of the device, cannot say that an extension ends at
    noon, and its nine-o'clock reminder comes after its start, which Outlook does not take. Here both reminders lie
    before the start, as every phone and Outlook want them, and the event ends exactly when the time is up, at 24:00
    on the due day. It is shown as free time: a deadline keeps nobody from a meeting.
    """
    due_at: datetime = row["due_at"].astimezone(SHANGHAI)
    # The last instant on time is a microsecond before midnight.
    end = due_at.replace(microsecond=0) + _SECOND if due_at.microsecond else due_at
    start = end - _HOUR
    issued = datetime.combine(row["issued_on"], time.min, SHANGHAI)
    changed = max(row["changed_at"] or issued, issued)
    summary = f"{report_name(row['rule_name'])} {row['period']} 截止"
    owed: list[dict[str, Any]] = decoded(row["owed"])
    event = _component(
        Event,
        {
            "uid": f"{row['rule']}-{row['period']}-{unit['code'] if unit else row['plan']}@liuzhang",
            "dtstamp": changed,
            "last-modified": changed,
            "dtstart": start,
            "dtend": end,
            "summary": f"{summary}(暂定)" if row["provisional"] else summary,
            "description": _description(row, owed, unit) if told else _duty(row, unit),
            "transp": "TRANSPARENT",
        },
    )
    if not all(item["filed"] for item in owed):
        # The reminder days count the due day, and begin on the morning on which the report becomes due soon.
        days = sorted({due_at.date() - timedelta(days=max(row["remind_days"] - 1, 0)), due_at.date()})
        for day in days:
            # An extension can end before nine.
            before = min(datetime.combine(day, _MORNING) - start, timedelta())
            alarm = {"action": "DISPLAY", "description": summary, "trigger": before}
            event.add_component(_component(Alarm, alarm))
    return event


def _duty(row: Record, unit: Record | None) -> str:
    """Until when what is owed."""
    who = unit["name"] if unit else ""
    report, until = report_name(row["rule_name"]), deadline_text(row["due_at"], SHANGHAI)
    return f"{who}应于 {until}前报出 {row['period']} 的{report}"


def _description(row: Record, owed: list[dict[str, Any]], unit: Record | None) -> str:
    """Until when what is owed to whom, and for which tasks or by which units."""
    lines = [_duty(row, unit)]
    tasks = [item for item in owed if item["task"] is not None]
    if tasks:
        lines.append(f"任务({len(tasks)} 份):")
        lines += [f"{item['task']} {item['title']}{_remark(item, row['due_at'], named=unit is None)}" for item in tasks]
    general = [item for item in owed if item["task"] is None]
    if general and unit is None:
        lines.append(f"单位({len(general)} 个):")
        lines.append("、".join(f"{item['unit']}{_remark(item, row['due_at'])}" for item in general))
    elif general:
        lines += [remark for item in general if (remark := _remark(item, row["due_at"]))]
    if row["certifiers"]:
        lines.append(f"评估认定:{row['certifiers']},认定后才算报出")
    if row["receivers"]:
        lines.append(f"送:{row['receivers']}")
    return "\n".join(lines)


def _remark(item: Mapping[str, Any], due_at: datetime, *, named: bool = False) -> str:
    """Whose it is if it is to be ``named``, whether it is filed, and its own due instant if it has one."""
    remarks: list[str] = [str(item["unit"])] if named else []
    own = datetime.fromisoformat(item["due_at"])
    if item["filed"]:
        remarks.append("已报出")
    elif own != due_at:
        remarks.append(f"延至 {deadline_text(own, SHANGHAI)}")
    return f"({','.join(remarks)})" if remarks else ""
