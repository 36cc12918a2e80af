"""One of a stage's processes: how it is started, and how it ends where it gets no task or none that it understands."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import struct
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from pipeline.runtime import process_work
from pipeline.runtime.process_messages import Advanced, Failed
from pipeline.runtime.share import Share
from tests.conftest import ROOT

TASK = process_work.Task("tests.processes.chunked_stage", "stage_of_orders", True, "out", *(None,) * 7)  # type: ignore[arg-type]


def started(connected: socket.socket) -> subprocess.Popen[bytes]:
    """A process that waits for its task at a socket."""
    descriptor = connected.fileno()
    return subprocess.Popen(
        TASK.command(descriptor), pass_fds=[descriptor], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def test_a_process_whose_stage_is_gone_ends_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(status: int) -> None:
        raise SystemExit(status)

    receiver, sender = multiprocessing.Pipe(duplex=False)
    receiver.close()
    monkeypatch.setattr(process_work.os, "_exit", leave)
    with pytest.raises(SystemExit):
        process_work._send(sender, Advanced(1))


@pytest.mark.parametrize("sent", [0, 4, 100])
def test_a_process_whose_stage_was_killed_before_it_sent_the_task_ends_without_a_word(sent: int) -> None:
    packet = pickle.dumps((TASK, Share(0, 2)))
    assert sent < len(packet)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall((struct.pack("!i", len(packet)) + packet)[:sent])
        process = started(theirs)
    said, _ = process.communicate()
    assert (process.returncode, said) == (1, b"")


def test_a_task_made_of_a_class_that_an_edit_removed_is_an_error_like_another() -> None:
    packet = pickle.dumps((TASK, Share(0, 2))).replace(b"Share", b"Shard")
    ours, theirs = socket.socketpair()
    with theirs:
        process = started(theirs)
    with Connection(ours.detach()) as connection:
        connection.send_bytes(packet)
        message = connection.recv()
        assert isinstance(message, Failed) and message.chunk == -1
        with pytest.raises(AttributeError, match="Shard"):
            raise message.exception()
    said, _ = process.communicate()
    assert said == b""


def test_a_process_has_the_interpreter_flags_of_the_stage() -> None:
    code = (
        "from pipeline.runtime.process_work import Task; "
        "print(*Task('stages.resize', 'f', True, 'out', *[None] * 7).command(3)[1:-2], sep='\\n')"
    )
    printed = subprocess.check_output(
        [sys.executable, "-O", "-X", "dev", "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True
    )
    flags = printed.split()
    assert "-O" in flags and flags[flags.index("-X") + 1] == "dev"


def test_folders_of_modules_may_be_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, tmp_path])
    code = TASK.command(0)[-1].splitlines()[0]
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print(sys.path[-1])"], capture_output=True, text=True, check=False
    )
    assert done.stdout == f"{tmp_path}\n"
