"""Assign each training image's anchors to gt boxes: which are fg, with their deltas, and which are bg.

Writes fg_anchors.parquet, one row per fg anchor; the bg anchors as packed bits in npz shards; images.parquet, their
index. These are assignments: the anchors of an iteration are sampled from them at load time. Each view of an image has
its own.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from pipeline.artifacts.anchor_targets import AnchorAssignment, AnchorTargetWriter
from pipeline.artifacts.chunks import ChunkedWork
from pipeline.artifacts.ground_truth import GroundTruth
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.building.anchors import anchor_grid
from pipeline.building.layout import map_layout
from pipeline.families.faster_rcnn.params.anchor_targets import AnchorTargetParams
from pipeline.families.faster_rcnn.params.typed import typed
from pipeline.nn.anchor_matching import AnchorsOfSize
from pipeline.nn.boxes import encode
from pipeline.nn.matching import BG, FG
from pipeline.params.anchors import AnchorParams
from pipeline.params.backbone import BackboneParams
from pipeline.params.base import Base
from pipeline.runtime.processes import over_processes
from pipeline.runtime.progress import track
from pipeline.runtime.stage import Stage, run_stage
from pipeline.runtime.words import count_text

_SIZES_KEPT = 4
"""How many image sizes the anchors are kept for; each takes up to 112 bytes per anchor."""


@over_processes
def anchor_targets(stage: Stage) -> None:
    """Match the anchors of every training image, and of its mirror."""
    torch.set_num_threads(stage.params.base.threads)
    params = typed(stage.params).anchor_targets
    images = ResizedImages(stage.input("resize"), "train")
    gt = GroundTruth(stage.input("resize"))
    layout = map_layout(stage.params.backbone)
    grid = anchor_grid(typed(stage.params).anchors, layout)
    rule = params.model_dump(exclude={"allowed_border"})

    @lru_cache(maxsize=_SIZES_KEPT)
    def of_size(size: tuple[int, int]) -> tuple[AnchorsOfSize, tuple[int, int]]:
        sizes = layout.sizes(*size)
        return AnchorsOfSize(grid.exact(sizes), size, params.allowed_border), sizes[0]

    with ChunkedWork(stage.out, [image.image_id for image in images], stage.log, share=stage.share) as work:
        writer = AnchorTargetWriter(work)
        for image_id in work.through(track(work.missing, stage.name, len(images), done=work.found)):
            assigned = {}
            for entry in (Entry(image_id, view) for view in images.views(stage.params.base.mirror)):
                size = images.seen(entry).size
                anchors, feature_size = of_size(size)
                gt_boxes = torch.from_numpy(np.ascontiguousarray(gt.boxes(entry, size[1])))
                regions = torch.from_numpy(np.ascontiguousarray(gt.regions(entry, size[1])))
                matches = anchors.match(gt_boxes, regions, **rule)
                own = torch.nonzero(matches.labels == FG).squeeze(1)
                fg, matched_gt = anchors.used[own], matches.matched_gt[own]
                deltas = encode(anchors.all[fg].float(), gt_boxes[matched_gt]) if len(fg) else torch.zeros(0, 4)
                is_bg = np.zeros(len(anchors.all), bool)
                is_bg[anchors.used.numpy()] = (matches.labels == BG).numpy()
                assigned[entry] = AnchorAssignment(
                    fg.numpy(),
                    deltas.numpy(),
                    matched_gt.numpy(),
                    matches.max_iou[own].numpy(),
                    np.packbits(is_bg),
                    len(is_bg),
                    feature_size,
                )
            writer.add(assigned, len(gt[image_id][0]))
    stage.log(f"{count_text(writer.fg_count, 'fg anchor')} in {images.described(stage.params.base.mirror)}")


if __name__ == "__main__":
    run_stage(
        anchor_targets,
        about=__doc__,
        sections={
            "base": Base,
            "backbone": BackboneParams,
            "anchors": AnchorParams,
            "anchor_targets": AnchorTargetParams,
        },
        inputs={"resize": "folder of the resize stage"},
        resumable=True,
    )
