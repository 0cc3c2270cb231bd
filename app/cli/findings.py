"""What a check of ``liuzhang doctor`` found."""

from enum import StrEnum
from typing import NamedTuple

__all__ = ["Finding", "Verdict"]


class Verdict(StrEnum):
    """How a check went."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(NamedTuple):
    """What a check found, and what to do about it."""

    check: str
    verdict: Verdict
    detail: str
    remedy: str = ""
