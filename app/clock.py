"""The only place that reads the time: everything else is told what time it is."""

from collections.abc import Callable
from datetime import date, datetime
from zoneinfo import ZoneInfo

__all__ = ["SHANGHAI", "Clock", "day_of", "system_clock"]

SHANGHAI = ZoneInfo("Asia/Shanghai")

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """The present instant, aware, in Asia/Shanghai."""
    return datetime.now(SHANGHAI)


def day_of(instant: datetime) -> date:
    """The day that an instant lies on in Asia/Shanghai, whatever zone it is given in."""
    return instant.astimezone(SHANGHAI).date()
