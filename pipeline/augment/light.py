"""Changes of an image's light and colour: brightness, contrast, saturation and hue.

What depends on a channel's level alone goes through a table of 256 entries, so that it is the same on every processor;
OpenCV converts to hue, saturation and value and back.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

_LEVELS = np.arange(256, dtype=np.float64)
Pixels = npt.NDArray[np.uint8]


class Light(NamedTuple):
    """Changes of light and colour.

    Attributes:
        brightness: levels of 255 that are added. contrast, saturation: factors. hue: degrees that it is turned by.
        contrast_first: whether contrast changes before saturation and hue, or after.
    """

    brightness: float = 0.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    contrast_first: bool = True


PLAIN = Light()


def lit(pixels: Pixels, light: Light) -> Pixels:
    """(H, W, 3) uint8 RGB with these changes; the same array if there are none."""
    first, last = (light.contrast, 1.0) if light.contrast_first else (1.0, light.contrast)
    pixels = _through(pixels, _table((_rounded(_LEVELS + light.brightness)) * first))
    if light.saturation != 1.0 or light.hue != 0.0:
        pixels = _turned(pixels, light)
    return _through(pixels, _table(_LEVELS * last))


def _turned(pixels: Pixels, light: Light) -> Pixels:
    """Saturation and hue; OpenCV's full scale has 256 hues, which go round."""
    hue = np.mod(np.rint(_LEVELS + light.hue * 256 / 360), 256).astype(np.uint8)
    tables = np.stack([hue, _table(_LEVELS * light.saturation), _LEVELS.astype(np.uint8)], axis=1)
    turned = cv2.LUT(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV_FULL), tables[None])
    return cv2.cvtColor(turned, cv2.COLOR_HSV2RGB_FULL).astype(np.uint8, copy=False)


def _through(pixels: Pixels, table: Pixels) -> Pixels:
    if (table == _LEVELS).all():
        return pixels
    return cv2.LUT(pixels, table).astype(np.uint8, copy=False)


def _rounded(levels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Round to whole levels from 0 to 255, as the reference does after each step."""
    rounded: npt.NDArray[np.float64] = np.clip(np.rint(levels), 0, 255)
    return rounded


def _table(levels: npt.NDArray[np.float64]) -> Pixels:
    return _rounded(levels).astype(np.uint8)
