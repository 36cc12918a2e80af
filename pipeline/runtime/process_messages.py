"""What the processes of a stage send to the stage's own; see `pipeline.runtime.processes`."""

from __future__ import annotations

import errno
import os
import pickle
import traceback
from contextlib import suppress
from dataclasses import dataclass

from pipeline.runtime.errors import InputError, is_disk_full


@dataclass(frozen=True)
class Began:
    """A process goes through its images. `total` is of all processes, `done` of this one."""

    total: int
    done: int


@dataclass(frozen=True)
class Advanced:
    """So many more images are done."""

    count: int


@dataclass(frozen=True)
class Finished:
    """The share is done; the numbers of its chunks."""

    chunks: set[int]


@dataclass(frozen=True)
class Failed:
    """An error ended the process. `chunk` is the one at hand, -1 before the first."""

    chunk: int
    error: bytes
    trace: str

    @classmethod
    def by(cls, error: BaseException, chunk: int) -> Failed:
        """By an error that is being handled."""
        return cls(chunk, _pickled(error), traceback.format_exc())

    def exception(self) -> BaseException:
        """What to raise in the stage's own process."""
        error: BaseException = pickle.loads(self.error)
        error.__cause__ = _Remote(self.trace)
        return error


Message = Began | Advanced | Finished | Failed


class _Remote(Exception):
    """Where an error was raised, in another process."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _pickled(error: BaseException) -> bytes:
    """An error of another process, so that it ends in the line that it would end in here."""
    if isinstance(error, InputError):
        return pickle.dumps(InputError(str(error)))  # a subclass may be made of other arguments than its message
    if is_disk_full(error) and not isinstance(error, OSError):
        return pickle.dumps(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    with suppress(Exception):
        content = pickle.dumps(error)
        if str(pickle.loads(content)) == str(error):
            return content
    return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
