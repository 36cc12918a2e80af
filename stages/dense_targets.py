"""Assign each training image's locations to gt boxes, for a dense detector: which class each predicts, which are
background and which are ignored.

If the family has a section `augment`, which changes training images at random in each epoch, the view of the first
epoch is one of each image's views, and draws.parquet records the changes.

Writes fg_locations.parquet, one row per location with a class; the ignored ones as packed bits in npz shards;
images.parquet, their index, one row per level. Each view of an image has its own assignment. The family defines the
rule (pipeline/families/NAME).
"""

from __future__ import annotations

from pipeline.artifacts.chunks import ChunkedWork
from pipeline.artifacts.dense_targets import DenseTargetWriter
from pipeline.artifacts.draws import DRAWS, DRAWS_FILE, draw_columns
from pipeline.artifacts.ground_truth import GroundTruth
from pipeline.artifacts.image_views import DRAWN, Entry, check_names
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.building.layout import map_layout
from pipeline.dense.assignment import as_stored, assign, truth_of
from pipeline.dense.contract import targets_part
from pipeline.dense.drawn import DrawnViews
from pipeline.dense.level_checks import levels_told
from pipeline.params.augment import augmentation
from pipeline.params.backbone import BackboneParams
from pipeline.params.base import Base
from pipeline.runtime.processes import over_processes
from pipeline.runtime.progress import track
from pipeline.runtime.stage import Stage, run_stage
from pipeline.runtime.words import count_text


@over_processes
def dense_targets(stage: Stage) -> None:
    """Assign the locations of every view of every training image."""
    part, params = targets_part(stage.part), stage.params
    images = ResizedImages(stage.input("resize"), "train")
    gt = GroundTruth(stage.input("resize"))
    with levels_told(part.__name__):
        locations = part.locations(map_layout(params.backbone), params)
    augment, seed = augmentation(params), params.base.seed
    drawn = DrawnViews(augment, images, gt, seed, stage.name) if augment else None
    ids = [image.image_id for image in images]
    if drawn:
        check_names(ids, DRAWN + 1)
    with ChunkedWork(stage.out, ids, stage.log, share=stage.share) as work:
        writer = DenseTargetWriter(work)
        draws = work.table(DRAWS_FILE, DRAWS) if drawn else None
        for image_id in work.through(track(work.missing, stage.name, len(images), done=work.found)):
            truths = {}
            for entry in (Entry(image_id, view) for view in images.views(params.base.mirror)):
                truths[entry] = truth_of(gt, entry, images.seen(entry).size[1])
            if drawn and draws:
                draw = drawn.draw(image_id, epoch=0)
                truth = truths[Entry(image_id, DRAWN)] = drawn.truth(image_id, draw)
                draws.write(draw_columns(image_id, draw, len(truth.boxes)))
            assigned = {}
            for entry, truth in truths.items():
                size = images.seen(entry).size
                grid = locations.of(*size)
                assigned[entry] = as_stored(assign(part, truth, grid, size, params), grid)
            writer.add(assigned, len(gt[image_id][0]))
    what = images.described(params.base.mirror) + (", and as the first epoch draws them" if drawn else "")
    stage.log(f"{count_text(writer.fg_count, 'location')} with a class in {what}")


if __name__ == "__main__":
    run_stage(
        dense_targets,
        about=__doc__,
        sections={"base": Base, "backbone": BackboneParams},
        inputs={"resize": "folder of the resize stage"},
        resumable=True,
        of_family="dense_targets",
    )
