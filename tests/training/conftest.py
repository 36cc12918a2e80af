from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from hypothesis import settings

from pipeline.families.faster_rcnn.training.batches import Batch
from pipeline.params.solver import SolverParams
from pipeline.runtime.variables import EVERY_ITERATIONS
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.loop import Row, train
from tests.killed import Killed
from tests.training.toy import PLAN, SOLVER, Net, batch

# The same examples on every run, none of them failed for being slow on a busy machine.
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("repeatable")


@pytest.fixture
def accelerator() -> Accelerator:
    """Plain float32 on the CPU, whatever earlier tests set up."""
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(mixed_precision="no", cpu=True)


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def run(tmp_path: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Net, list[Row]]]:
    """Train with a state every 4 iterations, killed before iteration `kill`, under a key."""
    monkeypatch.setenv(EVERY_ITERATIONS, "4")

    def run(
        kill: int | None = None, key: str = "key", keep: bool = True, solver: SolverParams = SOLVER
    ) -> tuple[Net, list[Row]]:
        net = Net()

        def left(iterations: range) -> Iterator[Batch]:
            for i in iterations:
                if i == kill:
                    raise Killed
                yield batch(i)

        kept = Checkpoints(tmp_path / "states", key, lines.append) if keep else None
        rows = train(
            net,
            left,
            PLAN,
            solver,
            Accelerator(cpu=True),
            stage="train_rpn_step1",
            on_iteration=lambda loss: None,
            checkpoints=kept,
            on_resume=lambda iteration: lines.append(f"from {iteration}"),
        )
        return net, rows

    return run
