"""A request to a server whose database is busy is repeated soon."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import anyio
import httpx
import pytest
from prefect import get_client
from prefect.client.base import PrefectHttpxAsyncClient
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from pipeline.workers.client import RepeatSoon, repeat_soon_in_this_process, soon_again_client


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
        monkeypatch.setattr(time, "sleep", waited.append)
        assert client.read_flow_runs() == []
        assert client.read_flow_runs() == []
    # Prefect adds up to a fifth to each.
    assert 0.05 <= waited[0] <= 0.06 and 0.25 <= waited[1] <= 0.3 and 0.05 <= waited[2] <= 0.06
    assert len(waited) == 3


def test_a_server_that_stays_busy_is_asked_for_half_a_minute() -> None:
    busy, hook = [httpx.Response(503) for _ in range(PREFECT_CLIENT_MAX_RETRIES.value())], RepeatSoon()
    for response in busy:
        hook(response)
    assert [float(response.headers["Retry-After"]) for response in busy] == [0.05, 0.25, 1.25, 6.25, 30]


async def _read_once() -> list[FlowRun]:
    async with get_client() as client:
        return await client.read_flow_runs()


def test_so_is_it_by_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PrefectHttpxAsyncClient, "__init__", PrefectHttpxAsyncClient.__init__)  # to have it back
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


def test_what_the_server_says_counts() -> None:
    response = httpx.Response(503, headers={"Retry-After": "7"})
    RepeatSoon()(response)
    assert response.headers["Retry-After"] == "7"


@pytest.mark.parametrize("status", [200, 404, 429, 500])
def test_other_responses_stay_as_they_are(status: int) -> None:
    response = httpx.Response(status)
    RepeatSoon()(response)
    assert "Retry-After" not in response.headers


def test_the_wait_has_a_limit() -> None:
    hook = RepeatSoon()
    for _ in range(40):
        hook(response := httpx.Response(503))
    assert response.headers["Retry-After"] == "30.0"
