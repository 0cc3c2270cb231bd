"""``liuzhang doctor``: what is well is said to be, what is not is named with what to do."""

import asyncio
import json
import re

import asyncpg
import pytest

from app.cli.doctor import Finding, Verdict, _calendar, _connections, _structure
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
    ("workers", "pool", "verdict"), [(2, 4, Verdict.OK), (6, 8, Verdict.WARN), (13, 4, Verdict.FAIL)]
)
async def test_more_connections_than_there_are(clone: Clone, workers: int, pool: int, verdict: Verdict) -> None:
    # The server of the tests has 100; there is a pool to read with and one to write with.
    async with clone(seeded=False) as url:
        connection = await asyncpg.connect(url)
        found = await _connections(connection, Settings(workers=workers, pool_size=pool))
        await connection.close()
    assert found.verdict is verdict


@pytest.mark.parametrize(("year", "verdict"), [(2023, Verdict.OK), (2099, Verdict.WARN)])
def test_a_year_without_its_paper_is_provisional(year: int, verdict: Verdict) -> None:
    assert _calendar(year).verdict is verdict
