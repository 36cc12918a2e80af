"""Run step 2's trunk once over every training image and its mirror; steps 3 and 4 read the maps in place of images.

Writes the maps as npz shards and images.parquet, the index.
"""

from __future__ import annotations

import numpy as np
import torch

from pipeline.artifacts import schemas
from pipeline.artifacts.shards import ShardWriter, member_name
from pipeline.artifacts.stores import Entry, ResizedImages
from pipeline.artifacts.tables import TableWriter
from pipeline.build import load_trunk
from pipeline.errors import InputError
from pipeline.progress import track
from pipeline.stage import Stage, run_stage
from pipeline.training.batches import ImageViews, prefetch, to_device
from pipeline.training.launcher import launch
from pipeline.training.steps import maps_of


def features(stage: Stage) -> None:
    """An image and its mirror have one size and go through the trunk together."""
    accelerator = launch(stage.params.base)
    trunk = load_trunk(stage.input("trunk"), stage.params.backbone).to(accelerator.device)
    images = ResizedImages(stage.input("resize"), "train")
    seen = (False, True) if stage.params.base.mirror else (False,)
    ids = [image.image_id for image in images]
    source = ImageViews(images)
    batches = prefetch(lambda i: source.load([Entry(ids[i], mirrored) for mirrored in seen]), range(len(ids)))
    dtype = np.dtype(stage.params.features.dtype)
    with (
        ShardWriter(stage.out, "maps") as shards,
        TableWriter(stage.out / "images.parquet", schemas.FEATURE_IMAGES) as table,
        torch.inference_mode(),
    ):
        for views in track(batches, stage.name, total=len(ids)):
            with accelerator.autocast():
                maps = maps_of(trunk, to_device(views, accelerator.device))
            arrays = maps.float().cpu().numpy().astype(dtype)
            if not np.isfinite(arrays).all():
                raise InputError(
                    f"features of image {views.entries[0].image_id} overflow {dtype}; set features.dtype to float32"
                )
            shard = shards.add({member_name(*entry): array for entry, array in zip(views.entries, arrays, strict=True)})
            for entry, (height, width) in zip(views.entries, views.sizes, strict=True):
                table.write(
                    {
                        "image_id": entry.image_id,
                        "mirrored": entry.mirrored,
                        "width": width,
                        "height": height,
                        "feature_height": maps.shape[2],
                        "feature_width": maps.shape[3],
                        "shard": shard,
                    }
                )
    stage.log(f"maps of {len(ids)} images" + (" and their mirrors" if stage.params.base.mirror else ""))


if __name__ == "__main__":
    run_stage(
        features,
        about=__doc__,
        inputs={"resize": "folder of the resize stage", "trunk": "folder of train_head_step2"},
    )
