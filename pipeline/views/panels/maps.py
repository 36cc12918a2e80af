"""Panels of feature maps, and of maps with one value per location."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.maps import INDEX_FILE, FeatureMaps
from pipeline.geometry.layout import MapLayout
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text
from pipeline.views.contact_sheet import GAP, Tile
from pipeline.views.drawing import BLACK, TEXT_SIZE, WHITE, BoxLayer, draw_boxes, draw_text, enlarged
from pipeline.views.marks import heat_map, heat_over, ramp_keys, zoom_of
from pipeline.views.panels.request import PanelRequest

_CHANNELS = 12
_COLUMNS = 4
_GAP = 4


def features_panels(request: PanelRequest) -> list[Tile]:
    """The image, the mean over the channels, and the channels that vary most over this image, in brief without these;
    the image and word of it where the stage keeps no maps."""
    maps = _maps_of(request)
    return channel_panels(request, maps) if maps else [_without_maps(request)]


def frozen_panels(request: PanelRequest) -> list[Tile]:
    """The same of the maps that the trunk's frozen stages gave, which need not be of the levels of the trunk's."""
    maps = _maps_of(request)
    if not maps:
        return [_without_maps(request)]
    width = request.layout.padded(np.array(request.images.pixels(request.entry).shape[1]))
    strides = [2 ** round(float(np.log2(width / own.shape[-1]))) for own in maps]
    return _map_panels(request, maps, [f"stride {stride}: " if len(maps) > 1 else "" for stride in strides])


def _maps_of(request: PanelRequest) -> tuple[np.ndarray, ...]:
    """What the stage stored of the image; nothing where it keeps no maps."""
    maps = FeatureMaps(request.folder)
    if request.entry in maps:
        return maps[request.entry]
    if len(maps):
        raise InputError(f"{request.folder}: has no map of {request.entry.name}; dvc repro {request.command.stage}")
    return ()


def _without_maps(request: PanelRequest) -> Tile:
    image, _ = enlarged(request.images.pixels(request.entry), request.side)
    return Tile(image, f"{request.name}: {request.command.stage} keeps no maps, images are read")


def channel_panels(request: PanelRequest, maps: Sequence[np.ndarray]) -> list[Tile]:
    """The same of the trunk's maps, (D, Fh, Fw) each, one per level, that come from elsewhere."""
    _check_levels(request, maps, request.layout)
    return _map_panels(request, maps, [request.layout.prefix(level) for level in range(len(maps))])


def _map_panels(request: PanelRequest, maps: Sequence[np.ndarray], prefixes: Sequence[str]) -> list[Tile]:
    pixels = request.images.pixels(request.entry)
    tiles = [Tile(enlarged(pixels, request.side)[0], request.name)]
    for feature_map, prefix in zip(maps, prefixes, strict=True):
        tiles += _level_panels(request, pixels, feature_map, prefix)
    return tiles


def _level_panels(request: PanelRequest, pixels: np.ndarray, feature_map: np.ndarray, name: str) -> list[Tile]:
    values = feature_map.astype(np.float32)
    depth, height, width = values.shape
    mean = values.mean(axis=0)
    low, high = float(mean.min()), float(mean.max())
    over = heat_over(pixels, mean, request.side, low, high)
    keys = ramp_keys(np.array([0, 0.5, 1]), [f"{value:.2f}" for value in (low, (low + high) / 2, high)])
    caption = f"{name}mean of {depth} channels, {width} x {height} cells, {feature_map.dtype}"
    mean_panel = Tile(over, caption, keys)
    if request.brief:
        return [mean_panel]
    spread = values.std(axis=(1, 2))
    strongest, dead = np.argsort(-spread, kind="stable")[:_CHANNELS], int((spread == 0).sum())
    scaled = "each scaled from its lowest to its highest value"
    note = f"{name}the {len(strongest)} channels that vary most, {scaled}; constant: {dead}"
    grid = _channel_grid(values, strongest, over.shape[0] / over.shape[1], 2 * request.side + GAP)
    return [mean_panel, Tile(grid, note, wide=True)]


def _channel_grid(values: np.ndarray, channels: np.ndarray, aspect: float, width: int) -> np.ndarray:
    """Maps of channels side by side in `width` px, each with its number and its largest value."""
    wide = (width - _GAP * (_COLUMNS - 1)) // _COLUMNS
    high = max(1, round(wide * aspect))
    cells = []
    for channel in channels:
        cell = heat_map(values[channel], (high, wide))
        text = f"{channel}: {values[channel].min():.1f} to {values[channel].max():.1f}"
        cell = _with_heading(cell, text)
        cells.append(np.pad(cell, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255))
    blank = np.full_like(cells[0], 255)
    cells += [blank] * (-len(cells) % _COLUMNS)
    rows = [np.concatenate(cells[start : start + _COLUMNS], axis=1) for start in range(0, len(cells), _COLUMNS)]
    return np.concatenate(rows)[:-_GAP, :-_GAP]


def _with_heading(cell: np.ndarray, text: str) -> np.ndarray:
    heading = np.full((TEXT_SIZE + 6, cell.shape[1], 3), 255, dtype=np.uint8)
    draw_text(heading, text, (2, 3), BLACK)
    return np.concatenate([heading, cell])


def stored_maps(folder: Path, entry: Entry) -> tuple[np.ndarray, ...]:
    """The maps of one image that a stage wrote, one per level; none where it has none, of this image or at all."""
    maps = FeatureMaps(folder) if (folder / INDEX_FILE).is_file() else None
    return maps[entry] if maps is not None and entry in maps else ()


def _check_levels(request: PanelRequest, maps: Sequence[np.ndarray], layout: MapLayout) -> None:
    if len(maps) != len(layout.levels):
        raise InputError(
            f"{request.folder}: has maps of {count_text(len(maps), 'level')}, params.yaml's detector has "
            f"{len(layout.levels)}; dvc repro {request.command.stage}"
        )


class LocationMaps(NamedTuple):
    """(Fh, Fw) float32 `values` of each level, 0..1, one per location, and in words whose they are."""

    values: list[np.ndarray]
    note: str


def location_maps(folder: Path, entry: Entry) -> LocationMaps | None:
    """What a stage stored of each location of an image; for a mirror that it has not seen that of the image,
    mirrored."""
    own = stored_maps(folder, entry)
    if own:
        return LocationMaps([level.astype(np.float32) for level in own], "")
    plain = stored_maps(folder, entry.stored) if entry.mirrored else ()
    if not plain:
        return None
    return LocationMaps([level[:, ::-1].astype(np.float32) for level in plain], " (the plain image's, mirrored)")


def location_map_panels(
    request: PanelRequest,
    pixels: np.ndarray,
    gt_boxes: np.ndarray,
    found: LocationMaps,
    what: str,
    layout: MapLayout | None = None,
) -> list[Tile]:
    """One panel per level: its values over the image, with the gt boxes.

    Args:
        what: what a value is, of its location.
        layout: the levels; those of the trunk by default.

    Raises:
        InputError: the maps are of other levels.
    """
    tiles, layout = [], layout or request.layout
    _check_levels(request, found.values, layout)
    for level, values in enumerate(found.values):
        over = heat_over(pixels, values, request.side, 0.0, 1.0)
        zoom = zoom_of(over, pixels)
        image = draw_boxes(
            over, [BoxLayer(gt_boxes * np.tile(zoom, 2), WHITE, thickness=2, dash="dashed")], request.side
        )
        height, width = values.shape
        where = f"{what} of each of {width} x {height} locations{found.note}"
        caption = f"{request.name}: {layout.prefix(level)}{where}; highest {values.max():.2f}"
        tiles.append(Tile(image, caption, ramp_keys(np.array([0, 0.5, 1]), ["0", "0.5", "1"])))
    return tiles
