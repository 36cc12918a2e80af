"""The anchors that an iteration trains on: drawn from each image, and combined for the losses.

Shapes: B images; H, W the batch's padded height, width; F fg, N bg anchors drawn from one image; S of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from pipeline.nn.sampling import sample_fg_bg
from pipeline.runtime.torch_seeding import torch_generator

if TYPE_CHECKING:
    from pipeline.artifacts.anchor_targets import AnchorTargets
    from pipeline.artifacts.image_views import Entry
    from pipeline.geometry.layout import MapLayout

Normaliser = Literal["image", "batch"]
LevelSizes = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class AnchorSample:
    """The anchors drawn from one image: `fg` (F,), `bg` (N,) int64 indices, and the fg's `deltas` (F, 4)."""

    fg: Tensor
    bg: Tensor
    deltas: Tensor


@dataclass(frozen=True)
class DrawnAnchors:
    """The anchors drawn from all images of a batch, as losses take them: the fg of every image, then the bg of every.

    `places` (S,) int64 count through the (B, Fh, Fw, A) anchors of the padded maps, level after level; `is_fg` (S,) is
    1 or 0; `weight` (S,) is what each counts in the losses, 1 / (anchors drawn from its image * B) or 1 / (anchors
    drawn from all B); `deltas` (F, 4) are the fg's.
    """

    places: Tensor
    is_fg: Tensor
    weight: Tensor
    deltas: Tensor


def put_anchors_together(
    samples: Sequence[AnchorSample],
    sizes: Sequence[tuple[int, int]],
    layout: MapLayout,
    per_location: int,
    normaliser: Normaliser = "image",
) -> DrawnAnchors:
    """The anchors drawn from B images of (H, W) `sizes`, whose maps are padded to a common size.

    Args:
        layout: of the maps. per_location: A.
        normaliser: image: each image's anchors weigh 1 / B together; batch: every anchor weighs the same.
    """
    padded = layout.sizes(max(h for h, _ in sizes), max(w for _, w in sizes))
    places: tuple[list[Tensor], list[Tensor]] = ([], [])
    for image, (sample, size) in enumerate(zip(samples, sizes, strict=True)):
        own = layout.sizes(*size)
        for kind, drawn in zip(places, (sample.fg, sample.bg), strict=True):
            kind.append(_places(drawn, image, len(samples), own, padded, per_location))
    fg, bg = (torch.cat(kind) for kind in places)
    drawn_of = [len(sample.fg) + len(sample.bg) for sample in samples]
    totals = [own * len(samples) for own in drawn_of] if normaliser == "image" else [sum(drawn_of)] * len(samples)
    weights = torch.tensor([1.0 / max(total, 1) for total in totals])
    counts = torch.tensor([[len(sample.fg) for sample in samples], [len(sample.bg) for sample in samples]])
    is_fg = torch.cat([torch.ones(len(fg)), torch.zeros(len(bg))])
    on = fg.device
    return DrawnAnchors(
        torch.cat([fg, bg]),
        is_fg.to(on),
        weights.repeat(2).repeat_interleave(counts.flatten()).to(on),
        torch.cat([sample.deltas for sample in samples]),
    )


def _places(drawn: Tensor, image: int, images: int, sizes: LevelSizes, padded: LevelSizes, per_location: int) -> Tensor:
    """The indices in the padded maps of the anchors `drawn` (S,) from one of the images, whose maps have `sizes`."""
    places, first, before = torch.empty_like(drawn), 0, 0
    for (own_height, own_width), (height, width) in zip(sizes, padded, strict=True):
        row = own_width * per_location
        index = drawn - first
        own = (image * height + index // row) * (width * per_location) + index % row + before
        places = torch.where(index >= 0, own, places)
        first, before = first + own_height * row, before + images * height * width * per_location
    return places


class AnchorSampler:
    """Draws an image's anchors from its stored assignment."""

    def __init__(self, targets: AnchorTargets, count: int, fg_fraction: float, seed: int, stage: str) -> None:
        self._targets, self._count, self._fg_fraction = targets, count, fg_fraction
        self._seed, self._stage = seed, stage

    def draw(self, epoch: int, entry: Entry) -> AnchorSample:
        """The sample of one image in one epoch."""
        assignment = self._targets[entry]
        generator = torch_generator(self._seed, self._stage, "anchors", epoch, *entry.seed_key)
        order = torch.arange(len(assignment.fg))
        fg, bg = sample_fg_bg(order, torch.from_numpy(assignment.bg), self._count, self._fg_fraction, generator)
        return AnchorSample(torch.from_numpy(assignment.fg)[fg], bg, torch.from_numpy(assignment.deltas)[fg])
