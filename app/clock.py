"""The only place that reads the time: everything else is told what time it is."""

from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

__all__ = ["SHANGHAI", "Clock", "system_clock"]

SHANGHAI = ZoneInfo("Asia/Shanghai")

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """The present instant, aware, in Asia/Shanghai."""
    return datetime.now(SHANGHAI)
