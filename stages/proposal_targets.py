"""Assign each training image's proposals to gt boxes: class labels, and deltas for the RoI head to learn.

gt boxes join the proposals before matching. Writes proposal_targets.parquet and normalisation.json, the mean and std
that normalise the deltas. These are assignments: the RoIs of an iteration are sampled from them at load time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.artifacts.chunks import ChunkedWork
from pipeline.artifacts.ground_truth import GroundTruth
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.proposal_targets import (
    Normalisation,
    ProposalAssignment,
    ProposalTargets,
    ProposalTargetWriter,
    read_normalisation,
    write_normalisation,
)
from pipeline.artifacts.proposals import StoredProposals
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.families.faster_rcnn.building.matching import matching_rule
from pipeline.families.faster_rcnn.nn.roi_targets import (
    Candidates,
    GtBoxes,
    RoITargets,
    assign_rois,
    find_candidates,
    normalise_deltas,
)
from pipeline.families.faster_rcnn.params.proposal_targets import ProposalTargetParams
from pipeline.families.faster_rcnn.params.typed import typed
from pipeline.params.base import Base
from pipeline.runtime.processes import over_processes
from pipeline.runtime.progress import track
from pipeline.runtime.stage import Stage, run_stage

_LEAST_STD = 0.01  # of measured deltas; classes below keep the given mean and std


@dataclass(frozen=True)
class Assigned:
    """One entry's candidates, gt boxes last, with the ranks of the proposals and what each is to learn."""

    entry: Entry
    ranks: np.ndarray
    candidates: Candidates
    targets: RoITargets


def proposal_targets(stage: Stage) -> None:
    """Match the proposals of every training image, and of its mirror."""
    classes = json.loads((stage.input("resize") / "classes.json").read_text(encoding="utf-8"))
    mean, std = _normalisation(stage, len(classes))
    write_normalisation(stage.out, Normalisation(classes, mean.double().numpy(), std.double().numpy()))
    _assign_all(stage)


@over_processes
def _assign_all(stage: Stage) -> None:
    """Write what is assigned, with deltas normalised as the stage has written down."""
    torch.set_num_threads(stage.params.base.threads)
    images = ResizedImages(stage.input("resize"), "train")
    normalisation = read_normalisation(stage.out)
    mean, std = (torch.from_numpy(values).float() for values in (normalisation.mean, normalisation.std))
    with ChunkedWork(stage.out, [image.image_id for image in images], stage.log, share=stage.share) as work:
        writer = ProposalTargetWriter(work)
        by_image = _assign(stage, images, work.missing)
        for of_image in work.through(track(by_image, stage.name, len(images), done=work.found)):
            for assigned in of_image:
                targets, matches = assigned.targets, assigned.candidates.matches
                own = ProposalAssignment(
                    assigned.ranks,
                    assigned.candidates.boxes.numpy(),
                    matches.max_iou.numpy(),
                    matches.matched_gt.numpy(),
                    targets.labels.numpy(),
                    normalise_deltas(targets.deltas, targets.labels, mean, std).numpy(),
                )
                writer.add(assigned.entry, own)
    fg = sum(int(np.count_nonzero(labels > 0)) for labels in ProposalTargets(stage.out).label_groups())
    stage.log(f"{fg} of {writer.count} RoIs are fg")


def _assign(stage: Stage, images: ResizedImages, ids: Iterable[str]) -> Iterator[list[Assigned]]:
    """Of each image its entries."""
    rule = matching_rule(typed(stage.params).proposal_targets)
    gt = GroundTruth(stage.input("resize"))
    all_proposals = StoredProposals(stage.input("proposals"))
    for image_id in ids:
        of_image = []
        for entry in (Entry(image_id, view) for view in images.views(stage.params.base.mirror)):
            proposals, width = all_proposals[entry], images.seen(entry).size[1]
            boxes, regions = (np.ascontiguousarray(of(entry, width)) for of in (gt.boxes, gt.regions))
            own = GtBoxes(*map(torch.from_numpy, (boxes, gt[entry.image_id][1], regions)))
            candidates = find_candidates(torch.from_numpy(proposals.boxes), own, rule)
            ranks = np.concatenate([proposals.ranks, np.full(len(boxes), -1)]).astype(np.int32)
            of_image.append(Assigned(entry, ranks, candidates, assign_rois([candidates], [own])))
        yield of_image


def _normalisation(stage: Stage, num_classes: int) -> tuple[Tensor, Tensor]:
    """(C, 4) mean and std: as given, or measured per class over all fg RoIs in a pass of its own."""
    params = typed(stage.params).proposal_targets
    mean = torch.tensor(params.mean).expand(num_classes, 4).clone()
    std = torch.tensor(params.std).expand(num_classes, 4).clone()
    if params.normalise == "fixed":
        return mean, std
    torch.set_num_threads(stage.params.base.threads)
    count = torch.zeros(num_classes, dtype=torch.float64)
    sums, squares = (torch.zeros(num_classes, 4, dtype=torch.float64) for _ in range(2))
    images = ResizedImages(stage.input("resize"), "train")
    of_images = _assign(stage, images, [image.image_id for image in images])
    for targets in (assigned.targets for of_image in of_images for assigned in of_image):
        labels, deltas = targets.labels[targets.fg], targets.deltas[targets.fg].double()
        count.index_add_(0, labels, torch.ones(len(labels), dtype=torch.float64))
        sums.index_add_(0, labels, deltas)
        squares.index_add_(0, labels, deltas**2)
    measured_mean = sums / count[:, None]
    measured_std = (squares / count[:, None] - measured_mean**2).clamp(min=0).sqrt()
    # A class whose fg RoIs are its own gt boxes has no spread to measure, and dividing by it would explode.
    seen = (count > 1) & (measured_std >= _LEAST_STD).all(dim=1)
    mean[seen], std[seen] = measured_mean[seen].float(), measured_std[seen].float()
    return mean, std


if __name__ == "__main__":
    run_stage(
        proposal_targets,
        about=__doc__,
        sections={
            "base": Base,
            "proposal_targets": ProposalTargetParams,
        },
        inputs={"resize": "folder of the resize stage", "proposals": "folder of a proposals stage"},
        resumable=True,
    )
