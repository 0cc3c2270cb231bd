"""Grants, actors and subjects for tests: a small world of two counties, in which codes meet often."""

from itertools import product

from hypothesis import strategies as st

from app.domain.permissions import Subject
from app.domain.roles import ROLE_BOUNDS, Actor, Grant, Need, Role

PLANS = ("431228-2023", "431228-2024", "431229-2023")
BATTLES = tuple(f"{plan}-{ordinal}" for plan in PLANS for ordinal in (1, 6))
UNITS = ("431228-jyj", "431228-tjj", "431229-jyj")


def _bound(need: Need, codes: tuple[str, ...]) -> tuple[str | None, ...]:
    return {Need.NONE: (None,), Need.OPTIONAL: (None, *codes), Need.REQUIRED: codes}[need]


# Every grant there can be in this world.
GRANTS = tuple(
    Grant(role, plan, unit, battle)
    for role, bounds in ROLE_BOUNDS.items()
    for plan, unit, battle in product(
        _bound(bounds.plan, PLANS), _bound(bounds.unit, UNITS), _bound(bounds.battle, BATTLES)
    )
    if plan is None or battle is None or battle.startswith(plan)
)

# Every subject there can be in it, those of no plan, no battle or no unit included.
SUBJECTS = tuple(
    Subject(plan, battle, unit, draft)
    for plan, battle, unit, draft in product((None, *PLANS), (None, *BATTLES), (None, *UNITS), (False, True))
    if battle is None or (plan and battle.startswith(plan))
)


def actor(*grants: Grant) -> Actor:
    return Actor("account:1", "向同志", grants)


def actors() -> st.SearchStrategy[Actor]:
    """Anybody with up to five grants; shrinks to the one without any."""
    return st.lists(st.sampled_from(GRANTS), max_size=5, unique=True).map(lambda held: actor(*held))


def subjects() -> st.SearchStrategy[Subject]:
    return st.sampled_from(SUBJECTS)


def holding(role: Role) -> tuple[Grant, ...]:
    return tuple(grant for grant in GRANTS if grant.role is role)
