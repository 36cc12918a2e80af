"""Running one stage through DVC, which decides whether it must run, and how it ended."""

from __future__ import annotations

import math
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from pipeline.orchestrate.graph import StageNode
from pipeline.orchestrate.guarded import Guarded
from pipeline.orchestrate.slots import Slot, Slots, StageStopped
from pipeline.orchestrate.workspace import environment_in

# A stage says with this status (EX_TEMPFAIL of sysexits.h) that trying again may help.
PASSING_STATUS = 75
_PASSING_TEXTS = ("Unable to acquire lock", "is busy, it is being blocked by")
_BOILERPLATE = re.compile(
    r"\s*$|> |Running stage|To track the changes|\tgit add|To enable auto staging|\tdvc config|Use `dvc push`"
    r"|(Updating|Generating) lock file|WARNING: '.*' is empty\."
)
_EXITED_WITH = re.compile(r"exited with (-?\d+)")


@dataclass
class StageRun:
    """How a stage ended. `status` is 0 or DVC's exit status; `ran` is False where DVC took the result from its cache.

    `marks` are the times, on time.monotonic()'s clock, at which a run reached a point: `ready` (all it reads is there),
    `spawned` (so are its cores and its GPU: DVC starts), `started` (DVC starts the stage's process), `working` (its
    imports are done), `worked`, `ended`.
    """

    status: int = 0
    ran: bool = False
    passing: bool = False
    timed_out: bool = False
    error: str = ""
    marks: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Seconds from the start of DVC to its end."""
        return self.marks["ended"] - self.marks["spawned"]


class StageRunner:
    """Runs stages of one workspace side by side, each on what it may use; `stop` ends them all.

    Args:
        variables: added to the environment of stages.
    """

    def __init__(
        self, root: Path, slots: Slots, workspace_lock: int, variables: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._root, self._slots, self._workspace_lock = Path(root).resolve(), slots, workspace_lock
        self._variables = variables
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._under_way: set[Guarded] = set()

    def run(self, node: StageNode, on_line: Callable[[str], None]) -> StageRun:
        """Run `dvc repro` for this stage only, and pass on its lines as they come.

        Raises:
            StageStopped: `stop` was called.
        """
        ready = time.monotonic()
        with self._slots.lend(node.meta.gpu, node.meta.cores, self.stopping, on_line) as slot:
            run = StageRun(marks={"ready": ready, "spawned": time.monotonic()})
            guarded = self._start(node, slot)
            seconds = min((node.meta.timeout_minutes or math.inf) * 60, threading.TIMEOUT_MAX)
            timer = threading.Timer(seconds, self._time_out, (run, guarded))
            timer.daemon = True
            timer.start()
            try:
                run.status = guarded.wait(lambda line: _read_line(line, node, run, on_line))
            finally:
                timer.cancel()
                with self._lock:
                    self._under_way.discard(guarded)
            run.marks["ended"] = time.monotonic()
        if self.stopping.is_set() and run.status:
            raise StageStopped
        _judge(node, run)
        return run

    def stop(self) -> None:
        """End everything that is running, and start nothing more; returns at once."""
        self.stopping.set()
        with self._lock:
            for guarded in self._under_way:
                guarded.stop()

    def _start(self, node: StageNode, slot: Slot) -> Guarded:
        with self._lock:
            if self.stopping.is_set():
                raise StageStopped
            guarded = Guarded(
                [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", node.name],
                cwd=self._root,
                environment={**_environment(self._root, slot), **self._variables},
                keep_open=(self._workspace_lock, *slot.keep_open),
            )
            self._under_way.add(guarded)
        return guarded

    def _time_out(self, run: StageRun, guarded: Guarded) -> None:
        run.timed_out = True
        guarded.stop()


def _environment(root: Path, slot: Slot) -> dict[str, str]:
    environment = environment_in(root, os.environ)
    if slot.device is not None:
        environment["CUDA_VISIBLE_DEVICES"] = slot.device
    return environment


def _read_line(line: str, node: StageNode, run: StageRun, on_line: Callable[[str], None]) -> None:
    now = time.monotonic()
    if line.startswith(f"Running stage '{node.name}'"):
        run.ran = True
        run.marks["started"] = now
    elif re.fullmatch(rf"(\[\d+/\d+\] )?{re.escape(node.name)}", line):
        run.marks["working"] = now
    elif line.startswith(f"{node.name}: done in "):
        run.marks["worked"] = now
    if "error: " in line or line.startswith("ERROR: "):
        run.error = run.error if run.error.startswith(node.name) else line
    exited = _EXITED_WITH.search(line)
    if exited and (int(exited[1]) < 0 or int(exited[1]) in (128 + 9, PASSING_STATUS)):
        run.passing = True
    if any(text in line for text in _PASSING_TEXTS):
        run.passing = True
    if not _BOILERPLATE.match(line):
        on_line(line)


def _judge(node: StageNode, run: StageRun) -> None:
    if not run.status:
        # What it reported on the way does not matter; neither does a timer that fired when it had just ended.
        run.error, run.passing, run.timed_out = "", False, False
    elif run.timed_out:
        run.error = f"{node.name}: not done after {node.meta.timeout_minutes:g} minutes (meta.timeout_minutes)"
        run.passing = False
    elif signal.SIGHUP <= run.status - 128 <= signal.SIGRTMAX:  # dvc's own failures have the status 255
        run.error = f"{node.name}: dvc was ended by signal {run.status - 128}"
        run.passing = True
