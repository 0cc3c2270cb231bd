"""Tasks: filters, pages, versions."""

import asyncpg
import httpx
import pytest

from app.main import create_app
from app.schemas.task import TaskPage, TaskRead
from app.settings import Settings
from tests.conftest import Clone, serving

ALL = {"limit": 500, "include_total": "true"}


async def codes(client: httpx.AsyncClient, **query: str) -> list[str]:
    answer = await client.get("/api/v1/tasks", params={**ALL, **query})
    assert answer.status_code == 200, answer.text
    return [task["code"] for task in answer.json()["items"]]


async def test_the_plan_has_163_tasks_in_print_order(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/api/v1/tasks", params=ALL)).json()
    assert answer["total"] == 163
    assert answer["next_cursor"] is None
    numbers = [tuple(map(int, task["code"].split("-")[2:])) for task in answer["items"]]
    assert numbers == sorted(numbers)
    assert TaskPage.model_validate(answer)


@pytest.mark.parametrize(("battle", "tasks"), [(1, 36), (2, 19), (3, 18), (4, 39), (5, 29), (6, 22)])
async def test_each_battle_has_its_tasks(client: httpx.AsyncClient, battle: int, tasks: int) -> None:
    assert len(await codes(client, battle=f"431228-2023-{battle}")) == tasks


async def test_any_printed_name_of_a_unit_finds_the_tasks_it_leads(client: httpx.AsyncClient) -> None:
    by_name = await codes(client, unit="县发改局", role="lead")
    assert "431228-2023-1-2-1" in by_name
    assert by_name == await codes(client, unit="县发展与改革局", role="lead")
    assert by_name == await codes(client, unit="县发展改革局", role="lead")
    assert by_name == await codes(client, unit="431228-fgj", role="lead")
    listed = await client.get("/api/v1/units/431228-fgj/tasks", params={**ALL, "role": "lead"})
    assert by_name == [task["code"] for task in listed.json()["items"]]


async def test_the_lead_of_a_group_leads_every_task_of_the_group(client: httpx.AsyncClient) -> None:
    led = await codes(client, unit="县政府金融办", role="lead", battle="431228-2023-4")
    assert led == [f"431228-2023-4-2-{number}" for number in range(6, 14)]
    task = (await client.get("/api/v1/tasks/431228-2023-4-2-7")).json()
    assert task["leads"] == [{"unit": "431228-jrb", "name": "县政府金融办"}]
    assert task["group_clause"]["assignments"][0]["role"] == "lead"
    assert {a["role"] for a in task["clauses"][0]["assignments"]} == {"responsible"}


async def test_a_task_keeps_each_bracket_apart(client: httpx.AsyncClient) -> None:
    task = (await client.get("/api/v1/tasks/431228-2023-3-1-6")).json()
    assert TaskRead.model_validate(task)
    assert [clause["ordinal"] for clause in task["clauses"]] == [1, 2, 3, 4, 5]
    assert [a["name"] for a in task["clauses"][0]["assignments"]] == ["县税务局", "县财政局"]
    assert all(clause["summary"] for clause in task["clauses"])


async def test_a_task_without_a_bracket_has_no_clauses(client: httpx.AsyncClient) -> None:
    task = (await client.get("/api/v1/tasks/431228-2023-5-3-1")).json()
    assert (task["clauses"], task["group_clause"], task["leads"]) == ([], None, [])


async def test_upstream_notes_come_from_the_group(client: httpx.AsyncClient) -> None:
    task = (await client.get("/api/v1/tasks/431228-2023-6-3-5")).json()
    assert "市里下达" in task["upstream_note"]


async def test_words_are_found_in_titles_units_and_pinyin(client: httpx.AsyncClient) -> None:
    assert "431228-2023-6-3-3" in await codes(client, q="高标准农田")
    assert "431228-2023-6-3-3" in await codes(client, q="农田 新建")
    assert "431228-2023-6-3-5" in await codes(client, q="wcgc")
    assert await codes(client, q="没有这样的字样") == []
    assert await codes(client, q="100%_\\") == []


async def test_tasks_with_and_without_targets_are_all_tasks(client: httpx.AsyncClient) -> None:
    having = await codes(client, has_targets="true")
    lacking = await codes(client, has_targets="false")
    assert having
    assert lacking
    assert sorted(having + lacking) == sorted(await codes(client))


@pytest.mark.parametrize("sort", ["code", "-code", "title", "-title"])
async def test_pages_give_every_task_once_in_order(client: httpx.AsyncClient, sort: str) -> None:
    whole = (await client.get("/api/v1/tasks", params={"limit": 500, "sort": sort})).json()["items"]
    pages: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": "7", "sort": sort, **({"cursor": cursor} if cursor else {})}
        page = (await client.get("/api/v1/tasks", params=query)).json()
        pages += [task["code"] for task in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert pages == [task["code"] for task in whole]
    assert len(set(pages)) == 163


async def test_an_unchanged_answer_is_304(client: httpx.AsyncClient) -> None:
    for path in ("/api/v1/tasks?battle=431228-2023-2", "/api/v1/tasks/431228-2023-1-2-5"):
        first = await client.get(path)
        again = await client.get(path, headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
        assert again.status_code == 304
        assert again.content == b""
        assert again.headers["etag"] == first.headers["etag"]
        assert (await client.get(path, headers={"If-None-Match": '"other"'})).status_code == 200


async def test_a_change_to_a_unit_renews_just_the_tasks_that_show_it(clone: Clone) -> None:
    async with clone() as url, serving(create_app(Settings(database_url=url))) as client:
        shows, hides = "/api/v1/tasks/431228-2023-1-1-1", "/api/v1/tasks/431228-2023-5-3-1"
        before = {path: (await client.get(path)).headers["etag"] for path in (shows, hides)}
        listed = (await client.get("/api/v1/tasks?limit=5")).headers["etag"]
        connection = await asyncpg.connect(url)
        await connection.execute("UPDATE units SET name = '县供销社' WHERE code = '431228-gxls'")
        await connection.close()
        after = {path: (await client.get(path)).headers["etag"] for path in (shows, hides)}
        assert after[shows] != before[shows]
        assert after[hides] == before[hides]
        renewed = await client.get("/api/v1/tasks?limit=5", headers={"If-None-Match": listed})
        assert renewed.status_code == 200
        assert "县供销社" in renewed.text
        assert "县供销社" in (await client.get(shows)).text


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE task_groups SET title = title || '甲' WHERE code = '431228-2023-1-1'",
        "UPDATE clauses SET note = '甲' WHERE code = '431228-2023-1-1-1.1'",
        "UPDATE assignments SET printed_name = '甲' WHERE id = (SELECT min(id) FROM assignments)",
        "DELETE FROM assignments WHERE id = (SELECT min(id) FROM assignments)",
        "UPDATE targets SET note = '甲' WHERE code = '431228-2023-1-1-3-T1'",
        "UPDATE indicators SET name = '甲' WHERE id = (SELECT indicator_id FROM targets WHERE code LIKE '%-1-1-3-T1')",
        "UPDATE tasks SET deliverables = '甲' WHERE code = '431228-2023-1-1-3'",
    ],
)
async def test_whatever_changes_what_a_task_shows_changes_its_etag(clone: Clone, change: str) -> None:
    async with clone() as url, serving(create_app(Settings(database_url=url))) as client:

        async def seen() -> dict[str, tuple[str, str]]:
            found = {}
            for code in ("431228-2023-1-1-1", "431228-2023-1-1-3"):
                answer = await client.get(f"/api/v1/tasks/{code}")
                found[code] = (answer.headers["etag"], answer.text)
            return found

        before = await seen()
        connection = await asyncpg.connect(url)
        await connection.execute(change)
        await connection.close()
        client.reader.fragments.clear()  # type: ignore[attr-defined]
        after = await seen()
        for code, (etag, body) in before.items():
            assert (etag != after[code][0]) or (body == after[code][1]), code


@pytest.mark.parametrize(
    ("query", "pointer", "code"),
    [
        ("foo=1", "/query/foo", "extra_forbidden"),
        ("limit=0", "/query/limit", "greater_than_equal"),
        ("limit=501", "/query/limit", "less_than_equal"),
        ("limit=99999999999999999999", "/query/limit", "less_than_equal"),
        ("limit=5&limit=6", "/query/limit", "repeated"),
        ("role=boss", "/query/role", "enum"),
        ("unit=没有这个局", "/query/unit", "unknown_unit"),
        ("unit=%00", "/query/unit", "string_pattern_mismatch"),
        ("cursor=abc", "/query/cursor", "invalid_cursor"),
        ("cursor=WyJjb2RlIiwxLDJd", "/query/cursor", "invalid_cursor"),
        ("sort=number", "/query/sort", "literal_error"),
        ("battle=4", "/query/battle", "string_pattern_mismatch"),
        ("q=%20", "/query/q", "string_pattern_mismatch"),
    ],
)
async def test_bad_parameters_are_told_one_by_one(
    client: httpx.AsyncClient, query: str, pointer: str, code: str
) -> None:
    answer = await client.get(f"/api/v1/tasks?{query}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    faults = answer.json()["errors"]
    assert (pointer, code) in [(fault["pointer"], fault["code"]) for fault in faults]
    assert all("一" <= fault["detail"][0] <= "鿿" or "“" in fault["detail"] for fault in faults)


async def test_a_cursor_of_another_order_is_refused(client: httpx.AsyncClient) -> None:
    page = (await client.get("/api/v1/tasks?limit=3&sort=title")).json()
    answer = await client.get(f"/api/v1/tasks?limit=3&sort=code&cursor={page['next_cursor']}")
    assert answer.json()["type"] == "/problems/invalid-cursor"


async def test_an_unknown_task_is_404(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/tasks/431228-2023-1-2-99")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "没有任务 431228-2023-1-2-99"
