"""Detect objects in the images of val and test with one of the networks: of step 2 (unshared), of step 4, or joint.

Writes detections.parquet and detections.json (COCO results), in pixels of the original image; proposals.parquet, the
test proposals in pixels of the resized image, up to `detect.recall_ranks`, of which the first `detect.proposals` were
classified; and objectness maps with images.parquet, their index.
"""

from __future__ import annotations

import json

import numpy as np
import torch

from pipeline.artifacts import schemas
from pipeline.artifacts.atomic import write_text
from pipeline.artifacts.stores import Entry, MapWriter, held_out_images
from pipeline.artifacts.tables import TableWriter, box_columns
from pipeline.build import anchor_grid, detection_rule, load_head, load_rpn, load_trunk, test_proposal_rule
from pipeline.detector.network import Proposer, detect_in_maps
from pipeline.detector.postprocess import Detections, to_original
from pipeline.progress import track
from pipeline.stage import Stage, run_stage
from pipeline.training.batches import ImageViews, prefetch, to_device
from pipeline.training.launcher import launch
from pipeline.training.steps import maps_of


def detect(stage: Stage) -> None:
    """Propose and classify, image by image. The RPN and the head may have trunks of their own."""
    params = stage.params
    accelerator = launch(params.base)
    device = accelerator.device
    trunk = load_trunk(stage.input("trunk"), params.backbone).to(device)
    shared = stage.inputs["rpn_trunk"] is None
    rpn_trunk = trunk if shared else load_trunk(stage.input("rpn_trunk"), params.backbone).to(device)
    rpn = load_rpn(stage.input("rpn"), trunk.out_channels, params.anchors, params.rpn).to(device)
    head = load_head(stage.input("head"), trunk.out_channels, trunk.stride, params.roi_head).to(device)
    rule = test_proposal_rule(params.detect, max(params.detect.recall_ranks, params.detect.proposals))
    propose = Proposer(rpn, anchor_grid(params.anchors, trunk.stride), rule)
    images = held_out_images(stage.input("resize"))
    infos, source = list(images), ImageViews(images)
    batches = prefetch(lambda i: source.load([Entry(infos[i].image_id, False)]), range(len(infos)))
    results: list[dict[str, object]] = []
    with (
        TableWriter(stage.out / "detections.parquet", schemas.DETECTIONS) as detections,
        TableWriter(stage.out / "proposals.parquet", schemas.PROPOSALS) as proposals,
        MapWriter(stage.out, "objectness") as maps_of_objectness,
        torch.inference_mode(),
    ):
        for index, views in enumerate(track(batches, stage.name, total=len(infos))):
            info, views = infos[index], to_device(views, device)
            with accelerator.autocast():
                maps = maps_of(trunk, views)
                rpn_maps = maps if shared else maps_of(rpn_trunk, views)
                boxes, scores, objectness = propose(rpn_maps, views.sizes, [info.scale])[0]
                classified = boxes[: params.detect.proposals]
                found = detect_in_maps(head, maps, [classified], views.sizes, detection_rule(params.detect))[0]
            entry = Entry(info.image_id, False)
            maps_of_objectness.add({entry: objectness.cpu().numpy().astype(np.float16)}, info.size)
            proposals.write(
                {
                    "image_id": info.image_id,
                    "mirrored": False,
                    "rank": np.arange(len(boxes)),
                    "score": scores.cpu().numpy(),
                    **box_columns(boxes.cpu().numpy()),
                }
            )
            original = to_original(found.boxes.cpu(), info.scale, info.original_size).numpy()
            detections.write(
                {
                    "image_id": info.image_id,
                    "label": found.labels.cpu().numpy(),
                    "score": found.scores.cpu().numpy(),
                    **box_columns(original),
                }
            )
            results += _coco_results(index, original, found)
    write_text(stage.out / "detections.json", json.dumps(results) + "\n")
    stage.log(f"{len(results)} detections in {len(infos)} images")


def _coco_results(index: int, boxes: np.ndarray, found: Detections) -> list[dict[str, object]]:
    """COCO's results format; image_id counts the images of val and test in order of their ids, from 1."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    return [
        {
            "image_id": index + 1,
            "category_id": int(label),
            "bbox": [round(float(value), 3) for value in (*box[:2], *size)],
            "score": round(float(score), 6),
        }
        for box, size, label, score in zip(boxes, sizes, found.labels, found.scores, strict=True)
    ]


if __name__ == "__main__":
    run_stage(
        detect,
        about=__doc__,
        inputs={
            "resize": "folder of the resize stage",
            "trunk": "folder of the stage that trained the head's trunk",
            "rpn": "folder of the stage that trained the RPN",
            "head": "folder of the stage that trained the head",
        },
        optional={"rpn_trunk": "folder of the stage that trained the RPN's trunk, where it is another one"},
    )
