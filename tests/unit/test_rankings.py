"""Who is among the last, which time it is, and what follows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.inspections import InspectionPart, lacking_parts
from app.domain.rankings import Counting, Placing, Sanction, is_among_last, sanction_for, times

CUMULATIVE, CONSECUTIVE = Counting
TALK = Sanction("first", 1, "约谈", "分管副县长", "附件5/二/(一)/2")
NO_AWARD = Sanction("second", 2, "取消评先评优", None, "附件5/二/(一)/2")
PLACINGS = st.lists(
    st.builds(Placing, st.integers(1, 4), st.integers(1, 13), st.just(13)),
    max_size=4,
    unique_by=lambda one: one.quarter,
)


@pytest.mark.parametrize(
    ("rank", "of", "among"),
    [
        *((10, 13, False), (11, 13, True), (13, 13, True)),
        # Of so few, all are among the last.
        *((1, 3, True), (1, 4, False), (2, 4, True)),
        # Four share the tenth place of thirteen: nobody is ranked below the eleventh, so nobody is among the last.
        (10, 13, False),
    ],
)
def test_among_the_last_three(rank: int, of: int, among: bool) -> None:
    assert is_among_last(rank, of) is among


def test_how_many_are_the_last_is_a_parameter() -> None:
    assert [is_among_last(rank, 10, 1) for rank in (9, 10)] == [False, True]


@pytest.mark.parametrize(
    ("ranks", "cumulative", "consecutive"),
    [
        ({}, {}, {}),
        ({2: 4}, {}, {}),
        ({2: 12}, {2: 1}, {2: 1}),
        ({2: 12, 3: 13}, {2: 1, 3: 2}, {2: 1, 3: 2}),
        # A quarter that was better starts the consecutive count anew, as does one without a ranking.
        ({1: 12, 2: 5, 3: 11, 4: 12}, {1: 1, 3: 2, 4: 3}, {1: 1, 3: 1, 4: 2}),
        ({2: 12, 4: 12}, {2: 1, 4: 2}, {2: 1, 4: 1}),
        ({4: 12, 1: 12, 3: 12, 2: 12}, {1: 1, 2: 2, 3: 3, 4: 4}, {1: 1, 2: 2, 3: 3, 4: 4}),
    ],
)
def test_which_time_it_is(ranks: dict[int, int], cumulative: dict[int, int], consecutive: dict[int, int]) -> None:
    placings = [Placing(quarter, rank, 13) for quarter, rank in ranks.items()]
    for counting, expected in ((CUMULATIVE, cumulative), (CONSECUTIVE, consecutive)):
        assert {placing.quarter: time for placing, time in times(placings, counting)} == expected


@pytest.mark.parametrize(("time", "follows"), [(0, None), (1, TALK), (2, NO_AWARD), (4, NO_AWARD)])
def test_what_follows(time: int, follows: Sanction | None) -> None:
    assert sanction_for(time, [NO_AWARD, TALK]) is follows
    assert sanction_for(time, []) is None


@given(PLACINGS)
def test_the_consecutive_count_is_never_the_higher(placings: list[Placing]) -> None:
    both = zip(times(placings, CUMULATIVE), times(placings, CONSECUTIVE), strict=True)
    assert all(one == other and high >= low for (one, high), (other, low) in both)


def test_what_is_lacking_of_an_inspection() -> None:
    assert lacking_parts(inspected=True, scored=False, told=True, exposed=False) == (
        InspectionPart.ASSESSMENT,
        InspectionPart.EXPOSURE,
    )
    assert lacking_parts(inspected=False, scored=False, told=False, exposed=False) == tuple(InspectionPart)
