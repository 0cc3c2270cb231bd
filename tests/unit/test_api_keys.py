"""API keys: what is issued is read back; what is mistyped, of elsewhere or garbage is told apart without a database."""

import hashlib
import re
import string
from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.security.api_keys import (
    ALPHABET,
    API_KEY,
    FEED_TOKEN,
    SECRET_LENGTH,
    ApiKeyError,
    KeyChecksumError,
    KeyEnvironmentError,
    MalformedKeyError,
    is_api_key,
    issue_key,
    key_matches,
    parse_key,
)

ENVIRONMENTS = st.from_regex(r"[a-z][a-z0-9]{0,15}", fullmatch=True)
SHAPE = re.compile(r"lz_([a-z][a-z0-9]*)_([0-9A-Za-z]{12})_([0-9A-Za-z]{32})_([0-9A-Za-z]{6})")
# Made once; a key that anybody holds must be read for ever.
KEPT = "lz_prod_0123456789ab_0123456789ABCDEFGHIJKLMNOPQRSTUV_4SC4XF"


@given(ENVIRONMENTS)
def test_an_issued_key_is_read_back(environment: str) -> None:
    issued = issue_key(environment)
    presented = parse_key(issued.text, environment)
    assert presented.key_id == issued.key_id
    assert key_matches(presented, issued.digest)
    assert is_api_key(issued.text)
    found = SHAPE.fullmatch(issued.text)
    assert found is not None
    assert found.group(1, 2) == (environment, issued.key_id)
    assert issued.digest == hashlib.sha256(issued.text.encode()).digest()


def test_the_secret_cannot_be_guessed() -> None:
    assert len(ALPHABET) == len(set(ALPHABET)) == 62
    assert SECRET_LENGTH * log2(len(ALPHABET)) >= 160
    issued = [issue_key("prod") for _ in range(200)]
    assert len({key.text.split("_")[3] for key in issued}) == 200
    assert len({key.key_id for key in issued}) == 200
    assert set("".join(key.text.split("_")[3] for key in issued)) == set(string.ascii_letters + string.digits)


@given(ENVIRONMENTS)
def test_a_key_and_a_feed_token_are_never_taken_for_each_other(environment: str) -> None:
    for kind, other in ((API_KEY, FEED_TOKEN), (FEED_TOKEN, API_KEY)):
        issued = issue_key(environment, kind)
        assert parse_key(issued.text, environment, kind).key_id == issued.key_id
        with pytest.raises(MalformedKeyError):
            parse_key(issued.text, environment, other)
    assert not is_api_key(issue_key(environment, FEED_TOKEN).text)


def test_a_key_of_the_first_day_is_still_read() -> None:
    assert parse_key(KEPT, "prod").key_id == "0123456789ab"


@given(st.data())
def test_a_wrong_character_is_noticed(data: st.DataObject) -> None:
    text = issue_key("prod").text
    place = data.draw(st.integers(0, len(text) - 1))
    wrong = data.draw(st.sampled_from(string.ascii_letters + string.digits).filter(lambda c: c != text[place]))
    with pytest.raises((MalformedKeyError, KeyChecksumError)):
        parse_key(text[:place] + wrong + text[place + 1 :], "prod")


def test_two_exchanged_characters_are_noticed() -> None:
    text = next(text for text in (issue_key("prod").text for _ in range(9)) if text[30] != text[31])
    with pytest.raises(KeyChecksumError, match="抄错"):
        parse_key(text[:30] + text[31] + text[30] + text[32:], "prod")


def test_a_key_of_another_environment_says_so() -> None:
    with pytest.raises(KeyEnvironmentError) as caught:
        parse_key(issue_key("test").text, "prod")
    assert "“test”环境" in caught.value.detail
    assert "“prod”环境" in caught.value.detail


def test_the_environment_in_a_key_cannot_be_changed() -> None:
    issued = issue_key("test")
    with pytest.raises(KeyChecksumError):
        parse_key(issued.text.replace("_test_", "_prod_"), "prod")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lz_",
        "lz_prod",
        KEPT[:-1],
        f"{KEPT}x",
        f"{KEPT}\n",
        f" {KEPT}",
        KEPT.replace("_", "-"),
        KEPT.upper(),
        KEPT.replace("lz_", "gh_"),
        KEPT.replace("0123456789ab", "012345678９ab"),
        KEPT.replace("prod", "Prod"),
        KEPT.replace("prod", "p" * 17),
        "eyJhbGciOiJub25lIn0.e30.",
        "密钥",
        "x" * 100_000,
    ],
)
def test_what_is_not_written_as_a_key_is_refused(text: str) -> None:
    with pytest.raises(MalformedKeyError):
        parse_key(text, "prod")


@given(st.text() | st.from_regex(SHAPE, fullmatch=True))
def test_garbage_is_refused_and_never_repeated(text: str) -> None:
    with pytest.raises(ApiKeyError) as caught:
        parse_key(text, "prod")
    assert not caught.value.detail.isascii()
    secret = text.split("_")[3] if SHAPE.fullmatch(text) else None
    assert secret is None or secret not in caught.value.detail


@pytest.mark.parametrize("environment", ["", "Prod", "pre_prod", "pre-prod", "1prod", "生产", "p" * 17, "prod\n"])
def test_an_environment_must_fit_into_a_key(environment: str) -> None:
    with pytest.raises(ValueError, match="小写字母和数字"):
        issue_key(environment)


def test_no_secret_is_shown_by_accident() -> None:
    issued = issue_key("prod")
    secret = issued.text.split("_")[3]
    assert secret not in repr(issued)
    assert secret not in repr(parse_key(issued.text, "prod"))


def test_another_key_under_the_same_id_does_not_match() -> None:
    issued, other = issue_key("prod"), issue_key("prod")
    assert not key_matches(parse_key(issued.text, "prod"), other.digest)
    assert not key_matches(parse_key(issued.text, "prod"), b"")
    assert not key_matches(parse_key(issued.text, "prod"), issued.digest[:31])


def test_a_jwt_is_not_taken_for_a_key() -> None:
    assert not is_api_key("eyJhbGciOiJSUzI1NiJ9.e30.AA")
