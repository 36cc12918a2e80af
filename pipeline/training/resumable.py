"""A stage's training loop: shows progress, keeps states, and stops on signals at safe points."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.runtime.progress import Progress
from pipeline.runtime.run_key import run_key
from pipeline.runtime.stage import Stage
from pipeline.runtime.stopping import safe_points
from pipeline.training.checkpoints import Checkpoints


@dataclass(frozen=True)
class Resumable:
    """What a loop reports and keeps so that an interrupted run can resume.

    `on_iteration` is called after each iteration, with the loss where it is known; `on_resume` takes the iteration that
    the run resumes from.
    """

    checkpoints: Checkpoints | None
    on_iteration: Callable[[float | None], None]
    on_resume: Callable[[int], None]


@contextmanager
def resumable(stage: Stage, iterations: int) -> Iterator[Resumable]:
    """Run a loop of a stage: show its progress, and keep signals for its safe points."""
    checkpoints = None
    if stage.scratch is not None:
        checkpoints = Checkpoints(
            stage.scratch / "checkpoints", run_key(stage.name, stage.params, stage.inputs, stage.code), stage.log
        )
    with Progress(stage.name, iterations, "iterations") as progress, safe_points():

        def resume(iteration: int) -> None:
            stage.log(f"resumes from iteration {iteration} of {iterations}")
            progress.begin_at(iteration)

        last = ""

        def advance(loss: float | None) -> None:
            nonlocal last
            last = last if loss is None else f"loss {loss:.3f}"
            progress.advance(note=last)

        yield Resumable(checkpoints, advance, resume)
