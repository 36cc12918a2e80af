"""A stage that goes image by image, in several processes: each takes one chunk after another, and the stage itself then
finds all chunks complete and finishes.

How they start is in `pipeline.runtime.process_start`. None takes part in the end of the stage: it is killed, by the
stage that stops or by itself when the stage is gone. Chunks are whole or count for nothing, so that no more is lost
than in one process.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial, wraps
from multiprocessing.connection import Connection, wait
from pathlib import Path

from pipeline.artifacts.atomic import lock_of
from pipeline.artifacts.chunks import resumes_after
from pipeline.runtime.errors import ProcessLost, StartedOtherwise
from pipeline.runtime.process_messages import Advanced, Began, Failed, Finished
from pipeline.runtime.process_start import Process, can_fork, fork, start_anew
from pipeline.runtime.process_work import Task, Work
from pipeline.runtime.progress import Progress
from pipeline.runtime.share import Share
from pipeline.runtime.stage import Stage
from pipeline.runtime.stopping import signals_waiting, stop_if_requested
from pipeline.runtime.turns import Turns
from pipeline.runtime.variables import PROCESSES, process_count
from pipeline.runtime.words import count_text


def over_processes(work: Work) -> Work:
    """`work` in as many processes as the environment asks for.

    Args:
        work: a function of a module, under its name there. All its images go through one `ChunkedWork` with the stage's
            share, and before that it writes nothing.
    """

    @wraps(work)
    def run(stage: Stage) -> None:
        count = process_count()
        if count == 1 or stage.share.is_part:
            work(stage)
            return
        with _shares_done(work, stage, count) as by_others:
            stage.share.by_others = by_others
            work(stage)

    return run


@contextmanager
def _shares_done(work: Work, stage: Stage, count: int) -> Iterator[Callable[[], set[int]]]:
    """Start processes, and yield a function that waits until each has done its share, and returns the numbers of the
    chunks that are complete then.

    Until it is called, the stage's own process does what comes before the chunks. On a GPU it waits before that, as its
    network would take memory from the others.

    Raises:
        ProcessLost: one was killed. What one of them raises is raised here.
        StartedOtherwise: they cannot run here.
    """
    task = Task.of(_module_of(work), work.__name__, stage)
    gpus = _gpus_of_one_kind(count)
    forks = can_fork(task, has_gpu=_has_gpu())
    # A process that outlives the stage by a moment still writes there, and so holds the lock too.
    kept = [lock for lock in (lock_of(stage.out),) if lock is not None]
    processes: dict[Connection, Process] = {}
    try:
        with Turns.begin() as turns:
            for number in range(count):
                try:
                    connection, theirs = multiprocessing.Pipe()
                    with theirs, signals_waiting():
                        if forks:
                            processes[connection] = fork(theirs.fileno(), (connection, *processes), stage.running)
                        else:
                            gpu = gpus[number % len(gpus)] if gpus else None
                            inherited = (*kept, turns.to_read, turns.to_write)
                            processes[connection] = start_anew(task, theirs.fileno(), inherited, gpu)
                except OSError as error:
                    which = f"process {number + 1} of {count}"
                    remedy = f"lower {PROCESSES}"
                    raise StartedOtherwise(f"{which} could not be started ({error.strerror}); {remedy}") from error
                with suppress(ConnectionError):  # it has ended, as will be seen
                    connection.send((task, Share(number, count, turns)))
        where = f" on {count_text(min(count, len(gpus)), 'GPU')}" if gpus else ""
        stage.log(f"runs in {count_text(count, 'process', 'processes')}{where}")
        follow = partial(_follow, processes, stage)
        yield partial(set, follow()) if gpus else follow
    finally:
        for process in processes.values():
            process.kill()
        for process in processes.values():
            process.wait()


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


def _gpus_of_one_kind(most: int) -> list[str]:
    """See `pipeline.runtime.device`, which a stage that computes with torch has loaded; none for other stages."""
    device = sys.modules.get("pipeline.runtime.device")
    return device.gpus_of_one_kind(most) if device else []


def _has_gpu() -> bool:
    """Whether torch may have been asked for a GPU that is there, usable or not."""
    device = sys.modules.get("pipeline.runtime.device")
    return bool(device and device.has_gpu())


def _follow(processes: dict[Connection, Process], stage: Stage) -> set[int]:
    """Show the progress of all until they have finished."""
    began: list[Began] = []
    finished: set[int] = set()
    early, progress = 0, None
    with ExitStack() as shown:
        for message in _messages(processes):
            if isinstance(message, Began):
                began.append(message)
                if len(began) == len(processes):
                    found, total = sum(own.done for own in began), message.total
                    if found:
                        stage.log(resumes_after(found, total))
                    progress = shown.enter_context(Progress(stage.name, total, "images"))
                    progress.begin_at(found + early)
            elif isinstance(message, Finished):
                finished |= message.chunks
            elif progress is None:
                early += message.count
            else:
                progress.advance(message.count)
    return finished


def _messages(processes: dict[Connection, Process]) -> Iterator[Began | Advanced | Finished]:
    """What the processes send, until each has finished."""
    left = set(processes)
    while left:
        stop_if_requested()  # a library may have dropped the exception
        for connection in wait(list(left)):
            assert isinstance(connection, Connection)
            try:
                message = connection.recv()
            except (EOFError, OSError):  # OSError where it ends within a message
                stop_if_requested()  # by a signal to all of them
                raise _lost(processes[connection]) from None
            if isinstance(message, Failed):
                raise min([message, *_other_failures(left - {connection})], key=lambda one: one.chunk).exception()
            if isinstance(message, Finished):
                left.remove(connection)
            yield message
    stop_if_requested()


def _other_failures(connections: set[Connection]) -> Iterator[Failed]:
    """The failures that have arrived besides the first one seen."""
    for connection in connections:
        with suppress(EOFError, OSError):
            while connection.poll():
                if isinstance(message := connection.recv(), Failed):
                    yield message


def _lost(process: Process) -> ProcessLost:
    status = process.wait()
    how = f"ended with status {status}"
    if status < 0:
        names = {one.value: one.name for one in signal.Signals}  # real-time signals have none
        how = f"was killed ({names.get(-status, f'signal {-status}')}), perhaps because memory ran out"
    return ProcessLost(f"one of its processes {how}; run again to resume, or lower {PROCESSES}")
