"""The Prefect server of a workspace: its settings, finding or starting it, and keeping it alive during a flow.

PREFECT_API_URL names another server, which is then used as it is. Nothing here imports prefect, whose settings are
fixed when it is imported.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from pipeline.artifacts.atomic import write_text
from pipeline.orchestrate.guarded import Guarded
from pipeline.runtime.errors import InputError

_HOST = "127.0.0.1"
_FIRST_PORT = 4200
_SECONDS_TO_START = 120.0


def prepare_environment(root: Path) -> None:
    """Settings of Prefect for this process and all it starts; those already in the environment stay.

    The database lies in the workspace, telemetry is off, and a connection that fails is tried again for as long as a
    server takes to start again.
    """
    for name, value in {
        "PREFECT_HOME": str(Path(root).resolve() / ".prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_CLIENT_MAX_RETRIES": "10",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_CLI_PROMPT": "false",
    }.items():
        os.environ.setdefault(name, value)


class PrefectServer:
    """A server that is running or starting. `url` is the address of its pages."""

    def __init__(self, url: str) -> None:
        self.url = url

    def wait(self) -> None:
        """Wait until it answers."""

    def close(self) -> None:
        """End it, if this process started it."""


@contextmanager
def prefect_server(root: Path) -> Iterator[PrefectServer]:
    """A server for this process and its children, which find it in PREFECT_API_URL.

    Prefect may be imported at once, while it starts; `wait` before the first use.

    Raises:
        InputError: the server named by PREFECT_API_URL does not answer, or none can be started.
    """
    named = os.environ.get("PREFECT_API_URL")
    if named:
        named = named.rstrip("/")
        if not _answers(named):
            raise InputError(
                f"PREFECT_API_URL {named}: no Prefect server answers there; start it, or unset the variable"
            )
        yield PrefectServer(named.removesuffix("/api"))
        return
    running = _running(root)
    server = PrefectServer(running) if running else _OwnServer(root)
    os.environ["PREFECT_API_URL"] = f"{server.url}/api"
    try:
        yield server
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        server.close()


class _OwnServer(PrefectServer):
    """A server of this process, restarted if it dies."""

    def __init__(self, root: Path) -> None:
        self._root = Path(root).resolve()
        self._record = self._root / ".prefect" / "server.json"
        self._log = self._root / ".prefect" / "server.log"
        self._log.parent.mkdir(exist_ok=True)
        self._port, self._claim = _free_port()
        super().__init__(f"http://{_HOST}:{self._port}")
        self._closing = threading.Event()
        self._guarded = self._start()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    def wait(self) -> None:
        deadline = time.monotonic() + _SECONDS_TO_START
        while not _answers(f"{self.url}/api"):
            if time.monotonic() > deadline:
                raise InputError(f"prefect's server does not start; see {self._log}")
            time.sleep(0.1)
        write_text(self._record, json.dumps({"url": self.url, "pid": os.getpid()}))

    def close(self) -> None:
        self._closing.set()
        self._record.unlink(missing_ok=True)
        self._guarded.stop()
        self._keeper.join()
        self._claim.close()

    def _start(self) -> Guarded:
        return Guarded(
            [sys.executable, "-m", "prefect", "server", "start", "--host", _HOST, "--port", str(self._port)],
            cwd=self._root,
            # Its pages ask the address in this setting, not the one they come from.
            environment={**os.environ, "PREFECT_SERVER_UI_API_URL": f"{self.url}/api"},
            grace_seconds=5.0,
        )

    def _keep(self) -> None:
        while True:
            with open(self._log, "a", encoding="utf-8") as log:
                self._guarded.wait(lambda line: print(line, file=log, flush=True))
            if self._closing.wait(0.5):
                return
            self._guarded = self._start()
            if self._closing.is_set():
                self._guarded.stop()


def _running(root: Path) -> str | None:
    """The address of a server that another process keeps for this workspace."""
    try:
        record = json.loads((Path(root) / ".prefect" / "server.json").read_text(encoding="utf-8"))
        alive = psutil.pid_exists(record["pid"]) and _answers(f"{record['url']}/api")
        return str(record["url"]) if alive else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _answers(api: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{api}/health", timeout=5) as answer:
            return answer.status == 200
    except (OSError, ValueError, http.client.HTTPException):
        return False


def _free_port() -> tuple[int, socket.socket]:
    """A port, and what keeps other flows of this machine from choosing it too before the server listens there."""
    for port in range(_FIRST_PORT, _FIRST_PORT + 200):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0frcnn-prefect-{port}")
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((_HOST, port))
        except OSError:
            claim.close()
            continue
        return port, claim
    raise InputError(f"no free port from {_FIRST_PORT} on for prefect's server")
