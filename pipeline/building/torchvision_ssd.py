"""torchvision's SSD on VGG16: names of its weights and ours, and which parameters they fit.

`ssd300_vgg16`, and any torchvision SSD on its `SSDFeatureExtractorVGG`. Theirs has conv5, fc6 and fc7 in `extra.0`; of
ours conv5 belongs to the backbone.

Shapes: A default boxes of a cell; C classes, background included.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline.building.needs import Needs
from pipeline.runtime.errors import InputError

if TYPE_CHECKING:
    from pipeline.artifacts.weights import State

PIXEL_MEAN, PIXEL_STD = (0.48235, 0.45882, 0.40784), (1 / 255,) * 3
"""What torchvision's SSD300 takes from RGB in 0..1, and divides it by."""

_CLASSES, _BOXES = "head.classification_head.module_list.0.bias", "head.regression_head.module_list.0.bias"
_CONV5 = {1: 24, 3: 26, 5: 28}
"""Layers of theirs in `extra.0`, to ours in VGG16."""

_FEATURE = re.compile(r"^backbone\.features\.(\d+\.\w+)$")
_IN_CONV5 = re.compile(r"^backbone\.extra\.0\.([135])\.(\w+)$")
_FC = re.compile(r"^backbone\.extra\.0\.7\.([13]\.\w+)$")
_EXTRA = re.compile(r"^backbone\.extra\.([1-9]\d*\.\d+\.\w+)$")
_PARTS = 5
"""Of `extra` for images of 300 px. torchvision's `highres` has six, and other levels than SSD512."""


def is_torchvisions(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is one of these detectors."""
    return _CLASSES in state and any(name.startswith("backbone.extra.") for name in state)


def from_torchvision(state: Mapping[str, Tensor], source: str) -> State:
    """The weights under our names: parts trunk and head, in float32.

    Raises:
        InputError: a weight has no place in such a detector, or the box layers are missing.
    """
    if _BOXES not in state:
        raise InputError(f"{source}: weight {_BOXES!r} is missing; use a whole detector")
    ours = {_our_name(name, source): value.float() for name, value in state.items()}
    ours["trunk.pixel_mean"], ours["trunk.pixel_std"] = torch.tensor(PIXEL_MEAN), torch.tensor(PIXEL_STD)
    return ours


def to_torchvision(trunk: Mapping[str, Tensor], head: Mapping[str, Tensor]) -> State:
    """The inverse: weights of our trunk and head under torchvision's names."""
    named = {f"trunk.{name}": value for name, value in trunk.items() if name not in ("pixel_mean", "pixel_std")}
    named |= {f"head.{name}": value for name, value in head.items()}
    return {_their_name(name): value.detach().clone() for name, value in named.items()}


def needs_of(state: Mapping[str, Tensor]) -> Needs:
    """What the weights, under our names, were made for."""
    parts = {name.split(".")[3] for name in state if name.startswith("trunk.neck.extra.")}
    is_ssd300 = len(parts) == _PARTS
    title = "torchvision's ssd300_vgg16" if is_ssd300 else "a torchvision SSD of other levels"
    backbone: dict[str, str | int] = {"name": "vgg16" if is_ssd300 else "another network", "neck.name": "ssd300"}
    return Needs(title, backbone, {"resize.fixed_width": 300, "resize.fixed_height": 300}, 0)


def class_count(state: Mapping[str, Tensor]) -> int:
    """C of weights under our names.

    Raises:
        ValueError: the class layer has not as many outputs for each default box as for any other.
    """
    outputs, boxes = len(state[_CLASSES]), len(state[_BOXES]) // 4
    if outputs % boxes:
        raise ValueError(f"{outputs} class outputs of {boxes} default boxes")
    return outputs // boxes


def _our_name(name: str, source: str) -> str:
    if name == "backbone.scale_weight":
        return "trunk.neck.scale_weight"
    if feature := _FEATURE.match(name):
        return f"trunk.layers.{feature[1]}"
    if conv5 := _IN_CONV5.match(name):
        return f"trunk.layers.{_CONV5[int(conv5[1])]}.{conv5[2]}"
    if fc := _FC.match(name):
        return f"trunk.neck.extra.0.{fc[1]}"
    if extra := _EXTRA.match(name):
        return f"trunk.neck.extra.{extra[1]}"
    if name.startswith("head."):
        return name
    raise InputError(
        f"{source}: weight {name!r} has no place in torchvision's SSD on VGG16, which init.detector reads; give a file "
        "of one"
    )


def _their_name(name: str) -> str:
    part, _, rest = name.partition(".")
    if part == "head":
        return name
    if rest == "neck.scale_weight":
        return "backbone.scale_weight"
    if rest.startswith("neck.extra.0."):
        return f"backbone.extra.0.7.{rest.removeprefix('neck.extra.0.')}"
    if rest.startswith("neck."):
        return f"backbone.{rest.removeprefix('neck.')}"
    _, index, kind = rest.split(".")
    places = {ours: theirs for theirs, ours in _CONV5.items()}
    place = places.get(int(index))
    return f"backbone.features.{index}.{kind}" if place is None else f"backbone.extra.0.{place}.{kind}"
