"""Signals: the first asks for the next safe point, a second does not wait, unless it repeats the first."""

from __future__ import annotations

import subprocess
import sys
from signal import SIGINT, SIGTERM

import pytest

from pipeline.runtime import stopping
from pipeline.runtime.stopping import Stopped, is_urgent, safe_points, stop_if_requested, stop_requested
from tests.conftest import ROOT


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that a signal arrives at, for a process that has had none."""
    seconds = [100.0]
    monkeypatch.setattr(stopping, "monotonic", lambda: seconds[0])
    monkeypatch.setattr(stopping, "_asked", [])
    return seconds


def test_a_second_signal_does_not_wait(clock: list[float]) -> None:
    with safe_points():
        stopping._handle(SIGINT, None)
        assert stop_requested() and not is_urgent()
        clock[0] += 1.0
        with pytest.raises(Stopped, match="SIGINT"):
            stopping._handle(SIGINT, None)
        assert is_urgent()


@pytest.mark.parametrize("numbers", [(SIGTERM, SIGTERM), (SIGINT, SIGTERM), (SIGTERM, SIGINT)])
def test_signals_within_a_second_are_one(clock: list[float], numbers: tuple[int, int]) -> None:
    """coreutils' timeout signals its command and then the whole process group."""
    first, second = numbers
    with safe_points():
        stopping._handle(first, None)
        clock[0] += 0.9
        stopping._handle(second, None)
        assert not is_urgent()
        with pytest.raises(Stopped) as stopped:
            stop_if_requested()
        assert stopped.value.status == 128 + first
        clock[0] += 0.2  # 1.1 s after the first
        with pytest.raises(Stopped):
            stopping._handle(second, None)
        assert is_urgent()
        stopping._handle(second, None)


def test_a_repeated_signal_does_not_disturb_a_process_that_is_ending(clock: list[float]) -> None:
    with pytest.raises(Stopped):
        stopping._handle(SIGTERM, None)
    clock[0] += 0.001
    stopping._handle(SIGTERM, None)
    clock[0] += 1.0
    with pytest.raises(Stopped):
        stopping._handle(SIGTERM, None)


def test_the_end_of_the_parent_asks_once_and_never_counts_as_a_second_signal() -> None:
    code = """
import os, signal
from pipeline.runtime import stopping
stopping.monotonic = lambda: 0.0
stopping.handle_signals()
stopping.end_with_parent()
with stopping.safe_points():
    for number in {signals}:
        os.kill(os.getpid(), number)
    print("goes on to its safe point", flush=True)
    try:
        stopping.stop_if_requested()
    except stopping.Stopped as stopped:
        stopping.ignore_signals()
        os.kill(os.getpid(), signal.SIGTERM)
        print(stopped.status)
"""
    for signals in (
        "[signal.SIGUSR1, signal.SIGUSR1]",
        "[signal.SIGTERM, signal.SIGUSR1]",
        "[signal.SIGUSR1, signal.SIGTERM]",
    ):
        command = [sys.executable, "-c", code.replace("{signals}", signals)]
        result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        assert result.stdout == "goes on to its safe point\n143\n"
