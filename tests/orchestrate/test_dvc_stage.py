"""One stage through DVC, on small repositories: how it ended is told, and nothing of it is left."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.orchestrate.dvc_stage import StageRun, StageRunner
from pipeline.orchestrate.graph import StageMeta, StageNode
from pipeline.orchestrate.slots import Slots, StageStopped
from tests.orchestrate.conftest import Toy, gone, python, until

STAGE = "[1/1] only"  # what a stage says when its imports are done


@pytest.fixture
def runner(toy: Toy, tmp_path: Path) -> StageRunner:
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    return StageRunner(toy.root, Slots(("GPU-7",), 2, tmp_path / "slots"), lock)


@pytest.fixture
def run(toy: Toy, runner: StageRunner) -> Callable[..., tuple[StageRun, list[str]]]:
    """Writes a stage of this code, and runs it."""

    def running(code: str, meta: dict[str, Any] | None = None, **more: Any) -> tuple[StageRun, list[str]]:
        lines: list[str] = []
        toy.write({"only": {"cmd": python(code), **more}})
        return runner.run(node(**(meta or {})), lines.append), lines

    return running


def node(**meta: Any) -> StageNode:
    return StageNode("only", "", "", (), (), StageMeta(**meta))


Run = Callable[..., tuple[StageRun, list[str]]]


def test_a_stage_that_succeeds_and_one_that_dvc_takes_from_its_cache(run: Run, toy: Toy) -> None:
    code = f"open('out', 'w').write('1'); print({STAGE!r}); print('warning, error: 3'); print('only: done in 2 s')"
    (toy.root / "source").write_text("1")
    made, lines = run(code, deps=["source"], outs=["out"])
    assert (made.status, made.ran, made.passing, made.timed_out, made.error) == (0, True, False, False, "")
    assert lines == [STAGE, "warning, error: 3", "only: done in 2 s"]
    assert list(made.marks) == ["ready", "spawned", "started", "working", "worked", "ended"]
    assert sorted(made.marks.values()) == list(made.marks.values())
    assert made.seconds == made.marks["ended"] - made.marks["spawned"]

    (toy.root / "out").unlink()
    (toy.root / "dvc.lock").unlink()
    restored, lines = run(code, deps=["source"], outs=["out"])
    assert (restored.status, restored.ran) == (0, False)
    assert (toy.root / "out").read_text() == "1"
    assert STAGE not in lines
    assert list(restored.marks) == ["ready", "spawned", "ended"]


def test_a_stage_that_fails_tells_its_own_error_and_is_not_tried_again(run: Run) -> None:
    failed, lines = run("import sys; print('only: error: disk full'); print('ERROR: x'); sys.exit(1)")
    assert failed.status != 0 and failed.ran and not failed.passing
    assert failed.error == "only: error: disk full"
    assert "only: error: disk full" in lines


def test_a_stage_that_fails_without_a_word_is_told_of_by_dvc(run: Run) -> None:
    failed, _ = run("import sys; sys.exit(1)")
    assert re.match(r"ERROR: failed to reproduce 'only': .*exited with 1$", failed.error)


@pytest.mark.parametrize("code", ["import sys; sys.exit(75)", "import os; os.kill(os.getpid(), 9)"])
def test_a_stage_that_asks_to_be_tried_again_or_is_killed_passes(run: Run, code: str) -> None:
    failed, _ = run(code)
    assert failed.status != 0 and failed.passing


def test_dvc_that_is_killed_passes(run: Run) -> None:
    # The parent of the stage is DVC itself, or the shell that DVC starts it by.
    up = "lambda pid: int(open(f'/proc/{pid}/stat').read().rpartition(') ')[2].split()[1])"
    code = f"""
import os
up = {up}
pid = os.getppid()
while b'dvc' not in open(f'/proc/{{pid}}/cmdline', 'rb').read().split(bytes(1))[:3]:
    pid = up(pid)
os.kill(pid, 9)
"""
    failed, _ = run(f"exec({code!r})")  # DVC runs each line of a command by itself
    assert (failed.status, failed.passing) == (137, True)
    assert failed.error == "only: dvc was ended by signal 9"


ENDLESS = "import os, signal; open('pids', 'w').write(f'{os.getpid()} {os.getppid()}\\n'); signal.pause()"


def pids_in(root: Path) -> list[int]:
    path = root / "pids"
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def test_a_stage_that_takes_too_long_is_ended_and_not_tried_again(run: Run, toy: Toy) -> None:
    late, _ = run(f"print('exited with 75', flush=True); {ENDLESS}", meta={"timeout_minutes": 0.05})
    assert late.timed_out and not late.passing and late.status != 0
    assert late.error == "only: not done after 0.05 minutes (meta.timeout_minutes)"
    assert gone(pids_in(toy.root))


def test_a_time_limit_without_end_is_none(run: Run) -> None:
    done, _ = run("print('x')", meta={"timeout_minutes": float("inf")})
    assert done.status == 0 and not done.timed_out


def test_a_limit_that_strikes_when_the_stage_has_just_ended_spoils_nothing(
    run: Run, runner: StageRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(threading.Timer):
        def cancel(self) -> None:
            super().cancel()
            self.function(*self.args)

    monkeypatch.setattr("pipeline.orchestrate.dvc_stage.threading.Timer", Late)
    done, _ = run("print('x')", meta={"timeout_minutes": 60})
    assert (done.status, done.timed_out, done.error) == (0, False, "")


def test_stop_from_another_thread_ends_the_stage_and_starts_no_other(runner: StageRunner, toy: Toy) -> None:
    toy.write({"only": {"cmd": python(ENDLESS)}})
    raised = []

    def work() -> None:
        try:
            runner.run(node(), lambda _: None)
        except StageStopped:
            raised.append("stopped")

    thread = threading.Thread(target=work)
    thread.start()
    pids = until(lambda: pids_in(toy.root))
    runner.stop()
    thread.join(30)
    assert raised == ["stopped"]
    assert gone(pids)
    with pytest.raises(StageStopped):
        runner.run(node(), lambda _: None)


def test_lines_that_dvc_says_each_time_are_not_shown(run: Run) -> None:
    _, lines = run("print(); print('one'); print('  '); print('Use `dvc push` x'); print('two')")
    assert lines == ["one", "two"]


@pytest.mark.parametrize(("gpu", "device"), [(1, "GPU-7"), (0, "of the caller")])
def test_a_gpu_stage_sees_its_gpu_only_and_its_workspace(
    run: Run, toy: Toy, monkeypatch: pytest.MonkeyPatch, gpu: int, device: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "of the caller")
    names = ("CUDA_VISIBLE_DEVICES", "FRCNN_WORKSPACE")
    _, lines = run(f"import os; [print(os.environ[name]) for name in {names}]", meta={"gpu": gpu})
    assert lines[:2] == [device, str(toy.root.resolve())]
