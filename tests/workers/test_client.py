"""A request to a server whose database is busy is repeated soon."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from types import SimpleNamespace

import anyio
import httpx
import pytest
from prefect import get_client
from prefect.client import base
from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from pipeline.workers.client import repeat_soon, repeat_soon_in_this_process, soon_again_client


@contextmanager
def server_that_answers(*statuses: int) -> Iterator[str]:
    """A server of Prefect's API whose next responses have these statuses, and then 200; yields its address."""
    left = list(statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps([]).encode()
            self.send_response(left.pop(0) if left else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.send_error(404)  # it has no tokens against forged requests

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/api"
        finally:
            server.shutdown()
            thread.join()


def test_a_busy_server_is_asked_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    with (
        server_that_answers(503, 503, 200, 503) as address,
        temporary_settings({PREFECT_API_URL: address, PREFECT_CLIENT_MAX_RETRIES: 3}),
        soon_again_client() as client,
    ):
        monkeypatch.setattr(base, "time", SimpleNamespace(sleep=waited.append))
        assert client.read_flow_runs() == []
        assert client.read_flow_runs() == []
    # Prefect adds up to a fifth to each.
    assert 0.05 <= waited[0] <= 0.06 and 0.25 <= waited[1] <= 0.3 and 0.05 <= waited[2] <= 0.06
    assert len(waited) == 3


def busy(request: httpx.Request) -> httpx.Response:
    return httpx.Response(503, request=request)


def test_a_server_that_stays_busy_is_asked_for_half_a_minute() -> None:
    request = httpx.Request("POST", "http://127.0.0.1/api")
    responses = [busy(request) for _ in range(PREFECT_CLIENT_MAX_RETRIES.value() + 40)]
    for response in responses:
        repeat_soon(response)
        repeat_soon(response)  # a hook of the client beside that of the process
    waits = [float(response.headers["Retry-After"]) for response in responses]
    assert waits[:5] == [0.05, 0.25, 1.25, 6.25, 30] and set(waits[5:]) == {30}


def test_requests_of_one_client_do_not_wait_for_each_other() -> None:
    requests = [httpx.Request("POST", "http://127.0.0.1/api") for _ in range(8)]
    for request in requests:
        repeat_soon(response := busy(request))
        assert response.headers["Retry-After"] == "0.05"
    repeat_soon(httpx.Response(200, request=requests[1]))
    repeat_soon(response := busy(requests[0]))
    assert response.headers["Retry-After"] == "0.25"


async def _read_once() -> list[FlowRun]:
    async with get_client() as client:
        return await client.read_flow_runs()


def test_so_is_it_by_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    for client in (PrefectHttpxSyncClient, PrefectHttpxAsyncClient):
        monkeypatch.setattr(client, "__init__", client.__init__)  # to have it back
    waited: list[float] = []
    sleep = anyio.sleep

    async def wait(seconds: float) -> None:
        waited.append(seconds)
        await sleep(0)

    monkeypatch.setattr(anyio, "sleep", wait)
    repeat_soon_in_this_process()
    with server_that_answers(503) as address, temporary_settings({PREFECT_API_URL: address}):
        assert asyncio.run(_read_once()) == []
    assert [seconds for seconds in waited if seconds] == [pytest.approx(0.055, abs=0.005)]


def test_so_is_it_by_clients_for_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    for client in (PrefectHttpxSyncClient, PrefectHttpxAsyncClient):
        monkeypatch.setattr(client, "__init__", client.__init__)  # to have it back
    waited: list[float] = []
    monkeypatch.setattr(base, "time", SimpleNamespace(sleep=waited.append))
    repeat_soon_in_this_process()
    with (
        server_that_answers(503) as address,
        temporary_settings({PREFECT_API_URL: address}),
        get_client(sync_client=True) as client,
    ):
        assert client.read_flow_runs() == []
    assert waited == [pytest.approx(0.055, abs=0.005)]


def test_what_the_server_says_counts() -> None:
    response = httpx.Response(503, headers={"Retry-After": "7"})
    repeat_soon(response)
    assert response.headers["Retry-After"] == "7"


@pytest.mark.parametrize("status", [200, 404, 429, 500])
def test_other_responses_stay_as_they_are(status: int) -> None:
    response = httpx.Response(status)
    repeat_soon(response)
    assert "Retry-After" not in response.headers
