"""One flow a workspace, and nothing left in it of a killed one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from pipeline.orchestrate import workspace
from pipeline.orchestrate.workspace import WORKSPACE_VARIABLE, hold_workspace, refuse_if_held
from pipeline.runtime.errors import InputError
from tests.orchestrate.conftest import alive, gone, until

HOLDER = """
import os, subprocess, sys
from pathlib import Path
from pipeline.orchestrate.workspace import hold_workspace
with hold_workspace(Path(sys.argv[1])) as lock:
    guard = subprocess.Popen(["sleep", "1000"], pass_fds=(lock,), stdout=subprocess.DEVNULL)
    print(guard.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "work/.dvc/tmp").mkdir(parents=True)
    return tmp_path / "work"


@pytest.fixture
def holder(root: Path) -> Iterator[tuple[subprocess.Popen[bytes], psutil.Process]]:
    """Another flow that holds the workspace, and a guard of it, which holds it too."""
    command = [sys.executable, "-c", HOLDER, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        guard = psutil.Process(int(process.stdout.readline()))
        yield process, guard
        process.kill()
        if guard.is_running():
            guard.kill()


@pytest.fixture
def sleeper() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def sleeping(
    stack: ExitStack, command: tuple[str, ...] = ("sleep", "1000"), **variables: str
) -> subprocess.Popen[bytes]:
    process = stack.enter_context(subprocess.Popen(command, env={**os.environ, **variables}))
    stack.callback(process.kill)
    return process


def rwlock(root: Path, *pids: object) -> Path:
    path = root / ".dvc/tmp/rwlock"
    infos = [{"pid": pid, "cmd": "dvc repro"} for pid in pids]
    path.write_text(json.dumps({"write": {"/a": infos[0]}, "read": {"/b": infos[1:]}}))
    return path


def test_a_second_holder_is_refused_in_one_line_that_names_the_first(root: Path) -> None:
    line = rf"^another run \(process {os.getpid()}\) is at work in this workspace; wait for it, or stop it$"
    with hold_workspace(root):
        with pytest.raises(InputError, match=line), hold_workspace(root):
            raise AssertionError("held twice")
        with pytest.raises(InputError, match=line):
            refuse_if_held(root)
    refuse_if_held(root)
    with hold_workspace(root):
        pass


def test_a_holder_of_another_process_is_named(
    root: Path, holder: tuple[subprocess.Popen[bytes], psutil.Process]
) -> None:
    with pytest.raises(InputError, match=rf"\(process {holder[0].pid}\)"):
        refuse_if_held(root)


def test_the_workspace_is_given_back_by_a_flow_that_fails(root: Path) -> None:
    with pytest.raises(RuntimeError), hold_workspace(root):
        raise RuntimeError
    refuse_if_held(root)


def test_a_folder_without_dvc_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no DVC repository here"):
        refuse_if_held(tmp_path)


def test_the_lock_of_a_killed_flow_is_awaited_while_its_guard_lives(
    root: Path, holder: tuple[subprocess.Popen[bytes], psutil.Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    flow, guard = holder
    flow.kill()
    until(lambda: not alive(flow.pid))
    waits = []

    def sleep(_: float) -> None:
        waits.append(alive(guard.pid))
        guard.kill()
        until(lambda: not alive(guard.pid))

    monkeypatch.setattr(workspace.time, "sleep", sleep)
    with hold_workspace(root):
        assert waits == [True]


def test_a_guard_that_never_ends_is_not_awaited_for_ever(
    root: Path, holder: tuple[subprocess.Popen[bytes], psutil.Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    holder[0].kill()
    until(lambda: not alive(holder[0].pid))
    monkeypatch.setattr(workspace, "_SECONDS_FOR_THE_DYING", 0.1)
    with pytest.raises(InputError, match=rf"\(process {holder[0].pid}\)"):
        refuse_if_held(root)


def test_what_an_earlier_flow_of_this_workspace_left_is_killed_and_nothing_else(
    root: Path, tmp_path: Path, sleeper: ExitStack
) -> None:
    ours = [sleeping(sleeper, **{WORKSPACE_VARIABLE: str(root)}) for _ in range(2)]
    others = [sleeping(sleeper, **{WORKSPACE_VARIABLE: str(tmp_path / "work2")}), sleeping(sleeper)]
    with hold_workspace(root):
        assert gone(process.pid for process in ours)
        assert all(alive(process.pid) for process in others)


def test_what_a_leftover_started_while_it_was_looked_for_is_killed_too(
    root: Path, sleeper: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = [sleeping(sleeper, **{WORKSPACE_VARIABLE: str(root)}) for _ in range(2)]
    looks = iter([[first], [second], []])
    monkeypatch.setattr(workspace.psutil, "process_iter", lambda: [psutil.Process(p.pid) for p in next(looks, [])])
    with hold_workspace(root):
        assert gone([first.pid, second.pid])


def test_the_flow_itself_and_its_parents_are_no_leftovers(root: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pipeline.orchestrate.workspace import hold_workspace\n"
        "with hold_workspace(Path(sys.argv[1])): print('held')"
    )
    environment = {**os.environ, WORKSPACE_VARIABLE: str(root)}
    command = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", code, str(root)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "held\n"), result.stderr


def test_dvcs_table_is_cleared_of_the_dead_and_of_processes_that_are_not_dvc(root: Path, sleeper: ExitStack) -> None:
    dead = sleeping(sleeper)
    dead.kill()
    dead.wait()
    living = sleeping(sleeper)
    path = rwlock(root, dead.pid, living.pid, os.getppid())
    with hold_workspace(root):
        assert not path.exists()
    assert living.poll() is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"write": 7}', '{"write": {"/a": {"cmd": "x"}}}', '{"read": {"/a": 1}}']
)
def test_a_corrupt_table_of_dvc_is_cleared(root: Path, text: str) -> None:
    path = root / ".dvc/tmp/rwlock"
    path.write_text(text)
    with hold_workspace(root):
        assert not path.exists()


@pytest.mark.parametrize("position", [0, 1])
def test_a_dvc_command_at_work_is_refused_and_its_entry_kept(
    root: Path, tmp_path: Path, sleeper: ExitStack, position: int
) -> None:
    (tmp_path / "dvc").write_text("sleep 1000 & wait")
    living = sleeping(sleeper, ("bash", str(tmp_path / "dvc"), "repro"))
    until(lambda: "repro" in psutil.Process(living.pid).cmdline())
    pids = [2**22 + 1, 2**22 + 1]
    pids[position] = living.pid
    path = rwlock(root, *pids)
    children = psutil.Process(living.pid).children
    until(children)
    sleeper.callback(children()[0].kill)
    with pytest.raises(InputError, match=rf"^dvc \(process {living.pid}\) is at work in this workspace"):
        hold_workspace(root).__enter__()
    assert path.exists()
    refuse_if_held(root)
