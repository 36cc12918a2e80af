"""Pre-train a small trunk by classifying crops.

Shapes: N crops in all, B of an iteration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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


_LOOKED_AT = 64  # crops


@dataclass(frozen=True)
class Pretraining:
    """How a pre-training went.

    Attributes:
        accuracy, last_loss: means over the last tenth of the iterations.
        first_loss, highest_loss: of one iteration each.
        constant: channels of the trunk's last map that have one value all over a crop, mean over crops.
        channels: of the same map.
    """

    accuracy: float
    first_loss: float
    highest_loss: float
    last_loss: float
    constant: float
    channels: int

    def remarks(self) -> list[str]:
        """Signs that the trunk is of little use, a line each.

        The learning rate of a one-cycle schedule is at its highest after 30% of the iterations. If these are few, it
        rises before the weights have settled: the loss jumps, ReLUs die, and too few iterations are left to recover.
        A high loss on the way is no sign: with the default parameters it rises from 1.4 to 6.5 and ends at 0.07.
        """
        found = []
        if self.last_loss > self.first_loss / 2:
            found.append(
                f"the loss is {self.last_loss:.2f} at the end, after {self.first_loss:.2f} at first and at most "
                f"{self.highest_loss:.2f}"
            )
        if self.constant > self.channels / 2:
            found.append(f"{self.constant:.0f} of the trunk's {self.channels} channels are constant within a crop")
        remedy = "raise backbone.pretrain.iterations"
        return [f"{remark}, so the trunk has learnt little; {remedy}" for remark in found]


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
) -> Pretraining:
    """Train `trunk` in place to classify (N, 3, S, S) uint8 crops with (N,) labels.

    Args:
        on_iteration: called with the loss after each iteration.
        checkpoints: where the state is kept, and where a run that was cut short left it; None: nowhere.
        on_resume: called with the iteration that the run resumes from.

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
    losses: list[float] = []
    found, first = checkpoints.last() if checkpoints else None, 0
    if found:
        unpack(found.tensors, learner, optimiser)
        schedule.load_state_dict(found.extra["schedule"])
        optimiser.param_groups[0].update(found.extra["rates"])
        correct.extend(found.extra["correct"])
        losses.extend(found.extra["losses"])
        first = found.iteration
        on_resume(first)
    del found  # as large as the weights and momenta are
    with settled(checkpoints):
        for iteration in range(first, params.iterations):
            stopping = stop_requested()
            if checkpoints and (checkpoints.is_due(iteration) or stopping):
                rates = {name: optimiser.param_groups[0][name] for name in ("lr", "momentum")}
                extra = {"schedule": schedule.state_dict(), "rates": rates, "correct": correct, "losses": losses}
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
            losses.append(float(loss.detach()))
            on_iteration(losses[-1])
    trunk.eval()
    tail = max(1, params.iterations // 10)
    with torch.no_grad():
        shown = crops[:_LOOKED_AT].to(accelerator.device)
        maps = layers(trunk.normalise(shown, [(shown.shape[2], shown.shape[3])] * len(shown)))
        has_cells = maps.shape[2] * maps.shape[3] > 1  # of one cell every channel is constant
        constant = ((maps.amax(dim=(2, 3)) == maps.amin(dim=(2, 3))) & has_cells).sum(dim=1).float().mean()
    return Pretraining(
        sum(correct[-tail:]) / tail,
        losses[0],
        max(losses),
        sum(losses[-tail:]) / tail,
        float(constant),
        int(maps.shape[1]),
    )


def _augment(crops: Tensor, generator: torch.Generator) -> Tensor:
    flip = torch.rand(len(crops), generator=generator) < 0.5
    return torch.where(flip[:, None, None, None], crops.flip(3), crops)
