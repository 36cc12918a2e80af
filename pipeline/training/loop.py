"""The one training loop: every stage that trains a detector runs through it. It knows tensors and iterables, no files.

On a GPU the host runs ahead: between two rows of the history nothing is read from the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from pipeline.feeding.prefetching import to_device
from pipeline.runtime.errors import InputError
from pipeline.runtime.stopping import stop_if_requested, stop_requested
from pipeline.training.bad_batch import save_batch
from pipeline.training.checkpoints import Checkpoints, TrainingState, settled
from pipeline.training.meter import Meter, NotFiniteError, Row
from pipeline.training.packing import pack, unpack

if TYPE_CHECKING:
    from pipeline.params.schedule import Schedule
    from pipeline.params.solver import SolverParams
    from pipeline.training.batch import Batch


def make_optimiser(module: nn.Module, lr: float, solver: SolverParams) -> torch.optim.SGD:
    """The paper's SGD: biases learn `bias_lr_factor` times as fast and do not decay; the backbone learns
    `trunk_lr_factor` times as fast as the layers on top of it, its neck among them."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, weight in module.named_parameters():
        if weight.requires_grad:
            of_trunk = name.startswith("trunk.") and not name.startswith("trunk.neck.")
            groups.setdefault((of_trunk, name.endswith("bias")), []).append(weight)
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
    """The factor of the learning rate at an iteration counted from 0.

    A linear warm-up, then with `drops` a factor `lr_drop_factor` at each of `lr_drop_at`, with `linear` a straight line
    to 0 at the end.
    """
    warmup = min(1.0, (iteration + 1) / schedule.warmup_iterations) if schedule.warmup_iterations else 1.0
    if decay == "linear":
        return min(warmup, (schedule.iterations - iteration) / max(schedule.iterations - schedule.warmup_iterations, 1))
    drops = sum(iteration >= at for at in schedule.lr_drop_at)
    return warmup * schedule.lr_drop_factor**drops


def train(
    step: nn.Module,
    batches: Callable[[range], Iterable[Batch]],
    schedule: Schedule,
    solver: SolverParams,
    accelerator: Accelerator,
    *,
    stage: str,
    on_iteration: Callable[[float | None], None],
    checkpoints: Checkpoints | None = None,
    on_resume: Callable[[int], None] = lambda iteration: None,
    keep_bad_batch_in: Path | None = None,
) -> list[Row]:
    """Train `step` in place on `schedule.iterations` batches.

    Args:
        step: a module from a batch to named losses; what does not require a gradient stays as it is.
        batches: yields the batch of each iteration of a range.
        on_iteration: called after each iteration, with the loss of the row where one was written.
        checkpoints: where the state is kept, and where a run that was cut short left it; None: nowhere.
        on_resume: called with the iteration that the run resumes from.
        keep_bad_batch_in: folder for a batch whose loss is not finite; None: it is not kept.

    Returns:
        The history: one row every `solver.log_every` iterations, the losses averaged since the last.

    Raises:
        InputError: the loss is no longer finite; names the iteration, the images and the file that holds the batch. It
            is noticed when a row or a state is written, and no weight has changed since. So is a gradient that is not,
            where `solver.clip_norm` has its norm taken; elsewhere weights that are not finite are never written.
        Stopped: a signal asked for it; the state is kept.
    """
    step.train()
    module = accelerator.prepare_model(step.to(memory_format=torch.channels_last))
    sgd = make_optimiser(step, schedule.lr, solver)
    optimiser = accelerator.prepare_optimizer(sgd)
    base_rates = [group["lr"] for group in optimiser.param_groups]
    trained = [weight for group in optimiser.param_groups for weight in group["params"]]
    history: list[Row] = []
    meter = Meter(torch.zeros((), device=accelerator.device))
    sgd.found_inf = meter.skip  # type: ignore[attr-defined]
    found, first = checkpoints.last() if checkpoints else None, 0
    if found:
        unpack(found.tensors, step, optimiser)
        meter.sums, meter.count = dict(found.extra["sums"]), int(found.extra["count"])
        history.extend(found.extra["history"])
        first = found.iteration
        on_resume(first)
    del found  # as large as the weights and momenta are
    left = range(first, schedule.iterations)
    ready = iter(batches(left))
    try:
        with settled(checkpoints):
            for iteration, batch in zip(left, ready, strict=True):
                stopping = stop_requested()
                if checkpoints and (checkpoints.is_due(iteration) or stopping):
                    meter.read()
                    _check_weights(trained, iteration, stage, solver)
                    extra = {"history": history, "sums": meter.sums, "count": meter.count}
                    checkpoints.write(TrainingState(iteration, pack(step, optimiser), extra))
                if stopping:
                    if checkpoints:
                        checkpoints.wait()
                    stop_if_requested()
                factor = lr_factor(schedule, iteration, solver.lr_decay)
                for group, rate in zip(optimiser.param_groups, base_rates, strict=True):
                    group["lr"] = rate * factor
                losses = module(to_device(batch.for_step(), accelerator.device))
                loss = torch.stack(list(losses.values())).sum()
                accelerator.backward(loss)
                norm = _clip(trained, sgd, solver.clip_norm) if solver.clip_norm else None
                meter.add(iteration, losses, loss, norm)
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
                row = None
                if (iteration + 1) % solver.log_every == 0 or iteration + 1 == schedule.iterations:
                    meter.read()
                    means = meter.take()
                    row = {"iteration": iteration + 1, "lr": schedule.lr * factor, "loss": sum(means.values()), **means}
                    history.append(row)
                on_iteration(row["loss"] if row else None)
    except NotFiniteError as error:
        _close(ready)
        bad = next(iter(batches(range(error.iteration, error.iteration + 1))))
        raise InputError(_not_finite(error, bad, stage, keep_bad_batch_in)) from None
    finally:
        _close(ready)
    _check_weights(trained, schedule.iterations, stage, solver)
    step.eval()
    return history


def _check_weights(weights: list[nn.Parameter], iterations: int, stage: str, solver: SolverParams) -> None:
    """A finite loss may have a gradient that is not finite, which goes unnoticed if its norm is not computed."""
    if not solver.clip_norm and not math.isfinite(float(torch.nn.utils.get_total_norm(weights))):
        raise InputError(
            f"weights are not finite after {iterations} iterations; lower {stage}.lr, or set solver.clip_norm, which "
            "has such a gradient named"
        )


def _close(batches: Iterator[Batch]) -> None:
    """Stop loading batches."""
    if isinstance(batches, Generator):
        batches.close()


def _not_finite(error: NotFiniteError, batch: Batch, stage: str, folder: Path | None) -> str:
    images = ", ".join(entry.image_id for entry in batch.views.entries)
    parts = ", ".join(f"{name} {value:g}" for name, value in error.parts.items())
    kept = save_batch(folder, stage, error.iteration, batch) if folder else ""
    return (
        f"{error} on {images} ({parts}); "
        f"lower {stage}.lr or look at these images{kept and f', whose batch is in {kept}'}"
    )


def _clip(weights: list[nn.Parameter], sgd: torch.optim.SGD, limit: float) -> Tensor:
    """Have all gradients scaled together so that their norm is at most `limit`; returns their norm.

    On a GPU the fused step divides by a tensor, and nobody waits for the norm. A CPU's memory is the host's own: where
    the norm is within the limit, as it mostly is, a pass over all gradients is saved.
    """
    norm = torch.nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None])
    if not _is_the_hosts(norm):
        sgd.grad_scale = (norm / limit).clamp_(min=1.0)  # type: ignore[attr-defined]
    elif not float(norm.numpy()) <= limit:
        torch.nn.utils.clip_grads_with_norm_(weights, limit, norm)
    return norm


def _is_the_hosts(value: Tensor) -> bool:
    return value.device.type == "cpu"
