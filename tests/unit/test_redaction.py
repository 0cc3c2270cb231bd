"""Secrets leave the texts that people read, and nothing else does."""

import logging
import sys

import pytest

from app.security.api_keys import API_KEY, FEED_TOKEN, SecretKind, issue_key
from app.security.redaction import RedactingFormatter, redact

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjMifQ.c2lnbmF0dXJl-_x"


@pytest.mark.parametrize("kind", [API_KEY, FEED_TOKEN])
def test_of_a_key_only_its_public_part_stays(kind: SecretKind) -> None:
    key = issue_key("prod", kind)
    text = redact(f"GET /api/v1/units/{key.text}?a=1 {key.text}")
    secret = key.text.split("_")[3]
    assert secret not in text
    public = f"{kind.prefix}prod_{key.key_id}…"
    assert text == f"GET /api/v1/units/{public}?a=1 {public}"
    assert secret[:16] not in redact(key.text[:-20])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"token {TOKEN} refused", "token … refused"),
        (TOKEN.rsplit(".", 1)[0], "…"),
        (f"{{'authorization': 'Bearer {TOKEN}'}}", "{'authorization': 'Bearer …'}"),
        ("Authorization: BEARER abc.def-ghi_jkl==", "Authorization: BEARER …"),
        ("b'Basic dXNlcjpwYXNzd29yZA=='", "b'Basic …'"),
        ("postgresql://u:p%40ss@db:5432/x", "postgresql://u:…@db:5432/x"),
        ("redis://:secret@cache:6379/0", "redis://:…@cache:6379/0"),
    ],
)
def test_a_secret_is_replaced(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "没有单位 县发改局",
            "lz_prod_short",
            "https://example.org/a@b",
            "GET /api/v1/tasks/431228-2023-1-2-5 200 1.2ms",
        ),
        *("postgresql://db:5432/x", "Bearer …", "the basic idea", "eyJ.a", "Basic rules"),
    ],
)
def test_anything_else_stays(text: str) -> None:
    assert redact(text) == text


def test_a_log_line_is_formatted_without_secrets_its_traceback_too() -> None:
    try:
        int(f"cannot read {TOKEN}")
    except ValueError:
        error = sys.exc_info()
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "got %s", (issue_key("test").text,), error)
    line = RedactingFormatter("%(name)s %(message)s").format(record)
    assert TOKEN not in line
    assert "cannot read …" in line
    assert line.startswith("x got lz_test_")
    assert record.getMessage() not in line
