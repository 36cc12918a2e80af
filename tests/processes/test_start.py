"""How the processes of a stage start: as forks of it, or anew."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from pipeline.runtime import processes
from pipeline.runtime.process_start import can_fork
from pipeline.runtime.variables import PROCESSES
from tests.conftest import ROOT
from tests.processes.conftest import MODULE, Place, files_of


def test_processes_are_forked_from_a_stage_that_has_done_nothing_and_else_started_anew(
    place: Place, undisturbed: dict[str, bytes]
) -> None:
    orders = {"_000": "note start", "_002": "note start"}
    for run, word in ((place.run_apart, "-m"), (place.run, "-c")):
        run("2", **orders)
        for number in range(2):
            command, stdin = json.loads((place.root / f"started-{number}").read_text())
            assert word in command[1:3] and stdin == os.devnull
        assert files_of(place.root / "out") == undisturbed


def test_a_process_that_cannot_be_started_is_one_line(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(processes, "start_anew", fails)
    ended = place.run("3")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        f"out: error: process 1 of 3 could not be started (Resource temporarily unavailable); lower {PROCESSES}"
    )


def test_forks_are_waited_for_where_ends_of_children_are_ignored(place: Place, undisturbed: dict[str, bytes]) -> None:
    words = ["-m", MODULE, "--params", "base", "--out", "out"]
    code = f"""
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execv(sys.executable, [sys.executable, *{words}])
"""
    environment = {**os.environ, PROCESSES: "2", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], cwd=place.root, env=environment, check=True)
    assert files_of(place.root / "out") == undisturbed


def test_processes_with_gpus_are_started_anew() -> None:
    task = SimpleNamespace(is_main=True)
    assert can_fork(task, has_gpu=False) == (sys.platform == "linux")  # type: ignore[arg-type]
    assert not can_fork(task, has_gpu=True)  # type: ignore[arg-type]
    assert not can_fork(SimpleNamespace(is_main=False), has_gpu=False)  # type: ignore[arg-type]
