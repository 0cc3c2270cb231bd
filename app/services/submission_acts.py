"""What the audit trail keeps of submissions: how one came in, and what each step did to it."""

from collections.abc import Mapping
from typing import Any

from app.domain.audit import AuditAction
from app.domain.plan import plan_of
from app.domain.workflow import SubmissionAction, SubmissionState
from app.schemas.submission import SubmissionRead
from app.services.audit import Act

__all__ = ["created", "said", "stepped"]

_SAID = {
    *("stage", "percent_complete", "progress", "problems", "next_steps", "as_of", "observations", "content_hash"),
}


def created(identity: str, *, task: str, unit: str, period: str, state: SubmissionState, content_hash: str) -> Act:
    """A report that came in; what it says stands in its first revision, which ``content_hash`` seals."""
    after = {"task": task, "period": period, "state": state, "revision": 1, "content_hash": content_hash}
    return Act(AuditAction.SUBMISSION_CREATE, identity, plan_of(task), unit, after=after)


def stepped(
    case: Any,
    action: SubmissionAction,
    to_state: SubmissionState,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> Act:
    """A step that was taken with a submission as it was in ``case``: its states, and whatever else is given."""
    was = {"state": case["state"], "revision": case["revision"]}
    return Act(
        AuditAction(f"submission.{action}"),
        str(case["id"]),
        plan_of(case["task"]),
        case["unit"],
        before={**was, **(before or {})},
        after={**was, "state": to_state, **(after or {})},
    )


def said(shown: SubmissionRead) -> dict[str, Any]:
    """What a report says, which an edit overwrites and no revision keeps."""
    return shown.model_dump(mode="json", include=_SAID)
