"""The augmented view of a training image in the first epoch, reproduced from draws.parquet."""

from __future__ import annotations

import numpy as np

from pipeline.artifacts.draws import Draws
from pipeline.artifacts.image_views import Entry
from pipeline.augment.draw import ANY, WHOLE, Draw
from pipeline.augment.pixels import view_pixels
from pipeline.dense.assignment import Truth
from pipeline.dense.drawn import seen_truth
from pipeline.views.panels.request import PanelRequest


def drawn_view(request: PanelRequest) -> tuple[np.ndarray, np.ndarray, str]:
    """(H, W, 3) uint8 RGB of the view, its (G, 4) trainable gt boxes, and in words what was drawn.

    Raises:
        InputError: the table has no such image, or the image that it was drawn from cannot be read.
    """
    image_id, images = request.entry.image_id, request.images
    draw, size, plain = Draws(request.folder)[image_id], images.size(request.entry), Entry(image_id)
    gt = images.gt_of(plain).trainable
    truth = seen_truth(Truth(gt.boxes, gt.labels, np.zeros((0, 4), np.float32)), draw.window, size)
    pixels = view_pixels(images.source(image_id), draw, size, request.params.augment.expand.colour)
    return pixels, truth.boxes, f"{draw_text(draw)}; "


def draw_text(draw: Draw) -> str:
    """The augmentation in words, without what is unchanged."""
    window, light = draw.window, draw.light
    (height, width), shown = window.source, window.shown
    rule = "" if draw.min_iou in (WHOLE, ANY) else f" (IoU {draw.min_iou} and up)"
    parts = [f"x {shown.x1} to {shown.x2}, y {shown.y1} to {shown.y2} of {width} x {height} px{rule}"]
    parts += [f"a canvas {draw.expand:.2f} times as wide"] if draw.expand != 1 else []
    parts += ["mirrored"] if window.flip else []
    parts += [f"brightness {light.brightness:+.0f}"] if light.brightness else []
    parts += [f"contrast {light.contrast:.2f}"] if light.contrast != 1 else []
    parts += [f"saturation {light.saturation:.2f}"] if light.saturation != 1 else []
    parts += [f"hue {light.hue:+.0f} degrees"] if light.hue else []
    return ", ".join(parts)
