"""Crops of generated shapes, to pre-train a small trunk as ImageNet pre-trains a large one."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.datasets.shape_drawing import CLASSES, ShapesOptions, draw_image
from pipeline.runtime.seeding import numpy_generator

NUM_CLASSES = 1 + len(CLASSES)

_OPTIONS = ShapesOptions(train=1, test=1)
_CONTEXT = (1.0, 1.8)  # side of a crop over the longer side of its object
_BACKGROUND_CROPS = 1  # of each image


def shape_crops(images: int, crop_size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Crops of every object of `images` generated images, and one of the background of each.

    Returns:
        (N, crop_size, crop_size, 3) uint8 RGB pixels and (N,) int64 labels, 0 for background.
    """
    crops, labels = [], []
    for index in range(images):
        rng = numpy_generator(seed, "pretrain", index)
        pixels, boxes, kinds = draw_image(rng, "train", _OPTIONS)
        for box, kind in zip(boxes, kinds, strict=True):
            side = float(max(box[2] - box[0], box[3] - box[1])) * rng.uniform(*_CONTEXT)
            shift = rng.uniform(-0.1, 0.1, 2) * side
            crops.append(_crop(pixels, (box[:2] + box[2:]) / 2 + shift, side, crop_size))
            labels.append(int(kind))
        for _ in range(_BACKGROUND_CROPS):
            side = rng.uniform(_OPTIONS.min_side, _OPTIONS.max_side)
            centre = rng.uniform(side / 2, _OPTIONS.image_size - side / 2, 2)
            if not _touches(boxes, centre, side):
                crops.append(_crop(pixels, centre, side, crop_size))
                labels.append(0)
    return np.stack(crops), np.array(labels, dtype=np.int64)


def _crop(pixels: np.ndarray, centre: np.ndarray, side: float, crop_size: int) -> np.ndarray:
    scale = crop_size / side
    offset = crop_size / 2 - np.asarray(centre) * scale
    matrix = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
    return cv2.warpAffine(pixels, matrix, (crop_size, crop_size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def _touches(boxes: np.ndarray, centre: np.ndarray, side: float) -> bool:
    low, high = centre - side / 2, centre + side / 2
    return bool(((boxes[:, :2] < high) & (boxes[:, 2:] > low)).all(axis=1).any())
