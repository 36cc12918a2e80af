"""Run step 2's trunk once over every view of the training images; steps 3 and 4 read the maps in place of images.

Writes the maps as npz shards and images.parquet, the index.
"""

from __future__ import annotations

from pipeline.artifacts.resized_images import ResizedImages
from pipeline.building.trunk import load_trunk
from pipeline.families.faster_rcnn.params.features import FeatureParams
from pipeline.feeding.maps import maps_of
from pipeline.feeding.sources import trunk_source
from pipeline.feeding.writing_maps import write_maps
from pipeline.params.backbone import BackboneParams
from pipeline.params.base import Base
from pipeline.runtime.inference import for_inference
from pipeline.runtime.launcher import launch
from pipeline.runtime.stage import Stage, run_stage


def features(stage: Stage) -> None:
    """The whole trunk."""
    accelerator = launch(stage.params.base)
    trunk = for_inference(load_trunk(stage.input("trunk"), stage.params.backbone), accelerator)
    levels = len(trunk.layout.levels)
    images = ResizedImages(stage.input("resize"), "train")
    write_maps(stage, images, trunk_source(stage, images), lambda views: maps_of(trunk, views), accelerator, levels)


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
    )
