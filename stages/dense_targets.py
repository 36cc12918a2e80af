"""Assign each training image's locations to gt boxes, for a dense detector: which class each is to predict, which are
background and which ignored.

Writes fg_locations.parquet, one row a location with a class; the ignored as packed bits in npz shards; images.parquet,
the index, one row a level. Each view of an image has its own. The family says how (pipeline/families/NAME).
"""

from __future__ import annotations

import numpy as np

from pipeline.artifacts.chunks import ChunkedWork
from pipeline.artifacts.dense_targets import DenseTargetWriter, StoredAssignment
from pipeline.artifacts.ground_truth import GroundTruth
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.building.layout import map_layout
from pipeline.dense.assignment import assign, truth_of
from pipeline.dense.contract import targets_part
from pipeline.dense.level_checks import levels_told
from pipeline.params.backbone import BackboneParams
from pipeline.params.base import Base
from pipeline.runtime.progress import track
from pipeline.runtime.stage import Stage, run_stage
from pipeline.runtime.words import count_text


def dense_targets(stage: Stage) -> None:
    """Assign the locations of every training image, and of its mirror."""
    part, params = targets_part(stage.part), stage.params
    images = ResizedImages(stage.input("resize"), "train")
    gt = GroundTruth(stage.input("resize"))
    with levels_told(part.__name__):
        locations = part.locations(map_layout(params.backbone), params)
    with ChunkedWork(stage.out, [image.image_id for image in images], stage.log) as work:
        writer = DenseTargetWriter(work)
        for image_id in work.through(track(work.missing, stage.name, len(images), done=work.found)):
            assigned = {}
            for entry in (Entry(image_id, view) for view in images.views(params.base.mirror)):
                size = images.seen(entry).size
                grid = locations.of(*size)
                own = assign(part, truth_of(gt, entry, size[1]), grid, size, params)
                fg = np.flatnonzero(own.labels > 0)
                assigned[entry] = StoredAssignment(
                    fg,
                    own.labels[fg],
                    own.matched_gt[fg],
                    own.quality[fg],
                    np.packbits(own.labels < 0),
                    grid,
                )
            writer.add(assigned, len(gt[image_id][0]))
    stage.log(f"{count_text(writer.fg_count, 'location')} with a class in {images.described(params.base.mirror)}")


if __name__ == "__main__":
    run_stage(
        dense_targets,
        about=__doc__,
        sections={"base": Base, "backbone": BackboneParams},
        inputs={"resize": "folder of the resize stage"},
        resumable=True,
        of_family="dense_targets",
    )
