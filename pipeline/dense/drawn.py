"""Training images as an epoch draws them: what is drawn of each, and what is then known of it. No torch.

Shapes: G gt boxes of an image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.artifacts.image_views import Entry
from pipeline.augment.drawing import draw, generators
from pipeline.augment.window import centres_inside, clipped
from pipeline.dense.assignment import Truth, truth_of

if TYPE_CHECKING:
    from pipeline.artifacts.ground_truth import GroundTruth
    from pipeline.artifacts.resized_images import ResizedImages
    from pipeline.augment.draw import Draw
    from pipeline.augment.window import Window
    from pipeline.params.augment import AugmentParams


class DrawnViews:
    """How the training images are seen: a function of the seed, the stage that assigns the targets, the epoch and the
    image, whoever asks, in whatever order.

    Args:
        seed: of the run. stage: the stage that assigns the targets, and stores those of the first epoch.
    """

    def __init__(self, params: AugmentParams, images: ResizedImages, gt: GroundTruth, seed: int, stage: str) -> None:
        self._params, self._images, self._gt = params, images, gt
        self._seed, self._stage = seed, stage

    def draw(self, image_id: str, epoch: int) -> Draw:
        """How an image is augmented in an epoch, counted from 0."""
        info = self._images[image_id]
        boxes = in_source(self._plain(image_id).boxes, info.size, info.drawn_from)
        return draw(self._params, info.drawn_from, boxes, generators(self._seed, self._stage, epoch, image_id))

    def truth(self, image_id: str, own: Draw) -> Truth:
        """The ground truth of the augmented image."""
        return seen_truth(self._plain(image_id), own.window, self._images[image_id].size)

    def _plain(self, image_id: str) -> Truth:
        return truth_of(self._gt, Entry(image_id), self._images[image_id].size[1])


def in_source(boxes: np.ndarray, size: tuple[int, int], source: tuple[int, int]) -> np.ndarray:
    """(G, 4) float64 boxes of a resized image of (H, W) `size` in px of the image of `source` that views are drawn
    from."""
    scale = np.array([source[1] / size[1], source[0] / size[0]] * 2)
    moved: np.ndarray = boxes.astype(np.float64) * scale
    return moved


def seen_truth(plain: Truth, window: Window, size: tuple[int, int]) -> Truth:
    """What is known of a view of (H, W) `size`.

    A gt box is known where its centre is seen; what is seen of it is its box then, unless that has no width or height
    on the grid of 1/64 px. Of a region all that is seen is one.

    Args:
        plain: what is known of the image in view 0, which has the same size.
    """
    boxes, regions = (in_source(own, size, window.source) for own in (plain.boxes, plain.regions))
    seen, region = (clipped(window.seen(own, size), size) for own in (boxes, regions))
    keep = centres_inside(boxes, np.array([window.shown]))[0] & _has_area(seen)
    return Truth(seen[keep].astype(np.float32), plain.labels[keep], region[_has_area(region)].astype(np.float32))


def _has_area(boxes: np.ndarray) -> np.ndarray:
    has: np.ndarray = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
    return has
