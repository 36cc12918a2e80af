"""The first filters of a backbone as a picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from safetensors import SafetensorError, safe_open

from pipeline.graphs.command import StageCommand
from pipeline.runtime.errors import InputError
from pipeline.views.encoding import Picture, encode_png

_FIRST_CONVS = ("trunk.layers.0.weight", "trunk.layers.conv1.weight")  # VGG's, ResNet's
_FILTER_SIDE = 48
_FILTER_GAP = 6


def filters_picture(command: StageCommand, root: Path) -> Picture | None:
    """The filters of the first convolution as a grid; None for a trunk that does not begin with one over RGB."""
    path = root / command.out / "model.safetensors"
    try:
        with safe_open(path, "numpy") as file:
            name = next((name for name in _FIRST_CONVS if name in file.keys()), None)  # noqa: SIM118
            if name is None:
                return None
            filters = file.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error}); dvc repro {path.parent.name}") from error
    if filters.ndim != 4 or filters.shape[1] != 3:
        return None
    height, width = filters.shape[2:]
    caption = f"{command.stage}: the {len(filters)} filters of the first convolution, {height} x {width}, grey is 0"
    return encode_png(_filter_grid(filters), caption)


def _filter_grid(filters: np.ndarray) -> np.ndarray:
    """(O, 3, kh, kw) weights as squares of RGB: grey is 0, the largest weight of each filter is full colour."""
    largest = np.abs(filters).max(axis=(1, 2, 3), keepdims=True)
    shades = np.round(127.5 + 127.5 * filters / np.where(largest > 0, largest, 1)).astype(np.uint8)
    columns = int(np.ceil(np.sqrt(len(filters))))
    rows = -(-len(filters) // columns)
    step = _FILTER_SIDE + _FILTER_GAP
    canvas = np.full((rows * step + _FILTER_GAP, columns * step + _FILTER_GAP, 3), 255, dtype=np.uint8)
    for index, shade in enumerate(shades):
        square = cv2.resize(
            np.ascontiguousarray(shade.transpose(1, 2, 0)),
            (_FILTER_SIDE, _FILTER_SIDE),
            interpolation=cv2.INTER_NEAREST,
        )
        y, x = _FILTER_GAP + index // columns * step, _FILTER_GAP + index % columns * step
        canvas[y : y + _FILTER_SIDE, x : x + _FILTER_SIDE] = square
    return canvas
