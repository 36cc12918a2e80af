"""The process that a stage runs in: how it is started and stopped, and how whatever went wrong ends in one line."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from pipeline.runtime.code_locks.lock import CodeError
from pipeline.runtime.data_folder import check_data_folder
from pipeline.runtime.errors import (
    ChangedMeanwhile,
    InputError,
    ProcessLost,
    StartedOtherwise,
    is_disk_full,
    is_out_of_memory,
)
from pipeline.runtime.own_code import CODE_STAGE
from pipeline.runtime.stopping import Stopped, end_with_parent, handle_signals, ignore_signals
from pipeline.runtime.yaml_files import read_yaml

_RUN_BY_DVC = "DVC_ROOT"  # a variable that DVC gives the commands of its stages
_RANKS = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")  # torchrun's and MPI's


class StageProcess:
    """The process of one run of one stage.

    Attributes:
        root: of the project. notes: where the project keeps what is not an artifact: beside DVC's own notes, or beside
            the output where there is no DVC.
        less_memory: what a person can lower where memory runs out.
    """

    def __init__(self, name: str, out: Path) -> None:
        self._name, self._out = name, out
        self.root = Path(os.environ.get(_RUN_BY_DVC, "."))
        self.notes = self.root / ".dvc/tmp/frcnn" if (self.root / ".dvc").is_dir() else out.parent / ".frcnn"
        self.less_memory = "the image size (section resize)"

    @contextmanager
    def until_end(self) -> Iterator[None]:
        """Run what is in it and exit: with 0 where it succeeded, with 1 and one line on bad input, an unreadable file,
        a full disk, too little memory, or code or parameters that changed, with 130 on Ctrl-C and 143 on SIGTERM."""
        _open_stdin()
        handle_signals()
        if _RUN_BY_DVC in os.environ:
            end_with_parent()
        try:
            _refuse_ranks(os.environ)
            if _RUN_BY_DVC in os.environ:
                check_data_folder(self._out.parent, self.root)
            yield
        except (InputError, CodeError, ChangedMeanwhile, ProcessLost, StartedOtherwise) as error:
            self._fail(str(error))
        except MemoryError:
            self._fail(f"out of memory; lower {self.less_memory}")
        except Exception as error:
            if is_disk_full(error):
                self._fail(f"disk full while writing {self._out}; free space and run again")
            if isinstance(error, OSError):
                what = f"{error.filename or self._out}: {error.strerror or error}"
                self._fail(f"{what}; check that it can be read and written")
            if not is_out_of_memory(error):
                raise
            self._fail(f"out of memory ({' '.join(str(error).split())[:120]}); lower {self.less_memory}")
        except Stopped as stopped:
            ignore_signals()
            self.say(f"{self._name}: {stopped}; the next run resumes from what is complete")
            _end(stopped.status)
        _end(0)

    def say(self, line: str) -> None:
        """Print a line for a person."""
        print(line, file=sys.stderr, flush=True)

    def say_begin(self) -> None:
        """Print the stage's name and its place in the graph."""
        names = self.stages()
        position = f"[{names.index(self._name) + 1}/{len(names)}] " if self._name in names else ""
        self.say(f"{position}{self._name}")

    def stages(self) -> list[str]:
        """The names of dvc.yaml but `code`; none where there is no such file."""
        try:
            return [name for name in read_yaml(self.root / "dvc.yaml")["stages"] if name != CODE_STAGE]
        except (OSError, KeyError, TypeError, InputError):
            return []

    def check_listed(self, written: Path) -> None:
        """Where dvc.yaml lists the files of the stage's folder one by one, it must list all: DVC keeps no other.

        Args:
            written: the folder that the stage has written, before it is moved into data/.

        Raises:
            InputError: the first file that it does not list.
        """
        try:
            stage = read_yaml(self.root / "dvc.yaml")["stages"][self._name]
            paths = [path for key in ("outs", "metrics", "plots") for path in stage.get(key) or ()]
        except (OSError, KeyError, TypeError, AttributeError, InputError):
            return
        # Of an entry with settings, such as `cache: false`, the path is the key.
        listed = {os.path.normpath(path if isinstance(path, str) else next(iter(path))) for path in paths}
        out = os.path.normpath(self._out)
        if out in listed or not any(os.path.dirname(path) == out for path in listed):
            return
        files = sorted(path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file())
        for file in files:
            if f"{out}/{file}" not in listed:
                raise InputError(
                    f"wrote {file}, which dvc.yaml does not list, so that DVC would not keep it; add {out}/{file} "
                    f"under outs of stage {self._name} in graphs/, and run frcnn graph"
                )

    def _fail(self, message: str) -> NoReturn:
        line = re.sub(r"[ \t\r\n\f\v]+", " ", message).strip()  # other spaces may stand in the name of a file
        self.say(f"{self._name}: error: {line}")
        sys.exit(1)


def _open_stdin() -> None:
    """Where it is closed, the first file that is opened would be taken for it, such as the lock of the folder."""
    try:
        os.fstat(0)
    except OSError:
        os.open(os.devnull, os.O_RDONLY)


def _refuse_ranks(environment: Mapping[str, str]) -> None:
    """All ranks would write one folder: one would have it, the others end, and it would wait for them for ever."""
    for name in _RANKS:
        count = environment.get(name, "1")
        if count.isdecimal() and int(count) > 1:
            raise InputError(
                f"it was started as one of {count} ranks ({name}), and a stage is one process; start it once, without "
                f"torchrun, accelerate launch or mpirun, or unset {name}"
            )


def _end(status: int) -> NoReturn:
    # All is written, and unloading torch would take another quarter of a second.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
