"""Assign each training image's proposals to gt boxes: class labels and the deltas the RoI head is to learn.

gt boxes join the proposals before matching. Writes proposal_targets.parquet and normalisation.json, the mean and std by
which the deltas are normalised. These are assignments: the RoIs of an iteration are drawn from them at load time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.artifacts import schemas
from pipeline.artifacts.atomic import write_text
from pipeline.artifacts.stores import Entry, GroundTruth, ResizedImages, delta_columns
from pipeline.artifacts.tables import ImageRows, TableWriter, box_columns, boxes_of
from pipeline.detector.boxes import encode
from pipeline.detector.matching import FG, Matches, ignore_in_regions, match_proposals
from pipeline.detector.roi_head import normalise_deltas
from pipeline.progress import track
from pipeline.stage import Stage, run_stage

_LEAST_STD = 0.01  # of measured deltas; classes below keep the given mean and std


@dataclass(frozen=True)
class Assigned:
    """One entry's candidates (P + G, 4), gt boxes last, with labels (0 bg, -1 ignored) and raw deltas."""

    entry: Entry
    ranks: np.ndarray
    boxes: Tensor
    matches: Matches
    labels: Tensor
    deltas: Tensor


def proposal_targets(stage: Stage) -> None:
    """Match the proposals of every training image, and of its mirror."""
    torch.set_num_threads(stage.params.base.threads)
    classes = json.loads((stage.input("resize") / "classes.json").read_text(encoding="utf-8"))
    images = ResizedImages(stage.input("resize"), "train")
    mean, std = _normalisation(stage, images, len(classes))
    counts = {"fg": 0, "all": 0}
    total = len(images) * (2 if stage.params.base.mirror else 1)
    with TableWriter(stage.out / "proposal_targets.parquet", schemas.PROPOSAL_TARGETS) as table:
        for assigned in track(_assign(stage, images), stage.name, total=total):
            counts["fg"] += int((assigned.labels > 0).sum())
            counts["all"] += len(assigned.labels)
            table.write(
                {
                    "image_id": assigned.entry.image_id,
                    "mirrored": assigned.entry.mirrored,
                    "rank": assigned.ranks,
                    **box_columns(assigned.boxes.numpy()),
                    "max_iou": assigned.matches.max_iou.numpy(),
                    "matched_gt": assigned.matches.matched_gt.numpy(),
                    "label": assigned.labels.numpy(),
                    **delta_columns(normalise_deltas(assigned.deltas, assigned.labels, mean, std).numpy()),
                }
            )
    content = {"classes": classes, "mean": mean.double().tolist(), "std": std.double().tolist()}
    write_text(stage.out / "normalisation.json", json.dumps(content, indent=1) + "\n")
    stage.log(f"{counts['fg']} of {counts['all']} RoIs are fg")


def _assign(stage: Stage, images: ResizedImages) -> Iterator[Assigned]:
    params = stage.params.proposal_targets
    gt = GroundTruth(stage.input("resize"))
    all_proposals = ImageRows(stage.input("proposals") / "proposals.parquet", schemas.PROPOSALS)
    for image in images:
        for mirrored in (False, True) if stage.params.base.mirror else (False,):
            entry = Entry(image.image_id, mirrored)
            rows = all_proposals[entry]
            gt_boxes = np.ascontiguousarray(gt.boxes(entry, image.size[1]))
            gt_labels = torch.from_numpy(gt[image.image_id][1])
            boxes = torch.from_numpy(np.concatenate([boxes_of(rows), gt_boxes]))
            ranks = np.concatenate([rows["rank"], np.full(len(gt_boxes), -1)]).astype(np.int32)
            targets = torch.from_numpy(gt_boxes)
            matches = match_proposals(boxes, targets, params.fg_iou, params.bg_iou_high, params.bg_iou_low)
            regions = torch.from_numpy(np.ascontiguousarray(gt.regions(entry, image.size[1])))
            own = ignore_in_regions(matches.labels, boxes, regions, params.ignore_ioa)
            labels = own.long()
            deltas = torch.zeros_like(boxes)
            if len(gt_boxes):
                labels = torch.where(own == FG, gt_labels[matches.matched_gt], labels)
                deltas = encode(boxes, targets[matches.matched_gt])
            yield Assigned(entry, ranks, boxes, matches, labels, deltas)


def _normalisation(stage: Stage, images: ResizedImages, num_classes: int) -> tuple[Tensor, Tensor]:
    """(C, 4) mean and std: as given, or measured per class over all fg RoIs in a pass of its own."""
    params = stage.params.proposal_targets
    mean = torch.tensor(params.mean).expand(num_classes, 4).clone()
    std = torch.tensor(params.std).expand(num_classes, 4).clone()
    if params.normalise == "fixed":
        return mean, std
    count = torch.zeros(num_classes, dtype=torch.float64)
    sums, squares = (torch.zeros(num_classes, 4, dtype=torch.float64) for _ in range(2))
    for assigned in _assign(stage, images):
        fg = assigned.labels > 0
        labels, deltas = assigned.labels[fg], assigned.deltas[fg].double()
        count.index_add_(0, labels, torch.ones(len(labels), dtype=torch.float64))
        sums.index_add_(0, labels, deltas)
        squares.index_add_(0, labels, deltas**2)
    measured_mean = sums / count[:, None]
    measured_std = (squares / count[:, None] - measured_mean**2).clamp(min=0).sqrt()
    # Of a class whose fg RoIs are its own gt boxes there is no spread to measure, and dividing by it would explode.
    seen = (count > 1) & (measured_std >= _LEAST_STD).all(dim=1)
    mean[seen], std[seen] = measured_mean[seen].float(), measured_std[seen].float()
    return mean, std


if __name__ == "__main__":
    run_stage(
        proposal_targets,
        about=__doc__,
        inputs={"resize": "folder of the resize stage", "proposals": "folder of a proposals stage"},
    )
