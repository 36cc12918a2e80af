"""Let a trained RPN propose boxes for every training image: after step 1 from images, after step 3 from cached maps.

Writes proposals.parquet, in pixels of the resized image, best first.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from pipeline.artifacts import schemas
from pipeline.artifacts.stores import Entry, FeatureMaps, ResizedImages
from pipeline.artifacts.tables import TableWriter, box_columns
from pipeline.build import anchor_grid, load_rpn, load_trunk, new_trunk
from pipeline.detector.boxes import mirror
from pipeline.detector.network import Proposer
from pipeline.detector.rpn import ProposalRule
from pipeline.progress import track
from pipeline.stage import Stage, run_stage
from pipeline.training.batches import ImageViews, MapViews, ViewSource, prefetch, to_device
from pipeline.training.launcher import launch
from pipeline.training.steps import maps_of


def proposals(stage: Stage) -> None:
    """Propose for each image, and for its mirror anew or by mirroring the boxes."""
    params = stage.params.proposals
    accelerator = launch(stage.params.base)
    on_maps = stage.inputs["features"] is not None
    trunk = None if on_maps else load_trunk(stage.input("trunk"), stage.params.backbone).to(accelerator.device)
    shape = new_trunk(stage.params.backbone)
    rpn = load_rpn(stage.input("rpn"), shape.out_channels, stage.params.anchors, stage.params.rpn)
    rule = ProposalRule(params.pre_nms, params.nms_iou, params.post_nms, params.min_size)
    propose = Proposer(rpn.to(accelerator.device), anchor_grid(stage.params.anchors, shape.stride), rule)
    images = ResizedImages(stage.input("resize"), "train")
    source: ViewSource = MapViews(FeatureMaps(stage.input("features"))) if on_maps else ImageViews(images)
    seen = (False, True) if stage.params.base.mirror and params.mirrored == "recomputed" else (False,)
    ids = [image.image_id for image in images]
    batches = prefetch(lambda i: source.load([Entry(ids[i], mirrored) for mirrored in seen]), range(len(ids)))
    count = 0
    with TableWriter(stage.out / "proposals.parquet", schemas.PROPOSALS) as table, torch.inference_mode():
        for views in track(batches, stage.name, total=len(ids)):
            views = to_device(views, accelerator.device)
            scale = images[views.entries[0].image_id].scale
            with accelerator.autocast():
                found = propose(maps_of(trunk, views), views.sizes, [scale] * len(seen))
            for entry, boxes, scores in _with_mirrors(views.entries, found, views.sizes[0][1], stage):
                count += len(boxes)
                table.write(
                    {
                        "image_id": entry.image_id,
                        "mirrored": entry.mirrored,
                        "rank": np.arange(len(boxes)),
                        "score": scores.cpu().numpy(),
                        **box_columns(boxes.cpu().numpy()),
                    }
                )
    stage.log(f"{count} proposals in {len(ids)} images" + (" and their mirrors" if stage.params.base.mirror else ""))


def _with_mirrors(
    entries: list[Entry], found: list[tuple[torch.Tensor, torch.Tensor]], width: int, stage: Stage
) -> Iterator[tuple[Entry, torch.Tensor, torch.Tensor]]:
    for entry, (boxes, scores) in zip(entries, found, strict=True):
        yield entry, boxes, scores
        if stage.params.base.mirror and stage.params.proposals.mirrored == "mirrored":
            yield Entry(entry.image_id, True), mirror(boxes, width), scores


if __name__ == "__main__":
    run_stage(
        proposals,
        about=__doc__,
        inputs={"resize": "folder of the resize stage", "rpn": "folder of the stage that trained the RPN"},
        optional={
            "trunk": "after step 1: folder of the stage that trained the trunk",
            "features": "after step 3: folder of the features stage",
        },
    )
