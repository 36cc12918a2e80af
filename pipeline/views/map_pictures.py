"""Pictures of the stages that make weights and maps: the backbone's first filters, the cached feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from safetensors import SafetensorError, safe_open

from pipeline.artifacts.maps import FeatureMaps
from pipeline.errors import InputError
from pipeline.views.command import StageCommand
from pipeline.views.contact_sheet import Tile, contact_sheet
from pipeline.views.drawing import enlarged
from pipeline.views.encoding import Picture, encode_photo, encode_png
from pipeline.views.marks import heat_map
from pipeline.views.samples import NetworkImages

TILE_SIDE = 440

_FIRST_CONV = "trunk.layers.0.weight"
_FILTER_SIDE = 48
_FILTER_GAP = 6


def backbone_picture(command: StageCommand, root: Path, wanted: Sequence[str] | None) -> Picture | None:
    """The filters of the first convolution as a grid; None for a trunk that does not begin with one over RGB."""
    path = root / command.out / "model.safetensors"
    try:
        with safe_open(path, "numpy") as file:
            if _FIRST_CONV not in file.keys():  # noqa: SIM118
                return None
            filters = file.get_tensor(_FIRST_CONV)
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


def features_picture(command: StageCommand, root: Path, wanted: Sequence[str] | None) -> Picture:
    """Images, and beside each the mean over the channels of its map: dark is low, bright is high."""
    images = NetworkImages(root / command.input("resize"))
    folder = root / command.out
    maps = FeatureMaps(folder)
    tiles, levels = [], 1
    chosen = images.choose(["train"], 2, wanted)
    if not wanted and not len(maps):
        kept = [Tile(enlarged(images.pixels(entry), TILE_SIDE)[0], entry.image_id) for entry in chosen]
        return encode_photo(contact_sheet(kept, 2), f"{command.stage}: keeps no maps, images are read")
    for entry in chosen:
        if entry not in maps:
            raise InputError(f"{folder}: no map of {entry.name}; name another image or dvc repro {command.stage}")
        pixels, _ = enlarged(images.pixels(entry), TILE_SIDE)
        tiles.append(Tile(pixels, entry.caption))
        levels = len(maps[entry])
        for feature_map in maps[entry]:
            mean = feature_map.astype(np.float32).mean(axis=0)
            depth, height, width = feature_map.shape
            caption = f"mean of {depth} channels, {width} x {height} cells, {mean.min():.2f} to {mean.max():.2f}"
            tiles.append(Tile(heat_map(mean, (pixels.shape[0], pixels.shape[1])), caption))
    return encode_photo(contact_sheet(tiles, 1 + levels), f"{command.stage}: where the trunk's maps are active")
