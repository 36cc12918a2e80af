"""Cores and GPUs are never lent twice, and come back however their holder ends."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.orchestrate import slots as module
from pipeline.orchestrate.slots import Slots, StageStopped, slots_of_this_machine

HOLD = (
    "import fcntl, sys; file = open(sys.argv[1]); fcntl.flock(file, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
)
CARDS = "0, GPU-aaaa-1\n1, GPU-bbbb-2\n"


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the lock of GPU-a."""
    with Slots(("GPU-a",), 1, tmp_path / "locks").lend(1, 1, threading.Event()):
        pass
    command = [sys.executable, "-S", "-c", HOLD, str(tmp_path / "locks/GPU-a.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_cores_of_stages_side_by_side_never_exceed_the_total_and_all_get_their_turn(tmp_path: Path) -> None:
    slots, lock, busy, most, done = Slots((), 3, tmp_path), threading.Lock(), 0, 0, []
    together = threading.Barrier(2)

    def work(wanted: int) -> None:
        nonlocal busy, most
        with slots.lend(0, wanted, threading.Event()):
            with lock:
                busy += wanted
                most = max(most, busy)
            if wanted == 1:
                together.wait(30)  # stages of one core run beside each other
            with lock:
                busy -= wanted
                done.append(wanted)

    threads = [threading.Thread(target=work, args=(wanted,)) for wanted in (2, 1, 2, 3, 1, 2, 1, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(done) == [1, 1, 1, 1, 2, 2, 2, 3]
    assert 2 <= most <= 3


def test_a_stage_that_wants_more_cores_than_there_are_gets_all(tmp_path: Path) -> None:
    slots, stopping = Slots((), 2, tmp_path), threading.Event()
    with slots.lend(0, 64, threading.Event()):
        stopping.set()
        with pytest.raises(StageStopped), slots.lend(0, 1, stopping):
            raise AssertionError("lent though all cores were taken")
    with slots.lend(0, 2, threading.Event()):
        pass


def test_cores_come_back_from_a_stage_that_fails(tmp_path: Path) -> None:
    slots = Slots((), 1, tmp_path)
    with pytest.raises(RuntimeError), slots.lend(0, 1, threading.Event()):
        raise RuntimeError
    stopping = threading.Event()
    stopping.set()
    with slots.lend(0, 1, stopping):
        pass


def test_only_a_stage_that_wants_a_gpu_gets_one_and_none_where_there_is_none(tmp_path: Path) -> None:
    with Slots(("GPU-a",), 2, tmp_path).lend(0, 1, threading.Event()) as slot:
        assert slot.device is None and slot.keep_open == ()
    with Slots((), 2, tmp_path).lend(1, 1, threading.Event()) as slot:
        assert slot.device is None


def test_every_gpu_is_lent_once_and_the_third_stage_waits(tmp_path: Path) -> None:
    slots, stopping = Slots(("GPU-a", "GPU-b"), 8, tmp_path), threading.Event()
    with slots.lend(1, 1, stopping) as one, slots.lend(1, 1, stopping) as two:
        assert {one.device, two.device} == {"GPU-a", "GPU-b"}
        threading.Timer(0.3, stopping.set).start()
        with pytest.raises(StageStopped), slots.lend(1, 1, stopping):
            raise AssertionError("lent though all GPUs were taken")
    with slots.lend(1, 1, threading.Event()) as again:
        assert again.device == "GPU-a"


def test_a_gpu_of_another_process_is_left_alone_until_that_is_killed(
    tmp_path: Path, holder: subprocess.Popen[bytes]
) -> None:
    slots = Slots(("GPU-a",), 1, tmp_path / "locks")
    lent, stopping = threading.Event(), threading.Event()
    threading.Timer(0.3, stopping.set).start()
    with pytest.raises(StageStopped), slots.lend(1, 1, stopping):
        raise AssertionError("lent though another process holds it")

    def work() -> None:
        with slots.lend(1, 1, threading.Event()):
            lent.set()

    thread = threading.Thread(target=work)
    thread.start()
    holder.kill()
    holder.wait()
    thread.join(30)
    assert lent.is_set()


def test_another_gpu_is_taken_where_the_first_is_held(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    with Slots(("GPU-a", "GPU-b"), 1, tmp_path / "locks").lend(1, 1, threading.Event()) as slot:
        assert slot.device == "GPU-b"


def test_a_stage_that_waits_for_cores_or_a_gpu_stops_when_told(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    slots, stopping, raised = Slots(("GPU-a",), 1, tmp_path / "locks"), threading.Event(), []

    def work() -> None:
        try:
            with slots.lend(1, 1, stopping):
                pass
        except StageStopped:
            raised.append("stopped")

    threads = [threading.Thread(target=work) for _ in range(2)]  # one waits for the GPU, one for the core of the other
    for thread in threads:
        thread.start()
    stopping.set()
    for thread in threads:
        thread.join(30)
    assert raised == ["stopped", "stopped"]


def test_locks_can_be_held_by_others_whatever_the_umask_and_whoever_owns_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real = tmp_path / "locks", Path.chmod

    def chmod(path: Path, mode: int) -> None:
        if path == folder and folder.stat().st_mode & 0o7777 == 0o1777:
            raise PermissionError(1, "it belongs to somebody else", str(path))
        real(path, mode)

    monkeypatch.setattr(Path, "chmod", chmod)
    before = os.umask(0o077)
    try:
        for device in ("GPU-a", "GPU-b"):
            with Slots((device,), 1, folder).lend(1, 1, threading.Event()):
                pass
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o7777 == 0o1777
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o666}
    assert len(list(folder.iterdir())) == 2


def test_the_lock_file_of_another_user_is_opened_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "GPU-a.lock").touch()
    real = os.open

    def protected(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT and Path(path).exists():
            raise PermissionError(13, "fs.protected_regular", str(path))
        return real(path, flags, mode)

    monkeypatch.setattr(module.os, "open", protected)
    with Slots(("GPU-a",), 1, tmp_path).lend(1, 1, threading.Event()) as slot:
        assert slot.device == "GPU-a"


def test_a_device_with_slashes_in_its_name_has_a_lock_of_its_own(tmp_path: Path) -> None:
    with Slots(("MIG-GPU-a/1/0",), 1, tmp_path).lend(1, 1, threading.Event()) as slot:
        assert slot.device == "MIG-GPU-a/1/0"


@pytest.mark.parametrize(
    ("visible", "listed", "devices"),
    [
        (None, CARDS, ("GPU-aaaa-1", "GPU-bbbb-2")),
        (None, "", ()),
        ("", CARDS, ()),
        ("-1", CARDS, ()),
        ("NoDevFiles", CARDS, ()),
        ("1", CARDS, ("GPU-bbbb-2",)),
        ("1, 0", CARDS, ("GPU-bbbb-2", "GPU-aaaa-1")),
        ("0,-1,1", CARDS, ("GPU-aaaa-1",)),
        ("0,7,1", CARDS, ("GPU-aaaa-1",)),
        ("GPU-bbbb-2", CARDS, ("GPU-bbbb-2",)),
        ("GPU-bb", CARDS, ("GPU-bbbb-2",)),
        ("MIG-cc", CARDS, ("MIG-cc",)),
        ("0,1", "", ("0", "1")),
    ],
)
def test_gpus_are_known_by_uuid_and_chosen_by_cuda_visible_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, listed: str, devices: tuple[str, ...]
) -> None:
    script = tmp_path / "nvidia-smi"
    script.write_text(f"#!/bin/sh\nprintf '{listed}'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    slots = slots_of_this_machine()
    assert slots.devices == devices
    assert slots.cores == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("script", [None, "#!/bin/sh\necho '0, GPU-a'; exit 9\n", "#!/bin/sh\necho no driver\n"])
def test_a_machine_without_a_working_nvidia_smi_has_no_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    if script:
        (tmp_path / "nvidia-smi").write_text(script)
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert slots_of_this_machine().devices == ()


def test_it_tells_once_for_what_it_waits(tmp_path: Path) -> None:
    slots = Slots(("a",), 2, tmp_path)
    stopping, lines = threading.Event(), []

    def hear(line: str) -> None:
        lines.append(line)
        stopping.set()

    with slots.lend(0, 1, stopping, lines.append):
        assert lines == []
        with pytest.raises(StageStopped), slots.lend(0, 2, stopping, hear):
            pass
    stopping.clear()
    with (
        slots.lend(1, 1, stopping, lines.append),
        pytest.raises(StageStopped),
        slots.lend(1, 1, stopping, hear),
    ):
        pass
    assert lines == ["waits until 2 of 2 cores are free", "waits for one of 1 GPU(s)"]
