"""What stages run on, lent to a few at a time: GPUs, one stage each, and CPU cores."""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_SECONDS_BETWEEN_TRIES = 0.2


class Stopped(Exception):
    """The run was told to stop while a stage waited."""


@dataclass(frozen=True)
class Slot:
    """What a stage may use: `device` is the value for CUDA_VISIBLE_DEVICES, None where it has no GPU to itself.

    `keep_open` are the file descriptors by which the slot is held; a process that inherits them holds it too.
    """

    device: str | None
    keep_open: tuple[int, ...] = ()


@dataclass
class Slots:
    """The GPUs of this machine, shared with all its users' flows through a lock file each, and its cores.

    A lock of a file is given back by the kernel, however its holders end.
    """

    devices: tuple[str, ...]
    cores: int
    folder: Path = field(default_factory=lambda: Path(tempfile.gettempdir()) / "frcnn-gpu-slots")

    def __post_init__(self) -> None:
        self._free_cores = self.cores
        self._changed = threading.Condition()

    @contextmanager
    def lend(
        self, gpu: int, cores: int, stopping: threading.Event, tell: Callable[[str], None] = lambda line: None
    ) -> Iterator[Slot]:
        """Wait for a GPU where `gpu` is 1 and the machine has one, and for `cores` cores, or all where it has fewer.

        `tell` gets a line where it has to wait.

        Raises:
            Stopped: `stopping` was set meanwhile.
        """
        cores = min(cores, self.cores)
        with self._cores(cores, stopping, tell), self._device(bool(gpu and self.devices), stopping, tell) as slot:
            yield slot

    @contextmanager
    def _cores(self, wanted: int, stopping: threading.Event, tell: Callable[[str], None]) -> Iterator[None]:
        with self._changed:
            if self._free_cores < wanted:
                tell(f"waits until {wanted} of {self.cores} cores are free")
            while self._free_cores < wanted:
                if stopping.is_set():
                    raise Stopped
                self._changed.wait(_SECONDS_BETWEEN_TRIES)
            self._free_cores -= wanted
        try:
            yield
        finally:
            with self._changed:
                self._free_cores += wanted
                self._changed.notify_all()

    @contextmanager
    def _device(self, wanted: bool, stopping: threading.Event, tell: Callable[[str], None]) -> Iterator[Slot]:
        if not wanted:
            yield Slot(None)
            return
        told = False
        while not stopping.is_set():
            for device in self.devices:
                descriptor = self._open(device)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(descriptor)
                    continue
                try:
                    yield Slot(device, (descriptor,))
                finally:
                    os.close(descriptor)
                return
            if not told:
                tell(f"waits for one of {len(self.devices)} GPU(s)")
                told = True
            stopping.wait(_SECONDS_BETWEEN_TRIES)
        raise Stopped

    def _open(self, device: str) -> int:
        # Other people's flows must be able to hold it, whatever this one's umask.
        path = self.folder / f"{device.replace('/', '_')}.lock"
        self.folder.mkdir(parents=True, exist_ok=True)
        with suppress(PermissionError):
            self.folder.chmod(0o1777)
        # Linux may forbid O_CREAT for a file of somebody else in such a folder (fs.protected_regular).
        with suppress(FileNotFoundError):
            return os.open(path, os.O_RDWR)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        with suppress(PermissionError):
            path.chmod(0o666)
        return descriptor


def slots_of_this_machine() -> Slots:
    """Its GPUs, those of CUDA_VISIBLE_DEVICES where that is set, and the cores this process may use."""
    uuids = _uuids_of_nvidia_smi()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = list(uuids.values()) if visible is None else _chosen(visible, uuids)
    return Slots(tuple(devices), len(os.sched_getaffinity(0)))


def _chosen(visible: str, uuids: dict[str, str]) -> list[str]:
    """The devices of CUDA_VISIBLE_DEVICES: as for CUDA, none from the first that there cannot be, such as -1."""
    devices = []
    for word in visible.split(","):
        name = word.strip()
        if not (name.isdecimal() or name.startswith(("GPU-", "MIG-"))) or (
            uuids and name.isdecimal() and name not in uuids
        ):
            break
        # A UUID may be cut short; one lock a device needs one name for it.
        whole = [uuid for uuid in uuids.values() if uuid.startswith(name)]
        devices.append(uuids.get(name) or (whole[0] if len(whole) == 1 else name))
    return devices


def _uuids_of_nvidia_smi() -> dict[str, str]:
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    rows = [line.split(", ") for line in listed.stdout.splitlines()] if listed.returncode == 0 else []
    return {row[0]: row[1] for row in rows if len(row) == 2}
