"""The default data set: images of shapes, generated from a seed.

Every draw comes from (seed, split, index), so an image does not depend on how many others there are.
`pipeline.datasets.shape_drawing` says what an image looks like.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from pipeline.artifacts.atomic import atomic_file
from pipeline.datasets.base import AnnotatedImage, Dataset, Split
from pipeline.datasets.shape_drawing import CLASSES, ShapesOptions, draw_image
from pipeline.runtime.errors import InputError
from pipeline.runtime.seeding import numpy_generator


def generate_shapes(folder: Path, options: ShapesOptions, seed: int) -> Dataset:
    """Generate the data set; its images are drawn and written below `folder` one by one as they are iterated."""
    if min(options.train, options.test, options.max_objects) < 1 or options.image_size < 4 * options.min_side:
        raise InputError(
            f"{options}: no data set can be drawn so; give dataset at least 1 train and 1 test image, "
            f"1 object and an image_size of {4 * options.min_side} px"
        )
    return Dataset(CLASSES, _generate(Path(folder), options, seed))


def _generate(folder: Path, options: ShapesOptions, seed: int) -> Iterator[AnnotatedImage]:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    counts: list[tuple[Split, int]] = [("test", options.test), ("train", options.train), ("val", options.val)]
    for split, index in ((split, index) for split, count in counts for index in range(count)):
        image_id = f"{split}_{index:05d}"
        pixels, boxes, labels = draw_image(numpy_generator(seed, "dataset", split, index), split, options)
        _, png = cv2.imencode(".png", pixels[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
        with atomic_file(folder / "images" / f"{image_id}.png") as path:
            path.write_bytes(png.tobytes())
        flags = np.zeros(len(boxes), np.bool_)
        yield AnnotatedImage(
            image_id,
            split,
            f"dataset/images/{image_id}.png",
            options.image_size,
            options.image_size,
            boxes,
            labels,
            flags,
            flags.copy(),
        )
