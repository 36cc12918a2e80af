"""Locks, and what stands for them where the file system has none."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.artifacts.atomic import atomic_folder
from pipeline.orchestrate.slots import Slots
from pipeline.orchestrate.workspace import hold_workspace
from pipeline.runtime.errors import InputError
from pipeline.runtime.locking import try_lock
from pipeline.workers.serving import _only_worker_of

# What NFS without lockd, FUSE, and a folder of NFS answer.
REFUSALS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EBADF, errno.EINVAL)


def without_locks(code: int) -> Callable[..., None]:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.fixture(params=[None, *REFUSALS], ids=lambda code: errno.errorcode.get(code, "flock"))
def any_file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param is not None:
        monkeypatch.setattr(fcntl, "flock", without_locks(request.param))


@pytest.mark.usefixtures("any_file_system")
def test_a_lock_has_one_holder_until_all_that_inherited_it_are_gone(tmp_path: Path) -> None:
    def opened() -> int:
        return os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)

    first = try_lock(opened())
    assert first is not None and try_lock(opened()) is None
    heir = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[first])
    os.close(first)
    assert try_lock(opened()) is None
    heir.communicate(b"\n")
    again = try_lock(opened())
    assert again is not None
    os.close(again)


@pytest.mark.usefixtures("any_file_system")
def test_a_folder_has_one_writer(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "a") as folder:
        (folder / "x").touch()
        with pytest.raises(InputError, match="another process is writing it"), atomic_folder(tmp_path / "a"):
            pass
    with atomic_folder(tmp_path / "a") as folder:
        (folder / "y").touch()
    assert os.listdir(tmp_path / "a") == ["y"]


@pytest.mark.usefixtures("any_file_system")
def test_a_gpu_has_one_stage_and_a_clone_one_worker(tmp_path: Path) -> None:
    slots, stopping = Slots(("0",), 1, tmp_path / "slots"), threading.Event()
    with slots.lend(1, 1, stopping) as slot:
        assert slot.device == "0" and os.fstat(slot.keep_open[0])
        other = try_lock(os.open(tmp_path / "slots/0.lock", os.O_RDWR))
        assert other is None
    (tmp_path / ".dvc").mkdir()
    with (
        _only_worker_of(tmp_path),
        pytest.raises(InputError, match="has a worker already"),
        _only_worker_of(tmp_path),
    ):
        pass
    with _only_worker_of(tmp_path):
        pass


@pytest.mark.usefixtures("any_file_system")
def test_a_workspace_has_one_run(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    with (
        hold_workspace(tmp_path),
        pytest.raises(InputError, match=f"another run .process {os.getpid()}. is at work"),
        hold_workspace(tmp_path),
    ):
        pass
    with hold_workspace(tmp_path):
        pass


def test_dvc_too_does_without_locks_and_a_lock_that_a_killed_one_left_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fcntl, "flock", without_locks(errno.ENOLCK))
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    (tmp_path / ".dvc/config.local").write_text("[cache]\n    dir = /elsewhere\n")
    (tmp_path / ".dvc/tmp/lock").touch()
    with hold_workspace(tmp_path):
        pass
    assert "core.hardlink_lock" in capsys.readouterr().err
    assert not (tmp_path / ".dvc/tmp/lock").exists()
    text = (tmp_path / ".dvc/config.local").read_text()
    assert "dir = /elsewhere" in text and "hardlink_lock = true" in text
    with hold_workspace(tmp_path):
        pass
    assert capsys.readouterr().err == "" and (tmp_path / ".dvc/config.local").read_text() == text


def test_what_has_locks_is_left_to_them(tmp_path: Path) -> None:
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    (tmp_path / ".dvc/tmp/lock").touch()
    with hold_workspace(tmp_path):
        pass
    assert (tmp_path / ".dvc/tmp/lock").exists() and not (tmp_path / ".dvc/config.local").exists()
