"""Who reports on a task, read from its bracket."""

import pytest

from app.domain.owing import reporters
from app.domain.plan import AssignmentRole, UnitKind

LEAD, RESPONSIBLE, COOPERATING = AssignmentRole.LEAD, AssignmentRole.RESPONSIBLE, AssignmentRole.COOPERATING
BUREAU, TOWNSHIP, COLLECTIVE = UnitKind.COUNTY_BUREAU, UnitKind.TOWNSHIP, UnitKind.COLLECTIVE
Bracket = list[tuple[AssignmentRole, UnitKind, str]]


@pytest.mark.parametrize(
    ("bracket", "expected"),
    [
        pytest.param([], [], id="no bracket"),
        pytest.param([(LEAD, BUREAU, "a")], ["a"], id="one lead"),
        pytest.param([(LEAD, BUREAU, "b"), (LEAD, BUREAU, "a")], ["b", "a"], id="several leads, in print order"),
        pytest.param(
            [(RESPONSIBLE, BUREAU, "a"), (LEAD, BUREAU, "b"), (RESPONSIBLE, BUREAU, "c")],
            ["b"],
            id="a lead printed after others",
        ),
        pytest.param(
            [(LEAD, BUREAU, "a"), (RESPONSIBLE, BUREAU, "b"), (LEAD, BUREAU, "a"), (LEAD, BUREAU, "c")],
            ["a", "c"],
            id="a lead of two clauses owes once",
        ),
        pytest.param([(RESPONSIBLE, BUREAU, "a"), (RESPONSIBLE, BUREAU, "b")], ["a"], id="the first responsible"),
        pytest.param([(COOPERATING, BUREAU, "a"), (RESPONSIBLE, BUREAU, "b")], ["b"], id="cooperating is not asked"),
        pytest.param([(COOPERATING, BUREAU, "a")], [], id="cooperating alone: nobody"),
        pytest.param([(LEAD, COLLECTIVE, "all"), (LEAD, BUREAU, "a")], ["a"], id="a collective beside a lead"),
        pytest.param(
            [(LEAD, COLLECTIVE, "all"), (RESPONSIBLE, BUREAU, "a"), (RESPONSIBLE, BUREAU, "b")],
            ["a"],
            id="a collective leads: the first responsible",
        ),
        pytest.param([(RESPONSIBLE, COLLECTIVE, "all"), (RESPONSIBLE, BUREAU, "a")], ["a"], id="a collective first"),
        pytest.param([(LEAD, COLLECTIVE, "all"), (RESPONSIBLE, COLLECTIVE, "more")], [], id="collectives: nobody"),
        pytest.param([(LEAD, TOWNSHIP, "t")], ["t"], id="one township by name"),
    ],
)
def test_the_units_that_report(bracket: Bracket, expected: list[str]) -> None:
    assert reporters(bracket) == expected


@pytest.mark.parametrize("kind", [kind for kind in UnitKind if kind is not UnitKind.COLLECTIVE])
def test_every_kind_but_a_collective_can_report(kind: UnitKind) -> None:
    assert reporters([(LEAD, kind, "a")]) == ["a"]
