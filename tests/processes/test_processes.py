"""A stage in several processes: the bytes of one process, its errors in their usual line, and nothing left behind."""

from __future__ import annotations

import multiprocessing.connection
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from pipeline.artifacts import atomic
from pipeline.runtime import device, stopping
from pipeline.runtime.errors import InputError, ProcessLost
from pipeline.runtime.process_messages import Failed, Finished
from pipeline.runtime.processes import _lost, _messages
from pipeline.runtime.variables import PROCESSES
from tests.conftest import ROOT
from tests.faults.processes import has_ended, until
from tests.in_process import Ended
from tests.processes.conftest import Place, files_of


def test_two_processes_leave_the_bytes_of_one_and_print_its_lines_and_how_many_there_are(
    place: Place, undisturbed: dict[str, bytes]
) -> None:
    one, two = place.run("1", "out"), place.run("2", "of_two")
    assert one.returncode == two.returncode == 0, two.stderr
    of_two = files_of(place.root / "of_two")
    of_two["manifest.json"] = undisturbed["manifest.json"]  # which has the stage's name
    assert of_two == undisturbed == files_of(place.root / "out")

    def said(ended: Ended) -> list[str]:
        lines = [line.partition(": ")[2] for line in ended.stderr.splitlines()]
        return [line for line in lines if not line.startswith("done in")]

    assert said(one) == ["", "begins", "15 rows"]
    assert said(two) == ["", "runs in 2 processes", "begins", "15 rows"]


def test_a_process_that_waits_leaves_the_chunks_to_the_other(place: Place, undisturbed: dict[str, bytes]) -> None:
    """Also those that it has looked at first, as chunk 4 of images 008 and 009."""
    ended = place.run("2", _000="wait for another", _008="let another continue")
    assert ended.returncode == 0, ended.stderr
    assert files_of(place.root / "out") == undisturbed


def test_more_processes_than_chunks(place: Place, undisturbed: dict[str, bytes]) -> None:
    assert place.run("7").returncode == 0
    assert files_of(place.root / "out") == undisturbed


@pytest.mark.parametrize("given", ["0", "two", "-1", "1.5", "²"])
def test_a_number_of_processes_that_is_none_is_one_line_and_loses_nothing(place: Place, given: str) -> None:
    assert place.run("1", _004="no memory").returncode == 1
    ended = place.run(given)
    line = f"out: error: {PROCESSES}={given}: give a whole number from 1 to 512, or leave it out for 1"
    assert ended.returncode == 1 and ended.stderr.splitlines()[-1] == line
    assert (place.root / ".out.partial/maps-00001.npz").exists()


@pytest.mark.parametrize(
    ("order", "resumes"),
    [
        ("bad input", False),
        ("no parameter", False),
        ("disk full", True),
        ("no memory", True),
        ("no memory for torch", True),
    ],
)
def test_an_error_ends_in_the_line_that_it_ends_in_with_one_process(place: Place, order: str, resumes: bool) -> None:
    one = place.run("1", "one", _009=order)
    assert one.returncode == 1
    two = place.run("2", "two", _009=order)
    assert two.returncode == 1 and "Traceback" not in two.stderr
    assert two.stderr.splitlines()[-1].replace("two", "one") == one.stderr.splitlines()[-1]
    assert (place.root / ".two.partial").exists() == (place.root / ".one.partial").exists() == resumes


def test_the_stage_sets_itself_up_while_its_processes_work(
    place: Place, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_gpus(monkeypatch)
    os.mkfifo(place.root / "set-up")
    ended = place.run("2", _000="wait for the set-up", _setup="say so")
    assert ended.returncode == 0, ended.stderr
    assert files_of(place.root / "out") == undisturbed


def test_an_error_of_the_set_up_ends_the_processes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    put_gpus(monkeypatch)
    before = psutil.Process().children()
    ended = place.run("2", _000="be killed", _setup="no memory")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("out: error: out of memory")
    assert psutil.Process().children() == before
    assert place.is_free()


def test_of_the_errors_that_have_arrived_that_of_the_lowest_chunk_is_raised() -> None:
    receivers: dict[Any, Any] = {}
    for chunk in (3, 1, 2):
        receiver, sender = multiprocessing.Pipe(duplex=False)
        sender.send(Failed(chunk, pickle.dumps(InputError(f"chunk {chunk}")), ""))
        receivers[receiver] = None
    with pytest.raises(InputError, match="chunk 1"):
        list(_messages(receivers))


@pytest.mark.parametrize("sent", [0, 2, 30])
def test_a_process_killed_within_a_message_is_named_as_one_killed_between_two(sent: int) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall((struct.pack("!i", 100) + bytes(100))[:sent])
    process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    process.kill()
    connection = multiprocessing.connection.Connection(theirs.detach())
    with connection, pytest.raises(ProcessLost, match=r"one of its processes was killed \(SIGKILL\)"):
        list(_messages({connection: process}))


def test_in_no_process_ctrl_c_is_let_in(place: Place) -> None:
    status, said = place.run_apart("2", _000="note signals", _002="note signals")
    assert status == 0, said
    for number in range(2):
        blocked = int((place.root / f"blocked-{number}").read_text(), 16)
        assert blocked & 1 << signal.SIGINT - 1 and not blocked & 1 << signal.SIGTERM - 1


def test_a_signal_to_all_whose_exception_a_library_dropped_stops_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_asked", [stopping._Asked(signal.SIGTERM, 0.0)])
    ours, theirs = multiprocessing.Pipe()
    theirs.close()
    with pytest.raises(stopping.Stopped):
        list(_messages({ours: SimpleNamespace(wait=lambda: -signal.SIGTERM)}))  # type: ignore[dict-item]


def test_so_does_one_to_the_stage_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_asked", [stopping._Asked(signal.SIGTERM, 0.0)])
    ours, theirs = multiprocessing.Pipe()
    theirs.send(Finished(set()))
    with theirs, pytest.raises(stopping.Stopped):
        list(_messages({ours: SimpleNamespace(wait=lambda: 0)}))  # type: ignore[dict-item]


def put_gpus(monkeypatch: pytest.MonkeyPatch, *models: str) -> None:
    monkeypatch.setattr(device.torch.cuda, "is_available", lambda: bool(models))
    monkeypatch.setattr(device.torch.cuda, "device_count", lambda: len(models))
    monkeypatch.setattr(device.torch.cuda, "get_device_name", lambda index=0: models[index])
    monkeypatch.setattr(device.torch.backends.cudnn, "version", lambda: 92000)


@pytest.mark.parametrize(
    ("visible", "names"), [(None, ["0", "1", "0"]), ("GPU-aaaa, 5", ["GPU-aaaa", "5", "GPU-aaaa"])]
)
def test_each_process_sees_one_gpu_in_turn(
    place: Place, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, visible: str | None, names: list[str]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    put_gpus(monkeypatch, "H100", "H100")
    ended = place.run("3", _000="note gpu", _002="note gpu", _004="note gpu", _setup="note gpus")
    assert ended.returncode == 0, ended.stderr
    # Its own network would take memory from theirs.
    assert (place.root / "noted-before").read_text() == "3"
    assert [(place.root / f"gpu-{number}").read_text() for number in range(3)] == names
    assert files_of(place.root / "out") == undisturbed


def test_gpus_of_several_models_are_refused_and_nothing_is_lost(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    put_gpus(monkeypatch, "H100", "A100", "H100")
    assert place.run("1", _004="no memory").returncode == 1
    ended = place.run("2")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        "out: error: the GPUs are of several models (A100, H100), whose results differ; name those of one in "
        "CUDA_VISIBLE_DEVICES"
    )
    assert (place.root / ".out.partial/maps-00001.npz").exists()


def test_a_script_is_to_be_started_as_a_module_and_loses_nothing(place: Place) -> None:
    assert place.run("1", _004="no memory").returncode == 1
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/processes/chunked_stage.py"), "--params", "base", "--out", "out"],
        cwd=place.root,
        env={**os.environ, PROCESSES: "2", "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"out: error: {PROCESSES} needs the stage to be started as a module; start it as python -m "
        "processes.chunked_stage"
    )
    assert (place.root / ".out.partial").exists()


def test_of_a_bug_the_traceback_says_where_it_is(place: Place) -> None:
    with pytest.raises(RuntimeError, match="Unsendable: a bug") as found:
        place.run("2", _009="bug")
    assert "in obey" in str(found.value.__cause__)


def test_a_run_that_failed_resumes_after_the_chunks_of_all(place: Place, undisturbed: dict[str, bytes]) -> None:
    assert place.run("1", _004="no memory").returncode == 1  # after two chunks of six
    lines = place.run("2").stderr.splitlines()
    assert {"out: runs in 2 processes", "out: resumes after 4 of 11 images"} <= set(lines)
    assert files_of(place.root / "out") == undisturbed


@pytest.mark.parametrize(
    ("status", "how"),
    [(-9, "was killed (SIGKILL), perhaps"), (-37, "was killed (signal 37), perhaps"), (3, "ended with")],
)
def test_how_a_process_was_lost_is_said_of_every_signal(status: int, how: str) -> None:
    lost = _lost(SimpleNamespace(wait=lambda: status))  # type: ignore[arg-type]
    assert str(lost).startswith(f"one of its processes {how}")


def test_a_killed_process_is_one_line_and_the_next_run_resumes(place: Place, undisturbed: dict[str, bytes]) -> None:
    ended = place.run("2", _009="be killed")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        "out: error: one of its processes was killed (SIGKILL), perhaps because memory ran out; run again to resume, "
        f"or lower {PROCESSES}"
    )
    place.resumes_as(undisturbed)


@pytest.mark.parametrize("left", [0, 1])
def test_while_a_process_outlives_a_killed_stage_no_other_run_begins(
    place: Place, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    monkeypatch.setattr(atomic, "_PATIENCE", 0.0)
    stage = place.start("2", _000="wait", _002="wait")
    processes = [psutil.Process(int(until(path.read_text, "does not wait"))) for path in place.waiting(2)]
    processes[left].suspend()
    until(lambda: processes[left].status() == psutil.STATUS_STOPPED, "a process goes on")
    stage.kill()
    stage.wait()
    until(lambda: has_ended(processes[1 - left]), "a process lives on")
    ended = place.run("1")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == "out: error: out: another process is writing it; wait for it, or stop it"
    processes[left].kill()
    until(lambda: has_ended(processes[left]), "a process lives on")
    assert place.run("2").returncode == 0
    assert files_of(place.root / "out") == undisturbed


@pytest.mark.parametrize(
    ("order", "status", "line"),
    [
        ("terminate the stage", 143, "out: stopped by SIGTERM; the next run resumes from what is complete"),
        ("interrupt all", 130, "out: stopped by SIGINT; the next run resumes from what is complete"),
        ("kill the stage", -signal.SIGKILL, ""),
    ],
)
def test_when_the_stage_ends_its_processes_end(
    place: Place, undisturbed: dict[str, bytes], order: str, status: int, line: str
) -> None:
    returned, said = place.run_apart("2", _009=order)
    assert returned == status
    assert "Traceback" not in said
    assert not line or said.splitlines()[-1] == line
    pid = int((place.root / "process").read_text())
    until(lambda: not psutil.pid_exists(pid) or has_ended(psutil.Process(pid)), "a process lives on")
    until(place.is_free, "a process keeps the lock")
    place.resumes_as(undisturbed)
