"""A dense detector in training: what it draws, and losses that are always the same ones."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor

from pipeline.artifacts.image_views import Entry
from pipeline.dense.batches import DenseBatch, DenseLoader
from pipeline.dense.building import new_head
from pipeline.dense.step import DenseStep
from pipeline.dense.targets import BatchTargets
from pipeline.feeding.views import Views
from pipeline.nn.dropout import Dropout
from pipeline.runtime.errors import InputError
from pipeline.runtime.variables import EVERY_ITERATIONS
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.loop import Row, train
from tests.dense.conftest import Family
from tests.killed import Killed
from tests.training.toy import PLAN, SOLVER

SIZE = (32, 32)


def loader(family: Family) -> DenseLoader:
    """The same image again and again."""
    grid = family.head.locations.of(*SIZE)
    views = Views([Entry("a")], [SIZE], images=torch.zeros(1, 3, *SIZE, dtype=torch.uint8))
    labels, nothing = torch.zeros(1, len(grid), dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
    targets = BatchTargets(labels, nothing, torch.zeros(0, 4), [torch.zeros(0, 4)], [nothing], [SIZE], grid)
    source: Any = SimpleNamespace(load=lambda entries: views)
    stored: Any = SimpleNamespace(of=lambda entries, sizes: targets)
    return DenseLoader(lambda iteration: (0, [Entry("a")]), source, stored, 0, "train_points")


def drawing(family: Family) -> Any:
    """A family with dropout in its head and noise in its losses."""

    def build_head(*given: Any) -> Any:
        head = family.train.build_head(*given)
        head.shared = torch.nn.Sequential(head.shared, Dropout(0.5))
        head.initialise = lambda generator: None
        head.forward = lambda maps: {"classes": forward(head, maps)}
        return head

    def forward(head: Any, maps: tuple[Tensor]) -> Tensor:
        own = head.shared[1](head.levels[0](maps[0])).mean().reshape(1, 1, 1)
        noise = torch.rand(1, len(family.head.locations.of(*SIZE)), 1, generator=head.generator)
        return own + noise * head.levels[0].bias.mean()

    def losses(head: Any, outputs: dict[str, Tensor], targets: BatchTargets, params: Any) -> dict[str, Tensor]:
        chosen = torch.rand(outputs["classes"].shape, generator=targets.generator) < 0.5
        return {"noisy": outputs["classes"][chosen].square().sum()}

    return SimpleNamespace(build_head=build_head, losses=losses, __name__="odd.train_dense")


@pytest.fixture
def run(family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[dict, list[Row]]]:
    """Train four iterations, killed before iteration `kill`; in a folder with a state after every second."""
    monkeypatch.setenv(EVERY_ITERATIONS, "2")
    part, schedule = drawing(family), PLAN.model_copy(update={"iterations": 4, "lr_drop_at": []})
    start = new_head(part, family.trunk.layout, 4, family.params)
    start.load_state_dict({name: torch.full_like(value, 0.01) for name, value in start.state_dict().items()})
    weights = {name: value.clone() for name, value in start.state_dict().items()}

    def run(kill: int | None = None, folder: str | None = None) -> tuple[dict[str, Tensor], list[Row]]:
        torch.rand(3)  # the global state is another each time
        head = new_head(part, family.trunk.layout, 4, family.params)
        head.load_state_dict(weights)
        make = loader(family)

        def left(iterations: range) -> Iterator[DenseBatch]:
            for i in iterations:
                if i == kill:
                    raise Killed
                yield make(i)

        AcceleratorState._reset_state(reset_partial_state=True)
        step = DenseStep(copy.deepcopy(family.trunk).requires_grad_(False), head, part, family.params)
        rows = train(
            step,
            left,
            schedule,
            SOLVER.model_copy(update={"log_every": 1}),
            Accelerator(mixed_precision="no", cpu=True),
            stage="train_points",
            on_iteration=lambda loss: None,
            checkpoints=Checkpoints(tmp_path / folder, "key", lambda line: None) if folder else None,
        )
        return dict(head.state_dict()), rows

    return run


def test_what_a_head_and_its_losses_draw_is_drawn_again_by_a_run_that_resumes(run: Callable) -> None:
    weights, rows = run()
    again, same_rows = run()
    with pytest.raises(Killed):
        run(kill=3, folder="killed")
    resumed, own_rows = run(folder="killed")
    assert rows == same_rows == own_rows and len({row["noisy"] for row in rows}) == 4
    for name, value in weights.items():
        assert torch.equal(value, again[name]) and torch.equal(value, resumed[name])


def step_of(family: Family, losses: Callable[..., Any], head: Any = None) -> DenseStep:
    part: Any = SimpleNamespace(losses=losses, __name__="odd.train_dense")
    return DenseStep(family.trunk, head or family.head, part, family.params)


def test_draws_from_torchs_global_state_are_refused(family: Family) -> None:
    def losses(head: Any, outputs: dict[str, Tensor], *given: Any) -> dict[str, Tensor]:
        return {"one": outputs["classes"].sum() * torch.rand(())}

    with pytest.raises(
        InputError, match=r"^odd\.train_dense: the head or losses drew from torch's global state; draw "
    ):
        step_of(family, losses)(loader(family)(0))


def test_losses_that_come_and_go_are_told(family: Family) -> None:
    names = iter([["one", "two"], ["one", "two"], ["two"]])

    def losses(head: Any, outputs: dict[str, Tensor], *given: Any) -> dict[str, Tensor]:
        return {name: outputs["classes"].sum() for name in next(names)}

    step, batch = step_of(family, losses), loader(family)(0)
    assert list(step(batch)) == list(step(batch)) == ["one", "two"]
    with pytest.raises(
        InputError, match=r"^odd\.train_dense: losses gave two, and one, two before; give the same names"
    ):
        step(batch)


def test_the_seed_of_a_batch_is_that_of_its_iteration(family: Family) -> None:
    make = loader(family)
    assert make(1).seeds == make(1).seeds != make(0).seeds
