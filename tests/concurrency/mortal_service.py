"""The service in processes that die by SIGKILL: ``python -m tests.concurrency.mortal_service URL PROCESSES ONE_IN``.

A process kills itself when it is about to answer a change, of so many once: the effect is there, and nobody was told.
Others kill it whenever they like. The first process has all but connections ready and forks another for each that has
died, so that hundreds of deaths take a few minutes. It prints its port, and ends with its parent.
"""

import os
import random
import signal
import socket
import sys
from datetime import datetime
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.clock import SHANGHAI
from app.main import create_app
from app.settings import Settings

NOW = datetime(2023, 5, 20, 9, 0, tzinfo=SHANGHAI)


class DyingBeforeAnswers:
    def __init__(self, app: ASGIApp, one_in: int) -> None:
        self.app = app
        self.one_in = one_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_or_die(message: Message) -> None:
            if message["type"] == "http.response.start" and random.randrange(self.one_in) == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            await send(message)

        await self.app(scope, receive, send if scope.get("method") == "GET" else send_or_die)


def _serve(app: Any, listener: socket.socket) -> None:
    random.seed()
    uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False)).run(sockets=[listener])


def main() -> None:
    url, processes, one_in = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    app = DyingBeforeAnswers(create_app(Settings(database_url=url, pool_size=2), clock=lambda: NOW), one_in)
    alive: set[int] = set()
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    parent = os.getppid()
    while os.getppid() == parent:
        while len(alive) < processes:
            process = os.fork()
            if process == 0:
                _serve(app, listener)
                os._exit(0)
            alive.add(process)
        alive.discard(os.wait()[0])


if __name__ == "__main__":
    main()
