"""The scope that the database's policies read: what it is made of, and that nothing is said of what is not held."""

import json
from typing import Any

import pytest

from app.domain.roles import ANONYMOUS, Actor, parse_grant
from app.domain.row_scope import reporting_scope, scope_of
from app.domain.visibility import Visibility, visible


def scope(*grants: str, public: bool = False) -> dict[str, Any]:
    actor = Actor("account:1", "某人", tuple(map(parse_grant, grants))) if grants else ANONYMOUS
    return json.loads(scope_of(actor, visible(actor, public=public)))


@pytest.mark.parametrize(
    ("grants", "expected"),
    [
        ((), {}),
        (("administrator",), {}),
        (("reader",), {"everything": True}),
        (("reader:431228-jyj",), {"units": ["431228-jyj"]}),
        (("auditor",), {"everything": True, "drafts_everywhere": True}),
        (("auditor@431228-2023",), {"plans_with_drafts": ["431228-2023"]}),
        (("coordinator:431228-2023-6",), {"battles": ["431228-2023-6"]}),
        (("reporter:431228-jyj",), {"reports": ["431228-jyj"]}),
        (("reporter:431228-jyj@431228-2023",), {"reports_in_plans": [["431228-jyj", "431228-2023"]]}),
        (("certifier:431228-tjj",), {"everything": True, "certifies_everywhere": True, "own": ["431228-tjj"]}),
        (
            ("certifier:431228-tjj@431228-2023", "reporter:431228-jyj"),
            {
                "plans": ["431228-2023"],
                "reports": ["431228-jyj"],
                "certifies": ["431228-2023"],
                "own": ["431228-jyj", "431228-tjj"],
            },
        ),
    ],
)
def test_a_scope_says_what_the_grants_say(grants: tuple[str, ...], expected: dict[str, Any]) -> None:
    assert scope(*grants) == expected


def test_progress_that_is_public_is_in_everybody_s_scope() -> None:
    assert scope(public=True) == {"everything": True}


def test_the_scope_of_several_holds_what_they_report_for_and_no_more() -> None:
    held = [("reporter:431228-jyj", "auditor"), ("reporter:431228-tjj@431228-2023", "certifier:431228-tjj"), ()]
    seen: list[Visibility] = []
    for grants in held:
        actor = Actor("account:1", "某人", tuple(map(parse_grant, grants)))
        seen.append(visible(actor))
    assert json.loads(reporting_scope(seen)) == {
        "reports": ["431228-jyj"],
        "reports_in_plans": [["431228-tjj", "431228-2023"]],
    }
