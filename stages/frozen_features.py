"""Run the blocks of the trunk that are never trained once over every view of the training images.

Stages that train the other blocks (steps 1, 2 and joint training), or run them over all training images, then start
from these maps instead of images. If `features.keep_frozen_stages` is false or no block is frozen, nothing is kept, and
they read images.

Writes the maps as npz shards and images.parquet, the index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.artifacts.no_maps import keep_no_maps
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.families.faster_rcnn.params.features import FeatureParams
from pipeline.families.faster_rcnn.params.typed import typed
from pipeline.params.backbone import BackboneParams
from pipeline.params.base import Base
from pipeline.params.reading import Params
from pipeline.runtime.processes import over_processes
from pipeline.runtime.stage import Stage, run_stage

if TYPE_CHECKING:
    from pipeline.feeding.views import Views
    from pipeline.nn.backbones.trunk import Maps


def frozen_features(stage: Stage) -> None:
    """The trunk's frozen blocks and the pooling after them."""
    if _keeps_maps(stage.params):
        _keep_maps(stage)
    else:
        keep_no_maps(stage, "features.keep_frozen_stages")


def _keeps_maps(params: Params) -> bool:
    return bool(typed(params).features.keep_frozen_stages and params.backbone.frozen_stages)


def _import_torch(params: Params) -> None:
    # torch takes seconds to import, and is not needed where nothing is kept. Processes are forked from one that has it.
    if _keeps_maps(params):
        from pipeline.feeding import views, writing_maps  # noqa: F401
        from pipeline.runtime import launcher  # noqa: F401


@over_processes
def _keep_maps(stage: Stage) -> None:
    from pipeline.building.trunk import load_trunk
    from pipeline.feeding.views import ImageViews
    from pipeline.feeding.writing_maps import write_maps
    from pipeline.runtime.inference import for_inference
    from pipeline.runtime.launcher import launch

    accelerator = launch(stage.params.base)
    trunk = for_inference(load_trunk(stage.input("trunk"), stage.params.backbone), accelerator)

    def maps_of_frozen_stages(views: Views) -> Maps:
        assert views.images is not None
        return trunk.frozen(trunk.normalise(views.images, views.sizes))

    images = ResizedImages(stage.input("resize"), "train")
    write_maps(stage, images, ImageViews(images), maps_of_frozen_stages, accelerator, trunk.frozen_levels)


if __name__ == "__main__":
    run_stage(
        frozen_features,
        about=__doc__,
        sections={
            "base": Base,
            "backbone": BackboneParams,
            "features": FeatureParams,
        },
        inputs={"resize": "folder of the resize stage", "trunk": "folder of the backbone stage"},
        resumable=True,
        images_at_once="features",
        before_key=_import_torch,
    )
