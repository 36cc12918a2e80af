"""Faster R-CNN's figures besides those of its detections: the recall of its proposals, in resized pixels."""

from __future__ import annotations

from pipeline.artifacts.ground_truth import GroundTruth
from pipeline.artifacts.history import write_csv
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.proposals import StoredProposals
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.families.faster_rcnn.params.evaluate import RecallParams
from pipeline.families.faster_rcnn.params.typed import typed
from pipeline.metrics.recall import DEFAULT_BUDGETS, IOU_LEVELS, SIZES, RecallCounter
from pipeline.runtime.stage import Stage

SECTIONS = {"evaluate": RecallParams}


def figures(stage: Stage, images: ResizedImages) -> dict[str, float]:
    """`proposal_recall50` of all gt boxes and of those of each size; writes recall_by_proposals.csv and
    recall_by_iou.csv."""
    budget = typed(stage.params).evaluate.recall_proposals
    recall = _count_recall(stage, images, budget)
    write_csv(stage.out / "recall_by_proposals.csv", _recall_by_proposals(recall))
    write_csv(stage.out / "recall_by_iou.csv", _recall_by_iou(recall))
    by_size = {f"proposal_recall50_{size}": recall.recall_of_size(budget, 0.5, size) for size in SIZES}
    return {"proposal_recall50": recall.recall(budget, 0.5), **by_size}


def _count_recall(stage: Stage, images: ResizedImages, budget: int) -> RecallCounter:
    gt = GroundTruth(stage.input("resize"))
    proposals = StoredProposals(stage.input("detections"))
    counter = RecallCounter(sorted({*DEFAULT_BUDGETS, budget}))
    for image in images:
        counter.add(proposals[Entry(image.image_id)].boxes, gt[image.image_id][0], image.scale)
    return counter


def _recall_by_proposals(recall: RecallCounter) -> list[dict[str, float | int]]:
    return [
        {"proposals": budget, "recall50": recall.recall(budget, 0.5), "recall70": recall.recall(budget, 0.7)}
        for budget in DEFAULT_BUDGETS
    ]


def _recall_by_iou(recall: RecallCounter) -> list[dict[str, float | int]]:
    return [
        {
            "iou": round(float(iou), 2),
            **{f"recall_of_{budget}": recall.recall(budget, float(iou)) for budget in (100, 300, 1000)},
        }
        for iou in IOU_LEVELS
    ]
