"""Plans, battles, units, targets, rules, anomalies and search: what a user asks first."""

from typing import Any

import httpx
import pytest

from app.schemas.anomaly import AnomalyPage
from app.schemas.battle import BattleRead
from app.schemas.plan import PlanRead
from app.schemas.rule import RulePage, RuleRead
from app.schemas.search import SearchPage
from app.schemas.target import TargetPage, TargetRead
from app.schemas.unit import UnitPage, UnitRead


async def get(client: httpx.AsyncClient, path: str, **query: Any) -> Any:
    answer = await client.get(f"/api/v1{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_plan_names_its_document_and_what_it_cites(client: httpx.AsyncClient) -> None:
    plan = await get(client, "/plans/431228-2023")
    assert PlanRead.model_validate(plan)
    assert plan["document_number"] == "芷政办发〔2023〕1号"
    assert plan["issued_on"] == "2023-03-27"
    assert plan["region"] == {"code": "431228", "name": "芷江侗族自治县"}
    assert [item["number"] for item in plan["superior_documents"]] == ["湘政办发〔2023〕2号", "怀政办发〔2023〕4号"]
    assert (plan["counts"]["battles"], plan["counts"]["groups"], plan["counts"]["tasks"]) == (6, 26, 163)
    assert (await get(client, "/plans", year=2023, region="431228"))["items"] == [plan]
    assert (await get(client, "/plans", year=2024))["items"] == []


async def test_a_battle_shows_its_task_force_and_the_leads_of_its_groups(client: httpx.AsyncClient) -> None:
    battle = await get(client, "/battles/431228-2023-4")
    assert BattleRead.model_validate(battle)
    leads = [[lead["name"] for lead in group["leads"]] for group in battle["groups"]]
    assert leads == [["县财政局"], ["县政府金融办"], ["县住房城乡建设局"], ["县卫生健康局"], ["县应急局"]]
    assert battle["task_force"]["office"]["name"] == "县财政局"
    assert len(battle["task_force"]["members"]) == 14
    assert battle["task_force"]["open_ended"] is True
    assert [group["task_count"] for group in battle["groups"]] == [5, 8, 5, 11, 10]
    assert battle["counts"]["tasks"] == 39


async def test_battles_are_counted_each_for_itself(client: httpx.AsyncClient) -> None:
    battles = (await get(client, "/battles", plan="431228-2023"))["items"]
    assert [battle["counts"]["tasks"] for battle in battles] == [36, 19, 18, 39, 29, 22]
    assert len({battle["counts"]["units"] for battle in battles}) > 1
    whole = await get(client, "/plans/431228-2023")
    assert max(battle["counts"]["units"] for battle in battles) < whole["counts"]["units"]


async def test_a_unit_shows_every_printed_name_and_its_share_of_the_work(client: httpx.AsyncClient) -> None:
    unit = await get(client, "/units/431228-zjj")
    assert UnitRead.model_validate(unit)
    assert {unit["name"], *unit["aliases"]} == {"县住房城乡建设局", "县住房和城乡建设局", "县住建局"}
    counts = unit["counts"]
    for role in ("lead", "responsible", "cooperating"):
        tasks = await get(client, "/units/431228-zjj/tasks", role=role, include_total=True)
        assert tasks["total"] == counts[role]
    assert (await get(client, "/units/431228-zjj/tasks", include_total=True))["total"] == counts["tasks"]


async def test_units_are_filtered_by_kind_battle_role_and_any_spelling(client: httpx.AsyncClient) -> None:
    assert UnitPage.model_validate(await get(client, "/units", limit=500))
    courts = await get(client, "/units", kind="judicial_body")
    assert {unit["name"] for unit in courts["items"]} == {"县人民法院", "县人民检察院"}
    for words in ("发展与改革", "fgj", "xianfagaiju", "ＦＧＪ"):
        assert "431228-fgj" in [unit["code"] for unit in (await get(client, "/units", q=words))["items"]], words
    leading = await get(client, "/units", battle="431228-2023-6", role="lead", limit=500)
    assert {unit["name"] for unit in leading["items"]} >= {"县妇联", "县残联", "国网芷江供电公司"}
    assert "县财政局" not in {unit["name"] for unit in leading["items"]}


async def test_companies_and_centres_of_like_name_are_not_merged(client: httpx.AsyncClient) -> None:
    company, centre = await get(client, "/units/431228-cjtgs"), await get(client, "/units/431228-ctzx")
    assert (company["name"], company["kind"]) == ("县城建投公司", "enterprise")
    assert (centre["name"], centre["kind"]) == ("县城市建设投资服务中心", "institution")


async def test_a_target_is_found_by_its_words_with_value_and_locator(client: httpx.AsyncClient) -> None:
    page = await get(client, "/targets", q="高标准农田", quantified=True)
    assert TargetPage.model_validate(page)
    (target,) = page["items"]
    assert (target["value"], target["unit_of_measure"], target["locator"]) == (2, "万亩", "附件1/二/(二)/5")
    assert target["task"] == "431228-2023-1-2-5"
    assert await get(client, f"/targets/{target['code']}") == {**target, "observations": []}
    assert TargetRead.model_validate(target)


@pytest.mark.parametrize(
    ("words", "operator", "value", "unit"),
    [
        ("地区生产总值增长7.5%以上", "gte", 7.5, "%"),
        ("新增高价值发明专利4件左右", "approx", 4, "件"),
        ("不良贷款率压降至1.5%以内", "lte", 1.5, "%"),
        ("森林火灾受害率控制在0.7‰以内", "lte", 0.7, "‰"),
        ("除险加固病险水库9座", "eq", 9, "座"),
    ],
)
async def test_operators_follow_the_print(
    client: httpx.AsyncClient, words: str, operator: str, value: float, unit: str
) -> None:
    found = (await get(client, "/targets", q=words))["items"]
    assert found
    assert {(t["operator"], t["value"], t["unit_of_measure"]) for t in found} == {(operator, value, unit)}


async def test_raised_standards_keep_their_baseline(client: httpx.AsyncClient) -> None:
    targets = (await get(client, "/targets", task="431228-2023-6-1-7"))["items"]
    pairs = {(t["baseline"], t["value"]) for t in targets if t["value"] is not None}
    assert {(600, 650), (4600, 5000), (75, 80), (950, 1100), (1350, 1500)} <= pairs


async def test_targets_of_a_unit_are_those_of_its_tasks(client: httpx.AsyncClient) -> None:
    targets = await get(client, "/targets", unit="县林业局", limit=500)
    tasks = await get(client, "/units/431228-lyj/tasks", limit=500)
    assert {t["task"] for t in targets["items"]} <= {task["code"] for task in tasks["items"]}
    assert targets["items"]


async def test_targets_are_either_figures_or_directions(client: httpx.AsyncClient) -> None:
    total = (await get(client, "/targets", include_total=True, limit=1))["total"]
    figures = await get(client, "/targets", quantified=True, include_total=True, limit=500)
    directions = await get(client, "/targets", quantified=False, include_total=True, limit=500)
    assert figures["total"] + directions["total"] == total
    assert all(t["operator"] and t["value"] is not None and t["qualitative"] is None for t in figures["items"])
    assert all(t["operator"] is None and t["value"] is None and t["qualitative"] for t in directions["items"])


async def test_the_rule_of_the_20th(client: httpx.AsyncClient) -> None:
    rule = await get(client, "/rules/monthly-form")
    assert RuleRead.model_validate(rule)
    assert rule == await get(client, "/rules/monthly-form", plan="431228-2023")
    assert rule["locator"] == "附件6/三/(四)"
    assert rule["certifier"]["unit"] == "431228-tjj"
    schedule = rule["schedule"]
    assert (schedule["frequency"], schedule["due_day"], schedule["due_month_offset"]) == ("month", 20, 0)
    assert (schedule["inclusive"], schedule["holiday_policy"]) == (True, "none")
    assert (schedule["first_period"], schedule["last_period"]) == ("2023-04", "2023-12")


async def test_rules_are_listed_by_kind_and_battle(client: httpx.AsyncClient) -> None:
    page = await get(client, "/rules", battle="431228-2023-5", kind="ranking", limit=500)
    assert RulePage.model_validate(page)
    assert {"quarterly-ranking-departments", "quarterly-ranking-townships"} <= {rule["code"] for rule in page["items"]}


async def test_the_document_printed_twice_is_an_anomaly_not_a_battle(client: httpx.AsyncClient) -> None:
    page = await get(client, "/anomalies", plan="431228-2023", kind="duplicate")
    assert AnomalyPage.model_validate(page)
    assert any("附件2" in anomaly["locator"] for anomaly in page["items"])
    misprints = await get(client, "/anomalies", kind="misprint", limit=500)
    assert {"县场", "牵头费任单位"} <= {
        part
        for anomaly in misprints["items"]
        for part in ("县场", "牵头费任单位")
        if part in (anomaly["printed"] or "")
    }


@pytest.mark.parametrize(
    ("words", "kind", "code", "matched"),
    [
        ("县发改局", "unit", "431228-fgj", "name"),
        ("县发展与改革局", "unit", "431228-fgj", "alias"),
        ("xfgj", "unit", "431228-fgj", "initials"),
        ("fgj", "unit", "431228-fgj", "initials"),
        ("xianfagaiju", "unit", "431228-fgj", "pinyin"),
        ("新建高标准农田", "task", "431228-2023-6-3-3", "name"),
        ("431228-2023-6-3-3", "task", "431228-2023-6-3-3", "text"),
        ("打好安全生产翻身仗", "battle", "431228-2023-5", "name"),
    ],
)
async def test_the_best_match_comes_first(
    client: httpx.AsyncClient, words: str, kind: str, code: str, matched: str
) -> None:
    page = await get(client, "/search", q=words)
    assert SearchPage.model_validate(page)
    best = page["items"][0]
    assert (best["kind"], best["code"], best["matched"]) == (kind, code, matched)
    scores = [hit["score"] for hit in page["items"]]
    assert scores == sorted(scores, reverse=True)


async def test_every_hit_leads_somewhere(client: httpx.AsyncClient) -> None:
    seen = set()
    for words in ("农田", "县发改局", "安全生产", "总体方案", "月进度表", "狙击仗", "防范化解金融风险"):
        for hit in (await get(client, "/search", q=words, limit=100))["items"]:
            seen.add(hit["kind"])
            assert (await client.get(hit["href"])).status_code == 200, hit
    assert seen >= {"unit", "task", "target", "battle", "plan", "rule", "anomaly", "group"}


async def test_search_pages_do_not_repeat(client: httpx.AsyncClient) -> None:
    whole = await get(client, "/search", q="县", limit=500, include_total=True)
    found: list[tuple[str, str]] = []
    cursor = None
    while True:
        page = await get(client, "/search", q="县", limit=50, **({"cursor": cursor} if cursor else {}))
        found += [(hit["kind"], hit["code"]) for hit in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(found) == len(set(found)) == whole["total"]


@pytest.mark.parametrize(
    "path",
    [
        "/plans",
        "/plans/431228-2023",
        "/battles",
        "/battles/431228-2023-6",
        "/units?limit=3",
        "/units/431228-fgj",
        "/targets?limit=3",
        "/targets/431228-2023-1-2-5-T1",
        "/rules",
        "/rules/monthly-form",
        "/anomalies",
        "/search?q=农田",
    ],
)
async def test_every_read_has_an_etag_and_answers_304(client: httpx.AsyncClient, path: str) -> None:
    first = await client.get(f"/api/v1{path}")
    assert first.status_code == 200
    assert first.headers["cache-control"] == "private, no-cache"
    again = await client.get(f"/api/v1{path}", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/plans/431228-1999",
        "/battles/431228-2023-7",
        "/units/431228-xyz",
        "/units/431228-xyz/tasks",
        "/targets/431228-2023-T999",
        "/rules/no-such-rule",
        "/rules/monthly-form?plan=431228-2024",
        "/nothing",
    ],
)
async def test_what_does_not_exist_is_a_404_problem(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"/api/v1{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["instance"] == answer.headers["x-request-id"]
