"""One iteration's input, and its loader: images or feature maps, with the anchors and RoIs drawn for them.

Of what is drawn the loader knows the samplers alone, which the stage gives it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pipeline.feeding.prefetching import ON_HOST
from pipeline.runtime.seeding import derive_seed

if TYPE_CHECKING:
    from pipeline.artifacts.image_views import Entry
    from pipeline.families.faster_rcnn.nn.roi_targets import GtBoxes
    from pipeline.families.faster_rcnn.training.anchor_samples import AnchorSample, AnchorSampler, DrawnAnchors
    from pipeline.families.faster_rcnn.training.gt_source import GtSource
    from pipeline.families.faster_rcnn.training.roi_sampler import RoISampler
    from pipeline.families.faster_rcnn.training.roi_samples import DrawnRoIs, RoISample
    from pipeline.feeding.views import Views, ViewSource


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
        """Without the samples of single images if they are combined."""
        return replace(
            self, anchors=[] if self.drawn_anchors else self.anchors, rois=[] if self.drawn_rois else self.rois
        )


class BatchLoader:
    """Makes the batch of iteration n, independent of earlier ones.

    Args:
        order: iteration to (epoch, entries), see `EpochOrder`.
        source: images or maps. anchors, rois: samplers. gt: for training on fresh proposals.
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
        gt: GtSource | None = None,
    ) -> None:
        self._order, self._source, self._seed, self._stage = order, source, seed, stage
        self._anchors, self._rois, self._gt = anchors, rois, gt
        self._put_together = put_together

    def __call__(self, iteration: int) -> Batch:
        """The batch of an iteration."""
        epoch, entries = self._order(iteration)
        views = self._source.load(entries)
        seeds = [derive_seed(self._seed, self._stage, "fresh", epoch, *entry.seed_key) for entry in entries]
        anchors = [self._anchors.draw(epoch, entry) for entry in entries] if self._anchors else []
        rois = [self._rois.draw(epoch, entry) for entry in entries] if self._rois else []
        return Batch(
            views,
            anchors,
            rois,
            self._gt.boxes(entries, views.sizes) if self._gt else [],
            self._gt.scales(entries) if self._gt else [],
            [*seeds, derive_seed(self._seed, self._stage, "dropout", iteration)],
            self._put_together(anchors, views.sizes) if self._put_together else None,
            self._rois.put_together(rois) if self._rois else None,
        )
