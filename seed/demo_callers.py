"""Whoever acts in the demonstration: it goes by the rules of permission like everybody."""

from functools import cache
from typing import Final

from app.domain.roles import Actor, Grant, Role
from app.services.caller import Caller

__all__ = ["OFFICE", "REVIEW", "of_battle", "of_certifier", "of_unit"]


def _holding(grant: Grant) -> Caller:
    return Caller(Actor("system:demo", "演示", (grant,)))


OFFICE: Final = _holding(Grant(Role.SUPERVISOR))
REVIEW: Final = Caller(Actor("system:demo-review", "演示复核", (Grant(Role.SUPERVISOR),)))
"""Whoever settles a result does not decide what is said against it."""


@cache
def of_unit(unit: str) -> Caller:
    """Whoever reports for a unit."""
    return _holding(Grant(Role.REPORTER, unit=unit))


@cache
def of_certifier(unit: str) -> Caller:
    """Whoever certifies for a unit."""
    return _holding(Grant(Role.CERTIFIER, unit=unit))


@cache
def of_battle(battle: str) -> Caller:
    """Whoever acts for the task force of a battle."""
    return _holding(Grant(Role.COORDINATOR, battle=battle))
