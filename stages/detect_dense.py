"""Detect objects in the images of val and test with a dense detector.

Writes detections.parquet and detections.json (COCO results), in pixels of the original image; and maps of the best
class score of each cell of each level, with images.parquet, their index.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from pipeline.artifacts.absent import write_absent
from pipeline.artifacts.chunks import ChunkedWork
from pipeline.artifacts.classes import read_classes, read_detector_classes
from pipeline.artifacts.detections import DetectionWriter
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.maps import MapWriter
from pipeline.artifacts.resized_images import ImageInfo, held_out_images
from pipeline.building.known_classes import KnownClasses
from pipeline.building.layout import map_layout
from pipeline.building.trunk import load_trunk
from pipeline.dense.building import load_head
from pipeline.dense.contract import detect_part, images_at_once
from pipeline.dense.initial import why_absent, without_limit
from pipeline.dense.network import DenseDetector
from pipeline.feeding.at_once import groups_of_one_size, in_order
from pipeline.feeding.originals import ORIGINALS, originals_of
from pipeline.feeding.prefetching import prefetch_groups, to_device
from pipeline.feeding.views import ImageViews, Views
from pipeline.nn.postprocess import DetectedBoxes, to_original
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
    """What was found in an image, in resized pixels, and the best score of each cell of each level."""

    info: ImageInfo
    detected: DetectedBoxes
    best: list[torch.Tensor]


def detect_dense(stage: Stage) -> None:
    """Detect, some images of one size at once."""
    part, params = detect_part(stage.part), stage.params
    init = params.sections().get("init")
    if isinstance(init, InitParams):
        missing = why_absent(init, part, map_layout(params.backbone), params, stage.input("head"))
        if missing is not None:
            _write_nothing(stage, missing)
            return
    _detect(stage)


@over_processes
def _detect(stage: Stage) -> None:
    part, params = detect_part(stage.part), stage.params
    accelerator = launch(params.base)
    resized = stage.input("resize")
    trunk = load_trunk(stage.input("trunk"), params.backbone)
    classes = read_classes(resized)
    own_classes = read_detector_classes(stage.input("head"))  # those of one that was trained on others
    head = load_head(stage.input("head"), part, trunk.layout, len(own_classes or classes), params)
    known, limit = KnownClasses(own_classes, classes) if own_classes else None, None
    if known is not None:
        if known.unknown:
            stage.log(f"the detector does not know {', '.join(known.unknown)}, whose AP is 0")
        params, limit = without_limit(params, part)
    network = DenseDetector(for_inference(trunk, accelerator), for_inference(head, accelerator), part, params)
    images = held_out_images(resized, originals_of(stage))
    ids, source = [image.image_id for image in images], ImageViews(images)

    def found_in(views: Views) -> list[_Found]:
        infos, found = [images.seen(entry) for entry in views.entries], []
        pixels = to_device(views.images, accelerator.device)
        with accelerator.autocast():
            for info, own in zip(infos, network.outputs(pixels, views.sizes), strict=True):
                detected = network.decode(own, info.size)
                if known is not None:
                    detected = known.of_data_set(detected, limit)
                found.append(_Found(info, detected, network.best_scores(own)))
        return found

    with ChunkedWork(stage.out, ids, stage.log, share=stage.share) as work, torch.inference_mode():
        detections = DetectionWriter(work, ids)
        score_maps = MapWriter(work, "scores", len(head.locations.layout.levels))
        most = images_at_once(params, part)
        groups = groups_of_one_size(images, work.left, most)
        batches = prefetch_groups(lambda group: source.load([Entry(image_id) for image_id in group]), groups, most)
        each = in_order(work.missing, groups, map(found_in, batches))
        for info, found, best in work.through(track(each, stage.name, len(ids), done=work.found)):
            score_maps.add({Entry(info.image_id): [own.cpu().numpy().astype(np.float16) for own in best]}, info.size)
            boxes = to_original(found.boxes.cpu(), info.scale, info.original_size)
            detections.add(info.image_id, boxes.numpy(), found.labels.cpu().numpy(), found.scores.cpu().numpy())
        detections.write_coco(stage.out)
    stage.log(f"{count_text(detections.count, 'detection')} in {count_text(len(ids), 'image')}")


def _write_nothing(stage: Stage, why: str) -> None:
    with ChunkedWork(stage.out, [], stage.log) as work:
        detections = DetectionWriter(work, [])
        MapWriter(work, "scores")
    detections.write_coco(stage.out)
    write_absent(stage.out, why)
    stage.log(f"no detections: {why}")


if __name__ == "__main__":
    run_stage(
        detect_dense,
        about=__doc__,
        sections={"base": Base, "backbone": BackboneParams, "init": InitParams},
        inputs={
            "resize": "folder of the resize stage",
            "trunk": "folder of the stage that trained the trunk",
            "head": "folder of the stage that trained the head",
        },
        optional=ORIGINALS,
        resumable=True,
        of_family="detect_dense",
    )
