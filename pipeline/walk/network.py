"""The network that the photo is walked through: VGG16, an RPN head and a RoI head, as the paper's recipe has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.building.anchors import anchor_grid
from pipeline.building.pretrained import load_pretrained, read_state
from pipeline.building.trunk import new_trunk
from pipeline.families.faster_rcnn.building.roi_head import new_head
from pipeline.families.faster_rcnn.building.rpn import new_rpn
from pipeline.families.faster_rcnn.nn.roi_head import RoIHead, take_classifier
from pipeline.families.faster_rcnn.nn.rpn import RPNHead
from pipeline.families.faster_rcnn.params.typed import FasterRCNNParams, typed
from pipeline.nn.anchors import AnchorGrid
from pipeline.nn.backbones.trunk import Trunk
from pipeline.presets.apply import preset_params
from pipeline.runtime.errors import InputError
from pipeline.runtime.torch_seeding import torch_generator

RECIPE = "voc07_vgg16"
"""The preset with the paper's numbers."""

CLASSES = 21
"""Pascal VOC's twenty and the background."""

SEED = 0

_CHANCE = (
    "Shapes, anchors, labels and the RPN's targets are those of a trained network. Scores are chance, and so is all "
    "that they choose: proposals, their recall, RoIs and the head's targets."
)


@dataclass(frozen=True)
class Network:
    """The parts of a detector, in evaluation mode, and in words where their weights come from."""

    params: FasterRCNNParams
    trunk: Trunk
    rpn: RPNHead
    head: RoIHead
    grid: AnchorGrid
    origin: str


def recipe() -> FasterRCNNParams:
    """The paper's parameters."""
    return typed(preset_params(RECIPE))


def make_network(params: FasterRCNNParams, weights: Path | None) -> Network:
    """The network with random weights, drawn from a fixed seed, or with those of an ImageNet classifier.

    Args:
        weights: a state dict of torchvision's vgg16, .pth or .safetensors; heads stay random in any case.

    Raises:
        InputError: the file cannot be read or is of another network.
    """
    trunk = new_trunk(params.backbone)
    rpn = new_rpn(trunk.layout, params.anchors, params.rpn)
    head = new_head(trunk.layout, CLASSES, params.roi_head, params.backbone)
    rpn.initialise(torch_generator(SEED, "walk", "rpn"))
    origin, classifier = _load(trunk, weights)
    if not take_classifier(head, classifier):
        head.initialise_hidden(torch_generator(SEED, "walk", "head"))
        origin += " fc6 and fc7 are random too." if weights else ""
    head.initialise_outputs(torch_generator(SEED, "walk", "outputs"))
    targets = params.proposal_targets
    head.set_normalisation(
        torch.tensor([targets.mean] * CLASSES, dtype=torch.float32),
        torch.tensor([targets.std] * CLASSES, dtype=torch.float32),
    )
    grid = anchor_grid(params.anchors, trunk.layout)
    return Network(params, trunk.eval(), rpn.eval(), head.eval(), grid, origin)


def _load(trunk: Trunk, weights: Path | None) -> tuple[str, dict[str, torch.Tensor]]:
    """In words where the trunk's weights come from, and the classifier of the same file."""
    if weights is None:
        trunk.initialise(torch_generator(SEED, "walk", "trunk"))
        return (
            f"All weights are random, drawn from a fixed seed. {_CHANCE} Features are chance too: random filters "
            "answer to stripes, so objects show in them, but what each channel answers to is chance. `--weights` gives "
            "the trunk ImageNet's weights ([how](#make-this-page-of-your-own-photo)).",
            {},
        )
    if not weights.is_file():
        raise InputError(
            f"--weights {weights}: no such file; give a state dict of torchvision's vgg16, which a command in "
            "docs/walkthrough.md writes"
        )
    try:
        classifier = load_pretrained(trunk, read_state(weights, "--weights"), str(weights))
    except InputError as error:
        what = str(error).rpartition(";")[0] or str(error)
        raise InputError(f"{what}; give --weights a state dict of torchvision's vgg16") from error
    origin = f"The trunk has the weights of `{weights.name}`; the heads are fresh, with random weights. {_CHANCE}"
    return origin, classifier
