"""Who owes a report: the reading of a responsible-unit bracket for reporting.

A task with several leads owes one submission a lead; a task without a lead is reported by the first-named responsible
unit (design rule 1). A collective such as 各乡镇 is no unit that could report.
"""

from collections.abc import Sequence
from typing import TypeVar

from app.domain.plan import AssignmentRole, UnitKind

__all__ = ["reporters"]

UnitT = TypeVar("UnitT")


def reporters(bracket: Sequence[tuple[AssignmentRole, UnitKind, UnitT]]) -> list[UnitT]:
    """The units that report on a task, given its assignments in print order: its leads, else the first responsible."""
    able = [(role, unit) for role, kind, unit in bracket if kind is not UnitKind.COLLECTIVE]
    leads = [unit for role, unit in able if role is AssignmentRole.LEAD]
    responsible = [unit for role, unit in able if role is AssignmentRole.RESPONSIBLE]
    return list(dict.fromkeys(leads or responsible[:1]))
