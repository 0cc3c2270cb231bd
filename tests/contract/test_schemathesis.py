"""Schemathesis over the whole document, against the service over real HTTP."""

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from app.errors import AmbiguousError, InvalidCursorError, UnknownReferenceError, UnknownUnitError
from app.main import create_app
from app.settings import Settings

# The document does not depend on a database: it is read before the server is up, so that each operation is a test.
api = schemathesis.openapi.from_dict(create_app(Settings(database_url="postgresql://unused")).openapi())
SEMANTIC = (InvalidCursorError, UnknownUnitError, UnknownReferenceError, AmbiguousError)
NOT_IN_THE_SCHEMA = {f"/problems/{error.slug}" for error in SEMANTIC}


@api.parametrize()
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_no_input_breaks_the_service_or_its_document(case: schemathesis.Case, server: str) -> None:
    answer = case.call(base_url=server)
    # A cursor or a unit can be well-formed and yet not exist; that is told by these types, and by no other 422.
    unknown = answer.status_code == 422 and answer.json()["type"] in NOT_IN_THE_SCHEMA
    case.validate_response(answer, excluded_checks=[positive_data_acceptance] if unknown else [])
