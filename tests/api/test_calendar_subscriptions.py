"""Addresses of the calendar for phones: what they show, for how long, and that they open nothing else."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from icalendar import Calendar

from app.security.api_keys import FEED_TOKEN, issue_key
from app.services.calendar_subscriptions import MOST_IN_USE
from tests.api.test_accounts import ACCOUNTS, NOW, Office, office_of
from tests.conftest import KEYS, Clone
from tests.unit import issuers

SUBSCRIPTIONS, CALENDAR = "/api/v1/calendar-subscriptions", "/api/v1/calendar.ics"
JYJ = {"role": "reporter", "unit": "431228-jyj"}


class Subscriber:
    """An account at a service whose clock is set, and what its phone gets."""

    def __init__(self, office: Office, account: str, key: str) -> None:
        self.office = office
        self.account = account
        self.key = key

    async def ask(self, method: str, path: str = "", body: Any = None, status: int = 200) -> Any:
        headers = {"Authorization": f"Bearer {self.key}"}
        return await self.office.ask(method, SUBSCRIPTIONS + path, body, status, **headers)

    async def subscribe(self, **wanted: Any) -> dict[str, Any]:
        return await self.ask("POST", "", {"name": "我的手机", **wanted}, 201)


async def phone(office: Office, url: str, **headers: str) -> httpx.Response:
    return await office.client.get(url, headers=headers, auth=None)


async def refused(office: Office, url: str) -> str:
    answer = await phone(office, url)
    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/invalid-credentials")
    assert answer.headers["www-authenticate"] == 'Bearer realm="liuzhang", error="invalid_token"'
    return answer.json()["detail"]


async def subscriber_of(office: Office, *grants: dict[str, str]) -> Subscriber:
    account = await office.account(*grants)
    return Subscriber(office, account, (await office.key(account))["key"])


@pytest_asyncio.fixture
async def office(clone: Clone) -> AsyncGenerator[Office]:
    async with office_of(clone) as opened:
        yield opened


@pytest_asyncio.fixture
async def education(office: Office) -> Subscriber:
    """Whoever reports for the bureau of education."""
    return await subscriber_of(office, JYJ)


async def test_a_phone_subscribes_with_the_address_alone(office: Office, education: Subscriber) -> None:
    made = await education.subscribe(unit="县教育局", rule="monthly-form")
    assert (made["unit"], made["rule"], made["plan"], made["expires_at"]) == ("431228-jyj", "monthly-form", None, None)
    answer = await phone(office, made["feed_url"])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/calendar; charset=utf-8")
    assert answer.headers["cache-control"] == "private, no-cache"
    calendar = Calendar.from_ical(answer.content)
    events = calendar.walk("VEVENT")
    assert calendar["X-WR-CALNAME"] == "县教育局月进度表期限"
    assert [str(event["SUMMARY"]) for event in events] == [f"月进度表 2023-{month:02} 截止" for month in range(4, 13)]
    assert all(event.walk("VALARM") for event in events)
    etag = answer.headers["etag"]
    assert (await phone(office, made["feed_url"], **{"If-None-Match": etag})).status_code == 304
    head = await office.client.head(made["feed_url"], auth=None)
    assert (head.status_code, head.headers["etag"]) == (200, etag)


async def test_the_token_is_shown_once_and_kept_as_a_digest(office: Office, education: Subscriber) -> None:
    headers = {"Authorization": f"Bearer {education.key}"}
    answer = await office.client.post(SUBSCRIPTIONS, json={"name": "我的手机"}, headers=headers)
    made = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["location"] == f"{SUBSCRIPTIONS}/{made['token_id']}"
    secret = made.pop("feed_url").split("_")[3]
    assert await education.ask("GET", f"/{made['token_id']}") == made
    assert (await education.ask("GET"))["items"] == [made]
    kept = await office.connection.fetchval("SELECT json_agg(s)::text FROM calendar_subscriptions s")
    assert made["token_id"] in kept
    assert secret not in kept


async def test_an_address_tells_due_instants_and_no_progress(office: Office, education: Subscriber) -> None:
    office.now[0] = NOW.replace(year=2023)
    made = await education.subscribe(unit="县教育局")
    own = {"Authorization": f"Bearer {education.key}"}
    asked = f"{CALENDAR}?unit=431228-jyj"
    feed, whole = (await phone(office, made["feed_url"])).text, (await phone(office, asked, **own)).text
    report = {"task": "431228-2023-6-3-4", "unit": "431228-jyj", "period": "2023-06", "stage": "in_progress"}
    filed = await office.ask("POST", "/api/v1/submissions", {**report, "percent_complete": 40}, 201)
    judging = {"Authorization": f"Bearer {KEYS['certifier']}"}
    await office.ask("POST", f"/api/v1/submissions/{filed['id']}/certify", {}, **judging)
    assert (await phone(office, asked, **own)).text != whole
    assert (await phone(office, made["feed_url"])).text == feed
    for told in ("431228-2023-6-3-4", "已报出", "任务", education.account, "我的手机", "县统计局"):
        assert told not in feed
    extended = {"rule": "monthly-form", "unit": "县教育局", "period": "2023-07", "reason": "汛情", "approver": "甲"}
    await office.ask("POST", "/api/v1/extensions", {**extended, "due_at": "2023-07-28T12:00:00+08:00"}, 201)
    moved = (await phone(office, made["feed_url"])).text
    assert "DTEND;TZID=Asia/Shanghai:20230728T120000" in moved
    assert "汛情" not in moved


async def test_what_the_owner_may_see_now_decides(office: Office, education: Subscriber) -> None:
    feed = (await education.subscribe(unit="县教育局", rule="monthly-form"))["feed_url"]

    async def holds(*grants: dict[str, str]) -> httpx.Response:
        await office.ask("PUT", f"{ACCOUNTS}/{education.account}/grants", {"grants": grants})
        return await phone(office, feed)

    assert (await phone(office, feed)).text.count("BEGIN:VEVENT") == 9
    assert (await holds({"role": "supervisor"})).text.count("BEGIN:VEVENT") == 9
    assert "BEGIN:VEVENT" not in (await holds({"role": "reporter", "unit": "431228-fgj"})).text
    none = await holds()
    assert (none.status_code, none.json()["type"]) == (403, "/problems/forbidden")
    assert "县教育局" not in none.json()["detail"]
    administrator = await holds({"role": "administrator"})
    assert administrator.status_code == 403


async def test_a_unit_that_the_owner_does_not_see_has_no_due_instants(office: Office, education: Subscriber) -> None:
    made = await education.subscribe(unit="县农业农村局")
    assert "BEGIN:VEVENT" not in (await phone(office, made["feed_url"])).text


@pytest.mark.parametrize("how", ["revoke", "disable", "expire"])
async def test_an_address_ends_at_once(office: Office, education: Subscriber, how: str) -> None:
    made = await education.subscribe(expires_at="2027-06-10T10:00:00+08:00")
    assert (await phone(office, made["feed_url"])).status_code == 200
    if how == "revoke":
        first = await education.ask("DELETE", f"/{made['token_id']}")
        office.later(seconds=1)
        assert await education.ask("DELETE", f"/{made['token_id']}") == first
        assert first["revoked_at"] == "2027-06-10T09:00:00+08:00"
    elif how == "disable":
        await office.ask("PATCH", f"{ACCOUNTS}/{education.account}", {"disabled": True})
    else:
        office.later(hours=1)
    assert ("过期" if how == "expire" else "撤销") in await refused(office, made["feed_url"])


async def test_a_wrong_token_is_refused_and_says_why(office: Office, education: Subscriber) -> None:
    feed = (await education.subscribe())["feed_url"]
    last = feed[-1]
    assert "校验位" in await refused(office, f"{feed[:-1]}{'a' if last != 'a' else 'b'}")
    assert "写法" in await refused(office, f"{CALENDAR}?token={education.key}")
    assert "写法" in await refused(office, f"{CALENDAR}?token=")
    assert "环境" in await refused(office, f"{CALENDAR}?token={issue_key('test', FEED_TOKEN).text}")
    assert "没有这个" in await refused(office, f"{CALENDAR}?token={issue_key('prod', FEED_TOKEN).text}")
    # Another's secret behind one's own public id, with a checksum that fits.
    other = issue_key("prod", FEED_TOKEN)
    await office.connection.execute(
        "UPDATE calendar_subscriptions SET token_id = $1 WHERE token_id = $2", other.key_id, feed.split("_")[2]
    )
    assert "没有这个" in await refused(office, f"{CALENDAR}?token={other.text}")


async def test_a_token_opens_the_calendar_alone(
    office: Office, education: Subscriber, document: dict[str, Any]
) -> None:
    token = (await education.subscribe())["feed_url"].partition("token=")[2]
    answer = await office.client.get("/api/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    for path, methods in document["paths"].items():
        for method in set(methods) - ({"get"} if path == CALENDAR else set()):
            place = path.replace("{code}", "431228-jyj").replace("{token_id}", token.split("_")[2])
            answer = await office.client.request(
                method, place, params={"token": token}, auth=None, **({"json": {}} if method != "get" else {})
            )
            assert answer.status_code in {401, 404, 422} or path.startswith("/health") or path == "/metrics", path


async def test_the_filter_is_the_subscriptions_own(office: Office, education: Subscriber) -> None:
    made = await education.subscribe(unit="县教育局", rule="monthly-form")
    feed = made["feed_url"]
    for same in ("&unit=431228-jyj", "&rule=monthly-form", "&rule=monthly-form&unit=431228-jyj"):
        assert (await phone(office, feed + same)).status_code == 200
    for other in (
        "&unit=431228-fgj",
        "&rule=work-bulletin-item",
        "&plan=431228-2023",
        "&as_of=2023-05-01T00:00:00Z",
        "&no_such=1",
        f"&{feed.partition('?')[2]}",
    ):
        answer = await phone(office, feed + other)
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-request"), other
    both = await phone(office, feed, Authorization=f"Bearer {education.key}")
    assert both.status_code == 422


async def test_a_subscription_is_its_owners_and_the_administrators(office: Office, education: Subscriber) -> None:
    made = await education.subscribe()
    other = await subscriber_of(office, {"role": "supervisor"})
    assert (await other.ask("GET"))["items"] == []
    for method in ("GET", "DELETE"):
        await other.ask(method, f"/{made['token_id']}", status=404)
    administrator = await subscriber_of(office, {"role": "administrator"})
    found = (await administrator.ask("GET", f"?owner=account:{education.account}"))["items"]
    assert [one["token_id"] for one in found] == [made["token_id"]]
    # Somebody found the address and brings it: its public part is the id.
    await administrator.ask("DELETE", f"/{made['feed_url'].split('_')[2]}")
    await refused(office, made["feed_url"])
    await administrator.ask("POST", "", {"name": "甲"}, 403)


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"unit": "没有的局"}, "unknown_unit"),
        ({"rule": "no-such-rule"}, "unknown_rule"),
        ({"plan": "431228-1999"}, "unknown_plan"),
        ({"expires_at": "2027-06-10T09:00:00+08:00"}, "not_later"),
        ({"name": " "}, "string_pattern_mismatch"),
        ({"token": "x"}, "extra_forbidden"),
    ],
)
async def test_a_subscription_to_nothing_is_refused(
    office: Office, education: Subscriber, wanted: dict[str, str], code: str
) -> None:
    problem = await education.ask("POST", "", {"name": "我的手机", **wanted}, 422)
    (fault,) = problem["errors"]
    assert (fault["pointer"], fault["code"]) == (f"/body/{next(iter(wanted))}", code)
    assert await office.connection.fetchval("SELECT count(*) FROM calendar_subscriptions") == 0


async def test_so_many_are_in_use_and_no_more(education: Subscriber) -> None:
    made = [await education.subscribe() for _ in range(MOST_IN_USE)]
    await education.ask("POST", "", {"name": "再一个"}, 409)
    await education.ask("DELETE", f"/{made[0]['token_id']}")
    await education.subscribe()
    first = await education.ask("GET", f"?limit={MOST_IN_USE}&include_total=true")
    assert first["total"] == MOST_IN_USE + 1
    rest = await education.ask("GET", f"?cursor={first['next_cursor']}")
    assert len(first["items"]) + len(rest["items"]) == MOST_IN_USE + 1


async def test_a_persons_is_by_what_they_held_and_for_a_year(clone: Clone) -> None:
    answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
    with issuers.http_server(answers) as address:
        answers["/keys"] = (200, {}, json.dumps({"keys": [issuers.jwk()]}).encode())
        settings = {"oidc_issuer": issuers.URL, "oidc_audience": issuers.AUDIENCE, "oidc_jwks_url": f"{address}/keys"}
        async with office_of(clone, **settings) as office:
            office.now[0] = issuers.START
            person = Subscriber(office, "", issuers.token(liuzhang_grants=["reporter:431228-jyj", "offline_access"]))
            made = await person.subscribe(rule="monthly-form")
            assert (made["owner"], made["expires_at"]) == ("oidc:7f3a", "2024-04-20T17:00:00+08:00")
            late = {"name": "甲", "expires_at": "2024-04-20T17:00:01+08:00"}
            assert (await person.ask("POST", "", late, 422))["errors"][0]["code"] == "too_late"
            office.later(days=365)
            assert (await phone(office, made["feed_url"])).text.count("BEGIN:VEVENT") == 9
            office.later(days=1)
            assert "过期" in await refused(office, made["feed_url"])
