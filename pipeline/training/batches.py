"""From stores to tensors: images or feature maps of a batch, with the anchors and RoIs drawn for them.

Shapes: B images; H, W the batch's padded height, width; D channels; F fg, N bg anchors and R RoIs drawn from one image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from pipeline.artifacts.anchor_targets import AnchorTargets
from pipeline.artifacts.ground_truth import GroundTruth
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.proposal_targets import ProposalTargets
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.detector.roi_targets import GtBoxes
from pipeline.detector.sampling import sample_fg_bg
from pipeline.feeding.prefetching import ON_HOST
from pipeline.feeding.views import Views, ViewSource
from pipeline.geometry.layout import MapLayout
from pipeline.seeding import derive_seed, torch_generator

LevelSizes = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class AnchorSample:
    """The anchors drawn from one image: `fg` (F,), `bg` (N,) int64 indices, and the fg's `deltas` (F, 4)."""

    fg: Tensor
    bg: Tensor
    deltas: Tensor


@dataclass(frozen=True)
class RoISample:
    """The RoIs drawn from one image: `rois` (R, 4) resized pixels, `labels` (R,) int64, normalised `deltas` (R, 4)."""

    rois: Tensor
    labels: Tensor
    deltas: Tensor


@dataclass(frozen=True)
class DrawnAnchors:
    """The anchors drawn from all images of a batch, as losses take them: the fg of every image, then the bg of every.

    `places` (S,) int64 count through the (B, Fh, Fw, A) anchors of the padded maps, level after level; `is_fg` (S,) is
    1 or 0, `weight` (S,) 1 / (anchors drawn from the image * B); `deltas` (F, 4) are the fg's.
    """

    places: Tensor
    is_fg: Tensor
    weight: Tensor
    deltas: Tensor


@dataclass(frozen=True)
class DrawnRoIs:
    """The RoIs drawn from all images of a batch: of each its `rois` (R_b, 4) resized pixels, of all together `labels`
    (R,) int64, normalised `deltas` (R, 4), and `fg` (F,) int64, which rows are fg."""

    rois: list[Tensor]
    labels: Tensor
    deltas: Tensor
    fg: Tensor


@dataclass(frozen=True)
class Batch:
    """One iteration's input. What a step does not train on is empty."""

    views: Views
    anchors: list[AnchorSample] = field(metadata=ON_HOST)
    rois: list[RoISample] = field(metadata=ON_HOST)
    gt: list[GtBoxes]
    scales: list[tuple[float, float]]
    seeds: list[int]
    """One per image and a last one for the batch, for what is drawn inside the step."""
    drawn_anchors: DrawnAnchors | None = None
    drawn_rois: DrawnRoIs | None = None
    """`anchors` and `rois` put together while the batch was loaded; None: the step does it."""

    def for_step(self) -> Batch:
        """Without the samples of single images where they are put together."""
        return replace(
            self, anchors=[] if self.drawn_anchors else self.anchors, rois=[] if self.drawn_rois else self.rois
        )


def put_anchors_together(
    samples: Sequence[AnchorSample],
    sizes: Sequence[tuple[int, int]],
    layout: MapLayout,
    per_location: int,
) -> DrawnAnchors:
    """The anchors drawn from B images of (H, W) `sizes`, whose maps are padded to a common size.

    Args:
        layout: of the maps. per_location: A.
    """
    padded = layout.sizes(max(h for h, _ in sizes), max(w for _, w in sizes))
    places: tuple[list[Tensor], list[Tensor]] = ([], [])
    for image, (sample, size) in enumerate(zip(samples, sizes, strict=True)):
        own = layout.sizes(*size)
        for kind, drawn in zip(places, (sample.fg, sample.bg), strict=True):
            kind.append(_places(drawn, image, len(samples), own, padded, per_location))
    fg, bg = (torch.cat(kind) for kind in places)
    weights = torch.tensor([1.0 / (max(len(sample.fg) + len(sample.bg), 1) * len(samples)) for sample in samples])
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
    """Where the anchors `drawn` (S,) from one of so many images, whose maps have `sizes`, lie in the padded maps."""
    places, first, before = torch.empty_like(drawn), 0, 0
    for (own_height, own_width), (height, width) in zip(sizes, padded, strict=True):
        row = own_width * per_location
        index = drawn - first
        own = (image * height + index // row) * (width * per_location) + index % row + before
        places = torch.where(index >= 0, own, places)
        first, before = first + own_height * row, before + images * height * width * per_location
    return places


def put_rois_together(samples: Sequence[RoISample]) -> DrawnRoIs:
    """The RoIs drawn from B images."""
    labels = torch.cat([sample.labels for sample in samples])
    return DrawnRoIs(
        [sample.rois for sample in samples],
        labels,
        torch.cat([sample.deltas for sample in samples]),
        torch.nonzero(labels > 0).squeeze(1),
    )


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


class RoISampler:
    """Draws an image's RoIs from its stored proposal targets."""

    def __init__(self, targets: ProposalTargets, count: int, fg_fraction: float, seed: int, stage: str) -> None:
        self._targets, self._count, self._fg_fraction = targets, count, fg_fraction
        self._seed, self._stage = seed, stage

    def draw(self, epoch: int, entry: Entry) -> RoISample:
        """The sample of one image in one epoch, fg first."""
        assignment = self._targets[entry]
        labels = torch.from_numpy(assignment.labels.astype(np.int64))
        generator = torch_generator(self._seed, self._stage, "rois", epoch, *entry.seed_key)
        fg = torch.nonzero(labels > 0).squeeze(1)
        bg = torch.nonzero(labels == 0).squeeze(1)
        drawn = torch.cat(sample_fg_bg(fg, bg, self._count, self._fg_fraction, generator))
        boxes, deltas = torch.from_numpy(assignment.boxes), torch.from_numpy(assignment.deltas)
        return RoISample(boxes[drawn], labels[drawn], deltas[drawn])


class BatchLoader:
    """Makes iteration n's batch, whatever came before it.

    Args:
        order: iteration to (epoch, entries), see `EpochOrder`.
        source: images or maps. anchors, rois: samplers; gt and images for training on fresh proposals.
        put_together: from the anchors drawn from images of (H, W) to `DrawnAnchors`; given with `anchors`.
    """

    def __init__(
        self,
        order: Callable[[int], tuple[int, list[Entry]]],
        source: ViewSource,
        seed: int,
        stage: str,
        *,
        anchors: AnchorSampler | None = None,
        put_together: Callable[[list[AnchorSample], list[tuple[int, int]]], DrawnAnchors] | None = None,
        rois: RoISampler | None = None,
        gt: GroundTruth | None = None,
        images: ResizedImages | None = None,
    ) -> None:
        self._order, self._source, self._seed, self._stage = order, source, seed, stage
        self._anchors, self._rois, self._gt, self._images = anchors, rois, gt, images
        self._put_together = put_together

    def __call__(self, iteration: int) -> Batch:
        """The batch of an iteration."""
        epoch, entries = self._order(iteration)
        views = self._source.load(entries)
        gt = []
        if self._gt is not None:
            for entry, (_, width) in zip(entries, views.sizes, strict=True):
                boxes = np.ascontiguousarray(self._gt.boxes(entry, width))
                regions = np.ascontiguousarray(self._gt.regions(entry, width))
                labels = self._gt[entry.image_id][1]
                gt.append(GtBoxes(torch.from_numpy(boxes), torch.from_numpy(labels), torch.from_numpy(regions)))
        seeds = [derive_seed(self._seed, self._stage, "fresh", epoch, *entry.seed_key) for entry in entries]
        anchors = [self._anchors.draw(epoch, entry) for entry in entries] if self._anchors else []
        rois = [self._rois.draw(epoch, entry) for entry in entries] if self._rois else []
        return Batch(
            views,
            anchors,
            rois,
            gt,
            [self._images.seen(entry).scale for entry in entries] if self._images else [],
            [*seeds, derive_seed(self._seed, self._stage, "dropout", iteration)],
            self._put_together(anchors, views.sizes) if self._put_together else None,
            put_rois_together(rois) if rois else None,
        )
