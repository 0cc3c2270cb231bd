"""Accounts and their keys: shown once, kept as digests, bound in time and network, rotated, revoked; and tokens."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from app.clock import SHANGHAI
from app.db import Database, open_write_pool
from app.main import create_app
from app.security.api_keys import issue_key
from app.services.accounts import create_first_administrator
from app.settings import Settings
from tests.conftest import KEYS, Clone, make_key, serving
from tests.unit import issuers

NOW = datetime(2027, 6, 10, 9, 0, tzinfo=SHANGHAI)
ACCOUNTS = "/api/v1/accounts"
ME = "/api/v1/me"


class Office:
    """An administrator at a service whose clock is set."""

    def __init__(self, client: httpx.AsyncClient, connection: Any, now: list[datetime]) -> None:
        self.client = client
        self.connection = connection
        self.now = now

    async def ask(self, method: str, path: str, body: Any = None, status: int = 200, **headers: str) -> Any:
        answer = await self.client.request(method, path, json=body, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def account(self, *grants: dict[str, str]) -> str:
        made = await self.ask("POST", ACCOUNTS, {"name": "县教育局脚本", "grants": grants}, 201)
        return made["code"]

    async def key(self, account: str, **wanted: Any) -> Any:
        return await self.ask("POST", f"{ACCOUNTS}/{account}/keys", wanted, 201)

    async def me(self, key: str, **headers: str) -> httpx.Response:
        return await self.client.get(ME, headers={"Authorization": f"Bearer {key}", **headers})

    async def refused(self, key: str, **headers: str) -> str:
        answer = await self.me(key, **headers)
        assert (answer.status_code, answer.json()["type"]) == (401, "/problems/invalid-credentials")
        assert answer.headers["www-authenticate"] == 'Bearer realm="liuzhang", error="invalid_token"'
        return answer.json()["detail"]

    def later(self, **span: float) -> None:
        self.now[0] += timedelta(**span)


@asynccontextmanager
async def office_of(clone: Clone, **settings: Any) -> AsyncGenerator[Office]:
    now = [NOW]
    async with clone() as url:
        app = create_app(Settings(database_url=url, **settings), clock=lambda: now[0])
        connection = await asyncpg.connect(url)
        try:
            async with serving(app) as client:
                yield Office(client, connection, now)
        finally:
            await connection.close()


@pytest_asyncio.fixture
async def office(clone: Clone) -> AsyncGenerator[Office]:
    async with office_of(clone) as opened:
        yield opened


async def test_a_key_is_shown_once_and_kept_as_a_digest(office: Office) -> None:
    account = await office.account({"role": "reporter", "unit": "431228-jyj"})
    issued = await office.key(account)
    me = (await office.me(issued["key"])).json()
    assert (me["id"], me["units"]) == (f"account:{account}", ["431228-jyj"])
    listed = (await office.client.get(f"{ACCOUNTS}/{account}/keys")).text
    assert issued["key_id"] in listed
    secret = issued["key"].split("_")[3]
    assert secret not in listed
    dump = await office.connection.fetchval("SELECT json_agg(k)::text FROM api_keys k")
    assert secret not in dump
    answer = await office.client.post(f"{ACCOUNTS}/{account}/keys", json={})
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")


async def test_a_wrong_key_is_refused_and_says_why(office: Office) -> None:
    issued = (await office.key(await office.account()))["key"]
    assert "校验位" in await office.refused(f"{issued[:-1]}{'a' if issued[-1] != 'a' else 'b'}")
    assert "写法" in await office.refused("lz_prod_short")
    assert "环境" in await office.refused(issue_key("test").text)
    assert "没有这个" in await office.refused(issue_key("prod").text)
    assert "身份提供方" in await office.refused("eyJhbGciOiJub25lIn0.e30.")
    for header in ("Basic YTpi", "Bearer", f"Bearer  {issued} x", ""):
        answer = await office.client.get(ME, headers={"Authorization": header})
        assert answer.status_code == 401, header
    two = [("Authorization", f"Bearer {issued}"), ("Authorization", f"Bearer {issued}")]
    assert (await office.client.get(ME, headers=two)).status_code == 401


async def test_a_key_ends_with_its_time(office: Office) -> None:
    account = await office.account()
    key = (await office.key(account, expires_at="2027-06-10T10:00:00+08:00"))["key"]
    assert (await office.me(key)).status_code == 200
    office.later(minutes=59, seconds=59)
    assert (await office.me(key)).status_code == 200
    office.later(seconds=1)
    assert "过期" in await office.refused(key)
    await office.ask("POST", f"{ACCOUNTS}/{account}/keys", {"expires_at": "2027-06-10T10:00:00+08:00"}, 422)


@pytest.mark.parametrize("how", ["revoke", "disable", "grants"])
async def test_what_is_taken_away_is_gone_within_seconds(office: Office, how: str) -> None:
    account = await office.account({"role": "auditor"})
    issued = await office.key(account)
    assert (await office.me(issued["key"])).json()["roles"] != []
    path = f"{ACCOUNTS}/{account}"
    # That it was used is written beside the request.
    await office.client.identity.settle()  # type: ignore[attr-defined]
    if how == "revoke":
        first = await office.ask("DELETE", f"{path}/keys/{issued['key_id']}")
        office.later(seconds=1)
        assert await office.ask("DELETE", f"{path}/keys/{issued['key_id']}") == first
    elif how == "disable":
        await office.ask("PATCH", path, {"disabled": True})
    else:
        await office.ask("PUT", f"{path}/grants", {"grants": []})
    office.later(seconds=5)
    answer = await office.me(issued["key"])
    if how == "grants":
        assert (answer.status_code, answer.json()["roles"]) == (200, [])
    else:
        assert answer.status_code == 401
    if how == "disable":
        await office.ask("PATCH", path, {"disabled": False})
        office.later(seconds=5)
        assert (await office.me(issued["key"])).status_code == 200


async def test_a_rotated_key_works_for_the_overlap(office: Office) -> None:
    account = await office.account()
    old = await office.key(account, networks=["127.0.0.0/8"])
    path = f"{ACCOUNTS}/{account}/keys/{old['key_id']}"
    new = await office.ask("POST", f"{path}/rotate", {"overlap_seconds": 60}, 201)
    assert (new["networks"], new["replaced_by"]) == (["127.0.0.0/8"], None)
    office.later(seconds=59)
    assert [(await office.me(one["key"])).status_code for one in (old, new)] == [200, 200]
    office.later(seconds=6)
    assert [(await office.me(one["key"])).status_code for one in (old, new)] == [401, 200]
    keys = (await office.ask("GET", f"{ACCOUNTS}/{account}/keys"))["items"]
    assert [(key["key_id"], key["replaced_by"]) for key in keys] == [
        (old["key_id"], new["key_id"]),
        (new["key_id"], None),
    ]
    await office.ask("POST", f"{path}/rotate", {}, 409)


async def test_a_rotation_does_not_prolong_the_old_key(office: Office) -> None:
    account = await office.account()
    old = await office.key(account, expires_at="2027-06-10T09:01:00+08:00")
    await office.ask("POST", f"{ACCOUNTS}/{account}/keys/{old['key_id']}/rotate", {"overlap_seconds": 3600}, 201)
    office.later(minutes=2)
    assert "过期" in await office.refused(old["key"])


async def test_networks_null_lets_all_in_and_none_nobody(office: Office) -> None:
    account = await office.account()
    for networks, status in ((None, 200), ([], 401), (["127.0.0.1"], 200), (["10.0.0.0/8", "fd00::/8"], 401)):
        key = (await office.key(account, networks=networks))["key"]
        assert (await office.me(key)).status_code == status, networks
        # Nobody's word on where they come from is taken unless a trusted proxy gives it.
        forged = await office.me(key, **{"X-Forwarded-For": "10.0.0.1"})
        assert forged.status_code == status, networks
    body = {"networks": ["10.1.2.3/8"]}
    problem = await office.ask("POST", f"{ACCOUNTS}/{account}/keys", body, 422)
    assert problem["errors"][0]["code"] == "invalid_network"


async def test_behind_a_trusted_proxy_the_last_untrusted_hop_counts(clone: Clone) -> None:
    async with office_of(clone, trusted_proxies="127.0.0.1, 192.0.2.0/24") as office:
        key = (await office.key(await office.account(), networks=["10.0.0.0/8"]))["key"]
        assert (await office.me(key, **{"X-Forwarded-For": "10.0.0.1, 192.0.2.7"})).status_code == 200
        assert "203.0.113.9" in await office.refused(key, **{"X-Forwarded-For": "10.0.0.1, 203.0.113.9"})
        two = [("Authorization", f"Bearer {key}"), ("X-Forwarded-For", "10.0.0.1"), ("X-Forwarded-For", "203.0.113.9")]
        assert (await office.client.get(ME, headers=two)).status_code == 401
        metrics = await office.client.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"}, auth=None)
        assert metrics.status_code == 401


async def test_the_last_use_is_noted_beside_the_request_once_a_minute(office: Office) -> None:
    issued = await office.key(await office.account())
    identity = office.client.identity  # type: ignore[attr-defined]
    noted: list[Any] = []
    for seconds in (0, 30, 31):
        office.later(seconds=seconds)
        await office.me(issued["key"])
        await identity.settle()
        noted.append(
            await office.connection.fetchval("SELECT last_used_at FROM api_keys WHERE key_id = $1", issued["key_id"])
        )
    assert noted == [NOW, NOW, NOW + timedelta(seconds=61)]


async def test_grants_are_checked_and_named_one_by_one(office: Office) -> None:
    account = await office.account()
    path = f"{ACCOUNTS}/{account}/grants"
    wrong = [{"role": "reporter"}, {"role": "auditor"}, {"role": "administrator", "unit": "431228-jyj"}]
    problem = await office.ask("PUT", path, {"grants": wrong}, 422)
    assert [fault["pointer"] for fault in problem["errors"]] == ["/body/grants/0", "/body/grants/2"]
    problem = await office.ask("PUT", path, {"grants": [{"role": "reporter", "unit": "431228-nosuch"}]}, 422)
    assert problem["errors"][0] | {"detail": ""} == {
        "pointer": "/body/grants/0/unit",
        "code": "unknown_unit",
        "detail": "",
    }
    twice = [{"role": "auditor"}, {"role": "coordinator", "battle": "431228-2023-6"}, {"role": "auditor"}]
    shown = await office.ask("PUT", path, {"grants": twice})
    assert [role["text"] for role in shown["grants"]] == ["auditor", "coordinator:431228-2023-6"]
    found = (await office.ask("GET", f"{ACCOUNTS}?role=coordinator"))["items"]
    assert [one["code"] for one in found] == [account]


async def test_an_account_is_changed_as_it_was_seen(office: Office) -> None:
    path = f"{ACCOUNTS}/{await office.account()}"
    etag = (await office.client.get(path)).headers["etag"]
    await office.ask("PATCH", path, {"name": "新名"}, **{"If-Match": etag})
    await office.ask("PATCH", path, {"name": "再改"}, 412, **{"If-Match": etag})
    assert (await office.ask("GET", path))["name"] == "新名"
    await office.ask("GET", f"{ACCOUNTS}/aaaaaaaaaa", status=404)
    await office.ask("DELETE", f"{path}/keys/{'a' * 12}", status=404)


async def test_the_first_start_makes_one_administrator(clone: Clone) -> None:
    async with clone() as url, open_write_pool(url, size=1) as pool:
        db = Database(pool)
        assert await create_first_administrator(db, "prod", now=NOW) is None
        await pool.execute(
            "TRUNCATE accounts, account_grants, api_keys, calendar_subscriptions, webhooks, webhook_deliveries"
        )
        first = await create_first_administrator(db, "prod", now=NOW)
        assert first is not None
        assert await create_first_administrator(db, "prod", now=NOW) is None
        app = create_app(Settings(database_url=url))
        async with serving(app) as client:
            me = await client.get(ME, headers={"Authorization": f"Bearer {first.key}"})
        assert [role["role"] for role in me.json()["roles"]] == ["administrator"]


async def test_a_key_costs_no_query_while_it_is_known(clone: Clone) -> None:
    async with clone() as url, open_write_pool(url, size=1) as pool:
        key = await make_key(Database(pool), "读", ["reader"])
        app = create_app(Settings(database_url=url), clock=lambda: NOW)
        async with serving(app) as client:
            headers = {"Authorization": f"Bearer {key}"}
            assert (await client.get(ME, headers=headers)).status_code == 200
            await client.identity.settle()  # type: ignore[attr-defined]
            # Not even the table is asked.
            await pool.execute("ALTER TABLE api_keys RENAME TO api_keys_away")
            assert (await client.get(ME, headers=headers)).status_code == 200
            assert (await client.get(ME, headers={"Authorization": f"Bearer {KEYS['certifier']}"})).status_code == 503


async def test_people_come_with_a_token_of_the_issuer(clone: Clone) -> None:
    answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
    with issuers.http_server(answers) as address:
        answers["/keys"] = (200, {}, json.dumps({"keys": [issuers.jwk()]}).encode())
        settings = {"oidc_issuer": issuers.URL, "oidc_audience": issuers.AUDIENCE, "oidc_jwks_url": f"{address}/keys"}
        async with office_of(clone, **settings) as office:
            office.now[0] = issuers.START
            token = issuers.token(liuzhang_grants=["reporter:431228-jyj", "offline_access"])
            me = (await office.me(token)).json()
            assert (me["id"], me["name"]) == ("oidc:7f3a", "向同志")
            assert [role["text"] for role in me["roles"]] == ["reporter:431228-jyj"]
            office.later(minutes=6)
            assert "过期" in await office.refused(token)


async def test_an_issuer_that_is_away_is_a_503(clone: Clone) -> None:
    settings = {"oidc_issuer": issuers.URL, "oidc_audience": "liuzhang", "oidc_jwks_url": "http://127.0.0.1:9/keys"}
    async with office_of(clone, **settings) as office:
        office.now[0] = issuers.START
        answer = await office.me(issuers.token())
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/issuer-unavailable")
        # Keys of accounts go on working.
        assert (await office.me(KEYS["everything"])).status_code == 200
