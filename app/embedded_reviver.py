"""Starting the embedded PostgreSQL again where it dies under a running service: a killed postmaster stays dead."""

import logging
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from app.embedded_keeper import DATA, START, held, server_pid

__all__ = ["revived"]

_LOOK_SECONDS = 1.0
_LOOK_SECONDS_AT_MOST = 60.0

_log = logging.getLogger(__name__)


@contextmanager
def revived(home: Path, log: Path, bring_up: Callable[[], object]) -> Generator[None]:
    """Look after the server of ``home`` from a thread; ``bring_up`` starts it, and is called with ``start.lock`` held.

    The caller is a user of the server, and stays one until this is left: nobody else stops it meanwhile.
    """
    left = threading.Event()

    def look_after() -> None:
        pause = _LOOK_SECONDS
        while not left.wait(pause):
            if server_pid(home) is not None:
                pause = _LOOK_SECONDS
                continue
            try:
                _revive(home, log, bring_up)
            except (RuntimeError, OSError) as error:
                pause = min(2 * pause, _LOOK_SECONDS_AT_MOST)
                _log.error("PostgreSQL 已终止, 重新启动失败, %g 秒后再试: %s", pause, error)

    thread = threading.Thread(target=look_after, name="revive-postgresql", daemon=True)
    thread.start()
    try:
        yield
    finally:
        left.set()
        thread.join()


def _revive(home: Path, log: Path, bring_up: Callable[[], object]) -> None:
    if not (home / DATA).exists():
        # Removed or unmounted: an empty database in its place would be worse than none.
        raise FileNotFoundError(f"{home / DATA} 不见了: 请恢复它")
    with held(home / START, patience=0) as start:
        # Held by somebody else, who is at it already.
        if start is not None:
            bring_up()
            _log.warning("PostgreSQL 意外终止, 已重新启动; 原因见 %s", log)
