"""Detect objects in the images of val and test with a network: that of step 2 (unshared), of step 4, of joint
training, or the detector that training starts from, keeping only detections of the data set's classes.

Writes detections.parquet and detections.json (COCO results), in pixels of the original image; proposals.parquet, the
test proposals in pixels of the resized image, up to `detect.recall_ranks`, the first `detect.proposals` of which were
classified; and objectness maps with images.parquet, their index.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from pipeline.artifacts.absent import write_absent
from pipeline.artifacts.chunks import ChunkedWork
from pipeline.artifacts.classes import read_classes, read_detector_classes
from pipeline.artifacts.detections import DetectionWriter
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.maps import MapWriter
from pipeline.artifacts.proposals import ProposalWriter
from pipeline.artifacts.resized_images import ImageInfo, held_out_images
from pipeline.artifacts.weights import load_part, misfit
from pipeline.building.anchors import anchor_grid
from pipeline.building.known_classes import KnownClasses
from pipeline.building.layout import map_layout
from pipeline.building.trunk import load_trunk
from pipeline.families.faster_rcnn.building.detection import detection_rule, test_proposal_rule
from pipeline.families.faster_rcnn.building.roi_head import load_head, new_head, num_classes_of
from pipeline.families.faster_rcnn.building.rpn import load_rpn, new_rpn
from pipeline.families.faster_rcnn.nn.detecting import detect_in_maps
from pipeline.families.faster_rcnn.nn.proposer import Proposed, Proposer
from pipeline.families.faster_rcnn.params.detect import DetectParams
from pipeline.families.faster_rcnn.params.roi_head import RoIHeadParams
from pipeline.families.faster_rcnn.params.rpn import RPNParams
from pipeline.families.faster_rcnn.params.typed import typed
from pipeline.feeding.at_once import groups_of_one_size, in_order
from pipeline.feeding.maps import maps_of
from pipeline.feeding.prefetching import prefetch_groups, to_device
from pipeline.feeding.views import ImageViews, Views
from pipeline.nn.postprocess import DetectedBoxes, to_original
from pipeline.params.anchors import AnchorParams
from pipeline.params.backbone import BackboneParams
from pipeline.params.base import Base
from pipeline.params.initial import InitParams
from pipeline.runtime.inference import for_inference
from pipeline.runtime.launcher import launch
from pipeline.runtime.processes import over_processes
from pipeline.runtime.progress import track
from pipeline.runtime.stage import Stage, run_stage
from pipeline.runtime.words import count_text


class _Found(NamedTuple):
    """What was found in an image, in resized pixels."""

    info: ImageInfo
    proposed: Proposed
    detected: DetectedBoxes


def detect(stage: Stage) -> None:
    """Propose and classify, some images of one size at once. The RPN and the head may have trunks of their own."""
    missing = _why_missing(stage)
    if missing is not None:
        _write_nothing(stage, missing)
    else:
        _detect(stage)


@over_processes
def _detect(stage: Stage) -> None:
    params = typed(stage.params)
    accelerator = launch(params.base)
    device = accelerator.device
    trunk = for_inference(load_trunk(stage.input("trunk"), params.backbone), accelerator)
    shared = stage.inputs["rpn_trunk"] is None
    rpn_trunk = trunk
    if not shared:
        rpn_trunk = for_inference(load_trunk(stage.input("rpn_trunk"), params.backbone), accelerator)
    rpn = load_rpn(stage.input("rpn"), trunk.layout, params.anchors, params.rpn)
    head = load_head(stage.input("head"), trunk.layout, params.roi_head, params.backbone)
    rpn, head = for_inference(rpn, accelerator), for_inference(head, accelerator)
    proposed = test_proposal_rule(params.detect, max(params.detect.recall_ranks, params.detect.proposals))
    propose = Proposer(rpn, anchor_grid(params.anchors, trunk.layout), proposed)
    known, rule = _known_classes(stage), detection_rule(params.detect)
    if known is not None:  # what the data set lacks must not take the places of what it has
        rule = replace(rule, per_image=params.detect.proposals * head.num_classes)
    images = held_out_images(stage.input("resize"))
    ids, source = [image.image_id for image in images], ImageViews(images)

    def found_in(views: Views) -> list[_Found]:
        infos, views = [images.seen(entry) for entry in views.entries], to_device(views, device)
        with accelerator.autocast():
            maps = maps_of(trunk, views)
            rpn_maps = maps if shared else maps_of(rpn_trunk, views)
            proposed = propose(rpn_maps, views.sizes, [info.scale for info in infos])
            classified = [own.boxes[: params.detect.proposals] for own in proposed]
            detected = detect_in_maps(head, maps, classified, views.sizes, rule)
            if known is not None:
                detected = [known.of_data_set(own, params.detect.per_image) for own in detected]
        return list(map(_Found, infos, proposed, detected))

    with ChunkedWork(stage.out, ids, stage.log, share=stage.share) as work, torch.inference_mode():
        detections = DetectionWriter(work, ids)
        proposals = ProposalWriter(work)
        maps_of_objectness = MapWriter(work, "objectness", len(trunk.layout.levels))
        most = params.detect.images_at_once
        groups = groups_of_one_size(images, work.left, most)
        batches = prefetch_groups(lambda group: source.load([Entry(image_id) for image_id in group]), groups, most)
        each = in_order(work.missing, groups, map(found_in, batches))
        for info, (boxes, scores, objectness), found in work.through(
            track(each, stage.name, len(ids), done=work.found)
        ):
            entry = Entry(info.image_id)
            stored = [level.cpu().numpy().astype(np.float16) for level in objectness]
            maps_of_objectness.add({entry: stored}, info.size)
            proposals.add(entry, boxes.cpu().numpy(), scores.cpu().numpy())
            original = to_original(found.boxes.cpu(), info.scale, info.original_size).numpy()
            detections.add(info.image_id, original, found.labels.cpu().numpy(), found.scores.cpu().numpy())
        detections.write_coco(stage.out)
    stage.log(f"{count_text(detections.count, 'detection')} in {count_text(len(ids), 'image')}")


def _why_missing(stage: Stage) -> str | None:
    """Why the detector that training starts from, where the stage is to run that, cannot be run."""
    init = stage.params.sections().get("init")
    if not isinstance(init, InitParams):
        return None
    if init.detector == "none":
        return "training starts from no detector (init.detector: none)"
    if read_detector_classes(stage.input("head")) is None:
        return "data/initial_detector has no RoI head whose classes are known (init.classes can name them)"
    # Training takes what fits, and draws the rest.
    params, folder = typed(stage.params), stage.input("head")
    layout, state = map_layout(params.backbone), load_part(folder, "head")
    if "delta_mean" not in state:
        return "data/initial_detector is not a Faster R-CNN"
    head = new_head(layout, num_classes_of(state), params.roi_head, params.backbone)
    rpn = new_rpn(layout, params.anchors, params.rpn)
    for name, module, weights in (("RPN", rpn, load_part(folder, "rpn")), ("RoI head", head, state)):
        fault = misfit(module, weights)
        if fault is not None:
            return f"data/initial_detector has another {name} than params.yaml: {fault}"
    return None


def _write_nothing(stage: Stage, why: str) -> None:
    with ChunkedWork(stage.out, [], stage.log) as work:
        detections = DetectionWriter(work, [])
        ProposalWriter(work)
        MapWriter(work, "objectness")
    detections.write_coco(stage.out)
    write_absent(stage.out, why)
    stage.log(f"no detections: {why}")


def _known_classes(stage: Stage) -> KnownClasses | None:
    """The classes in common of a detector that was trained on its own; None where it was trained on these."""
    own = read_detector_classes(stage.input("head"))
    if own is None:
        return None
    known = KnownClasses(own, read_classes(stage.input("resize")))
    if known.unknown:
        stage.log(f"the detector does not know {', '.join(known.unknown)}, whose AP is 0")
    return known


if __name__ == "__main__":
    run_stage(
        detect,
        about=__doc__,
        sections={
            "base": Base,
            "backbone": BackboneParams,
            "init": InitParams,
            "anchors": AnchorParams,
            "rpn": RPNParams,
            "roi_head": RoIHeadParams,
            "detect": DetectParams,
        },
        inputs={
            "resize": "folder of the resize stage",
            "trunk": "folder of the stage that trained the head's trunk",
            "rpn": "folder of the stage that trained the RPN",
            "head": "folder of the stage that trained the head",
        },
        optional={"rpn_trunk": "folder of the stage that trained the RPN's trunk, where it is another one"},
        resumable=True,
        images_at_once="detect",
    )
