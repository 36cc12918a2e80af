"""Maps of every view of the training images, computed once and written to shards.

Shapes: B images; D channels; Fh, Fw feature map height, width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from pipeline.artifacts.chunks import ChunkedWork
from pipeline.artifacts.maps import MapWriter
from pipeline.feeding.by_scale import views_by_scale
from pipeline.feeding.prefetching import to_device
from pipeline.feeding.stored_maps import as_stored, check_finite, stored_dtype
from pipeline.runtime.progress import track

if TYPE_CHECKING:
    from accelerate import Accelerator

    from pipeline.artifacts.resized_images import ResizedImages
    from pipeline.feeding.views import Views, ViewSource
    from pipeline.nn.backbones.trunk import Maps
    from pipeline.runtime.stage import Stage


def write_maps(
    stage: Stage,
    images: ResizedImages,
    source: ViewSource,
    compute: Callable[[Views], Maps],
    accelerator: Accelerator,
    levels: int = 1,
) -> None:
    """The maps of all training images; views of one scale have one size and are computed together.

    Args:
        compute: from views of `source` to the (B, D, Fh, Fw) map of each level.
        levels: how many maps that makes of an image.

    Raises:
        InputError: a value is too large for `features.dtype`.
    """
    ids = [image.image_id for image in images]
    name = stage.params.features.dtype
    dtype = stored_dtype(name)
    with ChunkedWork(stage.out, ids, stage.log, share=stage.share) as work, torch.inference_mode():
        writer = MapWriter(work, "maps", levels)
        batches = views_by_scale(source, work.missing, images.views(stage.params.base.mirror))
        for scales in work.through(track(batches, stage.name, len(ids), done=work.found)):
            for views in scales:
                with accelerator.autocast():
                    maps = compute(to_device(views, accelerator.device))
                stored = [as_stored(level, dtype) for level in maps]
                check_finite(stored, views.entries[0], name)
                of_entries = zip(*(level.cpu().numpy() for level in stored), strict=True)
                writer.add(dict(zip(views.entries, of_entries, strict=True)), views.sizes[0])
    stage.log(f"maps of {images.described(stage.params.base.mirror)}")
