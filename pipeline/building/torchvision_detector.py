"""torchvision's Faster R-CNN on a ResNet with FPN: names of its weights and ours, and which parameters they fit.

`fasterrcnn_resnet50_fpn`, its `_v2`, and any torchvision FasterRCNN on `resnet_fpn_backbone`. Files of older versions
name fpn.inner_blocks.0.weight and rpn.head.conv.weight without a further index.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from pipeline.artifacts.weights import State
from pipeline.building.needs import Needs, backbone_of
from pipeline.nn.backbones.trunk import IMAGENET_MEAN, IMAGENET_STD
from pipeline.runtime.errors import InputError

BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
"""Of torchvision's box coder in a RoI head: deltas are divided by them, which is our `delta_std`."""

COUNTER = "num_batches_tracked"
_OLD_CONV = re.compile(r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d+|rpn\.head\.conv)\.(weight|bias)$")
_RPN_CONV = re.compile(r"^rpn\.head\.conv\.(\d+)\.0\.(weight|bias)$")
_BOX_CONV = re.compile(r"^roi_heads\.box_head\.(\d+\.[01]\.\w+)$")
_BOX_LINEAR = re.compile(r"^roi_heads\.box_head\.\d+\.(weight|bias)$")
_OUR_RPN_CONV = re.compile(r"^rpn\.(?:conv|more\.(\d+))\.(weight|bias)$")
_PREFIXES = (
    ("backbone.body.", "trunk.layers."),
    ("backbone.fpn.", "trunk.neck."),
    ("rpn.head.cls_logits.", "rpn.cls_score."),
    ("rpn.head.bbox_pred.", "rpn.bbox_pred."),
    ("roi_heads.box_head.layer4.", "head.res5."),
    ("roi_heads.box_head.", "head."),
    ("roi_heads.box_predictor.", "head."),
)
_ALWAYS = ("rpn.conv", "rpn.cls_score", "rpn.bbox_pred", "head.cls_score", "head.bbox_pred")
"""Layers that a detector has in any case."""
_OUTPUTS = ("cls_score.", "bbox_pred.")


def is_torchvisions(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is one of torchvision's detectors."""
    return all(any(name.startswith(prefix) for name in state) for prefix in ("backbone.body.", "roi_heads.", "rpn."))


def from_torchvision(state: Mapping[str, Tensor], source: str) -> State:
    """The weights under our names: parts trunk, rpn and head, in float32.

    The one logit of the RPN is the fg logit, beside a bg logit of 0. The deltas' weights become `delta_std`.

    Raises:
        InputError: a weight has no place in a Faster R-CNN on a ResNet with FPN, or one that all have is missing.
    """
    ours: State = {}
    for theirs, value in state.items():
        if theirs.endswith(COUNTER):
            continue
        name, value = _our_name(_with_index(theirs), source), value.float()
        ours[name] = torch.cat([torch.zeros_like(value), value]) if name.startswith("rpn.cls_score.") else value
    for name in (f"{layer}.{kind}" for layer in _ALWAYS for kind in ("weight", "bias")):
        if name not in ours:
            raise InputError(f"{source}: weight {torchvision_name(name)!r} is missing; use a whole detector")
    classes = len(ours["head.cls_score.bias"])
    ours["trunk.pixel_mean"], ours["trunk.pixel_std"] = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    ours["head.delta_mean"] = torch.zeros(classes, 4)
    ours["head.delta_std"] = torch.tensor([1 / weight for weight in BOX_WEIGHTS]).repeat(classes, 1)
    return ours


def _with_index(name: str) -> str:
    """A name as torchvision has it now."""
    old = _OLD_CONV.match(name)
    if not old:
        return name
    return f"{old[1]}.0.0.{old[2]}" if old[1] == "rpn.head.conv" else f"{old[1]}.0.{old[2]}"


def _our_name(name: str, source: str) -> str:
    if conv := _RPN_CONV.match(name):
        return f"rpn.conv.{conv[2]}" if conv[1] == "0" else f"rpn.more.{int(conv[1]) - 1}.{conv[2]}"
    if conv := _BOX_CONV.match(name):
        return f"head.convs.{conv[1]}"
    if linear := _BOX_LINEAR.match(name):
        return f"head.fc6.{linear[1]}"
    for theirs, own in _PREFIXES:
        if name.startswith(theirs):
            return own + name.removeprefix(theirs)
    raise InputError(
        f"{source}: weight {name!r} has no place in torchvision's fasterrcnn_resnet50_fpn or a similar one on another "
        "ResNet, which init.detector reads; give a file of one"
    )


def torchvision_name(name: str, box_convolutions: int = 0) -> str:
    """torchvision's name of a weight, the inverse of `from_torchvision`.

    Args:
        name: of a weight that torchvision has too. box_convolutions: how many the RoI head has.
    """
    if conv := _OUR_RPN_CONV.match(name):
        return f"rpn.head.conv.{0 if conv[1] is None else int(conv[1]) + 1}.0.{conv[2]}"
    if name.startswith("head."):
        own = name.removeprefix("head.")
        if own.startswith(_OUTPUTS):
            return f"roi_heads.box_predictor.{own}"
        # Theirs is a sequence: the convolutions, a layer that flattens, and the linear one.
        if box_convolutions:
            own = own.removeprefix("convs.").replace("fc6.", f"{box_convolutions + 1}.")
        return f"roi_heads.box_head.{own.replace('res5.', 'layer4.')}"
    for theirs, own in _PREFIXES:
        if name.startswith(own):
            return theirs + name.removeprefix(own)
    raise KeyError(name)


def needs_of(state: Mapping[str, Tensor]) -> Needs:
    """What the weights, under our names, were made for."""
    backbone: dict[str, str | int] = {"name": backbone_of(state)}
    inner = state.get("trunk.neck.inner_blocks.0.0.weight")
    if inner is None:
        backbone["neck.name"] = "none"
    else:
        norm = "batch" if "trunk.neck.inner_blocks.0.1.weight" in state else "none"
        backbone |= {"neck.name": "fpn", "neck.channels": len(inner), "neck.norm": norm}
    depth = 1 + sum(name.startswith("rpn.more.") and name.endswith(".weight") for name in state)
    others: dict[str, str | int] = {"rpn.depth": depth}
    others["rpn.channels"] = len(state["rpn.conv.weight"])
    kinds = {"head.convs.0.0.weight": "convs", "head.res5.0.conv1.weight": "res5"}
    others["roi_head.kind"] = next((kind for name, kind in kinds.items() if name in state), "fc")
    if others["roi_head.kind"] != "res5":
        others["roi_head.hidden"] = state["head.cls_score.weight"].shape[1]
    forms = {("fpn", "none", 1, "fc"): "fpn", ("fpn", "batch", 2, "convs"): "fpn_v2"}
    form = forms.get((str(backbone["neck.name"]), str(backbone.get("neck.norm")), depth, str(others["roi_head.kind"])))
    title = f"a torchvision FasterRCNN on {backbone['name']}"
    if backbone["name"] == "resnet50" and form is not None:
        title = f"torchvision's fasterrcnn_resnet50_{form}"
    return Needs(title, backbone, others, len(state["rpn.bbox_pred.bias"]) // 4)


def class_count(state: Mapping[str, Tensor]) -> int:
    """C of weights under our names."""
    return len(state["head.delta_mean"])
