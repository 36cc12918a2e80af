"""Run step 2's trunk once over every view of the training images; steps 3 and 4 read the maps instead of images.

If `features.keep` is none, nothing is kept, and steps 3 and 4 run the trunk themselves. Writes the maps as npz shards
and images.parquet, the index.
"""

from __future__ import annotations

from pipeline.artifacts.no_maps import keep_no_maps
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.families.faster_rcnn.params.features import FeatureParams
from pipeline.families.faster_rcnn.params.typed import typed
from pipeline.params.backbone import BackboneParams
from pipeline.params.base import Base
from pipeline.params.reading import Params
from pipeline.runtime.processes import over_processes
from pipeline.runtime.stage import Stage, run_stage


def features(stage: Stage) -> None:
    """The whole trunk."""
    if _keeps_maps(stage.params):
        _keep_maps(stage)
    else:
        keep_no_maps(stage, "features.keep")


def _keeps_maps(params: Params) -> bool:
    return typed(params).features.keep != "none"


def _import_torch(params: Params) -> None:
    # torch takes seconds to import, and is not needed where nothing is kept. Processes are forked from one that has it.
    if _keeps_maps(params):
        from pipeline.feeding import frozen_trunk, writing_maps  # noqa: F401
        from pipeline.runtime import launcher  # noqa: F401


@over_processes
def _keep_maps(stage: Stage) -> None:
    from pipeline.building.layout import map_layout
    from pipeline.feeding.frozen_trunk import frozen_source, frozen_trunk
    from pipeline.feeding.sources import trunk_source
    from pipeline.feeding.writing_maps import write_maps
    from pipeline.runtime.launcher import launch

    accelerator = launch(stage.params.base)
    images, trunk = ResizedImages(stage.input("resize"), "train"), frozen_trunk(stage, accelerator)
    levels = len(map_layout(stage.params.backbone).levels)
    # With one image at once the mirror is computed alone, too, as steps 3 and 4 would do it for features.keep none.
    alone = typed(stage.params).features.images_at_once == 1
    source = frozen_source(stage, images) if alone else trunk_source(stage, images)
    write_maps(stage, images, source, trunk.stored, accelerator, levels)


if __name__ == "__main__":
    run_stage(
        features,
        about=__doc__,
        sections={
            "base": Base,
            "backbone": BackboneParams,
            "features": FeatureParams,
        },
        inputs={
            "resize": "folder of the resize stage",
            "frozen_features": "folder of the frozen_features stage",
            "trunk": "folder of train_head_step2",
        },
        resumable=True,
        images_at_once="features",
        before_key=_import_torch,
    )
