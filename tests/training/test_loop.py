"""The training loop on a module of two numbers: rates, warm-up, drops, decay, history and what ends it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.artifacts.image_views import Entry
from pipeline.families.faster_rcnn.training.batches import Batch
from pipeline.feeding.views import Views
from pipeline.params.schedule import Schedule
from pipeline.params.solver import SolverParams
from pipeline.runtime.errors import InputError
from pipeline.training.loop import Row, lr_factor, make_optimiser, train

PLAIN = {
    "momentum": 0.0,
    "weight_decay": 0.0,
    "bias_lr_factor": 2.0,
    "trunk_lr_factor": 1.0,
    "lr_decay": "drops",
    "clip_norm": 0.0,
    "log_every": 1,
}


def solver(**changes: float | str) -> SolverParams:
    return SolverParams(**{**PLAIN, **changes})  # type: ignore[arg-type]


def schedule(iterations: int, drops: tuple[int, ...] = (), warmup: int = 0) -> Schedule:
    return Schedule(
        iterations=iterations,
        images_per_iteration=2,
        lr=0.1,
        lr_drop_at=list(drops),
        lr_drop_factor=0.5,
        warmup_iterations=warmup,
    )


def batch(iteration: int) -> Batch:
    names = [Entry(f"{iteration:03d}_a"), Entry(f"{iteration:03d}_b", 1)]
    maps = torch.full((2, 1, 1, 1), float(iteration))
    return Batch(Views(names, [(1, 1), (1, 1)], maps=(maps,)), [], [], [], [], [])


class Slope(nn.Module):
    """Losses whose gradient is 1 in `weight` and in `bias`; remembers the values it was called with."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.tensor([4.0])), nn.Parameter(torch.tensor([4.0]))
        self.frozen = nn.Parameter(torch.tensor([0.3, 0.7]), requires_grad=False)
        self.register_buffer("statistics", torch.tensor([0.1]))
        self.seen: list[tuple[float, float]] = []
        self.modes: list[bool] = []

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        assert batch.views.maps is not None
        self.seen.append((self.weight.item(), self.bias.item()))
        self.modes.append(self.training)
        return {"slope": self.weight.sum() + self.bias.sum(), "number": batch.views.maps[0][0].sum()}


@pytest.fixture
def run(accelerator: Accelerator) -> Callable[..., list[Row]]:
    def run(module: nn.Module, plan: Schedule, how: SolverParams, **options: object) -> list[Row]:
        def iterations(left: range) -> list[Batch]:
            return [batch(i) for i in left]

        told: dict[str, object] = {"on_iteration": lambda loss: None, **options}
        return train(module, iterations, plan, how, accelerator, stage="train_rpn_step1", **told)  # type: ignore[arg-type]

    return run


def test_factor_warms_up_linearly_and_drops_at_its_iterations() -> None:
    plan = schedule(10, drops=(6, 8), warmup=4)
    factors = [lr_factor(plan, i) for i in range(10)]
    assert factors == [0.25, 0.5, 0.75, 1, 1, 1, 0.5, 0.5, 0.25, 0.25]
    assert [lr_factor(schedule(3), i) for i in range(3)] == [1, 1, 1]


def test_a_schedule_remarks_on_a_warm_up_and_drops_that_lie_beyond_its_end() -> None:
    assert schedule(10, drops=(9,), warmup=10).remarks() == []
    warm_up, drop = schedule(10, drops=(6, 10, 12), warmup=40).remarks()
    assert warm_up.startswith("warmup_iterations 40 is more than iterations 10, so training ends at 25% of lr")
    assert drop.startswith("lr_drop_at [10, 12] is not below iterations 10")
    assert schedule(10, drops=(12,)).remarks("linear") == []  # which ignores the drops


def test_linear_decay_is_a_straight_line_from_the_end_of_the_warm_up_to_0_and_passes_over_the_drops() -> None:
    plan = schedule(10, drops=(6, 8), warmup=2)
    factors = [lr_factor(plan, i, "linear") for i in range(10)]
    assert factors == pytest.approx([0.5, 1, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])
    assert lr_factor(schedule(2, warmup=2), 1, "linear") == 1


def test_the_trunk_learns_by_its_factor_of_the_rate_of_what_stands_on_it(accelerator: Accelerator) -> None:
    module = nn.ModuleDict({"trunk": nn.Linear(1, 1), "head": nn.Linear(1, 1)})
    optimiser = make_optimiser(module, 0.1, solver(trunk_lr_factor=0.25))
    rate = {id(weight): group["lr"] for group in optimiser.param_groups for weight in group["params"]}
    rates = {name: rate[id(weight)] for name, weight in module.named_parameters()}
    assert rates == pytest.approx({"trunk.weight": 0.025, "trunk.bias": 0.05, "head.weight": 0.1, "head.bias": 0.2})


def test_weights_move_by_the_scheduled_rate_and_biases_twice_as_far(run: Callable[..., list[Row]]) -> None:
    module = Slope()
    run(module, schedule(6, drops=(4,), warmup=2), solver())
    module(batch(0))
    moved = -torch.tensor(module.seen).diff(dim=0)
    rates = torch.tensor([0.05, 0.1, 0.1, 0.1, 0.05, 0.05])
    torch.testing.assert_close(moved, torch.stack([rates, 2 * rates], dim=1), rtol=1e-4, atol=0)


def test_weights_decay_and_biases_do_not(run: Callable[..., list[Row]]) -> None:
    module = Slope()
    run(module, schedule(1), solver(weight_decay=0.5))
    assert module.weight.item() == pytest.approx(4 - 0.1 * (1 + 0.5 * 4))
    assert module.bias.item() == pytest.approx(4 - 0.2)


def test_momentum_adds_up(run: Callable[..., list[Row]]) -> None:
    module = Slope()
    run(module, schedule(2), solver(momentum=0.9))
    assert module.weight.item() == pytest.approx(4 - 0.1 * (1 + 1.9))


def test_gradients_are_clipped_together_to_their_norm_if_wanted(run: Callable[..., list[Row]]) -> None:
    module = Slope()
    run(module, schedule(1), solver(clip_norm=0.5))
    assert module.weight.item() == pytest.approx(4 - 0.1 * 0.5 / math.sqrt(2), rel=1e-5)


def test_on_a_gpu_the_fused_step_clips_as_the_pass_over_all_gradients_does(
    run: Callable[..., list[Row]], monkeypatch: pytest.MonkeyPatch
) -> None:
    how = solver(clip_norm=0.5, momentum=0.9, weight_decay=0.1)
    one, other, loose, free = (Slope() for _ in range(4))
    run(one, schedule(3), how)
    monkeypatch.setattr("pipeline.training.loop._is_the_hosts", lambda value: False)
    run(other, schedule(3), how)
    assert other.weight.item() == pytest.approx(one.weight.item(), rel=1e-6)
    assert other.bias.item() == pytest.approx(one.bias.item(), rel=1e-6)
    run(loose, schedule(3), solver(clip_norm=1.5))
    run(free, schedule(3), solver())
    assert torch.equal(loose.weight, free.weight) and torch.equal(loose.bias, free.bias)


def test_what_requires_no_gradient_stays_bit_identical_and_is_not_optimised(run: Callable[..., list[Row]]) -> None:
    module = Slope()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    run(module, schedule(5), solver(momentum=0.9, weight_decay=0.5))
    after = module.state_dict()
    assert [name for name in before if torch.equal(before[name], after[name])] == ["frozen", "statistics"]
    optimised = [weight for group in make_optimiser(module, 0.1, solver()).param_groups for weight in group["params"]]
    assert {id(weight) for weight in optimised} == {id(module.weight), id(module.bias)}


def test_module_is_in_training_mode_during_the_loop_and_in_evaluation_mode_after_it(
    run: Callable[..., list[Row]],
) -> None:
    module = Slope().eval()
    run(module, schedule(2), solver())
    assert module.modes == [True, True]
    assert not module.training


def test_history_has_a_row_every_so_many_iterations_and_at_the_end_with_means_since_the_last(
    run: Callable[..., list[Row]],
) -> None:
    told: list[float | None] = []
    module = Slope()
    history = run(module, schedule(5, drops=(3,)), solver(log_every=2), on_iteration=told.append)
    assert [row["iteration"] for row in history] == [2, 4, 5]
    assert [row["lr"] for row in history] == pytest.approx([0.1, 0.05, 0.05])
    assert [row["number"] for row in history] == pytest.approx([0.5, 2.5, 4])
    slopes = [weight + bias for weight, bias in module.seen]
    assert [row["slope"] for row in history] == pytest.approx([sum(slopes[:2]) / 2, sum(slopes[2:4]) / 2, slopes[4]])
    assert [row["loss"] for row in history] == pytest.approx([row["slope"] + row["number"] for row in history])
    assert told == [None, history[0]["loss"], None, history[1]["loss"], history[2]["loss"]]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_in_one_line_naming_iteration_images_and_parts(
    run: Callable[..., list[Row]], value: float
) -> None:
    class Breaking(Slope):
        def forward(self, batch: Batch) -> dict[str, Tensor]:
            losses = super().forward(batch)
            broken = len(self.seen) == 4
            return {**losses, "number": losses["number"] * value} if broken else losses

    module = Breaking()
    with pytest.raises(InputError) as caught:
        run(module, schedule(9), solver())
    message = str(caught.value)
    assert "\n" not in message
    assert "not finite at iteration 3 on 003_a, 003_b" in message
    assert f"number {value:g}" in message
    assert "lower train_rpn_step1.lr" in message
    assert (module.weight.item(), module.bias.item()) == module.seen[-1]


def test_a_bad_loss_between_two_rows_is_named_and_nothing_after_it_moves_a_weight(
    run: Callable[..., list[Row]], tmp_path: Path
) -> None:
    class Breaking(Slope):
        def forward(self, batch: Batch) -> dict[str, Tensor]:
            losses = super().forward(batch)
            return {**losses, "number": losses["number"] * (math.nan if len(self.seen) in (4, 6) else 1.0)}

    module = Breaking()
    with pytest.raises(InputError, match=r"loss is not finite at iteration 3 on 003_a, 003_b .*number nan") as caught:
        run(module, schedule(20), solver(log_every=8, momentum=0.9), keep_bad_batch_in=tmp_path)
    assert len(module.seen) == 8
    assert module.seen[2] != module.seen[3] == module.seen[7] == (module.weight.item(), module.bias.item())
    path = tmp_path / "train_rpn_step1-3.safetensors"
    assert str(path) in str(caught.value)
    assert torch.equal(load_file(path)["views.maps.0"], torch.full((2, 1, 1, 1), 3.0))


class Steep(Slope):
    """Its third gradient is not finite."""

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        losses = super().forward(batch)
        steep = (self.weight.sum() * 0).sqrt() if len(self.seen) == 3 else 0
        return {**losses, "slope": losses["slope"] + steep}


def test_a_gradient_that_is_not_finite_is_named_before_it_spoils_a_weight(run: Callable[..., list[Row]]) -> None:
    module = Steep()
    with pytest.raises(InputError, match=r"gradient is not finite at iteration 2 on 002_a, 002_b .*slope 7"):
        run(module, schedule(9), solver(log_every=4, clip_norm=10.0))
    assert math.isfinite(module.weight.item()) and module.seen[2] == module.seen[3]


def test_a_last_gradient_that_is_not_finite_is_told_where_no_norm_was_taken_of_it(
    run: Callable[..., list[Row]],
) -> None:
    with pytest.raises(InputError, match=r"weights are not finite after 3 iterations; lower train_rpn_step1\.lr"):
        run(Steep(), schedule(3), solver())
