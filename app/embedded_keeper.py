"""Who still uses the embedded PostgreSQL of a home directory, and stopping it when nobody does.

Run as a script this is the keeper: a detached process that outlives a service killed with ``kill -9`` and stops the
server in its place. It is started with ``python -I -S``, so it uses the standard library only.

A home directory holds PostgreSQL's data in ``postgres`` and four flock files, never removed (removing one is a race):

``start.lock``   exclusive, while somebody decides on starting or stopping and does it;
``users.lock``   shared, by each user for its life;
``keeper.lock``  exclusive, by the keeper for its life;
``server.lock``  exclusive, by initdb or the postmaster AND all their children, which inherit the descriptor on purpose:
                 it is free only when no process of the server is left, whatever became of the postmaster and its pid.

Every other lock descriptor is close-on-exec.
"""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["DATA", "KEEPER", "SERVER", "START", "USERS", "held", "leave", "server_pid", "stop"]

DATA = "postgres"
START, USERS, KEEPER, SERVER = "start.lock", "users.lock", "keeper.lock", "server.lock"

_LEAVE_SECONDS = 60.0
# The keeper wakes when the last user closes its lock, and has it for a moment.
_KEEPER_SECONDS = 0.25


@contextmanager
def held(path: Path, *, shared: bool = False, patience: float = math.inf) -> Generator[int | None]:
    """Hold a flock on ``path``: its descriptor, or None when it could not be had within ``patience`` seconds.

    It is given back by closing: unlocking would also take it from the children that inherited it.
    Raises OSError when the file cannot be opened or its file system has no flock.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        yield descriptor if _flock(descriptor, shared, patience) else None
    finally:
        os.close(descriptor)


def _flock(descriptor: int, shared: bool, patience: float) -> bool:
    # Here, because this module must be importable on Windows, where nothing else of it is used.
    import fcntl  # noqa: PLC0415

    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    if patience == math.inf:
        fcntl.flock(descriptor, kind)
        return True
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        else:
            return True


def server_pid(home: Path) -> int | None:
    """The pid of the postmaster serving ``home``, or None; a live pid that is not this postmaster's counts for nothing.

    The command line decides, because in a container root may not read ``/proc/<pid>/cwd`` of another user.
    """
    data = os.fsencode(home / DATA)
    try:
        # A single-user backend writes its pid negated.
        pid = abs(int((home / DATA / "postmaster.pid").read_text().split("\n", 1)[0]))
        if sys.platform == "linux":
            program, *arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            serving = program.endswith(b"postgres") and data in arguments
        else:
            command = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
            listed = subprocess.run(command, capture_output=True, check=False).stdout  # noqa: S603 (our own words)
            serving = b"postgres" in listed and data in listed
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    return pid if serving else None


def stop(home: Path, *, patience: float = math.inf) -> bool:
    """Shut the server of ``home`` down (fast: open transactions are rolled back); False after ``patience`` seconds.

    The caller holds ``start.lock``. Ends only when no process of the server is left. SIGINT is what
    ``pg_ctl stop -m fast`` sends, but needs no binaries, which an upgrade may have removed, and is never sent to a pid
    that only stands in a stale file.
    """
    deadline = time.monotonic() + patience
    while True:
        pid = server_pid(home)
        with held(home / SERVER, patience=0) as server:
            if pid is None and server is not None:
                return True
        if time.monotonic() >= deadline:
            return False
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)
        time.sleep(0.02)


def leave(home: Path) -> None:
    """Stop the server of ``home`` if nobody uses it any more; the caller has closed its own users' lock.

    Waiting here, rather than leaving it all to the keeper, lets a container end with its database shut down. What is
    not done in time is left to the keeper: whoever holds ``start.lock`` is a user himself or is stopping the server.
    """
    with held(home / START, patience=_LEAVE_SECONDS) as start, held(home / USERS, patience=_KEEPER_SECONDS) as users:
        if start is not None and users is not None:
            stop(home, patience=_LEAVE_SECONDS)


def _keep(home: Path, keeper: int) -> None:
    """Wait until nobody uses ``home``, stop its server and end; ``keeper`` is the descriptor of the held lock."""
    # The users end by these signals, and the keeper after them.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    while True:
        # Not kept while waiting for start.lock: a user starting holds that one and wants this one.
        with held(home / USERS):
            pass
        with held(home / START), held(home / USERS, patience=0) as users:
            if users is not None:
                stop(home)
                # Before start.lock, so that the next user does not count on a keeper about to end.
                os.close(keeper)
                return


if __name__ == "__main__":
    # The starter waits for the outer process, so that no zombie stays with it; the inner one keeps the inherited lock.
    if os.fork() == 0:
        # PostgreSQL ends by itself when its directory is gone.
        with suppress(FileNotFoundError):
            _keep(Path(sys.argv[1]), int(sys.argv[2]))
