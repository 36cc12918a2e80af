"""A stage that goes image by image, in several processes: each works on every n-th chunk, and the stage itself then
finds all chunks complete and finishes.

Each process starts fresh and imports the stage; forked from one that has used torch, it could hang. None takes part
in the end of the stage: it is killed, by the stage that stops or by itself when the stage is gone. Chunks are whole or
count for nothing, so that no more is lost than in one process.
"""

from __future__ import annotations

import errno
import functools
import importlib
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import reduction, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, NoReturn

from pipeline.artifacts.atomic import lock_of
from pipeline.artifacts.chunks import resumes_after
from pipeline.params.reading import Params
from pipeline.runtime.code_locks.lock import CodeError
from pipeline.runtime.code_locks.running import RunningCode
from pipeline.runtime.errors import InputError, ProcessLost, StartedOtherwise, is_disk_full
from pipeline.runtime.progress import Progress, report_to
from pipeline.runtime.share import Share, ShareDone
from pipeline.runtime.stage import Stage

PROCESSES = "FRCNN_PROCESSES"
"""Environment variable: how many processes a stage that goes image by image works in, by default one, which is its own.
It is not a parameter, since it changes no result."""

Work = Callable[[Stage], None]


def process_count() -> int:
    """How many processes the environment asks for.

    Raises:
        InputError: it is not a whole number above 0.
    """
    text = os.environ.get(PROCESSES, "").strip()
    if text and not (text.isdecimal() and int(text) > 0):
        raise InputError(f"{PROCESSES}={text}: give a whole number above 0, or leave it out for 1")
    return int(text or 1)


def over_processes(work: Work) -> Work:
    """`work` in as many processes as the environment asks for.

    Args:
        work: a function of a module, under its name there. All its images go through one `ChunkedWork` with the stage's
            share, and before that it writes nothing.
    """

    @functools.wraps(work)
    def run(stage: Stage) -> None:
        count = process_count()
        if count > 1 and not stage.share.is_part:
            stage.share.finished |= _run_shares(work, stage, count)
        work(stage)

    return run


@dataclass(frozen=True)
class _Task:
    """What a process needs to know of the stage. A family's part is loaded by its name."""

    module: str
    function: str
    name: str
    params: Params
    out: Path
    inputs: dict[str, Path | None]
    code: str
    others: frozenset[str]
    part: str | None
    own_code: Callable[[], RunningCode] | None

    @classmethod
    def of(cls, work: Work, stage: Stage) -> _Task:
        part = stage.part.__name__ if stage.part else None
        given = (stage.name, stage.params, stage.out, dict(stage.inputs), stage.code, stage.others)
        return cls(_module_of(work), work.__name__, *given, part, stage.own_code)

    def run(self, share: Share) -> None:
        work: Work = getattr(importlib.import_module(self.module), self.function)
        part = importlib.import_module(self.part) if self.part else None
        code = self._running_code()
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
        """The code of this process, compared with that of the stage's own, before it writes anything.

        Raises:
            CodeError: it differs.
        """
        if self.own_code is None:
            return None
        code = self.own_code()
        if code.digest != self.code:
            raise CodeError("the code changed while the stage started its processes; undo the edit, or run it again")
        return code


def _module_of(work: Work) -> str:
    """The name by which another process can import the module of a stage's work.

    Raises:
        StartedOtherwise: it runs as a script, and has no such name.
    """
    spec = work.__globals__["__spec__"]  # also of one that runs as __main__
    if spec is None:
        script = Path(work.__globals__["__file__"])
        raise StartedOtherwise(
            f"{PROCESSES} needs the stage to be started as a module; start it as python -m "
            f"{script.parent.name}.{script.stem}"
        )
    name: str = spec.name
    return name


@dataclass(frozen=True)
class _Began:
    """A process goes through its images. `total` is of all processes, `done` of this one."""

    total: int
    done: int


@dataclass(frozen=True)
class _Advanced:
    count: int


@dataclass(frozen=True)
class _Finished:
    chunks: set[int]


@dataclass(frozen=True)
class _Failed:
    """`chunk` is the one at hand, -1 before the first."""

    chunk: int
    error: bytes
    trace: str


class _Remote(Exception):
    """Where an error was raised, in another process."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _run_shares(work: Work, stage: Stage, count: int) -> set[int]:
    """The numbers of the chunks that are complete when all processes have done their share.

    Raises:
        ProcessLost: one was killed. What one of them raises is raised here.
    """
    context = multiprocessing.get_context("spawn")
    task = _Task.of(work, stage)
    processes: dict[Connection, SpawnProcess] = {}
    # The first process starts it otherwise, which lets signals in.
    resource_tracker.ensure_running()
    try:
        for number in range(count):
            receiver, sender = context.Pipe(duplex=False)
            with _signals_waiting():
                arguments = (task, Share(number, count), sender, _Lock(lock_of(stage.out)))
                process = context.Process(target=_work, args=arguments, daemon=True)
                process.start()
                processes[receiver] = process
            sender.close()
        return _follow(processes, stage)
    finally:
        for process in processes.values():
            process.kill()
        for process in processes.values():
            process.join()


def _follow(processes: dict[Connection, SpawnProcess], stage: Stage) -> set[int]:
    """Show the progress of all until they have finished."""
    began: list[_Began] = []
    finished: set[int] = set()
    early, progress = 0, None
    with ExitStack() as shown:
        for message in _messages(processes):
            if isinstance(message, _Began):
                began.append(message)
                if len(began) == len(processes):
                    found, total = sum(own.done for own in began), message.total
                    if found:
                        stage.log(resumes_after(found, total))
                    progress = shown.enter_context(Progress(stage.name, total, "images"))
                    progress.begin_at(found + early)
            elif isinstance(message, _Finished):
                finished |= message.chunks
            elif progress is None:
                early += message.count
            else:
                progress.advance(message.count)
    return finished


def _messages(processes: dict[Connection, SpawnProcess]) -> Iterator[_Began | _Advanced | _Finished]:
    """What the processes send, until each has finished."""
    left = set(processes)
    while left:
        for receiver in wait(list(left)):
            assert isinstance(receiver, Connection)
            try:
                message = receiver.recv()
            except EOFError:
                raise _lost(processes[receiver]) from None
            if isinstance(message, _Failed):
                message = min([message, *_other_failures(left - {receiver})], key=lambda failed: failed.chunk)
                raise pickle.loads(message.error) from _Remote(message.trace)
            if isinstance(message, _Finished):
                left.remove(receiver)
            yield message


def _other_failures(receivers: set[Connection]) -> Iterator[_Failed]:
    """The failures that have arrived besides the first one seen."""
    for receiver in receivers:
        with suppress(EOFError):
            while receiver.poll():
                if isinstance(message := receiver.recv(), _Failed):
                    yield message


def _lost(process: SpawnProcess) -> ProcessLost:
    process.join()
    status = process.exitcode or 0
    how = f"ended with status {status}"
    if status < 0:
        how = f"was killed ({signal.Signals(-status).name}), perhaps because memory ran out"
    return ProcessLost(f"one of its processes {how}; run again to resume, or lower {PROCESSES}")


@contextmanager
def _signals_waiting() -> Iterator[None]:
    """Within, Ctrl-C and SIGTERM wait. What is started within gets none of them, see `_work`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Lock:
    """The lock of the stage's folder, which a process inherits with this: one that outlives the stage by a moment
    still writes there.

    Args:
        descriptor: None where there is no lock.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def __reduce__(self) -> tuple[Any, ...]:
        return _Lock, (None,) if self._descriptor is None else (reduction.DupFd(self._descriptor),)


def _work(task: _Task, share: Share, sender: Connection, lock: _Lock) -> None:
    """What one process does. It never closes the lock."""
    # Ctrl-C in a terminal reaches every process; the stage ends this one. SIGTERM is for this one alone.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with_stage, daemon=True).start()
    report_to(_Reporter(sender))
    try:
        task.run(share)
        raise AssertionError(f"{task.module}.{task.function} goes through no images")
    except ShareDone as done:
        _send(sender, _Finished(done.complete))
    except BaseException as error:
        _send(sender, _Failed(share.at, _pickled(error), traceback.format_exc()))


def _send(sender: Connection, message: _Began | _Advanced | _Finished | _Failed) -> None:
    """Send to the stage's process. Where that is gone, this one ends too, without a word."""
    try:
        sender.send(message)
    except ConnectionError:  # a broken pipe is one
        os._exit(1)


class _Reporter:
    """Tells the stage's own process of progress."""

    def __init__(self, sender: Connection) -> None:
        self._sender = sender

    def begin(self, total: int, done: int) -> None:
        _send(self._sender, _Began(total, done))

    def advance(self, count: int) -> None:
        _send(self._sender, _Advanced(count))


def _end_with_stage() -> NoReturn:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


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
