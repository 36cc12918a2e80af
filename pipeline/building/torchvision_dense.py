"""torchvision's RetinaNet and FCOS on a ResNet with FPN: names of their weights and ours, and required parameters.

`retinanet_resnet50_fpn`, its `_v2`, `fcos_resnet50_fpn`, and any torchvision RetinaNet or FCOS on a ResNet with levels
P3 to P7. Files of older versions name fpn.inner_blocks.0.weight and head.*.conv.0.weight without a further index.

Shapes: A anchors of a location; C classes, background included.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline.building.needs import Needs, backbone_of
from pipeline.nn.backbones.trunk import IMAGENET_MEAN, IMAGENET_STD
from pipeline.runtime.errors import InputError

if TYPE_CHECKING:
    from pipeline.artifacts.weights import State

CLASSES = "classification_head.cls_logits"
"""Their class layer: A * C logits. The first of each C is the background's, which they train towards 0 and never read;
ours has C - 1."""

NOT_READ = -20.0
"""A logit that no threshold passes."""

_BOXES = "head.regression_head.bbox_reg.bias"
_COUNTER = "num_batches_tracked"
_OLD_FPN = re.compile(r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$")
_OLD_CONV = re.compile(r"^(head\.\w+\.conv)\.(\d+)\.(weight|bias)$")
_PREFIXES = (("backbone.body.", "trunk.layers."), ("backbone.fpn.", "trunk.neck."), ("head.", "head."))


def is_torchvisions(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is one of these detectors."""
    return f"head.{CLASSES}.weight" in state and any(name.startswith("backbone.body.") for name in state)


def from_torchvision(state: Mapping[str, Tensor], source: str) -> State:
    """The weights under our names: parts trunk and head, in float32, without the rows of the background.

    Raises:
        InputError: a weight has no place in such a detector, or the class or box layer is missing.
    """
    for name in (f"head.{CLASSES}.weight", f"head.{CLASSES}.bias", _BOXES):
        if name not in state:
            raise InputError(f"{source}: weight {name!r} is missing; use a whole detector")
    ours: State = {}
    for theirs, value in state.items():
        if not theirs.endswith(_COUNTER):
            ours[_our_name(_with_index(theirs, state), source)] = value.float()
    anchors = _anchors(state)
    for kind in ("weight", "bias"):
        own = ours[f"head.{CLASSES}.{kind}"]
        ours[f"head.{CLASSES}.{kind}"] = own.unflatten(0, (anchors, -1))[:, 1:].flatten(0, 1).contiguous()
    ours["trunk.pixel_mean"], ours["trunk.pixel_std"] = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    return ours


def to_torchvision(trunk: Mapping[str, Tensor], head: Mapping[str, Tensor], anchors: int) -> State:
    """The inverse: weights of our trunk and head under torchvision's names, with background rows that never fire.

    Args:
        anchors: A.
    """
    theirs: State = {}
    for part, state in (("trunk", trunk), ("head", head)):
        for name, value in state.items():
            if name not in ("pixel_mean", "pixel_std"):
                theirs[_their_name(f"{part}.{name}")] = value.detach().clone()
    for kind, fill in (("weight", 0.0), ("bias", NOT_READ)):
        own = theirs[f"head.{CLASSES}.{kind}"].unflatten(0, (anchors, -1))
        theirs[f"head.{CLASSES}.{kind}"] = torch.cat([torch.full_like(own[:, :1], fill), own], dim=1).flatten(0, 1)
    return theirs


def needs_of(state: Mapping[str, Tensor]) -> Needs:
    """What the weights, under our names, were made for."""
    name, is_fcos = backbone_of(state), "head.regression_head.bbox_ctrness.weight" in state
    backbone: dict[str, str | int] = {"name": name, "neck.name": "fpn_p3_p7"}
    p6 = state.get("trunk.neck.extra_blocks.p6.weight")
    if p6 is not None:
        backbone |= {"neck.channels": len(p6), "neck.p6_from": "p5" if p6.shape[1] == len(p6) else "c5"}
    family, kind = ("fcos", "FCOS") if is_fcos else ("retinanet", "RetinaNet")
    convs = {k: v for k, v in state.items() if k.startswith("head.classification_head.conv.") and v.ndim == 4}
    norms = any(
        k.startswith("head.classification_head.conv.") and v.ndim == 1 and k.endswith("weight")
        for k, v in state.items()
    )
    others: dict[str, str | int] = {f"{family}.norm": "group" if norms else "none", f"{family}.depth": len(convs)}
    if convs:
        others[f"{family}.channels"] = len(next(iter(convs.values())))
    if is_fcos:
        others |= {"fcos.placement": "torchvision", "fcos.regression": "relu", "fcos.centreness_on": "box"}
    title = f"a torchvision {kind} on {name}"
    if name == "resnet50":
        title = f"torchvision's {family}_resnet50_fpn{'_v2' if norms and not is_fcos else ''}"
    return Needs(title, backbone, others, 0 if is_fcos else _anchors(state))


def class_count(state: Mapping[str, Tensor]) -> int:
    """C of weights under our names."""
    return len(state[f"head.{CLASSES}.bias"]) // _anchors(state) + 1


def _anchors(state: Mapping[str, Tensor]) -> int:
    """A."""
    return len(state[_BOXES]) // 4


def _with_index(name: str, state: Mapping[str, Tensor]) -> str:
    """A name as torchvision has it now."""
    if old := _OLD_FPN.match(name):
        return f"{old[1]}.0.{old[2]}"
    conv = _OLD_CONV.match(name)
    # FCOS's heads are one sequence of convolution, norm and ReLU, whose convolutions have such names for good.
    if conv and "head.regression_head.bbox_ctrness.weight" not in state:
        return f"{conv[1]}.{int(conv[2]) // 2}.0.{conv[3]}"
    return name


def _our_name(name: str, source: str) -> str:
    for theirs, own in _PREFIXES:
        if name.startswith(theirs):
            return own + name.removeprefix(theirs)
    raise InputError(
        f"{source}: weight {name!r} has no place in torchvision's RetinaNet or FCOS on a ResNet with FPN, which "
        "init.detector reads; give a file of one"
    )


def _their_name(name: str) -> str:
    return next(theirs + name.removeprefix(own) for theirs, own in _PREFIXES if name.startswith(own))
