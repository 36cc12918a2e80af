"""The page: all sections computed, and the template filled."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from pipeline.families.faster_rcnn.params.typed import typed
from pipeline.metrics.recall import SIZES
from pipeline.presets.apply import preset_params
from pipeline.runtime.words import count_text
from pipeline.views.contact_sheet import Tile, contact_sheet
from pipeline.views.encoding import encode_webp
from pipeline.walk.anchors import anchors_of, anchors_pictures
from pipeline.walk.ap_example import ap_example
from pipeline.walk.labels import decoded_of, labels_of, labels_pictures, overlap_of
from pipeline.walk.network import RECIPE, SEED, Network
from pipeline.walk.nms_example import nms_example, nms_pictures
from pipeline.walk.photo import Photo
from pipeline.walk.pooling import pooled_roi, pooling_picture
from pipeline.walk.proposals import proposals_of, proposals_picture
from pipeline.walk.resizing import both_rules, resized_pictures
from pipeline.walk.rois import rois_of, rois_picture
from pipeline.walk.rpn_outputs import rpn_outputs
from pipeline.walk.sliding_window import windows, windows_picture
from pipeline.walk.trunk import cut, feature_map, features_picture

TEMPLATE = Path(__file__).with_name("walkthrough.md.jinja")

_SIDE = 400
_MOST_BYTES = 60_000  # of a picture
_MOST_LISTED = 6


@dataclass(frozen=True)
class Page:
    """The numbers of each section by its name in the template, and the tiles of each picture by its file's name."""

    numbers: dict[str, Any]
    tiles: dict[str, Sequence[Tile]]

    def text(self, pictures: str, code: str, docs: str) -> str:
        """The page in Markdown.

        Args:
            pictures: folder of the pictures, from the page. code: the project's folder, from the page; docs: that of
                the docs, with "/", empty where the page lies there.
        """
        template = _environment().from_string(TEMPLATE.read_text(encoding="utf-8"))
        places = {name: f"{pictures}/{name}.webp" for name in self.tiles}
        return template.render(**self.numbers, pictures=places, code=code, docs=docs)

    def pictures(self) -> dict[str, bytes]:
        """The content of each picture's file."""
        return {name: encode_webp(contact_sheet(tiles), name, _MOST_BYTES).data for name, tiles in self.tiles.items()}


def make_page(photo: Photo, network: Network) -> Page:
    """Walk a photo through a network."""
    params, layout = network.params, network.trunk.layout
    halvings = layout.strides[0].bit_length() - 1
    fixed, paper = both_rules(photo, params, halvings)
    (cells,) = layout.sizes(fixed.height, fixed.width)
    moving = windows(fixed.height, fixed.width, fixed.boxes)
    maps = feature_map(network.trunk, fixed.pixels)
    anchors = anchors_of(network.grid, cells, fixed, params.anchors.ratios, params.anchors.scales)
    labels = labels_of(anchors, fixed, params, SEED)
    outputs = rpn_outputs(network, maps, labels)
    proposals = proposals_of(anchors, fixed, outputs, params)
    rois = rois_of(network, maps, fixed, proposals.train, SEED)
    pooled = pooled_roi(maps, fixed.boxes[0], layout, params.roi_head.output_size)
    nms, ap = nms_example(), ap_example()
    numbers = {
        "photo": photo,
        "network": network,
        "preset": RECIPE,
        "params": params,
        "windows": moving,
        "fixed": fixed,
        "paper": paper,
        "gt_sizes": [_gt_size(box) for box in photo.boxes],
        "small_side": math.sqrt(SIZES["small"][1]),
        "medium_side": math.sqrt(SIZES["medium"][1]),
        "trunk": cut(params.backbone, fixed.height, fixed.width),
        "map": tuple(maps.shape[1:]),
        "anchors": anchors,
        "overlap": overlap_of(labels.best[0]),
        "decoded": decoded_of(labels.best[0]),
        "labels": labels,
        "rpn_kernel": " x ".join(map(str, network.rpn.conv.kernel_size)),
        "outputs": outputs,
        "most_fg_anchors": int(params.rpn.anchors_per_image * params.rpn.fg_fraction),
        "default_init": typed(preset_params("default")).finetune_joint.init,
        "sampled": len(labels.fg_rows) + len(labels.bg_rows),
        "log_two": math.log(2),
        "nms": nms,
        "proposals": proposals,
        "rois": rois,
        "pooled": pooled,
        "ap": ap,
    }
    tiles: dict[str, Sequence[Tile]] = {
        "windows": [windows_picture(fixed.pixels, fixed.boxes, moving, _SIDE)],
        "sizes": resized_pictures(fixed, paper, _SIDE),
        "features": [features_picture(maps, _SIDE)],
        "anchors": anchors_pictures(fixed, anchors, params.anchors.ratios, _SIDE),
        "labels": labels_pictures(fixed, anchors, labels, _SIDE),
        "nms": nms_pictures(nms, _SIDE),
        "rois": [proposals_picture(fixed, proposals.train, _SIDE), rois_picture(fixed, rois, _SIDE)],
        "pooling": [pooling_picture(pooled, _SIDE)],
    }
    return Page(numbers, tiles)


def _gt_size(box: np.ndarray) -> tuple[float, float, float, str]:
    """Width and height of a (4,) box, its area, and the name of its size in COCO's figures."""
    width, height = (box[2:] - box[:2]).tolist()
    size = next(name for name, (least, end) in SIZES.items() if least <= width * height < end)
    return width, height, width * height, size


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # Markdown, whose only text from outside is a file's name
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= _FILTERS
    return environment


def _decimals(places: int) -> Callable[[float], str]:
    return lambda value: f"{value:.{places}f}"


def ious_text(values: Sequence[float]) -> str:
    """IoUs in a sentence: each of a few, otherwise the least, the most and the median."""
    if len(values) <= _MOST_LISTED:
        return ", ".join(f"{value:.2f}" for value in values)
    return f"{min(values):.2f} to {max(values):.2f}, median {np.median(values):.2f},"


_FILTERS: dict[str, Callable[..., str]] = {
    "n": lambda value: f"{value:,}",
    "n0": lambda value: f"{value:,.0f}",
    "g": lambda value: f"{value:.6g}",
    "p": lambda value: f"{100 * value:.1f} %",
    **{f"f{places}": _decimals(places) for places in (1, 2, 3, 4, 6)},
    "count": count_text,
    "box": lambda box: ", ".join(f"{value:.2f}".rstrip("0").rstrip(".") for value in np.asarray(box).tolist()),
    "ious": ious_text,
    "boxes": lambda rows: "boxes " + ", ".join(str(row + 1) for row in rows),
}
