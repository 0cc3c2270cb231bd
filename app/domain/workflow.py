"""The states of a progress submission and the steps between them.

::

    draft ──submit──▶ submitted ──certify──▶ certified ──correct──▶ a new revision, a draft
      ▲                   │
      └──edit── returned ◀┘ return              (draft: edit;  returned: submit as it is)

Attachment 6, 三(四): figures are handed in by the unit, certified or returned with a reason by the certifier, who never
edits them. A certified revision never changes; what must change in it becomes a revision of its own.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from app.domain.plan import Labelled
from app.domain.state_table import StateTable

__all__ = ["TRANSITIONS", "SubmissionAction", "SubmissionState", "allowed", "apply"]


class SubmissionState(Labelled):
    """Where a revision of a submission stands."""

    DRAFT = "draft", "草稿"
    SUBMITTED = "submitted", "已报送"
    CERTIFIED = "certified", "已认定"
    RETURNED = "returned", "已退回"


class SubmissionAction(Labelled):
    """A step that somebody takes with a submission."""

    SUBMIT = "submit", "报送"
    CERTIFY = "certify", "认定"
    RETURN = "return", "退回"
    CORRECT = "correct", "更正"
    EDIT = "edit", "修改"


# From each state, the steps that are open, in the order in which they are offered, and where each leads.
TRANSITIONS: Final[Mapping[SubmissionState, Mapping[SubmissionAction, SubmissionState]]] = MappingProxyType(
    {
        SubmissionState.DRAFT: {
            SubmissionAction.EDIT: SubmissionState.DRAFT,
            SubmissionAction.SUBMIT: SubmissionState.SUBMITTED,
        },
        SubmissionState.SUBMITTED: {
            SubmissionAction.CERTIFY: SubmissionState.CERTIFIED,
            SubmissionAction.RETURN: SubmissionState.RETURNED,
        },
        # The new revision's state: the old one stays certified. Its author may submit the new one in the same breath.
        SubmissionState.CERTIFIED: {SubmissionAction.CORRECT: SubmissionState.DRAFT},
        SubmissionState.RETURNED: {
            SubmissionAction.EDIT: SubmissionState.DRAFT,
            SubmissionAction.SUBMIT: SubmissionState.SUBMITTED,
        },
    }
)


_TABLE: Final = StateTable("进度", TRANSITIONS)
allowed = _TABLE.allowed
apply = _TABLE.apply
