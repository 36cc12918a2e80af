"""Get the initial weights: ImageNet's from a file or from torchvision, those of a trained detector, or those of a small
trunk pre-trained on generated crops.

Writes model.safetensors with the trunk, the layers that a RoI head starts from if the weights have them (fc6 and fc7,
or ResNet's res5), and a detector's RPN. A neck is part of the trunk and starts random, or from a detector's. If a
detector's classes are known, its whole head is included, and detector_classes.json has their names.
"""

from __future__ import annotations

import torch

from pipeline.artifacts.classes import write_detector_classes
from pipeline.artifacts.weights import State, save_parts
from pipeline.building.initial_detector import load_detector
from pipeline.building.pretrained import download_weights, load_pretrained, read_weights_folder
from pipeline.building.timm_model import timm_version
from pipeline.building.timm_trunk import TimmTrunk
from pipeline.building.trunk import new_trunk
from pipeline.datasets.crops import shape_crops
from pipeline.nn.backbones.trunk import Trunk
from pipeline.params.backbone import BackboneParams
from pipeline.params.base import Base
from pipeline.params.initial import InitParams
from pipeline.runtime.launcher import launch
from pipeline.runtime.stage import Stage, run_stage
from pipeline.runtime.torch_seeding import torch_generator
from pipeline.training.pretrain import pretrain_trunk
from pipeline.training.resumable import resumable


def backbone(stage: Stage) -> None:
    """Write the part `trunk`, and the parts `classifier` (what a head starts from), `rpn` and `head` where given."""
    params = stage.params.backbone
    trunk = new_trunk(params)
    if isinstance(trunk, TimmTrunk):
        stage.log(trunk.note)
        stage.kernels["timm"] = timm_version()
    trunk.initialise(torch_generator(stage.params.base.seed, stage.name, "trunk"))
    if trunk.neck:
        trunk.neck.initialise(torch_generator(stage.params.base.seed, stage.name, "neck"))
    parts: dict[str, torch.nn.Module | State] = {"trunk": trunk}
    if stage.params.init.detector == "file":
        parts |= _of_detector(trunk, stage)
    elif params.weights in ("file", "torchvision"):
        if params.weights == "file":
            state, source = read_weights_folder(stage.linked("weights"), "backbone.weights")
        else:
            state, source = download_weights(params.name)
        classifier = load_pretrained(trunk, state, source)
        if classifier:
            parts["classifier"] = classifier
        of_neck = trunk.neck.take_published(state) if trunk.neck else ()
        neck = "the neck but for " + " and ".join(of_neck) if of_neck else "neck"
        starts_random = [*([neck] if trunk.neck else []), *([] if classifier else ["head"])]
        stage.log(
            f"weights of {source}"
            + (f"; initialised at random: {' and '.join(starts_random)}" if starts_random else "")
        )
    elif params.weights == "pretrain":
        _pretrain(trunk, stage)
    save_parts(stage.out, parts)


def _of_detector(trunk: Trunk, stage: Stage) -> dict[str, State]:
    """Load the trunk of the linked detector; its other parts."""
    init = stage.params.init
    found = load_detector(trunk, stage.params.backbone, stage.linked("detector"), init.classes)
    taken = "trunk, RPN and RoI head" if "rpn" in found.parts else "trunk and head"
    stage.log(f"{taken} of {found.title}; all other layers are newly initialised")
    for line in found.notes:
        stage.log(line)
    if found.classes is not None:
        write_detector_classes(stage.out, found.classes)
    else:
        stage.log(
            "the detector's classes are unknown, so class layers are newly initialised; init.classes can name them"
        )
    return found.parts


def _pretrain(trunk: Trunk, stage: Stage) -> None:
    params, seed = stage.params.backbone.pretrain, stage.params.base.seed
    crops, labels = shape_crops(params.images, params.crop_size, seed)
    with resumable(stage, params.iterations) as run:
        outcome = pretrain_trunk(
            trunk,
            torch.from_numpy(crops).permute(0, 3, 1, 2),
            torch.from_numpy(labels),
            params,
            seed,
            launch(stage.params.base),
            run.on_iteration,
            run.checkpoints,
            run.on_resume,
        )
    stage.log(f"pre-trained on {len(crops)} crops, {outcome.accuracy:.1%} classified correctly at the end")
    for remark in outcome.remarks():
        stage.log(f"note: {remark}")


if __name__ == "__main__":
    run_stage(
        backbone,
        about=__doc__,
        sections={
            "base": Base,
            "backbone": BackboneParams,
            "init": InitParams,
        },
        inputs={
            "weights": "linked weights folder (data/weights); may be empty",
            "detector": "linked folder of a trained detector (data/initial_detector); may be empty",
        },
    )
