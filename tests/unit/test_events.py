"""How often an event is tried, and what its id is."""

from datetime import timedelta

import pytest

from app.domain.events import MOST_TRIES, event_id, position_of, try_again_after


def test_it_is_tried_from_seconds_to_more_than_three_days() -> None:
    waits = [try_again_after(failed, spread=0) for failed in range(1, MOST_TRIES)]
    assert None not in waits
    assert waits[0] == timedelta(seconds=5)
    assert waits == sorted(wait for wait in waits if wait is not None)
    total = sum((wait for wait in waits if wait is not None), timedelta())
    assert timedelta(days=3) < total < timedelta(days=4)
    assert try_again_after(MOST_TRIES, spread=0) is None


@pytest.mark.parametrize("failed", range(1, MOST_TRIES))
def test_the_spread_only_lengthens_and_by_a_quarter_at_most(failed: int) -> None:
    least, most = try_again_after(failed, spread=0), try_again_after(failed, spread=1)
    assert least is not None
    assert most == least * 1.25


@pytest.mark.parametrize("position", [1, 1024, 10**17])
def test_an_id_leads_back_to_its_position(position: int) -> None:
    assert position_of(event_id(position)) == position
