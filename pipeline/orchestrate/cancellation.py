"""Ends a flow run from outside its process: on Cancel in the pages, or when its worker ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

from prefect import get_client
from prefect.client.schemas.objects import StateType

SECONDS_TO_SEND = 20.0
_SECONDS_BETWEEN_LOOKS = 2.0
_ENDED = (StateType.CANCELLING, StateType.CANCELLED, StateType.CRASHED)


@contextmanager
def stopped_when_cancelled(stop: Callable[[], None], flow_run_id: UUID) -> Iterator[None]:
    """Call `stop` when the run is cancelled or marked as crashed; end when the worker that started it is gone."""
    over = threading.Event()
    parent = os.getppid() if "PREFECT__FLOW_RUN_ID" in os.environ else None

    def look() -> None:
        with get_client(sync_client=True) as client:
            while not over.wait(_SECONDS_BETWEEN_LOOKS):
                if parent is not None and os.getppid() != parent:
                    # With its worker the server may be gone too, and Prefect would try to reach it without end.
                    last_resort = threading.Timer(SECONDS_TO_SEND, os._exit, (1,))
                    last_resort.daemon = True
                    last_resort.start()
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
                # A server that does not answer just now cancels nothing.
                with suppress(Exception):
                    state = client.read_flow_run(flow_run_id).state
                    if state is not None and state.type in _ENDED:
                        stop()

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
