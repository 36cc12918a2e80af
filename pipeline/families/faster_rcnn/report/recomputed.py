"""Anchor targets and feature maps of a test image, as stages would write them for a training image."""

from __future__ import annotations

import numpy as np
import torch

from pipeline.artifacts.ground_truth import GroundTruth
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.building.anchors import anchor_grid
from pipeline.building.trunk import load_trunk
from pipeline.feeding.maps import maps_of
from pipeline.feeding.views import ImageViews
from pipeline.nn.anchor_matching import assign_anchors
from pipeline.nn.matching import BG, FG
from pipeline.report.run import Run
from pipeline.views.stored_anchors import Assignment


class Recomputed:
    """Computed from the resized images, params.yaml and the trunk that `trunk_stage` trained.

    Raises:
        InputError: one of these is missing or damaged.
    """

    def __init__(self, run: Run, trunk_stage: str) -> None:
        folder = run.need("resize")
        self._params = run.params
        self._images, self._gt = ResizedImages(folder), GroundTruth(folder)
        self._trunk = load_trunk(run.need(trunk_stage), run.params.backbone)

    @torch.inference_mode()
    def feature_maps(self, entry: Entry) -> list[np.ndarray]:
        """(D, Fh, Fw) float32, one per level."""
        maps = maps_of(self._trunk, ImageViews(self._images).load([entry]))
        return [level.float().numpy()[0] for level in maps]

    def assignment(self, entry: Entry) -> Assignment:
        """What anchor_targets would write for the image."""
        size, layout = self._images.seen(entry).size, self._trunk.layout
        anchors = anchor_grid(self._params.anchors, layout).exact(layout.sizes(*size))
        boxes = torch.from_numpy(np.ascontiguousarray(self._gt.boxes(entry, size[1])))
        regions = torch.from_numpy(np.ascontiguousarray(self._gt.regions(entry, size[1])))
        matches = assign_anchors(anchors, size, boxes, regions, **self._params.anchor_targets.model_dump())
        fg = torch.nonzero(matches.labels == FG).squeeze(1)
        return Assignment(
            fg.numpy(),
            matches.matched_gt[fg].numpy(),
            matches.max_iou[fg].numpy(),
            anchors[fg].float().numpy(),
            (matches.labels == BG).numpy(),
        )
