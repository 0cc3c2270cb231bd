"""The bearer header: a token, nothing, or a refusal; and the challenge that answers it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.security.api_keys import issue_key
from app.security.bearer import BearerError, ChallengeError, bearer_token, challenge


def test_a_request_without_the_header_brings_no_token() -> None:
    assert bearer_token(None) is None


@pytest.mark.parametrize("header", ["Bearer abc.def-_~+/==", "bearer abc.def-_~+/==", "BEARER   abc.def-_~+/=="])
def test_the_scheme_may_be_written_in_any_case(header: str) -> None:
    assert bearer_token(header) == "abc.def-_~+/=="


def test_an_api_key_fits_into_the_header() -> None:
    key = issue_key("prod").text
    assert bearer_token(f"Bearer {key}") == key


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "abc",
        "Bearer a b",
        "Bearer a, Bearer b",
        "Bearer 密钥",
        " Bearer a",
        "Bearer a ",
        "Bearer a\n",
        "Bearer\ta",
        f"Bearer {'a' * 9000}",
    ],
)
def test_an_unreadable_header_is_refused_and_not_taken_for_none(header: str) -> None:
    with pytest.raises(BearerError) as caught:
        bearer_token(header)
    assert "Authorization" in caught.value.detail


@given(st.text())
def test_a_header_is_read_or_refused(header: str) -> None:
    try:
        token = bearer_token(header)
    except BearerError:
        return
    assert token
    assert header.endswith(token)


def test_a_challenge_is_ascii_and_names_its_error() -> None:
    assert challenge() == 'Bearer realm="liuzhang"'
    for error in ChallengeError:
        assert challenge(error) == f'Bearer realm="liuzhang", error="{error.value}"'
        assert challenge(error).isascii()
