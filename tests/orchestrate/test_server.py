"""A Prefect server is found, or started, kept alive, and gone at the end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

from pipeline.orchestrate import server as module
from pipeline.orchestrate.server import _free_port, _OwnServer, _running, prefect_server, prepare_environment
from pipeline.runtime.errors import InputError
from tests.orchestrate.conftest import gone, until

Environment = dict[str, str]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the test's own, without the settings of earlier tests."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    for name in set(os.environ) - set(plain):
        monkeypatch.delenv(name)
    for name in ("PREFECT_HOME", "PREFECT_API_URL", "PREFECT_SERVER_ANALYTICS_ENABLED", "DO_NOT_TRACK"):
        monkeypatch.setenv(name, "")  # so that what the code sets is undone
        monkeypatch.delenv(name)


class _Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/api/health" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def healthy() -> Iterator[str]:
    """The address of something that answers as a Prefect server does."""
    with HTTPServer(("127.0.0.1", 0), _Healthy) as answering:
        thread = threading.Thread(target=answering.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{answering.server_port}"
        answering.shutdown()
        thread.join()


@contextmanager
def saying(answer: bytes) -> Iterator[str]:
    """The address of something that takes a request and says `answer`."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer_once() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=answer_once)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join(30)


@pytest.fixture
def dead() -> int:
    with subprocess.Popen(["true"]) as process:
        pass
    return process.pid


def refused(root: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", url)
    with pytest.raises(InputError, match="no Prefect server answers there"), prefect_server(root):
        raise AssertionError("taken for a server")


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/api", "nonsense", "http://a host/api"])
def test_a_named_server_that_is_not_there_is_an_input_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    refused(tmp_path, url, monkeypatch)


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH\r\n", b"", b"HTTP/1.1 500 No\r\n\r\n"])
def test_something_else_at_the_named_address_is_an_input_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    with saying(answer) as url:
        refused(tmp_path, f"{url}/api", monkeypatch)


@pytest.mark.parametrize("ending", ["/api", "/api/"])
def test_a_named_server_is_used_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, healthy: str, ending: str
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", healthy + ending)
    with prefect_server(tmp_path) as server:
        assert server.url == healthy
    assert os.environ["PREFECT_API_URL"] == healthy + ending
    assert not (tmp_path / ".prefect").exists()


def write(root: Path, record: object) -> None:
    (root / ".prefect").mkdir(exist_ok=True)
    (root / ".prefect/server.json").write_text(json.dumps(record))


def test_the_server_of_another_process_of_this_workspace_is_found(tmp_path: Path, healthy: str) -> None:
    write(tmp_path, {"url": healthy, "pid": os.getpid()})
    with prefect_server(tmp_path) as server:
        assert server.url == healthy
        assert os.environ["PREFECT_API_URL"] == f"{healthy}/api"
    assert "PREFECT_API_URL" not in os.environ
    assert (tmp_path / ".prefect/server.json").exists(), "it is not ours to remove"


def test_a_record_of_a_dead_process_or_a_silent_server_is_ignored(tmp_path: Path, healthy: str, dead: int) -> None:
    assert _running(tmp_path) is None
    write(tmp_path, {"url": healthy, "pid": dead})
    assert _running(tmp_path) is None
    write(tmp_path, {"url": "http://127.0.0.1:9", "pid": os.getpid()})
    assert _running(tmp_path) is None
    write(tmp_path, {"url": healthy, "pid": os.getpid()})
    assert _running(tmp_path) == healthy


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": "x", "url": "y"}'])
def test_a_record_that_cannot_be_read_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / ".prefect").mkdir()
    (tmp_path / ".prefect/server.json").write_text(text)
    assert _running(tmp_path) is None


def test_the_next_free_port_is_taken_where_the_first_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(module, "_FIRST_PORT", port)
        found, claim = _free_port()
        assert port < found < port + 200
        claim.close()


def test_two_flows_that_start_at_once_get_a_port_each(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(module, "_FIRST_PORT", taken.getsockname()[1])
    one, claim = _free_port()
    two, other = _free_port()
    assert one != two, "neither server listens yet"
    claim.close()
    three, again = _free_port()
    assert three == one
    other.close()
    again.close()


def test_settings_that_are_there_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_CLIENT_MAX_RETRIES", "3")
    monkeypatch.setattr(os, "environ", os.environ.copy())
    prepare_environment(tmp_path)
    assert os.environ["PREFECT_CLIENT_MAX_RETRIES"] == "3"
    assert os.environ["PREFECT_HOME"] == str(tmp_path / ".prefect")
    assert os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


def of_group(group: int) -> list[int]:
    return [process.pid for process in psutil.process_iter() if os.getpgid(process.pid) == group]


@pytest.mark.long
def test_an_own_server_that_is_killed_starts_again_and_nothing_is_left_of_it_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    prepare_environment(tmp_path)
    record = tmp_path / ".prefect/server.json"
    with prefect_server(tmp_path) as server:
        assert isinstance(server, _OwnServer)
        assert os.environ["PREFECT_API_URL"] == f"{server.url}/api"
        server.wait()
        assert json.loads(record.read_text()) == {"url": server.url, "pid": os.getpid()}
        assert _running(tmp_path) == server.url
        first = server._guarded.pid
        pids = of_group(first)
        assert len(pids) >= 2
        os.killpg(first, signal.SIGKILL)
        until(lambda: server._guarded.pid != first)
        server.wait()
        assert gone(pids)
        pids = of_group(server._guarded.pid)
    assert "PREFECT_API_URL" not in os.environ
    assert len(pids) >= 2 and gone(pids)
    assert not record.exists()
