"""Answers as bytes: ETags, the fragment cache, and the request line as the server reads it."""

import time
from urllib.parse import unquote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from app.fragments import FragmentCache
from app.protocol import encode_target
from app.rendering import Known, render, tag_of
from app.schemas.health import Live

TAG = '"3f1c9a0b5d7e4f2a8c6b1d3e5f7a9b0c"'
OTHER = '"00000000000000000000000000000000"'


@pytest.mark.parametrize(
    "header",
    [TAG, f"W/{TAG}", f"{OTHER}, {TAG}", f"{TAG},{OTHER}", f"  {OTHER} ,  W/{TAG}  ", "*", f"{OTHER}, *"],
)
def test_a_caller_that_names_the_tag_has_the_answer(header: str) -> None:
    assert TAG in Known.parse(header)


@pytest.mark.parametrize("header", [None, "", OTHER, TAG.strip('"'), f"{TAG[:-1]}", f"w/{TAG}", ",", " "])
def test_any_other_caller_has_not(header: str | None) -> None:
    assert TAG not in Known.parse(header)


@given(st.text())
def test_any_header_can_be_read(header: str) -> None:
    assert (TAG in Known.parse(header)) == ("*" in [part.strip() for part in header.split(",")])


@given(st.binary(), st.binary())
def test_a_tag_is_strong_and_follows_from_the_content(content: bytes, other: bytes) -> None:
    tag = tag_of(content)
    assert tag.startswith('"')
    assert tag.endswith('"')
    assert tag[1:-1].isalnum()
    assert (tag == tag_of(other)) == (content == other)
    assert tag in Known.parse(tag)


def test_an_answer_the_caller_has_is_not_sent_again() -> None:
    live = Live(status="live")
    sent = render(live, Known.parse(None))
    assert sent.body == b'{"status":"live"}'
    assert sent.etag == tag_of(sent.body)
    again = render(live, Known.parse(sent.etag))
    assert (again.etag, again.body) == (sent.etag, None)


def test_what_moves_with_the_clock_is_left_out_of_a_weak_tag() -> None:
    class Counted(BaseModel):
        as_of: int
        items: list[Live]

    first = render(Counted(as_of=1, items=[Live(status="live")]), Known.parse(None), moving={"as_of"})
    assert first.etag.startswith('W/"')
    assert first.body == b'{"as_of":1,"items":[{"status":"live"}]}'
    later = Counted(as_of=2, items=[Live(status="live")])
    for header in (first.etag, first.etag.removeprefix("W/"), f"{OTHER}, {first.etag}", "*"):
        again = render(later, Known.parse(header), moving={"as_of"})
        assert (again.etag, again.body) == (first.etag, None)
    fewer = render(Counted(as_of=2, items=[]), Known.parse(first.etag), moving={"as_of"})
    assert (fewer.etag != first.etag, fewer.body) == (True, b'{"as_of":2,"items":[]}')
    nested = {"as_of": True, "items": {"__all__": {"status"}}}
    assert render(later, Known.parse(None), moving=nested).etag not in Known.parse(first.etag)
    assert render(later, Known.parse(first.etag)).body is not None


def test_the_cache_keeps_no_more_than_its_size_and_drops_what_nobody_asks_for() -> None:
    cache = FragmentCache(2)
    cache.put("task", 1, 1, b"one")
    cache.put("task", 2, 1, b"two")
    assert cache.get("task", 1, 1) == b"one"
    cache.put("task", 3, 1, b"three")
    assert [cache.get("task", key, 1) for key in (1, 2, 3)] == [b"one", None, b"three"]


def test_a_fragment_is_found_by_kind_key_and_version_only() -> None:
    cache = FragmentCache(10)
    cache.put("task", 1, 7, b"seven")
    assert cache.get("task", 1, 7) == b"seven"
    assert cache.get("task", 1, 8) is None
    assert cache.get("task", 2, 7) is None
    assert cache.get("task-item", 1, 7) is None


def test_a_cache_of_size_0_keeps_nothing() -> None:
    cache = FragmentCache(0)
    cache.put("task", 1, 1, b"one")
    assert cache.get("task", 1, 1) is None


def test_a_cleared_cache_is_empty_and_usable() -> None:
    cache = FragmentCache(2)
    cache.put("task", 1, 1, b"one")
    cache.clear()
    assert cache.get("task", 1, 1) is None
    cache.put("task", 1, 1, b"one")
    assert cache.get("task", 1, 1) == b"one"


METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
VERSIONS = st.sampled_from(["1.0", "1.1"])
ASCII = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E))
# What may stand in a target as typed: no blank, no line end.
TARGETS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=" \r\n"))


@given(METHODS, ASCII, VERSIONS, st.binary())
def test_an_ascii_request_is_passed_on_untouched(method: str, target: str, version: str, rest: bytes) -> None:
    data = f"{method} /{target} HTTP/{version}\r\n".encode() + rest
    assert encode_target(data) == data


@given(st.binary())
def test_what_does_not_begin_with_a_request_line_is_untouched(data: bytes) -> None:
    # A lower-case letter begins no method.
    assert encode_target(b"x" + data) == b"x" + data


@given(METHODS, TARGETS, VERSIONS, st.binary())
def test_a_target_as_typed_is_encoded_and_decodes_back(method: str, target: str, version: str, rest: bytes) -> None:
    data = f"{method} /{target} HTTP/{version}\r\n".encode() + rest
    line, _, after = encode_target(data).partition(b"\r\n")
    begin, encoded, end = line.split(b" ")
    assert (begin, end, after) == (method.encode(), f"HTTP/{version}".encode(), rest)
    assert encoded.isascii()
    assert unquote_to_bytes(encoded) == unquote_to_bytes(f"/{target}".encode())


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters=" \r\n%")))
def test_the_words_of_a_target_are_kept(words: str) -> None:
    encoded = encode_target(f"GET /{words} HTTP/1.1\r\n\r\n".encode()).split(b" ")[1]
    assert unquote(encoded.decode()) == f"/{words}"


@given(METHODS, TARGETS)
def test_encoding_twice_is_encoding_once(method: str, target: str) -> None:
    once = encode_target(f"{method} /{target} HTTP/1.1\r\n".encode())
    assert encode_target(once) == once


def test_a_body_and_headers_beyond_ascii_stay_as_they_are() -> None:
    rest = "X-Name: 县\r\n\r\nGET /县 HTTP/1.1\r\n".encode()
    encoded = encode_target("GET /县 HTTP/1.1\r\n".encode() + rest)
    assert encoded == b"GET /%E5%8E%BF HTTP/1.1\r\n" + rest


def test_a_long_line_without_an_end_costs_no_more_than_its_length() -> None:
    data = b"GET /" + b"\xe5" * 12_000
    started = time.perf_counter()
    assert encode_target(data) == data
    assert time.perf_counter() - started < 0.25
