"""``liuzhang doctor``: what is well is said to be, what is not is named with what to do."""

import asyncio
import json
import re

import asyncpg
import pytest

from app.cli.doctor import _calendar
from app.cli.doctor_database import _connections, _structure, look_into
from app.cli.findings import Finding, Verdict
from app.settings import Settings
from tests.conftest import Clone
from tests.serve.test_serve import Home, free_port, home

__all__ = ["home"]


def examined(home: Home, **settings: str) -> tuple[int, dict[str, dict[str, str]]]:
    ended = home.run("doctor", "--json", **settings)
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.returncode, {finding["check"]: finding for finding in json.loads(ended.stdout)}


def test_a_service_that_runs_is_well(home: Home) -> None:
    service = home.serve().ready()
    code, found = examined(home)
    assert code == 0, found
    expected = {"程序", "时区数据", "设置", "磁盘", "数据目录", "数据库", "时钟", "表结构", "API 密钥", "连接数"}
    expected |= {"服务的角色", "审计记录", "事件", "Webhook"}
    assert {check for check in found if "日历" not in check} == expected
    assert all(finding["verdict"] != "fail" for finding in found.values())
    text = home.run("doctor").stdout
    assert len(re.findall(r"^\[(?:正常|注意)\] ", text, re.MULTILINE)) == len(found)
    assert service.end() == 0


def test_without_data_nothing_is_made(home: Home) -> None:
    code, found = examined(home)
    assert (code, found["数据库"]["verdict"]) == (1, "fail")
    assert "还没有数据库" in found["数据库"]["detail"]
    assert not home.home.exists()


def test_a_database_that_is_away_is_told_and_no_password(home: Home) -> None:
    address = f"postgresql://u:hidden-secret@127.0.0.1:{free_port()}/none"
    code, found = examined(home, LIUZHANG_DATABASE_URL=address)
    assert (code, found["数据库"]["verdict"], found["设置"]["verdict"]) == (1, "fail", "ok")
    assert "连接不上" in found["数据库"]["detail"]
    assert "hidden-secret" not in str(found)


def test_a_wrong_setting_is_told(home: Home) -> None:
    code, found = examined(home, LIUZHANG_PORT="0")
    assert (code, found["设置"]["verdict"]) == (1, "fail")
    assert "LIUZHANG_PORT" in found["设置"]["detail"]


async def test_an_empty_database_and_a_replica_that_is_away(home: Home, clone: Clone) -> None:
    async with clone(seeded=False) as url:
        replica = f"postgresql://127.0.0.1:{free_port()}/none"
        code, found = await asyncio.to_thread(
            examined, home, LIUZHANG_DATABASE_URL=url, LIUZHANG_READ_DATABASE_URL=replica
        )
    assert code == 1
    assert {found[check]["verdict"] for check in ("表结构", "只读数据库")} == {"fail"}
    assert "liuzhang migrate" in found["表结构"]["remedy"]


async def test_a_structure_that_is_behind_or_unknown(clone: Clone) -> None:
    async with clone() as url:
        connection = await asyncpg.connect(url)
        found: list[Finding] = [await _structure(connection)]
        for revision in ("0001", "9999"):
            await connection.execute("UPDATE alembic_version SET version_num = $1", revision)
            found.append(await _structure(connection))
        await connection.close()
    assert [finding.verdict for finding in found] == [Verdict.OK, Verdict.FAIL, Verdict.FAIL]
    assert ["升级" in finding.remedy for finding in found[1:]] == [False, True]


@pytest.mark.parametrize(
    ("workers", "pool", "verdict"), [(2, 4, Verdict.OK), (5, 9, Verdict.WARN), (12, 4, Verdict.FAIL)]
)
async def test_more_connections_than_there_are(clone: Clone, workers: int, pool: int, verdict: Verdict) -> None:
    # The server of the tests has 100; there is a pool to read with, one to write with, and one to lead with.
    async with clone(seeded=False) as url:
        connection = await asyncpg.connect(url)
        found = await _connections(connection, Settings(workers=workers, pool_size=pool))
        await connection.close()
    assert found.verdict is verdict


@pytest.mark.parametrize(("year", "verdict"), [(2023, Verdict.OK), (2099, Verdict.WARN)])
def test_a_year_without_its_paper_is_provisional(year: int, verdict: Verdict) -> None:
    assert _calendar(year).verdict is verdict


async def found_after(clone: Clone, *statements: str, **settings: str) -> dict[str, Finding]:
    async with clone() as url:
        connection = await asyncpg.connect(url)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()
        return {finding.check: finding for finding in await look_into(Settings(**settings), url)}  # type: ignore[arg-type]


WEBHOOK = """
    INSERT INTO webhooks (id, account_id, url, created_at, state, pause_reason, secret_version, position, failures)
    SELECT gen_random_uuid(), id, 'https://oa.example.gov.cn/', now(), '{}', {}, 1, 0, 0 FROM accounts LIMIT 1
"""
DELIVERY = """
    INSERT INTO webhook_deliveries (webhook_id, position, unit, state, tries, attempts)
    SELECT id, 1, '431228-jyj', 'dead', 16, '[]' FROM webhooks
"""
OUTBOX = """
    INSERT INTO outbox (at, type, plan, unit, data)
    VALUES (now() - interval '{} seconds', 'obligation.overdue', '431228-2023', '431228-jyj', '{{}}')
"""
SENDING = {"webhook_key": "k" * 32, "webhook_targets": "oa.example.gov.cn"}
UNTRIGGERED = "ALTER TABLE audit_entries DISABLE TRIGGER ALL"
TRIGGERED = "ALTER TABLE audit_entries ENABLE ALWAYS TRIGGER refuse_change"


@pytest.mark.parametrize(
    ("check", "statements", "settings", "verdict", "told"),
    [
        ("服务的角色", [], {}, Verdict.OK, "受行级安全约束"),
        ("服务的角色", ["ALTER TABLE plans OWNER TO liuzhang_service"], {}, Verdict.FAIL, "属主"),
        ("服务的角色", ["ALTER TABLE materials DISABLE ROW LEVEL SECURITY"], {}, Verdict.FAIL, "materials"),
        (
            "服务的角色",
            [],
            {"service_database_url": f"postgresql://u:hidden@127.0.0.1:{free_port()}/none"},
            Verdict.FAIL,
            "登录不了",
        ),
        ("审计记录", [], {}, Verdict.OK, "链尾相符"),
        ("审计记录", [UNTRIGGERED], {}, Verdict.FAIL, "audit_entries"),
        (
            "审计记录",
            [
                UNTRIGGERED,
                "DELETE FROM audit_entries e USING audit_heads h WHERE (e.chain, e.position) = (h.chain, h.position)",
                TRIGGERED,
            ],
            {},
            Verdict.FAIL,
            "431228、service",
        ),
        ("事件", [OUTBOX.format(5)], {}, Verdict.OK, "1 个"),
        ("事件", [OUTBOX.format(5), OUTBOX.format(600)], {}, Verdict.WARN, "2 个"),
        ("Webhook", [WEBHOOK.format("paused", "'requested'")], SENDING, Verdict.OK, "1 个"),
        ("Webhook", [WEBHOOK.format("paused", "'gone'")], SENDING, Verdict.WARN, "其中 1 个"),
        ("Webhook", [WEBHOOK.format("active", "NULL"), DELIVERY], SENDING, Verdict.WARN, "死信 1 个"),
        ("Webhook", [WEBHOOK.format("active", "NULL")], {}, Verdict.FAIL, "1 个"),
    ],
)
async def test_what_hangs_on_the_database_is_looked_at(
    clone: Clone, check: str, *, statements: list[str], settings: dict[str, str], verdict: Verdict, told: str
) -> None:
    finding = (await found_after(clone, *statements, **settings))[check]
    assert (finding.verdict, told in finding.detail) == (verdict, True), finding
    assert bool(finding.remedy) is (verdict is not Verdict.OK)
    assert "hidden" not in str(finding)
