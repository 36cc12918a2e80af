"""Where VGG16 is cut, what comes out, and pictures of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.building.trunk import new_trunk
from pipeline.nn.backbones.trunk import Trunk
from pipeline.params.backbone import BackboneParams
from pipeline.views.contact_sheet import GAP, Tile
from pipeline.views.marks import heat_map

_SHOWN = 12
_COLUMNS = 6


@dataclass(frozen=True)
class Block:
    """The convolutions between two poolings: how many, their width, and the (D, Fh, Fw) that comes out, px per cell."""

    convolutions: int
    channels: int
    shape: tuple[int, ...]
    stride: int
    frozen: bool


@dataclass(frozen=True)
class Cut:
    """The trunk, block by block.

    Attributes:
        layers: how many are kept; convolutions and ReLUs and poolings count. weights: of the convolutions and biases.
        trained: of those the ones that are not frozen.
        sees: pixels of the image that a cell of the last map sees along a side; with_rpn: after the RPN's 3x3.
    """

    layers: int
    weights: int
    trained: int
    blocks: list[Block]
    sees: int
    with_rpn: int


def cut(params: BackboneParams, height: int, width: int) -> Cut:
    """The layers of a trunk, from shapes alone; nothing is computed."""
    with torch.device("meta"):
        trunk = new_trunk(params)
        maps = torch.empty(1, 3, height, width)
    layers = trunk.layers
    assert isinstance(layers, nn.Sequential)
    sees, step = 1, 1
    blocks: list[Block] = []
    convolutions = 0
    frozen = False
    for layer in layers:
        if isinstance(layer, nn.MaxPool2d):
            blocks.append(Block(convolutions, maps.shape[1], tuple(maps.shape[1:]), step, frozen))
            sees, step, convolutions = sees + step, step * 2, 0
        if isinstance(layer, nn.Conv2d):
            sees, convolutions = sees + 2 * step, convolutions + 1
            frozen = not layer.weight.requires_grad
        maps = layer(maps)
    blocks.append(Block(convolutions, maps.shape[1], tuple(maps.shape[1:]), step, frozen))
    weights = list(trunk.parameters())
    return Cut(
        len(layers),
        sum(weight.numel() for weight in weights),
        sum(weight.numel() for weight in weights if weight.requires_grad),
        blocks,
        sees,
        sees + 2 * step,
    )


def feature_map(trunk: Trunk, pixels: np.ndarray) -> Tensor:
    """The (1, D, Fh, Fw) map of an (H, W, 3) image."""
    images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]
    with torch.inference_mode():
        (maps,) = trunk(trunk.normalise(images, [pixels.shape[:2]]))
    return maps


def features_picture(maps: Tensor, side: int) -> Tile:
    """The channels that vary most."""
    values = maps[0].numpy()
    spread = values.std(axis=(1, 2))
    chosen = np.sort(np.argsort(-spread, kind="stable")[:_SHOWN])
    depth, height, width = values.shape
    wide = (2 * side + GAP - 4 * (_COLUMNS - 1)) // _COLUMNS
    cells = [heat_map(values[channel], (max(1, round(wide * height / width)), wide)) for channel in chosen]
    cells = [np.pad(cell, ((0, 4), (0, 4), (0, 0)), constant_values=255) for cell in cells]
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % _COLUMNS)
    rows = [np.concatenate(cells[first : first + _COLUMNS], axis=1) for first in range(0, len(cells), _COLUMNS)]
    dead = int((spread == 0).sum())
    what = f"{len(chosen)} of {depth} channels, {width} x {height} cells"
    caption = f"{what}, each scaled from its lowest to its highest value; {dead} of the {depth} are 0 everywhere"
    return Tile(np.concatenate(rows)[:-4, :-4], caption, wide=True)
