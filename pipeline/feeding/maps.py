"""Maps of every view of the training images: computed once and written to shards, and read in place of images.

Shapes: B images; D channels; Fh, Fw feature map height, width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from accelerate import Accelerator
from torch import Tensor

from pipeline.artifacts.chunks import ChunkedWork
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.maps import FeatureMaps, MapWriter
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.detector.trunk import Maps, Trunk
from pipeline.errors import InputError
from pipeline.feeding.prefetching import prefetch, to_device
from pipeline.feeding.views import ImageViews, MapViews, Views, ViewSource
from pipeline.progress import track
from pipeline.stage import Stage


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
    dtype = {"float16": torch.float16, "float32": torch.float32}[name]
    with ChunkedWork(stage.out, ids, stage.log) as work, torch.inference_mode():
        writer = MapWriter(work, "maps", levels)
        batches = views_by_scale(source, work.missing, images.views(stage.params.base.mirror))
        for scales in work.through(track(batches, stage.name, len(ids), done=work.found)):
            for views in scales:
                with accelerator.autocast():
                    maps = compute(to_device(views, accelerator.device))
                stored = [as_stored(level, dtype) for level in maps]
                if not all(map(is_finite, stored)):
                    raise InputError(
                        f"features of image {views.entries[0].image_id} overflow {name}; set features.dtype to float32"
                    )
                of_entries = zip(*(level.cpu().numpy() for level in stored), strict=True)
                writer.add(dict(zip(views.entries, of_entries, strict=True)), views.sizes[0])
    stage.log(f"maps of {images.described(stage.params.base.mirror)}")


def views_by_scale(source: ViewSource, ids: Sequence[str], views: Sequence[int]) -> Iterator[list[Views]]:
    """Some views of each image, those of one scale together, loaded ahead."""
    scales = [[view for view in views if view // 2 == scale] for scale in dict.fromkeys(view // 2 for view in views)]
    return prefetch(
        lambda i: [source.load([Entry(ids[i], view) for view in scale]) for scale in scales], range(len(ids))
    )


def as_stored(maps: Tensor, dtype: torch.dtype) -> Tensor:
    """Maps in the dtype of their file, still on their device."""
    return maps.float().to(dtype)


def is_finite(maps: Tensor) -> bool:
    """Whether all of them are; a NaN is the largest of all numbers here."""
    return bool(torch.isfinite(maps.abs().amax()))


def maps_of(trunk: Trunk | None, views: Views) -> Maps:
    """Feature maps of a batch, one a level: computed by the trunk from images or from the maps of its frozen blocks,
    or, without a trunk, as cached."""
    if views.maps is not None:
        kind = views.maps[0].device.type
        dtype = torch.get_autocast_dtype(kind) if trunk and torch.is_autocast_enabled(kind) else torch.float32
        # In two steps, as torch has no fast way from float16 to bf16.
        maps = tuple(level.float().to(dtype) for level in views.maps)
        return trunk.trained(maps) if trunk else maps
    assert trunk is not None and views.images is not None
    maps = trunk(trunk.normalise(views.images, views.sizes))
    _check_layout(trunk, maps, views.images)
    return maps


def _check_layout(trunk: Trunk, maps: Maps, images: Tensor) -> None:
    """Anchors come from the layout alone: where a trunk makes other maps they would be those of other cells."""
    height, width = images.shape[2:]
    own = [(level.shape[1], *level.shape[2:]) for level in maps]
    expected = [(trunk.layout.channels, *size) for size in trunk.layout.sizes(height, width)]
    if own != expected:
        raise InputError(
            f"{type(trunk).__name__}: its maps of an image of {height} x {width} px are {own} (channels, height, "
            f"width), its layout says {expected}; correct the trunk, or its layout in pipeline/geometry/backbones.py"
        )


def trunk_source(stage: Stage, images: ResizedImages) -> ViewSource:
    """The maps of its frozen blocks where frozen_features is given and has kept them, else images."""
    if stage.inputs["frozen_features"] is None:
        return ImageViews(images)
    maps = FeatureMaps(stage.input("frozen_features"))
    return MapViews(maps) if len(maps) else ImageViews(images)
