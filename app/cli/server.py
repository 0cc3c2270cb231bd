"""The HTTP server, in this process or in several, and how it stops: nobody who was let in is cut off.

Told to stop, it says so on ``/health/ready`` and closes each connection with its next answer; after the delay of the
settings it lets nobody in any more, finishes every request that has begun, its body included, and ends. What is not
finished within the timeout of the settings is told so and given up; a second signal gives everything up at once.
"""

import asyncio
import multiprocessing
import os
import signal
import socket
import time
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import multiprocess

from app.cli.failures import UsageError
from app.protocol import LenientHttpProtocol
from app.settings import Settings

__all__ = ["run_server", "run_workers"]


class _Config(uvicorn.Config):
    """What both kinds of server are run with."""

    def __init__(self, app: Any, settings: Settings, **more: Any) -> None:
        super().__init__(
            app,
            http=LenientHttpProtocol,
            log_level=settings.log_level,
            log_config=None,
            access_log=False,
            server_header=False,
            # Whom to believe is the service's own setting; the server would believe whoever comes from this machine.
            proxy_headers=False,
            timeout_graceful_shutdown=settings.shutdown_timeout,
            **more,
        )
        self.shutdown_delay = settings.shutdown_delay


class _Server(uvicorn.Server):
    config: _Config

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop, and at the second signal at once."""
        if sig == signal.SIGINT and multiprocessing.parent_process() is not None:
            # Ctrl-C comes to all processes of a terminal, and the parent then tells this one to stop.
            return
        self.force_exit = self.should_exit
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop being asked, then stop."""
        # Part of every request's state from here on: see LenientHttpProtocol and ``/health/ready``.
        self.lifespan.state["stopping"] = True
        until = time.monotonic() + self.config.shutdown_delay
        # A signal handler sets the flag, and cannot set an event of the loop.
        while time.monotonic() < until and not self.force_exit:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        for server in self.servers:
            server.close()
        # Connections accepted in this very turn of the loop are announced in the next, and are to be told too.
        await asyncio.sleep(0)
        await super().shutdown(sockets)


class _Process(multiprocess.Process):
    """A process of several, with a server of ours in it."""

    @property
    def server(self) -> uvicorn.Server:
        if self._server is None:
            self._server = _Server(self.config)
        return self._server


class _Processes(multiprocess.Multiprocess):
    def terminate_all(self) -> None:
        super().terminate_all()
        # As long as it is open here, new connections would queue up for nobody.
        for listener in self.sockets:
            listener.close()

    def join_all(self) -> None:
        """Wait until all have ended, or a second signal comes."""
        while any(process.process.is_alive() for process in self.processes):
            if {signal.SIGINT, signal.SIGTERM}.intersection(self.signal_queue):
                for process in self.processes:
                    process.kill()
            time.sleep(0.02)
        super().join_all()


# The supervisor makes its processes by this name, and takes no other class.
multiprocess.Process = _Process


def run_server(app: FastAPI, settings: Settings, listener: socket.socket) -> None:
    """Serve ``app`` in this process until told to stop.

    Raises:
        UsageError: told so twice.
    """
    server = _Server(_Config(app, settings))
    try:
        server.run(sockets=[listener])
    finally:
        # Once it has stopped, it hands the signal on to the handler before it, which may leave by an exception.
        if server.force_exit:
            raise UsageError(_FORCED)


def run_workers(factory: str, settings: Settings, listener: socket.socket) -> None:
    """Serve the applications that ``factory`` (``module:function``) makes in several processes until told to stop.

    Raises:
        UsageError: a process could not start, or told to stop twice.
    """
    # Long enough for a process still importing on a busy machine, which cannot answer yet, not to be killed as hung.
    config = _Config(factory, settings, factory=True, workers=settings.workers, timeout_worker_healthcheck=30)
    # Where the processes count together: see app.observability.Metrics.
    with TemporaryDirectory(prefix="liuzhang-metrics-") as shared:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared
        several = _Processes(config, sockets=[listener])
        several.run()
    codes = {process.exitcode for process in several.processes}
    if STARTUP_FAILURE in codes:
        raise UsageError("服务进程没有启动成功,原因见上")
    if -signal.SIGKILL in codes:
        raise UsageError(_FORCED)


_FORCED = "再次收到停止信号,已立即停止;未完成的请求没有得到应答"
