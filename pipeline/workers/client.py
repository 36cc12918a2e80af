"""Clients of Prefect's server that repeat a request soon where the server's database was busy.

On SQLite the server answers a request that reads and then writes with the status 503 if another has written in between.
It does not say when to try again, so Prefect's client waits 2 s, then 4, then 8, although the next attempt would
succeed at once.
"""

from __future__ import annotations

import functools
from typing import Any

import httpx
from prefect.client.base import PrefectHttpxAsyncClient
from prefect.client.orchestration import SyncPrefectClient, get_client

_FIRST_SECONDS = 0.05
_MOST_SECONDS = 30.0
_FACTOR = 5  # Prefect's client repeats a request five times: after 38 s in all it has failed


class RepeatSoon:
    """A hook for httpx: has a response with the status 503 say that the request may be repeated soon.

    The seconds grow with each such response in a row, up to half a minute. Where the server says how long to wait,
    that counts.
    """

    def __init__(self) -> None:
        self._seconds = _FIRST_SECONDS

    def __call__(self, response: httpx.Response) -> None:
        """Look at a response, and add the header to it where it is due."""
        if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            self._seconds = _FIRST_SECONDS
            return
        response.headers.setdefault("Retry-After", str(self._seconds))
        self._seconds = min(_FACTOR * self._seconds, _MOST_SECONDS)


def soon_again_client() -> SyncPrefectClient:
    """A client for one thread, to be entered as those of `prefect.get_client`."""
    return get_client(httpx_settings={"event_hooks": {"response": [RepeatSoon()]}}, sync_client=True)


def repeat_soon_in_this_process() -> None:
    """Have all asynchronous clients that Prefect makes from now on repeat a request soon."""
    make = PrefectHttpxAsyncClient.__init__

    @functools.wraps(make)
    def make_with_hook(self: PrefectHttpxAsyncClient, *arguments: Any, **options: Any) -> None:
        make(self, *arguments, **options)
        hook = RepeatSoon()

        async def look(response: httpx.Response) -> None:
            hook(response)

        self.event_hooks["response"].append(look)

    PrefectHttpxAsyncClient.__init__ = make_with_hook  # type: ignore[method-assign]
