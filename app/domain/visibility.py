"""Which rows somebody may read, as data: what a WHERE clause or a row-level policy is made of.

The rules are :func:`~app.domain.permissions.may_read_progress` and ``may_see_draft``; this is their union over an
actor's grants, so that a list of a million rows asks the database and not a function. A property test holds both
equal. As a condition over ``plan``, ``battle``, ``unit`` and ``draft`` of a row::

    drafts_everywhere
    OR plan = ANY(plans_with_drafts)
    OR EXISTS (SELECT FROM units u WHERE u.unit = row.unit AND (u.plan IS NULL OR u.plan = row.plan)
               AND (u.drafts OR NOT draft))
    OR NOT draft AND (everything OR plan = ANY(plans) OR battle = ANY(battles))

A comparison with a NULL of the row is not true, and so shows nothing: the same as in the rules.
"""

from dataclasses import dataclass

from app.domain.permissions import Subject
from app.domain.roles import Actor, Role

__all__ = ["UnitScope", "Visibility", "visible"]


@dataclass(frozen=True, slots=True)
class UnitScope:
    """The rows of one unit, in one plan or in every one (``None``), with or without its drafts."""

    unit: str
    plan: str | None = None
    drafts: bool = False


@dataclass(frozen=True, slots=True)
class Visibility:
    """The rows that may be read: those that any one of the fields admits. Codes as in the API; empty shows nothing.

    Attributes:
        everything: every row that is no draft.
        drafts_everywhere: every row, drafts included. Reading a draft of another unit so is to be audited.
        plans: plans whose rows that are no drafts are shown.
        plans_with_drafts: plans whose rows are all shown, drafts included; to be audited in the same way.
        battles: battles whose rows that are no drafts are shown.
        units: units whose rows are shown, drafts included where the scope says so: a reporter's own.
    """

    everything: bool = False
    drafts_everywhere: bool = False
    plans: frozenset[str] = frozenset()
    plans_with_drafts: frozenset[str] = frozenset()
    battles: frozenset[str] = frozenset()
    units: frozenset[UnitScope] = frozenset()

    @property
    def nothing(self) -> bool:
        """Whether no row at all may be read, so that none need be asked for."""
        return self == Visibility()

    def admits(self, subject: Subject) -> bool:
        """Whether a row may be read: the meaning of the fields, for rows that are at hand already."""
        if self.drafts_everywhere or subject.plan in self.plans_with_drafts:
            return True
        if any(
            scope.unit == subject.unit
            and (scope.plan is None or scope.plan == subject.plan)
            and (scope.drafts or not subject.draft)
            for scope in self.units
        ):
            return True
        return not subject.draft and (self.everything or subject.plan in self.plans or subject.battle in self.battles)

    def only_audits(self, subject: Subject) -> bool:
        """Whether a row is a draft that is not the reader's own: one that is read is to be put down as read."""
        return subject.draft and not any(
            scope.drafts and scope.unit == subject.unit and (scope.plan is None or scope.plan == subject.plan)
            for scope in self.units
        )


def visible(actor: Actor, *, public: bool = False) -> Visibility:
    """Return the rows that ``actor`` may read; ``public`` says that the deployment opens progress to everyone."""
    everything, drafts_everywhere = public, False
    plans: set[str] = set()
    plans_with_drafts: set[str] = set()
    battles: set[str] = set()
    units: set[UnitScope] = set()
    for grant in actor.grants:
        match grant.role:
            case Role.AUDITOR:
                if grant.plan is None:
                    everything = drafts_everywhere = True
                else:
                    plans_with_drafts.add(grant.plan)
            case Role.REPORTER if grant.unit is not None:
                units.add(UnitScope(grant.unit, grant.plan, drafts=True))
            case Role.READER if grant.unit is not None:
                units.add(UnitScope(grant.unit, grant.plan))
            case Role.COORDINATOR if grant.battle is not None:
                battles.add(grant.battle)
            case Role.READER | Role.CERTIFIER | Role.SUPERVISOR:
                if grant.plan is None:
                    everything = True
                else:
                    plans.add(grant.plan)
            case _:
                pass
    return Visibility(
        everything,
        drafts_everywhere,
        frozenset(plans),
        frozenset(plans_with_drafts),
        frozenset(battles),
        frozenset(units),
    )
