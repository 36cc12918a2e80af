"""Signals: the first asks for the next safe point, a second does not wait."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pipeline.runtime import stopping
from pipeline.runtime.stopping import Stopped, safe_points
from tests.conftest import ROOT


def test_a_second_signal_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_asked", [])
    with safe_points():
        stopping._handle(2, None)
        with pytest.raises(Stopped, match="SIGINT"):
            stopping._handle(2, None)


def test_the_end_of_the_parent_asks_once_and_never_counts_as_a_second_signal() -> None:
    code = """
import os, signal
from pipeline.runtime import stopping
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
    for signals in ("[signal.SIGUSR1, signal.SIGUSR1]", "[signal.SIGTERM, signal.SIGUSR1]"):
        command = [sys.executable, "-c", code.replace("{signals}", signals)]
        result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        assert result.stdout == "goes on to its safe point\n143\n"
