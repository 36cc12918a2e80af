"""Resources of stages: GPUs, one stage each, and CPU cores."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.runtime.gpus import chosen_gpus, uuids_of_gpus
from pipeline.runtime.locking import try_lock

_SECONDS_BETWEEN_TRIES = 0.2


class StageStopped(Exception):
    """The run was stopped while a stage waited or ran."""


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
        self, gpu: int, cores: int, stopping: threading.Event, log: Callable[[str], None] = lambda line: None
    ) -> Iterator[Slot]:
        """Wait for a GPU where `gpu` is 1 and the machine has one, and for `cores` cores, or all where it has fewer.

        `log` gets a line where it has to wait.

        Raises:
            StageStopped: `stopping` was set meanwhile.
        """
        cores = min(cores, self.cores)
        with self._cores(cores, stopping, log), self._device(bool(gpu and self.devices), stopping, log) as slot:
            yield slot

    @contextmanager
    def _cores(self, wanted: int, stopping: threading.Event, log: Callable[[str], None]) -> Iterator[None]:
        with self._changed:
            if self._free_cores < wanted:
                log(f"waits until {wanted} of {self.cores} cores are free")
            while self._free_cores < wanted:
                if stopping.is_set():
                    raise StageStopped
                self._changed.wait(_SECONDS_BETWEEN_TRIES)
            self._free_cores -= wanted
        try:
            yield
        finally:
            with self._changed:
                self._free_cores += wanted
                self._changed.notify_all()

    @contextmanager
    def _device(self, wanted: bool, stopping: threading.Event, log: Callable[[str], None]) -> Iterator[Slot]:
        if not wanted:
            yield Slot(None)
            return
        logged = False
        while not stopping.is_set():
            for device in self.devices:
                descriptor = self._open(device)
                lock = try_lock(descriptor)
                if lock is None:
                    os.close(descriptor)
                    continue
                try:
                    yield Slot(device, (lock,))
                finally:
                    os.close(lock)
                return
            if not logged:
                log(f"waits for one of {len(self.devices)} GPU(s)")
                logged = True
            stopping.wait(_SECONDS_BETWEEN_TRIES)
        raise StageStopped

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
    uuids = uuids_of_gpus()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = list(uuids.values()) if visible is None else chosen_gpus(visible, uuids)
    return Slots(tuple(devices), len(os.sched_getaffinity(0)))
