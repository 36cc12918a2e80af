"""Pre-train a small trunk by classifying crops.

Shapes: N crops in all, B of an iteration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional

from pipeline.runtime.errors import InputError
from pipeline.runtime.stopping import stop_if_requested, stop_requested
from pipeline.runtime.torch_seeding import torch_generator
from pipeline.training.checkpoints import Checkpoints, TrainingState, settled
from pipeline.training.packing import pack, unpack

if TYPE_CHECKING:
    from pipeline.nn.backbones.trunk import Trunk
    from pipeline.params.backbone import Pretrain


def pretrain_trunk(
    trunk: Trunk,
    crops: Tensor,
    labels: Tensor,
    params: Pretrain,
    seed: int,
    accelerator: Accelerator,
    on_iteration: Callable[[float | None], None],
    checkpoints: Checkpoints | None = None,
    on_resume: Callable[[int], None] = lambda iteration: None,
) -> float:
    """Train `trunk` in place to classify (N, 3, S, S) uint8 crops with (N,) labels.

    Args:
        on_iteration: called with the loss after each iteration.
        checkpoints: where the state is kept, and where a run that was cut short left it; None: nowhere.
        on_resume: called with the iteration that the run resumes from.

    Returns:
        The accuracy over the last tenth of the iterations.

    Raises:
        InputError: the loss is no longer finite; names the iteration and the parameter to lower.
        Stopped: a signal asked for it; the state is kept.
    """
    layers = trunk.layers.train().requires_grad_(True)
    trunk.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    classes = int(labels.max()) + 1
    classifier = nn.Linear(trunk.backbone_layout.levels[-1].channels, classes).to(accelerator.device)
    generator = torch_generator(seed, "pretrain", "classifier")
    nn.init.zeros_(classifier.bias)
    with torch.no_grad():
        classifier.weight.copy_(torch.randn(classifier.weight.shape, generator=generator) * 0.01)
    parameters = [*layers.parameters(), *classifier.parameters()]
    optimiser = torch.optim.SGD(parameters, lr=params.lr, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, params.lr, total_steps=params.iterations)
    learner = nn.ModuleDict({"layers": layers, "classifier": classifier})
    correct: list[float] = []
    found, first = checkpoints.last() if checkpoints else None, 0
    if found:
        unpack(found.tensors, learner, optimiser)
        schedule.load_state_dict(found.extra["schedule"])
        optimiser.param_groups[0].update(found.extra["rates"])
        correct.extend(found.extra["correct"])
        first = found.iteration
        on_resume(first)
    del found  # as large as the weights and momenta are
    with settled(checkpoints):
        for iteration in range(first, params.iterations):
            stopping = stop_requested()
            if checkpoints and (checkpoints.is_due(iteration) or stopping):
                rates = {name: optimiser.param_groups[0][name] for name in ("lr", "momentum")}
                extra = {"schedule": schedule.state_dict(), "rates": rates, "correct": correct}
                checkpoints.write(TrainingState(iteration, pack(learner, optimiser), extra))
            if stopping:
                if checkpoints:
                    checkpoints.wait()
                stop_if_requested()
            generator = torch_generator(seed, "pretrain", iteration)
            chosen = torch.randint(len(crops), (params.crops_per_iteration,), generator=generator)
            images, wanted = (
                _augment(crops[chosen], generator).to(accelerator.device),
                labels[chosen].to(accelerator.device),
            )
            with accelerator.autocast():
                size = (images.shape[2], images.shape[3])
                normalised = trunk.normalise(images, [size] * len(images))
                maps = layers(normalised.contiguous(memory_format=torch.channels_last))
                logits = classifier(maps.amax(dim=(2, 3))).float()
            loss = functional.cross_entropy(logits, wanted)
            if not torch.isfinite(loss):
                raise InputError(f"loss is not finite at iteration {iteration} on crops; lower backbone.pretrain.lr")
            accelerator.backward(loss)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad(set_to_none=True)
            correct.append(float((logits.argmax(1) == wanted).float().mean()))
            on_iteration(float(loss.detach()))
    trunk.eval()
    tail = correct[-max(1, params.iterations // 10) :]
    return sum(tail) / len(tail)


def _augment(crops: Tensor, generator: torch.Generator) -> Tensor:
    flip = torch.rand(len(crops), generator=generator) < 0.5
    return torch.where(flip[:, None, None, None], crops.flip(3), crops)
