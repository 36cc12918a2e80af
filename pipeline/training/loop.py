"""The one training loop: all four steps and the joint one run through it. It knows tensors and iterables, no files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from pipeline.errors import InputError
from pipeline.params.training import Schedule, SolverParams
from pipeline.stopping import is_asked, stop_if_asked
from pipeline.training.bad_batch import save_batch
from pipeline.training.batches import Batch, to_device
from pipeline.training.checkpoints import Checkpoints, TrainingState
from pipeline.training.packing import pack, unpack

Row = dict[str, float]


def make_optimiser(module: nn.Module, lr: float, solver: SolverParams) -> torch.optim.SGD:
    """The paper's SGD: biases learn `bias_lr_factor` times as fast and do not decay; the trunk learns
    `trunk_lr_factor` times as fast as the layers on top of it."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, weight in module.named_parameters():
        if weight.requires_grad:
            groups.setdefault((name.startswith("trunk."), name.endswith("bias")), []).append(weight)
    return torch.optim.SGD(
        [
            {
                "params": weights,
                "lr": lr
                * (solver.trunk_lr_factor if of_trunk else 1.0)
                * (solver.bias_lr_factor if are_biases else 1.0),
                "weight_decay": 0.0 if are_biases else solver.weight_decay,
            }
            for (of_trunk, are_biases), weights in groups.items()
        ],
        momentum=solver.momentum,
        fused=True,
    )


def lr_factor(schedule: Schedule, iteration: int, decay: str = "drops") -> float:
    """What the learning rate is multiplied by at an iteration counted from 0.

    A linear warm-up, then with `drops` a factor `lr_drop_factor` at each of `lr_drop_at`, with `linear` a straight line
    to 0 at the end.
    """
    warmup = min(1.0, (iteration + 1) / schedule.warmup_iterations) if schedule.warmup_iterations else 1.0
    if decay == "linear":
        return min(warmup, (schedule.iterations - iteration) / max(schedule.iterations - schedule.warmup_iterations, 1))
    drops = sum(iteration >= at for at in schedule.lr_drop_at)
    return warmup * schedule.lr_drop_factor**drops


@dataclass
class _Mean:
    """Sums named losses until a row is written."""

    sums: dict[str, float]
    count: int = 0

    def add(self, losses: dict[str, Tensor]) -> None:
        for name, loss in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(loss.detach())
        self.count += 1

    def take(self) -> Row:
        row = {name: value / self.count for name, value in self.sums.items()}
        self.sums, self.count = {}, 0
        return row


def train(
    step: nn.Module,
    batches: Callable[[range], Iterable[Batch]],
    schedule: Schedule,
    solver: SolverParams,
    accelerator: Accelerator,
    *,
    stage: str,
    on_iteration: Callable[[float], None],
    checkpoints: Checkpoints | None = None,
    on_resume: Callable[[int], None] = lambda iteration: None,
    keep_bad_batch_in: Path | None = None,
) -> list[Row]:
    """Train `step` in place on `schedule.iterations` batches.

    Args:
        step: a module from a batch to named losses; what does not require a gradient stays as it is.
        batches: yields the batch of each iteration of a range.
        on_iteration: called with the loss after each iteration.
        checkpoints: where the state is kept, and where a run that was cut short left it; None: nowhere.
        on_resume: called with the iteration that the run goes on from.
        keep_bad_batch_in: folder for a batch whose loss is not finite; None: it is not kept.

    Returns:
        The history: one row every `solver.log_every` iterations, the losses averaged since the last.

    Raises:
        InputError: the loss is no longer finite; names the iteration, the images and the file that holds the batch.
        Stopped: a signal asked for it; the state is kept.
    """
    step.train()
    module = accelerator.prepare_model(step.to(memory_format=torch.channels_last))
    optimiser = accelerator.prepare_optimizer(make_optimiser(step, schedule.lr, solver))
    base_rates = [group["lr"] for group in optimiser.param_groups]
    trained = [weight for group in optimiser.param_groups for weight in group["params"]]
    history: list[Row] = []
    mean = _Mean({})
    found = checkpoints.last() if checkpoints else None
    if found:
        unpack(found.tensors, step, optimiser)
        mean.sums, mean.count = dict(found.told["sums"]), int(found.told["count"])
        history.extend(found.told["history"])
        on_resume(found.iteration)
    left = range(found.iteration if found else 0, schedule.iterations)
    for iteration, batch in zip(left, batches(left), strict=True):
        if checkpoints and (checkpoints.is_due(iteration) or is_asked()):
            told = {"history": history, "sums": mean.sums, "count": mean.count}
            checkpoints.write(TrainingState(iteration, pack(step, optimiser), told))
        stop_if_asked()
        factor = lr_factor(schedule, iteration, solver.lr_decay)
        for group, rate in zip(optimiser.param_groups, base_rates, strict=True):
            group["lr"] = rate * factor
        losses = module(to_device(batch, accelerator.device))
        loss = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(loss):
            images = ", ".join(entry.image_id for entry in batch.views.entries)
            parts = ", ".join(f"{name} {float(value.detach()):g}" for name, value in losses.items())
            kept = save_batch(keep_bad_batch_in, stage, iteration, batch) if keep_bad_batch_in else ""
            raise InputError(
                f"loss is not finite at iteration {iteration} on {images} ({parts}); "
                f"lower {stage}.lr or look at these images{kept and f', whose batch is in {kept}'}"
            )
        accelerator.backward(loss)
        if solver.clip_norm:
            _clip(trained, solver.clip_norm)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        mean.add(losses)
        on_iteration(float(loss.detach()))
        if (iteration + 1) % solver.log_every == 0 or iteration + 1 == schedule.iterations:
            row = mean.take()
            history.append({"iteration": iteration + 1, "lr": schedule.lr * factor, "loss": sum(row.values()), **row})
    step.eval()
    return history


def _clip(weights: list[nn.Parameter], norm: float) -> None:
    """Scale all gradients together so that their norm is at most `norm`; not touched where it is already, which saves
    a pass over all of them."""
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    total = torch.nn.utils.get_total_norm(gradients)
    if not total <= norm:
        torch.nn.utils.clip_grads_with_norm_(weights, norm, total)
