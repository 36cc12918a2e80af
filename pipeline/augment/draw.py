"""How an image was augmented."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.augment.light import PLAIN, Light
from pipeline.augment.window import Window

WHOLE, ANY = "whole", "any"


@dataclass(frozen=True)
class Draw:
    """One image in one epoch.

    Attributes:
        window: what is shown of it. light: how it is lit.
        expand: how many times as wide and high as the image the canvas is; 1: there is none.
        min_iou: the rule that the crop met: `whole`, `any`, or the least IoU with a gt box.
    """

    window: Window
    light: Light = PLAIN
    expand: float = 1.0
    min_iou: str = WHOLE
