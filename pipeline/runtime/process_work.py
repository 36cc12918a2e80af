"""What one of a stage's processes does, from its start to its end; see `pipeline.runtime.processes`."""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

from pipeline.params.reading import Params
from pipeline.runtime.code_locks.lock import CodeError
from pipeline.runtime.code_locks.running import RunningCode
from pipeline.runtime.no_pandas import keep_pandas_out
from pipeline.runtime.process_messages import Advanced, Began, Failed, Finished, Message
from pipeline.runtime.progress import report_to
from pipeline.runtime.share import Share, ShareDone
from pipeline.runtime.stage import Stage

Work = Callable[[Stage], None]


@dataclass(frozen=True)
class Task:
    """What a process needs to know of the stage. The stage's module and a family's part are loaded by their names.
    `is_main`: the module is what `python -m` runs."""

    module: str
    function: str
    is_main: bool
    name: str
    params: Params
    out: Path
    inputs: dict[str, Path | None]
    code: str
    others: frozenset[str]
    part: str | None
    own_code: Callable[[], RunningCode] | None

    @classmethod
    def of(cls, module: str, function: str, stage: Stage) -> Task:
        """A function of a module, called with the stage."""
        part = stage.part.__name__ if stage.part else None
        spec = sys.modules["__main__"].__spec__
        is_main = spec is not None and spec.name == module
        given = (stage.name, stage.params, stage.out, dict(stage.inputs), stage.code, stage.others)
        return cls(module, function, is_main, *given, part, stage.own_code)

    def command(self, descriptor: int) -> list[str]:
        """The command that starts a process, which gets the task through an open file.

        multiprocessing's own prints a traceback where the stage is killed before it has sent all.
        """
        # Stages' package comes first, as it notes when the process began to import.
        package = self.module.partition(".")[0]
        lines = (
            f"import sys; sys.path[:] = {[*map(str, sys.path)]!r}",
            f"import {package}",
            f"from {__name__} import begin",
            f"begin({descriptor})",
        )
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing does
        return [sys.executable, *flags, "-c", "\n".join(lines)]

    def run(self, share: Share, code: RunningCode | None = None) -> None:
        """Do a share of the stage's work.

        Args:
            code: of the stage's own process, where this one is a fork of it and so has the same.

        Raises:
            ShareDone: it is done.
            CodeError: the code is not that of the stage's own process.
        """
        # A fork has what the stage's own process runs; its file may have been edited since.
        module = sys.modules["__main__"] if code is not None else importlib.import_module(self.module)
        if self.is_main:
            sys.modules["__main__"] = module  # where the comparison of the code looks for what runs
        work: Work = getattr(module, self.function)
        part = importlib.import_module(self.part) if self.part else None
        code = code or self._running_code()
        keep_pandas_out()
        stage = Stage(
            self.name, self.params, self.out, self.inputs, code=self.code, others=self.others, part=part, share=share
        )
        try:
            work(stage)
        except ShareDone:
            if code is not None:
                code.check()
            raise

    def _running_code(self) -> RunningCode | None:
        """The code of this process, compared with that of the stage's own, before it writes anything."""
        if self.own_code is None:
            return None
        code = self.own_code()
        if code.digest != self.code:
            raise CodeError("the code changed while the stage started its processes; undo the edit, or run it again")
        return code


def begin(descriptor: int, code: RunningCode | None = None) -> None:
    """What a process does: it gets its task and share from the stage's, and sends it messages.

    Args:
        descriptor: of the socket to the stage's process. code: see `Task.run`.
    """
    connection = Connection(descriptor)
    try:
        given = connection.recv_bytes()
    except (EOFError, OSError):  # nothing or half of it has come, as the stage was killed
        os._exit(1)
    threading.Thread(target=_end_with_stage, args=(connection,), daemon=True).start()
    # Ctrl-C in a terminal reaches every process; the stage ends this one. SIGTERM is for this one alone.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    report_to(_Reporter(connection))
    share = Share()
    try:
        # An edit meanwhile may have broken a module or removed a class that it is made of.
        task, share = pickle.loads(given)
        task.run(share, code)
        raise AssertionError(f"{task.module}.{task.function} goes through no images")
    except ShareDone as done:
        _send(connection, Finished(done.complete))
    except BaseException as error:
        _send(connection, Failed.by(error, share.at))


def _end_with_stage(connection: Connection) -> NoReturn:
    """Wait for the end of the stage's process, which sends nothing more, and end this one."""
    try:
        connection.poll(None)
    finally:
        os._exit(1)


def _send(connection: Connection, message: Message) -> None:
    """Send to the stage's process. Where that is gone, this one ends too, without a word."""
    try:
        connection.send(message)
    except ConnectionError:  # a broken pipe is one
        os._exit(1)


class _Reporter:
    """Tells the stage's own process of progress."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin(self, total: int, done: int) -> None:
        _send(self._connection, Began(total, done))

    def advance(self, count: int) -> None:
        _send(self._connection, Advanced(count))
