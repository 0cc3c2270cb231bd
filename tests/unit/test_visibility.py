"""Visibility as data: it shows exactly the rows that the rules allow, in Python and as a WHERE clause."""

import json
import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.permissions import may_read_progress, may_see_draft
from app.domain.roles import ANONYMOUS, Actor, Grant, parse_grant
from app.domain.visibility import UnitScope, Visibility, visible
from tests.unit.grants import GRANTS, SUBJECTS, actor, actors

# The condition of the module's docstring, with JSON arrays in place of PostgreSQL's.
WHERE = """
    :drafts_everywhere
    OR plan IN (SELECT value FROM json_each(:plans_with_drafts))
    OR EXISTS (SELECT 1 FROM json_each(:units) AS u
               WHERE u.value ->> 'unit' = r.unit AND (u.value ->> 'plan' IS NULL OR u.value ->> 'plan' = r.plan)
               AND (u.value ->> 'drafts' OR NOT r.draft))
    OR NOT draft AND (:everything OR plan IN (SELECT value FROM json_each(:plans))
                                  OR battle IN (SELECT value FROM json_each(:battles)))
"""


@pytest.fixture(scope="module")
def rows() -> Iterator[sqlite3.Connection]:
    """Every row there can be, under its place in ``SUBJECTS``."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE r (id INTEGER, plan TEXT, battle TEXT, unit TEXT, draft INTEGER)")
    connection.executemany(
        "INSERT INTO r VALUES (?, ?, ?, ?, ?)",
        [(n, row.plan, row.battle, row.unit, row.draft) for n, row in enumerate(SUBJECTS)],
    )
    yield connection
    connection.close()


def bound(seen: Visibility) -> dict[str, object]:
    return {
        "everything": seen.everything,
        "drafts_everywhere": seen.drafts_everywhere,
        "plans": json.dumps(list(seen.plans)),
        "plans_with_drafts": json.dumps(list(seen.plans_with_drafts)),
        "battles": json.dumps(list(seen.battles)),
        "units": json.dumps([{"unit": u.unit, "plan": u.plan, "drafts": u.drafts} for u in seen.units]),
    }


@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize("grant", GRANTS)
def test_one_grant_shows_what_the_rules_allow(grant: Grant, public: bool) -> None:
    someone = actor(grant)
    seen = visible(someone, public=public)
    for subject in SUBJECTS:
        assert seen.admits(subject) is may_read_progress(someone, subject, public)


@given(actors() | st.just(ANONYMOUS), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_data_and_the_rules_show_the_same_rows(rows: sqlite3.Connection, someone: Actor, public: bool) -> None:
    seen = visible(someone, public=public)
    expected = {n for n, subject in enumerate(SUBJECTS) if may_read_progress(someone, subject, public)}
    drafts = {n for n, subject in enumerate(SUBJECTS) if subject.draft and may_see_draft(someone, subject)}
    assert {n for n, subject in enumerate(SUBJECTS) if seen.admits(subject)} == expected
    assert {n for n in expected if SUBJECTS[n].draft} == drafts
    selected = rows.execute(f"SELECT id FROM r WHERE {WHERE}", bound(seen))
    assert {n for (n,) in selected} == expected
    assert seen.nothing == (expected == set())


@pytest.mark.parametrize(
    ("grants", "expected"),
    [
        ((), Visibility()),
        (("administrator",), Visibility()),
        (("reader",), Visibility(everything=True)),
        (("supervisor@431228-2023",), Visibility(plans=frozenset({"431228-2023"}))),
        (("auditor",), Visibility(everything=True, drafts_everywhere=True)),
        (("auditor@431228-2023",), Visibility(plans_with_drafts=frozenset({"431228-2023"}))),
        (
            ("reporter:431228-jyj", "coordinator:431228-2023-6", "certifier:431228-jyj@431228-2024"),
            Visibility(
                plans=frozenset({"431228-2024"}),
                battles=frozenset({"431228-2023-6"}),
                units=frozenset({UnitScope("431228-jyj", drafts=True)}),
            ),
        ),
        (("reader:431228-jyj@431228-2023",), Visibility(units=frozenset({UnitScope("431228-jyj", "431228-2023")}))),
    ],
)
def test_what_grants_show(grants: tuple[str, ...], expected: Visibility) -> None:
    assert visible(actor(*map(parse_grant, grants))) == expected


def test_a_public_deployment_shows_everybody_everything_but_drafts() -> None:
    assert visible(ANONYMOUS, public=True) == Visibility(everything=True)
