"""Schemathesis over the whole document, against the service over real HTTP."""

from typing import Any
from uuid import uuid4

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from app.errors import (
    AmbiguousError,
    InvalidCursorError,
    UnknownReferenceError,
    UnknownUnitError,
    UnreadableFileError,
)
from app.main import create_app
from app.routers.files import XLSX
from app.settings import Settings
from tests.conftest import key_for

schemathesis.serializer.alias(XLSX, "application/octet-stream")
# The document does not depend on a database: it is read before the server is up, so that each operation is a test.
api = schemathesis.openapi.from_dict(create_app(Settings(database_url="postgresql://unused")).openapi())
SEMANTIC = (InvalidCursorError, UnknownUnitError, UnknownReferenceError, AmbiguousError, UnreadableFileError)
NOT_IN_THE_SCHEMA = {f"/problems/{error.slug}" for error in SEMANTIC}
# What a body can mean and yet not be true of the plan, each with a code of ours; and how many digits a number may have,
# for which JSON Schema has no word.
MEANT_BUT_NOT_TRUE = {
    *("unknown_task", "unknown_unit", "not_owed", "period_ahead", "locked", "already_reported", "not_certifier"),
    *("completed_below_100", "progress_not_started", "full_not_completed"),
    *("not_its_target", "qualitative", "repeated"),
    *("outside_year", "falls"),
    *("invalid_grant", "unknown_plan", "unknown_battle", "unknown_rule", "not_later", "invalid_network"),
    *("wrong_period", "target_not_allowed"),
    *("past", "no_evidence", "no_enterprise", "not_higher", "not_applicable", "wrong_order"),
    *("not_a_project", "ends_before_start", "not_yet", "new_indicator", "other_indicator", "not_given"),
    *("range_has_max", "range_order", "unknown_team", "outside_period", "before_inspection"),
    *("decimal_max_digits", "decimal_max_places", "decimal_whole_digits"),
    *("inconsistent_scheme", "lies_ahead", "nothing_to_assess"),
    *("wrong_instant", "wrong_number", "not_lagging"),
}
# An instant of another year than those a calendar can have; date-time of the document has no bounds.
INSTANTS = {"as_of", "due_at", "at", "expires_at", "from", "to", "answer_due_at", "judged_as_of"}
PATIENCE = {str(seconds) for seconds in range(31)}
SPENT: set[str] = set()


def given(case: schemathesis.Case, pointer: str) -> Any:
    """What a request has where a fault points."""
    _, place, *steps = pointer.split("/")
    value: Any = case.body if place == "body" else case.query
    for step in steps:
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


def cannot_be_said(case: schemathesis.Case, fault: dict[str, str]) -> bool:
    """Whether the document could not have told that this would be refused."""
    if fault["code"] == "value_error" and fault["pointer"].rsplit("/", 1)[1] in INSTANTS:
        return not "1901" <= str(given(case, fault["pointer"]))[:4] <= "9000"
    if fault["code"] == "two_credentials":
        return True
    return fault["pointer"].startswith(("/body/", "/query/")) and fault["code"] in MEANT_BUT_NOT_TRUE


def cannot_be_in_the_schema(case: schemathesis.Case, answer: schemathesis.Response) -> bool:
    """Whether a refusal is for nothing that the document could have told."""
    if answer.status_code != 422:
        return False
    problem = answer.json()
    faults = problem.get("errors", [])
    return problem["type"] in NOT_IN_THE_SCHEMA or (bool(faults) and all(cannot_be_said(case, f) for f in faults))


def readied(case: schemathesis.Case) -> schemathesis.Case:
    """The same request, without waiting for something to happen, and refused for no key that another one used up."""
    if str(case.query.get("wait")) in PATIENCE:
        case.query["wait"] = 0
    if key_of(case) in SPENT:
        case.headers["Idempotency-Key"] = str(uuid4())
    return case


def key_of(case: schemathesis.Case) -> str:
    return str(case.headers.get("Idempotency-Key")).strip('"')


# Without shrinking: what fails is printed whole as it is, at once.
@api.parametrize()
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_input_breaks_the_service_or_its_document(case: schemathesis.Case, server: str) -> None:
    credentials = {"Authorization": f"Bearer {key_for(case.formatted_path)}"}
    answer = readied(case).call(base_url=server, headers=credentials)
    if answer.status_code < 300:
        SPENT.add(key_of(case))
    excluded = [positive_data_acceptance] if cannot_be_in_the_schema(case, answer) else []
    case.validate_response(answer, excluded_checks=excluded, headers=credentials)
