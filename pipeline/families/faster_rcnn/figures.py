"""Figures and pictures of Faster R-CNN's own finished stages: `FIGURES` and `PICTURES`, by the stage's module."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.artifacts.anchor_targets import AnchorTargets
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.proposal_targets import ProposalTargets
from pipeline.artifacts.proposals import StoredProposals
from pipeline.graphs.command import StageCommand
from pipeline.metrics.recall import RecallCounter
from pipeline.views.encoding import Picture
from pipeline.views.metrics import detection_figures, image_ids, ratio
from pipeline.views.samples import NetworkImages

_ALL = 1 << 30


def _anchor_targets(command: StageCommand, root: Path) -> dict[str, float]:
    targets = AnchorTargets(root / command.out)
    views = len(targets)
    return {
        "images": targets.images,
        "fg_anchors_per_image": ratio(targets.fg_count, views),
        "share_without_fg": ratio(views - targets.count_with_fg(), views),
    }


def _proposals(command: StageCommand, root: Path) -> dict[str, float]:
    ids = image_ids(root / command.input("resize"), "train")
    proposals = StoredProposals(root / command.out)
    return {
        "images": len(ids),
        "proposals_per_image": ratio(len(proposals), proposals.count_entries(len(ids))),
        "recall50": _recall(proposals, root / command.input("resize"), ids),
    }


def _recall(proposals: StoredProposals, resize: Path, ids: np.ndarray) -> float:
    """Share of the trainable gt boxes of the plain images that any proposal reaches with IoU .5."""
    gt = NetworkImages(resize)
    counter = RecallCounter([_ALL])
    for image_id in ids:
        entry = Entry(str(image_id))
        counter.add(proposals[entry].boxes, gt.gt_of(entry).trainable.boxes)
    return counter.recall(_ALL, 0.5)


def _proposal_targets(command: StageCommand, root: Path) -> dict[str, float]:
    targets = ProposalTargets(root / command.out)
    images = len(image_ids(root / command.input("resize"), "train"))
    views = targets.count_entries(images)
    labels = _label_counts(targets)
    return {
        "images": images,
        "fg_per_image": ratio(labels[0], views),
        "bg_per_image": ratio(labels[1], views),
        "ignored_per_image": ratio(labels[2], views),
    }


def _label_counts(targets: ProposalTargets) -> np.ndarray:
    counts = np.zeros(3, dtype=np.int64)
    for label in targets.label_groups():
        counts += [np.count_nonzero(label > 0), np.count_nonzero(label == 0), np.count_nonzero(label < 0)]
    return counts


def _curves(command: StageCommand, root: Path) -> Picture:
    # Imported here: Altair takes longer to import than all other pictures together.
    from pipeline.families.faster_rcnn.recall_plots import recall_by_iou, recall_by_number
    from pipeline.views.plots import curve_plots

    return curve_plots(root / command.out, (recall_by_number, recall_by_iou))


FIGURES = {
    "anchor_targets": _anchor_targets,
    "proposals": _proposals,
    "proposal_targets": _proposal_targets,
    "detect": detection_figures,
}
PICTURES = {"evaluate": _curves}
