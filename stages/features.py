"""Run step 2's trunk once over every training image and its mirror; steps 3 and 4 read the maps in place of images.

Writes the maps as npz shards and images.parquet, the index.
"""

from __future__ import annotations

import numpy as np
import torch

from pipeline.artifacts.chunks import ChunkedWork
from pipeline.artifacts.stores import Entry, MapWriter, ResizedImages
from pipeline.build import load_trunk
from pipeline.errors import InputError
from pipeline.progress import track
from pipeline.stage import Stage, run_stage
from pipeline.training.batches import ImageViews, prefetch, to_device
from pipeline.training.launcher import for_inference, launch
from pipeline.training.steps import maps_of


def features(stage: Stage) -> None:
    """An image and its mirror have one size and go through the trunk together."""
    accelerator = launch(stage.params.base)
    trunk = for_inference(load_trunk(stage.input("trunk"), stage.params.backbone), accelerator)
    images = ResizedImages(stage.input("resize"), "train")
    seen = (False, True) if stage.params.base.mirror else (False,)
    ids = [image.image_id for image in images]
    source = ImageViews(images)
    dtype = np.dtype(stage.params.features.dtype)
    with ChunkedWork(stage.out, ids, stage.log) as work, torch.inference_mode():
        writer = MapWriter(work, "maps")
        left = work.missing
        batches = prefetch(lambda i: source.load([Entry(left[i], mirrored) for mirrored in seen]), range(len(left)))
        for views in work.through(track(batches, stage.name, len(ids), done=work.found)):
            with accelerator.autocast():
                maps = maps_of(trunk, to_device(views, accelerator.device))
            arrays = maps.float().cpu().numpy().astype(dtype)
            if not np.isfinite(arrays).all():
                raise InputError(
                    f"features of image {views.entries[0].image_id} overflow {dtype}; set features.dtype to float32"
                )
            writer.add(dict(zip(views.entries, arrays, strict=True)), views.sizes[0])
    stage.log(f"maps of {len(ids)} images" + (" and their mirrors" if stage.params.base.mirror else ""))


if __name__ == "__main__":
    run_stage(
        features,
        about=__doc__,
        inputs={"resize": "folder of the resize stage", "trunk": "folder of train_head_step2"},
        goes_on=True,
    )
