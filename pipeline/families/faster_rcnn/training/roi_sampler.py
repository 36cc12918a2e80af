"""Draws the RoIs of an iteration from stored proposal targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.families.faster_rcnn.training.roi_samples import DrawnRoIs, RoISample, put_rois_together
from pipeline.nn.sampling import sample_fg_bg
from pipeline.runtime.torch_seeding import torch_generator

if TYPE_CHECKING:
    from pipeline.artifacts.image_views import Entry
    from pipeline.artifacts.proposal_targets import ProposalTargets


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

    def put_together(self, samples: Sequence[RoISample]) -> DrawnRoIs:
        """The combined samples of a batch's images, as the losses take them."""
        return put_rois_together(samples)
