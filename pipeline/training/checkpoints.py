"""Training states on disk, from which a killed run resumes and ends with the same bytes.

Batches are functions of the iteration, and every generator is seeded by it, so that a state is the weights, the
optimiser's momenta, the iteration and the history. Two files hold one: STEM.safetensors with the tensors and STEM.json,
written after it, with the rest and the SHA-256 of both; one without the other, or of another hash, counts for
nothing. They lie outside of DVC's outputs, in a folder named by the run's key, so that no run resumes from another's.

Training waits for the copy of its tensors alone; a thread hashes and writes them, one state at a time.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from pipeline.artifacts.atomic import atomic_file, write_text
from pipeline.runtime.stopping import is_urgent
from pipeline.runtime.variables import iterations_between_states, minutes_between_states
from pipeline.training.snapshot import Snapshot

_KEPT = 2
_SCHEMA = 2


@dataclass(frozen=True)
class TrainingState:
    """What is needed to resume.

    Attributes:
        iteration: the next one, counted from 0.
        tensors: by name, wherever they lie.
        extra: the rest, as JSON holds it.
    """

    iteration: int
    tensors: Mapping[str, torch.Tensor]
    extra: Mapping[str, Any] = field(default_factory=dict)


class Checkpoints:
    """The states of one run of one stage.

    Args:
        folder: of the stage; states under other keys in it are removed, as something has changed since.
        key: of the run, see `pipeline.runtime.run_key`.
        log: takes a line for a person.

    Raises:
        StartedOtherwise: a number in the environment is wrong, see `pipeline.runtime.variables`.
    """

    def __init__(self, folder: Path, key: str, log: Callable[[str], None]) -> None:
        self._folder, self._log = Path(folder) / key, log
        self._every_minutes, self._every_iterations = minutes_between_states(), iterations_between_states()
        for other in Path(folder).glob("*"):
            if other != self._folder:
                shutil.rmtree(other, ignore_errors=True)
        self._last_time, self._last_iteration = time.monotonic(), 0
        self._snapshot = Snapshot()
        self._writer: threading.Thread | None = None
        self._error: BaseException | None = None

    def last(self) -> TrainingState | None:
        """The newest state that is whole; None where there is none."""
        for header_file in sorted(self._folder.glob("state-*.json"), reverse=True):
            state = self._read(header_file)
            if state is not None:
                self._last_iteration = state.iteration
                return state
            self._log(
                f"{header_file.with_suffix('.safetensors')}: damaged; the state before it is used, if there is one"
            )
        return None

    def is_due(self, iteration: int) -> bool:
        """Whether it is time to write the state before `iteration`, or to hear that the last could not be written."""
        minutes = (time.monotonic() - self._last_time) / 60
        return (
            iteration - self._last_iteration >= self._every_iterations
            or minutes >= self._every_minutes
            or self._error is not None
        )

    def write(self, state: TrainingState) -> None:
        """Keep a state, and of the earlier ones the last. When this returns, the tensors may change: a copy of them is
        being written. `wait` returns when it lies on the disk.

        Raises:
            OSError: the state before this one could not be written.
        """
        self.wait()
        header = {"schema": _SCHEMA, "iteration": state.iteration, "extra": json.loads(json.dumps(dict(state.extra)))}
        self._snapshot.take(state.tensors)
        self._writer = threading.Thread(target=self._write, args=(header,), name="states", daemon=True)
        self._writer.start()
        self._last_time, self._last_iteration = time.monotonic(), state.iteration

    def wait(self) -> None:
        """Wait until the last state is completely written to disk.

        Raises:
            OSError: it could not be written.
        """
        self.settle()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def settle(self) -> None:
        """Like `wait`, but ignore whether it could be written."""
        if self._writer is not None:
            self._writer.join()
            self._writer = None

    def _write(self, header: dict[str, Any]) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            stem = self._folder / f"state-{header['iteration']:09d}"
            data = self._snapshot.content()
            header["sha256"] = _digest(header, data)
            with atomic_file(stem.with_suffix(".safetensors")) as temporary:
                temporary.write_bytes(data)
            write_text(stem.with_suffix(".json"), json.dumps(header))
            for header_file in sorted(self._folder.glob("state-*.json"))[:-_KEPT]:
                header_file.unlink()
                header_file.with_suffix(".safetensors").unlink(missing_ok=True)
        except BaseException as error:
            self._error = error

    def _read(self, header_file: Path) -> TrainingState | None:
        try:
            header = json.loads(header_file.read_text(encoding="utf-8"))
            data = header_file.with_suffix(".safetensors").read_bytes()
            if header.pop("sha256") != _digest(header, data) or header["schema"] != _SCHEMA:
                return None
            if header_file.stem != f"state-{header['iteration']:09d}":
                return None
            return TrainingState(header["iteration"], load(data), header["extra"])
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            return None


@contextmanager
def settled(checkpoints: Checkpoints | None) -> Iterator[None]:
    """A training under way: at its end no state is being written any more, unless a second signal wants it at once."""
    try:
        yield
    finally:
        if checkpoints is not None and not is_urgent():
            checkpoints.settle()


def _digest(header: Mapping[str, Any], tensors: bytes | memoryview) -> str:
    """SHA-256 of both files' content."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    digest.update(tensors)
    return digest.hexdigest()
