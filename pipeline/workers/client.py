"""Clients of Prefect's server that repeat a request soon where the server's database was busy.

On SQLite the server answers a request that reads and then writes with the status 503 if another has written in between.
It does not say when to try again, so Prefect's client waits 2 s, then 4, then 8, although the next attempt would
succeed at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import httpx
from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient
from prefect.client.orchestration import SyncPrefectClient, get_client

_FIRST_SECONDS = 0.05
_MOST_SECONDS = 30.0
_FACTOR = 5  # Prefect's client repeats a request five times, the last time after 38 s or a little more
_NEXT_SECONDS = "frcnn_next_seconds"


def repeat_soon(response: httpx.Response) -> None:
    """A hook for httpx: has a response with the status 503 say that the request may be repeated soon.

    The seconds grow with each such response to a request, up to half a minute. Where the server says how long to wait,
    that counts.
    """
    if response.status_code != httpx.codes.SERVICE_UNAVAILABLE or "Retry-After" in response.headers:
        return
    # Prefect's client sends the same object again. A client may have several requests under way.
    own = response.request.extensions
    seconds = own.get(_NEXT_SECONDS, _FIRST_SECONDS)
    response.headers["Retry-After"] = str(seconds)
    own[_NEXT_SECONDS] = min(_FACTOR * seconds, _MOST_SECONDS)


async def _repeat_soon(response: httpx.Response) -> None:
    repeat_soon(response)


def soon_again_client() -> SyncPrefectClient:
    """A client for one thread, to be entered as those of `prefect.get_client`."""
    return get_client(httpx_settings={"event_hooks": {"response": [repeat_soon]}}, sync_client=True)


def repeat_soon_in_this_process() -> None:
    """Have all clients that Prefect makes from now on repeat a request soon."""
    _add_hook(PrefectHttpxSyncClient, repeat_soon)
    _add_hook(PrefectHttpxAsyncClient, _repeat_soon)


def _add_hook(client: Any, hook: Callable[[httpx.Response], Any]) -> None:
    make = client.__init__

    @functools.wraps(make)
    def make_with_hook(self: Any, *arguments: Any, **options: Any) -> None:
        make(self, *arguments, **options)
        self.event_hooks["response"].append(hook)

    client.__init__ = make_with_hook
