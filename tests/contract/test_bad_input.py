"""Bad input at every operation of the document, over real HTTP: a clear problem, and nothing is written."""

import http.client
import json
import re
import socket
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlparse
from uuid import UUID

import asyncpg
import httpx
import pytest
import pytest_asyncio

from app.main import create_app
from app.security.api_keys import issue_key
from app.settings import Settings
from tests.api.test_bodies import connect, read_answer
from tests.api.test_permission_matrix import OPERATIONS, OWN, TASKS
from tests.conftest import KEYS, Clone, Keyed, key_for, listening, nobody_leads
from tests.unit import issuers

LIMIT = 200_000
NAMES = {"id": str(UUID(int=7)), "event": "evt_1", "key_id": "a" * 12, "token_id": "a" * 12}
REAL = {**NAMES, "unit": OWN, "period": "2023-05"}
CODES = {"tasks": TASKS[OWN], "units": OWN, "plans": "431228-2023", "battles": "431228-2023-6", "rules": "monthly-form"}
WRITING = {name: one for name, one in OPERATIONS.items() if "requestBody" in one[2]}
# The kinds of body that an operation takes; most take JSON alone.
KINDS = {name: list(one[2]["requestBody"]["content"]) for name, one in WRITING.items()}
JSON = ["application/json"]
TABLES = "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"


@dataclass(frozen=True)
class Place:
    """A service with small limits and an issuer, an account on it, and what is in its database."""

    address: str
    url: str
    account: str
    revoked: str

    def path(self, template: str, **given: str) -> str:
        """A path with real names, but for those that are given."""
        noun = template.split("/")[3]
        named = {**REAL, "code": CODES.get(noun, self.account), **given}
        return re.sub(r"{(\w+)}", lambda found: named[found[1]], template)


@pytest_asyncio.fixture(scope="module")
async def place(clone: Clone) -> AsyncGenerator[Place]:
    answers = {"/keys": (200, dict[str, str](), json.dumps({"keys": [issuers.jwk()]}).encode())}
    async with clone() as url, nobody_leads(url):
        with issuers.http_server(answers) as address:
            settings = Settings(
                database_url=url,
                max_body_size=LIMIT,
                max_file_size=LIMIT,
                body_timeout=2,
                public_plan=False,
                oidc_issuer=issuers.URL,
                oidc_audience=issuers.AUDIENCE,
                oidc_jwks_url=f"{address}/keys",
            )
            with listening(create_app(settings, clock=lambda: issuers.START)) as served:
                async with httpx.AsyncClient(base_url=f"{served}/api/v1", auth=Keyed(), trust_env=False) as client:
                    account = (await client.post("/accounts", json={"name": "甲"})).json()["code"]
                    key = (await client.post(f"/accounts/{account}/keys", json={})).json()
                    assert (await client.delete(f"/accounts/{account}/keys/{key['key_id']}")).status_code == 200
                yield Place(served, url, account, key["key"])


async def contents(url: str) -> dict[str, str]:
    """What each table holds, but for the instants at which keys were last used."""
    connection = await asyncpg.connect(url)
    try:
        held: dict[str, str] = {}
        for (table,) in await connection.fetch(TABLES):
            row = "to_jsonb(t) - 'last_used_at'"
            held[table] = await connection.fetchval(
                f"SELECT count(*) || ' ' || coalesce(md5(string_agg(({row})::text, '' ORDER BY ({row})::text)), '')"
                f' FROM "{table}" t'
            )
        return held
    finally:
        await connection.close()


@pytest_asyncio.fixture(autouse=True)
async def nothing_changed(place: Place) -> AsyncGenerator[None]:
    before = await contents(place.url)
    yield
    assert await contents(place.url) == before


def a_body(name: str) -> dict[str, Any]:
    """How to send an operation what is nothing that it could take, under a name that it takes."""
    return {"content": b"{}", "headers": {"Content-Type": KINDS[name][0]}} if name in KINDS else {"headers": {}}


def is_refused(answer: httpx.Response, *statuses: int) -> None:
    said = (str(answer.request.url)[:300], answer.request.method, answer.text[:300])
    assert answer.status_code in (statuses or {400, 401, 403, 404, 405, 409, 412, 422}), said
    assert answer.headers["content-type"] == "application/problem+json", said
    problem = answer.json()
    assert (problem["status"], problem["instance"]) == (answer.status_code, answer.headers["x-request-id"])
    told = problem["title"] + problem["detail"]
    assert re.search(r"SELECT .* FROM|INSERT INTO|asyncpg|syntax error|Traceback|pydantic", told) is None, said
    assert "x-evil" not in answer.headers, said


@pytest.fixture
def client(place: Place) -> Generator[httpx.Client]:
    with httpx.Client(base_url=place.address, auth=Keyed(), trust_env=False, timeout=60) as opened:
        yield opened


def tokens(place: Place) -> dict[str, str]:
    good = issuers.claims(liuzhang_grants=["administrator", "supervisor", f"reporter:{OWN}"])
    head = {"alg": "none", "kid": "a", "typ": "JWT"}
    signed = issuers.token(liuzhang_grants=["administrator"])
    public = issuers.segment({**good, "sub": "other"})
    mistyped = KEYS["everything"]
    return {
        "forged": ".".join([signed.split(".")[0], public, signed.split(".")[2]]),
        "of another's key": issuers.token("b", header={"kid": "a"}, liuzhang_grants=["administrator"]),
        "of an unknown key": issuers.token("c", liuzhang_grants=["administrator"]),
        "none": f"{issuers.segment(head)}.{issuers.segment(good)}.",
        "none with a signature": f"{issuers.segment(head)}.{issuers.segment(good)}.{signed.split('.')[2]}",
        "None": f"{issuers.segment({**head, 'alg': 'None'})}.{issuers.segment(good)}.",
        "expired": issuers.token(exp=int((issuers.START - timedelta(minutes=5)).timestamp())),
        "not yet": issuers.token(nbf=int((issuers.START + timedelta(minutes=5)).timestamp())),
        "of another audience": issuers.token(aud="another-service"),
        "of another issuer": issuers.token(iss="https://evil.example.org"),
        "of infinity": issuers.token(exp=float("inf")),
        "a key of another environment": issue_key("test").text,
        "a key nobody has": issue_key("prod").text,
        "a revoked key": place.revoked,
        "a mistyped key": mistyped[:-1] + ("a" if mistyped[-1] != "a" else "b"),
    }


def test_credentials_that_are_not_believed_open_nothing(place: Place, client: httpx.Client) -> None:
    good = {"Authorization": f"Bearer {issuers.token(liuzhang_grants=['administrator'])}"}
    assert client.get("/api/v1/accounts", headers=good).status_code == 200
    for what, token in tokens(place).items():
        for name, (method, path, _) in OPERATIONS.items():
            sent = a_body(name)
            sent["headers"]["Authorization"] = f"Bearer {token}"
            answer = client.request(method, place.path(path), **sent)
            assert answer.status_code == 401, (what, method, path)
            is_refused(answer)
            assert answer.json()["type"] == "/problems/invalid-credentials"
            assert answer.headers["www-authenticate"] == 'Bearer realm="liuzhang", error="invalid_token"'


def nested(opening: str, closing: str, depth: int = 10_000) -> str:
    return opening * depth + "1" + closing * depth


# Whole bodies that are none, and texts that stand for the value of a member.
BODIES = [
    *(b"", b"{", b"null", b"true", b"0", b'"a"', b"[]", b"NaN", b"Infinity", b"-Infinity", b"{}{}", b"'a'"),
    *(b'{"a": "\xff"}', b'{"a": "\xc0\xaf"}', b'{"a": "\xed\xa0\x80"}', "{}".encode("utf-16"), b"\x00", b"{}\x00"),
    *(nested("[", "]").encode(), nested('{"a":', "}").encode(), b"[" * 100_000),
    *(b'{"a": 1, "a": 2}', b'{"a": {"b": 1, "\\u0062": 2}}'),
]
VALUES = [
    *('"a\\u0000b"', '"\\ud800"', '"\\udfff\\ud800"', '"\x00"', "NaN", "Infinity", "-Infinity", "1e400", "-1e400"),
    *("1" * 5000, "0." + "1" * 5000, "1e-400", "9223372036854775808", nested("[", "]"), nested('{"a":', "}")),
    *('{"a": 1, "a": 2}', '"' + "a" * 100_000 + '"', '"\\r\\nX-Evil: 1"', "[[]]", "{}"),
]


def members(operation: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    yield from document["components"]["schemas"][reference.rsplit("/", 1)[1]]["properties"]


def test_bodies_that_are_none_are_refused_everywhere(
    place: Place, client: httpx.Client, document: dict[str, Any]
) -> None:
    for name, (method, path, operation) in WRITING.items():
        if KINDS[name] != JSON:
            continue
        by_member = [f'{{"{one}": {value}}}'.encode() for one in members(operation, document) for value in VALUES]
        twice = [f'{{"{one}": null, "{one}": null}}'.encode() for one in members(operation, document)]
        for content in (*BODIES, *by_member, *twice):
            headers = {"Content-Type": "application/json"}
            answer = client.request(method, place.path(path), content=content, headers=headers)
            if answer.status_code < 300:
                pytest.fail(f"{method} {path} took {content[:200]!r}")
            is_refused(answer)


def test_files_that_are_none_are_refused_everywhere(place: Place, client: httpx.Client) -> None:
    taking = [(WRITING[name], kind) for name, kinds in KINDS.items() for kind in kinds if kinds != JSON]
    assert len(taking) == 4
    for (method, path, _), kind in taking:
        for content in (*BODIES, *(value.encode() for value in VALUES), b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
            answer = client.request(method, place.path(path), content=content, headers={"Content-Type": kind})
            is_refused(answer, 400, 422)


def head(name: str, path: str, size: str) -> bytes:
    lines = [f"{OPERATIONS[name][0]} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {key_for(path)}"]
    lines += [f"Content-Type: {KINDS[name][0]}"] if name in KINDS else []
    return "\r\n".join([*lines, size, "", ""]).encode()


def test_100_megabytes_are_refused_everywhere_announced_or_in_chunks(place: Place) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    for name, (method, path, _) in OPERATIONS.items():
        with connect(place.address) as connection:
            connection.sendall(head(name, place.path(path), "Content-Length: 100000000"))
            status, headers, problem = read_answer(connection)
        assert (status, headers["connection"]) == (413, "close"), (method, path)
        assert (problem["type"], headers["content-type"]) == ("/problems/content-too-large", "application/problem+json")
        if name not in WRITING:
            continue
        with connect(place.address) as connection:
            connection.sendall(head(name, place.path(path), "Transfer-Encoding: chunked"))
            sent = 0
            connection.settimeout(20)
            try:
                # Little more than the limit: the server answers and closes, whatever would come.
                while sent <= 2 * LIMIT:
                    connection.sendall(chunk)
                    sent += 0x10000
            except OSError:
                pass
            assert read_answer(connection)[0] == 413, (method, path)


def test_slow_bodies_are_given_up_everywhere(place: Place) -> None:
    waiting: list[tuple[str, str, socket.socket]] = []
    for name, (method, path, _) in WRITING.items():
        connection = connect(place.address)
        connection.sendall(head(name, place.path(path), "Content-Length: 1000") + b"{")
        waiting.append((method, path, connection))
    for method, path, connection in waiting:
        with connection:
            status, headers, problem = read_answer(connection)
        assert (status, problem["type"]) == (408, "/problems/body-timeout"), (method, path)
        assert headers["connection"] == "close"


INJECTED = [
    *("' OR '1'='1", "'; DROP TABLE plans; --", '" OR 1=1 --', "1 UNION SELECT version()", "$1", "%", "\\"),
    *("${7*7}", "\r\nX-Evil: 1", "\n", "\x00", "a" * 3000, "\ufffd", "🀄", "-1", "9" * 20, "1e400", "NaN", "[]"),
]


def test_nothing_is_injected_by_any_parameter_of_whoever_may_do_all(place: Place, client: httpx.Client) -> None:
    tried = 0
    for operation_id, (method, path, operation) in OPERATIONS.items():
        for parameter in operation.get("parameters", []):
            name, where = parameter["name"], parameter["in"]
            for text in INJECTED:
                target, sent = place.path(path), a_body(operation_id)
                if where == "path":
                    target = place.path(path, **{name: quote(text, safe="")})
                elif where == "query":
                    target += f"?{name}={quote(text, safe='')}"
                elif text.isascii() and text.isprintable():
                    sent["headers"][name] = text
                    if name == "Idempotency-Key" and "content" in sent:
                        # Any text may be a key, and it is looked up first; the rest must not be a good request.
                        sent["content"] = b"[]"
                else:
                    continue
                answer = client.request(method, target, **sent)
                tried += 1
                assert "x-evil" not in answer.headers
                if answer.status_code >= 300 and answer.status_code != 304:
                    is_refused(answer)
                else:
                    assert method == "GET", (method, target)
    assert tried > 2000


def test_headers_of_every_request_inject_nothing(place: Place) -> None:
    names = ("X-Request-ID", "X-Forwarded-For", "Forwarded", "Host", "Origin", "Accept", "If-None-Match", "Range")
    odd = [
        b"\xff\xfe",
        b"' OR 1=1 --",
        b"%0d%0aX-Evil: 1",
        b"\t",
        b"a" * 8000,
        b"127.0.0.1, ::1, unknown",
        b'W/"',
        b"*",
    ]
    for name in names:
        for value in odd:
            with connect(place.address) as connection:
                host = b"" if name == "Host" else b"Host: x\r\n"
                key = f"Authorization: Bearer {KEYS['everything']}\r\n".encode()
                line = name.encode() + b": " + value + b"\r\n"
                connection.sendall(b"GET /api/v1/me HTTP/1.1\r\nConnection: close\r\n" + host + key + line + b"\r\n")
                received = b"".join(iter(lambda: connection.recv(65536), b""))
            assert received.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 304 ", b"HTTP/1.1 400 ")), (name, value)
            assert b"\r\nX-Evil" not in received
            assert b"\r\nx-evil" not in received


TRICKS: dict[str, Callable[[str], str]] = {
    "a slash more at the end": lambda path: f"{path}/",
    "a slash more in front": lambda path: f"/{path}",
    "a slash more within": lambda path: path.replace("/v1/", "/v1//"),
    "dots": lambda path: path.replace("/v1/", "/x/../v1/"),
    "dots, encoded": lambda path: path.replace("/v1/", "/x/%2e%2e/v1/"),
    "a dot": lambda path: path.replace("/v1/", "/v1/./"),
    "slashes, encoded": lambda path: path.replace("/v1/", "/v1%2f"),
    "backslashes": lambda path: path.replace("/v1/", "/v1\\"),
    "backslashes, encoded": lambda path: path.replace("/v1/", "/v1%5c"),
    "a semicolon at the end": lambda path: f"{path};x=1",
    "a semicolon within": lambda path: path.replace("/v1/", "/v1;x=1/"),
    "overlong dots": lambda path: path.replace("/v1/", "/x/%c0%ae%c0%ae/v1/"),
    "an overlong slash": lambda path: path.replace("/v1/", "/v1%c0%af"),
    "NUL": lambda path: f"{path}%00",
    "a line break": lambda path: f"{path}%0d%0aX-Evil:%201",
    "a blank": lambda path: f"{path}%20",
    "large letters": lambda path: path.replace("/api/", "/API/"),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_no_trick_with_a_path_leads_to_an_operation(place: Place, trick: str) -> None:
    parts = urlparse(place.address)
    # It sends a path as it stands, which httpx would not.
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    for method, path, _ in OPERATIONS.values():
        headers = {"Authorization": f"Bearer {key_for(path)}", "Content-Type": "application/json"}
        connection.request(method, TRICKS[trick](place.path(path)), body=b"{}", headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status in {400, 404, 405, 422}, (method, path, content[:300])
        assert answer.getheader("Content-Type") == "application/problem+json"
        assert answer.getheader("X-Evil") is None
    connection.close()


async def test_a_change_would_be_seen(place: Place) -> None:
    before = await contents(place.url)
    connection = await asyncpg.connect(place.url)
    for name, seen in (("乙", True), ("甲", False)):
        await connection.execute("UPDATE accounts SET name = $1 WHERE code = $2", name, place.account)
        assert (await contents(place.url) != before) is seen
    await connection.close()
