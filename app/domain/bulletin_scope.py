"""Which bulletins somebody may read, as data: what the WHERE clause of a list is made of.

The rule is :func:`~app.domain.permissions.may_read_bulletin`; this is its union over an actor's grants, and a test
holds both equal. As a condition over ``plan``, ``battle`` and ``issued`` of a row::

    issued AND (everything OR plan = ANY(plans))
    OR drafts_everywhere OR plan = ANY(draft_plans) OR battle = ANY(draft_battles)
"""

from dataclasses import dataclass

from app.domain.permissions import ROLE_CAPABILITIES, Capability
from app.domain.plan import plan_of
from app.domain.roles import Actor, Role

__all__ = ["BulletinScope", "bulletin_scope"]


@dataclass(frozen=True, slots=True)
class BulletinScope:
    """The bulletins that may be read; codes as in the API, empty shows nothing."""

    everything: bool = False
    plans: frozenset[str] = frozenset()
    drafts_everywhere: bool = False
    draft_plans: frozenset[str] = frozenset()
    draft_battles: frozenset[str] = frozenset()


def bulletin_scope(actor: Actor, *, public: bool = False) -> BulletinScope:
    """The bulletins that ``actor`` may read; ``public`` says that the deployment opens progress to everyone."""
    everything, drafts_everywhere = public, False
    plans: set[str] = set()
    draft_plans: set[str] = set()
    draft_battles: set[str] = set()
    for grant in actor.grants:
        if Capability.READ_PROGRESS not in ROLE_CAPABILITIES[grant.role]:
            continue
        if grant.battle is not None:
            plans.add(plan_of(grant.battle))
        elif grant.plan is not None:
            plans.add(grant.plan)
        else:
            everything = True
        if grant.role is Role.COORDINATOR and grant.battle is not None:
            draft_battles.add(grant.battle)
        elif grant.role in {Role.SUPERVISOR, Role.AUDITOR} and grant.plan is not None:
            draft_plans.add(grant.plan)
        elif grant.role in {Role.SUPERVISOR, Role.AUDITOR}:
            drafts_everywhere = True
    return BulletinScope(
        everything, frozenset(plans), drafts_everywhere, frozenset(draft_plans), frozenset(draft_battles)
    )
