"""Maps of every view of the training images, computed once and written to shards.

Shapes: B images; D channels; Fh, Fw feature map height, width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.artifacts.chunks import ChunkedWork
from pipeline.artifacts.maps import MapWriter
from pipeline.feeding.at_once import groups_of_one_size, in_order
from pipeline.feeding.by_scale import views_by_scale
from pipeline.feeding.prefetching import to_device
from pipeline.feeding.stored_maps import as_stored, check_finite, stored_dtype
from pipeline.runtime.progress import track

if TYPE_CHECKING:
    from accelerate import Accelerator

    from pipeline.artifacts.image_views import Entry
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
    """The maps of all training images. Views of one scale have one size and are computed together, those of
    `features.images_at_once` images.

    Args:
        compute: from views of `source` to the (B, D, Fh, Fw) map of each level.
        levels: how many maps that makes of an image.

    Raises:
        InputError: a value is too large for `features.dtype`.
    """
    ids = [image.image_id for image in images]
    name, seen = stage.params.features.dtype, images.views(stage.params.base.mirror)
    dtype = stored_dtype(name)

    def stored(views: Views) -> list[dict[Entry, list[np.ndarray]]]:
        """The maps of each image of a group at one scale, those of its views."""
        with accelerator.autocast():
            maps = compute(to_device(views, accelerator.device))
        levels = [as_stored(level, dtype) for level in maps]
        check_finite(levels, views.entries, name)
        arrays = [level.cpu().numpy() for level in levels]
        of_images: dict[str, dict[Entry, list[np.ndarray]]] = {}
        for place, entry in enumerate(views.entries):
            # Copied, so that a map which waits for its turn does not keep the others of its group.
            own = [np.asfortranarray(level[place]) for level in arrays]
            of_images.setdefault(entry.image_id, {})[entry] = own
        return list(of_images.values())

    with ChunkedWork(stage.out, ids, stage.log, share=stage.share) as work, torch.inference_mode():
        writer = MapWriter(work, "maps", levels)
        most = stage.params.features.images_at_once
        groups = groups_of_one_size(images, work.left, most)
        of_groups = (zip(*map(stored, scales), strict=True) for scales in views_by_scale(source, groups, seen, most))
        found = in_order(work.missing, groups, of_groups)
        for scales in work.through(track(found, stage.name, len(ids), done=work.found)):
            for maps in scales:
                writer.add(maps, images.seen(next(iter(maps))).size)
    stage.log(f"maps of {images.described(stage.params.base.mirror)}")
