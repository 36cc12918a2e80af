"""How the processes of a stage start: as forks of it, or anew."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from pipeline.runtime import processes
from pipeline.runtime.process_start import can_fork
from pipeline.runtime.variables import PROCESSES
from tests.conftest import ROOT
from tests.defaults import default_content
from tests.processes.chunked_stage import ORDERS
from tests.processes.conftest import MODULE, Place, files_of

WORDS = ["-m", MODULE, "--params", "base", "--out", "out"]

FORKS = f"import os, sys; os.execv(sys.executable, [sys.executable, *{WORDS}])"
STARTS_ANEW = f"""
import sys
sys.argv[:] = ["-c", *{WORDS[2:]}]
from pipeline.params.base import Base
from pipeline.runtime.stage import run_stage
from tests.processes.chunked_stage import stage_of_orders
run_stage(stage_of_orders, about="", sections={{"base": Base}}, inputs={{}}, resumable=True)
"""
"""Lines of Python that run the stage, whose processes are one or the other."""


def test_processes_are_forked_from_a_stage_that_has_done_nothing_and_else_started_anew(
    place: Place, undisturbed: dict[str, bytes]
) -> None:
    orders = {"_000": "note start", "_002": "note start"}
    for run, word in ((place.run_apart, "-m"), (place.run, "-c")):
        run("2", **orders)
        for number in range(2):
            noted = place.root / f"started-{number}"
            command, stdin, _ = json.loads(noted.read_text())
            noted.unlink()
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


@pytest.mark.parametrize("stage", [FORKS, STARTS_ANEW], ids=["forked", "anew"])
def test_processes_are_waited_for_where_ends_of_children_are_ignored(
    place: Place, undisturbed: dict[str, bytes], stage: str
) -> None:
    code = f"import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n{stage}"
    environment = {**os.environ, PROCESSES: "2", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], cwd=place.root, env=environment, check=True)
    assert files_of(place.root / "out") == undisturbed


@pytest.mark.parametrize("stage", [FORKS, STARTS_ANEW], ids=["forked", "anew"])
def test_where_stdin_is_closed_no_other_file_is_taken_for_it(place: Place, stage: str) -> None:
    """The lock of the folder would be one."""
    code = f"import os; os.close(0)\n{stage}"
    orders = json.dumps({"000": "note start", "002": "note start"})
    environment = {**os.environ, PROCESSES: "2", "PYTHONPATH": str(ROOT), ORDERS: orders}
    subprocess.run([sys.executable, "-c", code], cwd=place.root, env=environment, check=True)
    for number in range(2):
        _, stdin, opened = json.loads((place.root / f"started-{number}").read_text())
        assert stdin == os.devnull and str(place.root / ".out.partial") in opened


def test_of_a_stage_that_may_have_computed_in_threads_processes_are_started_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fork has none of those threads, and would wait for them for ever."""
    task: Any = SimpleNamespace(is_main=True)
    for threads in (1, 2):
        monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(get_num_threads=lambda threads=threads: threads))
        assert can_fork(task, has_gpu=False) == (threads == 1 and sys.platform == "linux")


def test_a_fork_that_cannot_print_ends_all_the_same(
    place: Place, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not return into the code of the stage, and end that."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as nobody_reads_it:
        ended = place.run_apart("2", stdout=nobody_reads_it, _000="print", _002="print")
    assert ended[0] == 0, ended[1]
    assert files_of(place.root / "out") == undisturbed


def test_processes_with_gpus_are_started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    task = SimpleNamespace(is_main=True)
    assert can_fork(task, has_gpu=False) == (sys.platform == "linux")  # type: ignore[arg-type]
    assert not can_fork(task, has_gpu=True)  # type: ignore[arg-type]
    assert not can_fork(SimpleNamespace(is_main=False), has_gpu=False)  # type: ignore[arg-type]


def test_a_stage_neither_collects_garbage_while_it_imports_nor_imports_pandas(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(default_content()))
    code = """
import sys
sys.argv[:] = ["-m"]  # as it is while python -m imports the package
import stages
import gc
while_importing = gc.isenabled()
from pipeline.params.base import Base
from pipeline.runtime.stage import run_stage

def work(stage):
    import pyarrow
    pyarrow.array(["at which pyarrow would import it"])
    seen = {"while importing": while_importing, "at work": gc.isenabled(), "pandas": "pandas" in sys.modules}
    seen["kept"] = gc.get_freeze_count()
    (stage.out / "seen.json").write_text(json.dumps(seen))

import json
sys.argv[:] = ["-c", "--params", "base", "--out", "out"]
run_stage(work, about="", sections={"base": Base}, inputs={})
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    seen = json.loads((tmp_path / "out/seen.json").read_text())
    assert seen.pop("kept") > 10_000
    assert seen == {"while importing": False, "at work": True, "pandas": False}
