"""The ``liuzhang`` command as people run it: real processes, ports and signals, and the PostgreSQL it starts."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from app.cli.database import let_service_in
from app.embedded_keeper import SERVER, server_pid
from app.version import VERSION
from tests.conftest import Clone
from tests.embedded.test_embedded import ROOT, Place, alive, children, query, unlocked
from tests.test_docs import blocks

COMMAND = Path(sys.executable).with_name("liuzhang")
BOUND = 90
PLAN = "431228-2023"
CHINESE = re.compile(r"[一-鿿]")
COMMANDS = {
    "account",
    "permissions",
    "serve",
    "migrate",
    "seed",
    "check-seed",
    "audit-seed",
    "audit-verify",
    "seed-schema",
    "openapi",
    "demo",
    "backup",
    "restore",
    "doctor",
    "version",
    "login",
    "logout",
    "form",
    "submit",
    "receipt",
    "status",
    "deadlines",
    "compliance",
    "certify",
    "return",
}
RENAME = "UPDATE plans SET title = '改过的标题'"


class Service:
    """A started ``liuzhang serve``."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, output: Path) -> None:
        self.process = process
        self.address = f"http://127.0.0.1:{port}"
        self._output = output

    @property
    def stdout(self) -> str:
        return self._output.with_suffix(".out").read_text()

    @property
    def stderr(self) -> str:
        return self._output.with_suffix(".err").read_text()

    @property
    def started(self) -> int:
        """How many processes of it serve."""
        return self.stderr.count("Application startup complete")

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.address}{path}", timeout=BOUND, trust_env=False)

    def ready(self) -> "Service":
        """This service, as soon as it is ready, which must be within the bound."""
        deadline = time.monotonic() + BOUND
        while time.monotonic() < deadline and self.process.poll() is None:
            # Refused before the port is taken; from then on a request waits for the service.
            with suppress(httpx.TransportError):
                assert self.get("/health/ready").status_code == 200
                return self
            time.sleep(0.05)
        pytest.fail(f"not ready (exit code {self.process.poll()}): {self.stdout}{self.stderr}")

    def title(self) -> str:
        return self.get(f"/api/v1/plans/{PLAN}").json()["title"]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send the signal, to all processes as a terminal does where it is SIGINT; the exit code."""
        if number == signal.SIGINT:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        return self.process.wait(BOUND)


class Home(Place):
    """A temporary directory with a data directory in it, and the services started there."""

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self.services: list[Service] = []

    @property
    def url(self) -> str:
        """The address of the running embedded database."""
        password = quote((self.home / "password").read_text().strip(), safe="")
        return f"postgresql://liuzhang:{password}@/liuzhang?host={self.home / 'socket'}"

    def environment(self, settings: dict[str, str]) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LIUZHANG_")}
        return inherited | {"LIUZHANG_DATA_DIR": str(self.home), "COLUMNS": "200", "PYTHONUTF8": "1"} | settings

    def serve(self, *arguments: str, port: int | None = None, **settings: str) -> Service:
        port = port or free_port()
        output = self.base / f"service-{len(self.services)}"
        with output.with_suffix(".out").open("wb") as out, output.with_suffix(".err").open("wb") as err:
            process = subprocess.Popen(
                [COMMAND, "serve", "--port", str(port), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self.base,
                env=self.environment(settings),
                start_new_session=True,
            )
        service = Service(process, port, output)
        self.services.append(service)
        return service

    def run(self, *arguments: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
        """A command that ends by itself."""
        return subprocess.run(
            [COMMAND, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self.base,
            env=self.environment(settings),
            timeout=BOUND,
            check=False,
        )

    def stopped(self) -> bool:
        """Whether PostgreSQL is down right now, without waiting for the keeper."""
        return not self.processes("bin/postgres") and unlocked(self.home / SERVER)


def within_bound(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + BOUND
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def home() -> Iterator[Home]:
    # Not tmp_path: its parents are closed to the user that root drops to.
    base = Path(tempfile.mkdtemp(prefix="lz-", dir="/tmp"))
    base.chmod(0o755)
    home = Home(base)
    try:
        yield home
    finally:
        for service in home.services:
            with suppress(ProcessLookupError):
                os.killpg(service.process.pid, signal.SIGKILL)
            service.process.wait()
        left = [] if home.gone() else home.processes()
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(base)
    assert left == []


def me(service: Service, key: str) -> Any:
    """Who a key's holder is."""
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx.get(f"{service.address}/api/v1/me", headers=headers, timeout=BOUND, trust_env=False)
    assert answer.status_code == 200
    return answer.json()


def test_an_account_made_by_the_command_is_one_of_the_service(home: Home) -> None:
    service = home.serve().ready()
    made = home.run("account", "create", "县教育局脚本", "--grant", "reporter:431228-jyj", "--grant", "auditor")
    assert made.returncode == 0, made.stderr
    (key,) = re.findall(r"^密钥 (lz_prod_\S+)$", made.stdout, re.MULTILINE)
    assert [role["text"] for role in me(service, key)["roles"]] == ["reporter:431228-jyj", "auditor"]
    listed = home.run("account", "list").stdout
    assert "县教育局脚本 reporter:431228-jyj auditor" in listed
    assert key not in listed
    for wrong, told in (("boss", "没有角色"), ("reporter", "必须指明"), ("reporter:431228-nosuch", "没有单位")):
        refused = home.run("account", "create", "甲", "--grant", wrong)
        assert (refused.returncode, told in refused.stderr) == (1, True), refused.stderr


def test_the_audit_trail_is_verified_by_the_command_and_a_flipped_byte_found(home: Home) -> None:
    service = home.serve().ready()
    whole = home.run("audit-verify")
    assert (whole.returncode, "没有问题" in whole.stderr) == (0, True), whole.stderr
    heads = whole.stdout.split()
    assert [head.rpartition(":")[0] for head in heads] == ["431228:1", "service:2"]
    noted = [part for head in heads for part in ("--anchor", head)]
    assert home.run("audit-verify", *noted).returncode == 0
    flip = "UPDATE audit_entries SET actor = overlay(actor PLACING 'X' FROM 1) WHERE chain = '431228'"
    for statement in ("ALTER TABLE audit_entries DISABLE TRIGGER refuse_change", flip):
        query(home.url, statement)
    broken = home.run("audit-verify", "--json", *noted)
    assert broken.returncode == 1
    told = json.loads(broken.stdout)
    assert told["count"] == 1
    assert [(one["chain"], one["position"]) for one in told["findings"]] == [("431228", 1)]
    assert "写法不对" in home.run("audit-verify", "--anchor", "431228:1").stderr
    assert service.end() == 0


def test_the_first_report_of_the_readme_is_taken_as_printed(home: Home) -> None:
    """On a fresh system, its lines typed one after the other; only the address and where the command is differ."""
    service = home.serve().ready()
    shown = [
        block.replace("http://127.0.0.1:8000", service.address).replace(".venv/bin/liuzhang", str(COMMAND))
        for block in blocks("README.md", "bash")
        if "account create" in block
    ]
    assert ["/extensions" in block for block in shown] == [True, False]
    answers = []
    for block in shown:
        assert len(block.splitlines()) == 3
        script = ["bash", "-euo", "pipefail", "-c", block]
        environment = home.environment({"no_proxy": "*"})
        typed = subprocess.run(
            script, capture_output=True, text=True, cwd=home.base, env=environment, timeout=BOUND, check=False
        )
        assert typed.returncode == 0, typed.stderr
        answers.append(json.loads(typed.stdout))
    assert answers[0]["obligations"] == 3, answers[0]
    assert (answers[1]["state"], answers[1]["unit"]["unit"]) == ("submitted", "431228-jyj"), answers[1]


def test_first_start_serves_what_it_prints_and_a_second_start_keeps_it(home: Home) -> None:
    first = home.serve().ready()
    assert re.search(rf"已载入总体方案 {PLAN}\([1-9]\d* 行\)", first.stdout)
    assert re.search(rf"^数据 +{home.home}\(", first.stdout, re.MULTILINE)
    printed = re.findall(r"^(\S+) +(http://\S+)$", first.stdout, re.MULTILINE)
    assert printed == [
        ("接口", f"{first.address}/api/v1"),
        ("接口文档", f"{first.address}/docs"),
        ("接口参考", f"{first.address}/reference"),
    ]
    for path in ("/api/v1/plans", "/docs", "/reference", "/openapi.json"):
        assert first.get(path).status_code == 200
    (key,) = re.findall(r"^管理员密钥 (lz_prod_\S+)$", first.stdout, re.MULTILINE)
    assert me(first, key)["capabilities"] == ["read_plan", "manage_subscriptions", "manage_accounts", "read_self"]
    assert first.end() == 0
    second = home.serve().ready()
    assert "lz_" not in second.stdout
    assert me(second, key)["name"] == "管理员"
    assert second.get("/health/ready").json()["plans"] == 1
    assert second.get(f"/api/v1/plans/{PLAN}").status_code == 200
    assert "已载入" not in second.stdout


def test_a_taken_port_is_told_and_nothing_is_started(home: Home) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        service = home.serve(port=port)
        assert service.process.wait(BOUND) == 1
    assert re.fullmatch(rf"错误: 无法监听 127\.0\.0\.1:{port}\(.*占用.*\n", service.stderr)
    assert not home.home.exists()
    assert not home.processes()


def test_two_starts_at_once_share_one_postgresql(home: Home) -> None:
    first, second = home.serve(), home.serve()
    assert first.ready().title() == second.ready().title()
    assert query(home.url, "SELECT count(*) FROM plans") == 1
    (postmaster,) = home.processes("bin/postgres")
    assert first.end() == 0
    assert alive(postmaster)
    assert second.get("/health/ready").status_code == 200
    assert second.end() == 0
    assert home.stopped()
    for service in (first, second):
        assert "Traceback" not in service.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_killed_service_leaves_nothing_behind(home: Home, workers: str) -> None:
    service = home.serve("--workers", workers).ready()
    left = children(service.process.pid)
    assert service.end(signal.SIGKILL) == -signal.SIGKILL
    assert home.gone()
    assert within_bound(lambda: not any(map(alive, left)))
    again = home.serve(port=int(service.address.rsplit(":", 1)[1])).ready()
    assert again.get(f"/api/v1/plans/{PLAN}").status_code == 200


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_killed_postgresql_comes_back_and_loses_nothing(home: Home, workers: str) -> None:
    service = home.serve("--workers", workers).ready()
    query(home.url, RENAME)
    killed = home.postmaster()
    os.kill(killed, signal.SIGKILL)
    assert within_bound(lambda: server_pid(home.home) not in {None, killed})
    assert within_bound(lambda: service.get("/health/ready").status_code == 200)
    assert service.title() == "改过的标题"
    assert within_bound(lambda: "已重新启动" in service.stderr)
    assert service.end() == 0
    assert home.stopped()


def test_data_that_was_taken_away_is_not_made_anew(home: Home) -> None:
    service = home.serve().ready()
    (home.home / "postgres").rename(home.base / "away")
    os.kill(int((home.base / "away" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    assert within_bound(lambda: "不见了" in service.stderr)
    assert service.get("/health/ready").status_code == 503
    assert not (home.home / "postgres").exists()
    assert service.end() == 0


async def test_a_given_database_is_migrated_and_seeded_and_no_other_started(home: Home, clone: Clone) -> None:
    async with clone(seeded=False) as url:
        service = home.serve(LIUZHANG_DATABASE_URL=url).ready()
        assert service.get("/health/ready").json()["plans"] == 1
        assert service.end() == 0
    assert "外部 PostgreSQL" in service.stdout
    assert not home.home.exists()
    assert not home.processes()


LOGINS = "SELECT string_agg(DISTINCT usename, ' ') FROM pg_stat_activity WHERE application_name LIKE 'liuzhang-%'"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_service_logs_in_to_the_embedded_database_as_who_owns_nothing(home: Home, workers: str) -> None:
    home.serve("--workers", workers).ready()
    assert query(home.url, LOGINS) == "liuzhang_service"


async def test_the_service_has_a_login_of_its_own_where_one_is_given(home: Home, clone: Clone) -> None:
    async with clone() as url:
        own = await let_service_in(url)
        service = home.serve(LIUZHANG_DATABASE_URL=url, LIUZHANG_SERVICE_DATABASE_URL=own).ready()
        assert await asyncio.to_thread(query, url, f"{LOGINS} AND datname = current_database()") == "liuzhang_service"
        assert service.end() == 0


def test_a_login_of_the_service_without_the_owner_s_is_told(home: Home) -> None:
    ended = home.run("serve", LIUZHANG_SERVICE_DATABASE_URL="postgresql://127.0.0.1/none")
    assert ended.returncode == 1
    assert "LIUZHANG_DATABASE_URL" in ended.stderr


async def test_reads_go_to_the_read_database(home: Home, clone: Clone) -> None:
    async with clone() as url, clone() as replica:
        await asyncio.to_thread(query, replica, RENAME)
        service = home.serve(LIUZHANG_DATABASE_URL=url, LIUZHANG_READ_DATABASE_URL=replica).ready()
        assert service.title() == "改过的标题"
        assert service.end() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_read_database_that_does_not_answer_is_told(home: Home, workers: str) -> None:
    address = f"postgresql://127.0.0.1:{free_port()}/none"
    service = home.serve("--workers", workers, LIUZHANG_READ_DATABASE_URL=address)
    assert service.process.wait(BOUND) == 1
    assert re.fullmatch(r"错误: 无法使用数据库.*\n", service.stderr)
    assert home.stopped()


def test_several_workers_serve(home: Home) -> None:
    service = home.serve(LIUZHANG_WORKERS="2").ready()
    assert within_bound(lambda: service.started == 2)
    assert service.get(f"/api/v1/plans/{PLAN}").status_code == 200
    # A worker logs as a single process does.
    assert within_bound(lambda: f"GET /api/v1/plans/{PLAN} 200" in service.stderr)


def test_several_workers_count_together(home: Home) -> None:
    service = home.serve(LIUZHANG_WORKERS="2").ready()
    assert within_bound(lambda: service.started == 2)
    for _ in range(20):
        assert service.get("/openapi.json").status_code == 200
    counted = re.findall(
        r'^liuzhang_requests_total\{.*operation="openapi".*\} (\S+)$', service.get("/metrics").text, re.MULTILINE
    )
    assert [float(one) for one in counted] == [20]


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_being_told_to_stop_is_no_failure(home: Home, number: signal.Signals, workers: str) -> None:
    service = home.serve("--workers", workers).ready()
    assert within_bound(lambda: service.started == int(workers))
    assert service.end(number) == 0
    assert home.stopped()
    assert "Traceback" not in service.stderr
    assert "Warning" not in service.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_being_told_to_stop_while_starting(home: Home, number: signal.Signals) -> None:
    # From the making of the cluster to the loading of the plan.
    for begun in (home.home / "password", home.home / "postgres", home.home / "postgres" / "postmaster.pid"):
        service = home.serve()
        assert within_bound(begun.exists)
        assert service.end(number) == 0
        assert "Traceback" not in service.stderr
        assert home.gone()
    assert home.serve().ready().get(f"/api/v1/plans/{PLAN}").status_code == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LIUZHANG_PROT", "8000"),
        ("LIUZHANG_WORKERS", "many"),
        ("LIUZHANG_PORT", "0"),
        ("LIUZHANG_LOG_LEVEL", "loud"),
        ("LIUZHANG_DATABASE_URL", "mysql://localhost/x"),
    ],
)
def test_a_wrong_setting_is_named(home: Home, name: str, value: str) -> None:
    ended = home.run("serve", **{name: value})
    assert ended.returncode == 1
    assert re.fullmatch(rf"错误: .*{name}.*\n", ended.stderr)
    assert CHINESE.search(ended.stderr.removeprefix("错误: "))
    assert not home.home.exists()


def test_migrate_starts_the_embedded_database_and_stops_it(home: Home) -> None:
    ended = home.run("migrate")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert str(home.home) in ended.stdout
    assert home.stopped()


async def test_seed_changes_nothing_the_second_time(home: Home, clone: Clone) -> None:
    async with clone(seeded=False) as url:
        first = home.run("seed", LIUZHANG_DATABASE_URL=url)
        second = home.run("seed", LIUZHANG_DATABASE_URL=url)
    assert (first.returncode, second.returncode) == (0, 0)
    assert re.search(r"新增 [1-9]\d* 行,更新 0 行,删除 0 行", first.stdout)
    assert "没有改动" in second.stdout


def test_check_seed(home: Home) -> None:
    ended = home.run("check-seed")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"{PLAN}: 6 个仗、163 项任务,没有问题" in ended.stdout
    other = home.run("check-seed", "--seed", home.base)
    assert other.returncode == 1
    assert "没有 plan.yaml" in other.stderr


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "没有总体方案的标题行"),
        ("芷江侗族自治县打好发展“六仗”总体方案\n".encode(), "不一致 "),
        (b"\xff\xfe", "UTF-8"),
    ],
)
def test_audit_seed_refuses_another_document(home: Home, content: bytes, told: str) -> None:
    document = home.base / "document.txt"
    document.write_bytes(content)
    ended = home.run("audit-seed", "--source", document)
    assert ended.returncode == 1
    assert told in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


def test_committed_files_are_what_the_commands_write(home: Home) -> None:
    assert home.run("openapi", home.base / "openapi.json").returncode == 0
    assert (home.base / "openapi.json").read_bytes() == (ROOT / "openapi.json").read_bytes()
    assert home.run("seed-schema", home.base / "schema").returncode == 0
    written = {path.name: path.read_bytes() for path in (home.base / "schema").iterdir()}
    assert written == {path.name: path.read_bytes() for path in (ROOT / "seed" / "schema").iterdir()}


def test_version_and_help(home: Home) -> None:
    assert home.run("version").stdout == f"{VERSION}\n"
    # A line for each command, in one of the panels after that of the options.
    listed = home.run("--help").stdout.split("--help", 1)[1]
    lines = dict(re.findall(r"^\W*([a-z-]+) +(\S.*)$", listed, re.MULTILINE))
    assert lines.keys() == COMMANDS
    assert all(map(CHINESE.search, lines.values()))
