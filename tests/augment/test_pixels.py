"""Pixels of drawn views: against OpenCV's own resize of a canvas, and light and colour against torchvision's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional

from pipeline.augment import pixels as module
from pipeline.augment.draw import Draw
from pipeline.augment.light import Light, lit
from pipeline.augment.pixels import view_pixels
from pipeline.augment.window import Rectangle, Window

COLOUR = (123, 117, 104)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """Smooth, with all levels."""
    noise = np.random.default_rng(0).integers(0, 256, (75, 100, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)  # type: ignore[call-overload]


def on_canvas(photo: np.ndarray, window: Window, size: tuple[int, int]) -> np.ndarray:
    """The view as the reference makes it: a canvas, a part of it, resized."""
    shown, own = window.shown, window.of_image
    canvas = np.full((*shown.size, 3), COLOUR, np.uint8)
    canvas[own.y1 - shown.y1 : own.y2 - shown.y1, own.x1 - shown.x1 : own.x2 - shown.x1] = photo[
        own.y1 : own.y2, own.x1 : own.x2
    ]
    resized = cv2.resize(canvas, size[::-1], interpolation=cv2.INTER_LINEAR)
    return cv2.flip(resized, 1) if window.flip else resized


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    "shown", [(0, 0, 100, 75), (10, 5, 70, 60), (-120, -30, 200, 180), (-40, 20, 60, 70), (30, -60, 100, 75)]
)
def test_a_view_is_a_part_of_a_canvas_resized(photo: np.ndarray, shown: tuple[int, ...], flip: bool) -> None:
    """Within the image to the bit, and so is the plain view; around it to a level."""
    window = Window((75, 100), Rectangle(*shown), flip)
    for size in ((60, 60), (90, 130)):
        found = view_pixels(photo, Draw(window), size, COLOUR).astype(int)
        assert found.shape == (*size, 3)
        apart = np.abs(found - on_canvas(photo, window, size)).max()
        assert apart <= (0 if window.is_inside else 1)


def test_an_image_too_long_to_be_warped_is_shrunk_first(photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window((75, 100), Rectangle(-50, -25, 150, 125))
    wanted = view_pixels(photo, Draw(window), (30, 30), COLOUR).astype(int)
    monkeypatch.setattr(module, "_LONGEST", 50)
    assert np.abs(view_pixels(photo, Draw(window), (30, 30), COLOUR) - wanted).mean() < 8
    strip = np.full((2, 40_000, 3), 200, np.uint8)
    monkeypatch.undo()
    own = view_pixels(strip, Draw(Window((2, 40_000), Rectangle(-10_000, -1, 50_000, 3))), (8, 60), COLOUR)
    assert (own[:, :9] == COLOUR).all() and (own[3:5, 15:45] == 200).all()


def test_a_view_beyond_the_image_has_one_colour(photo: np.ndarray) -> None:
    own = view_pixels(photo, Draw(Window((75, 100), Rectangle(200, 0, 300, 75))), (20, 20), COLOUR)
    assert (own == COLOUR).all()


def test_the_canvas_keeps_its_colour_in_another_light(photo: np.ndarray) -> None:
    window = Window((75, 100), Rectangle(-100, -75, 100, 75))
    own = view_pixels(photo, Draw(window, Light(brightness=30.0)), (60, 60), COLOUR)
    assert (own[:29] == COLOUR).all()


def by_torchvision(photo: np.ndarray, light: Light) -> np.ndarray:
    """In float; torchvision's brightness is a factor, as SSD's contrast is."""
    image = torch.from_numpy(photo).permute(2, 0, 1).float() / 255
    image = (image + light.brightness / 255).clamp(0, 1)
    image = functional.adjust_brightness(image, light.contrast) if light.contrast_first else image
    image = functional.adjust_hue(image, light.hue / 360)
    image = image if light.contrast_first else functional.adjust_brightness(image, light.contrast)
    found: np.ndarray = (image * 255).permute(1, 2, 0).numpy()
    return found


@pytest.mark.parametrize(
    "light",
    [
        Light(brightness=17.3),
        Light(brightness=-32.0),
        Light(contrast=1.5),
        Light(contrast=0.5),
        Light(hue=18.0),
        Light(hue=-11.0),
        Light(20.0, 1.3, 1.0, 9.0, contrast_first=True),
        Light(20.0, 1.3, 1.0, 9.0, contrast_first=False),
    ],
)
def test_brightness_contrast_and_hue_are_torchvisions(photo: np.ndarray, light: Light) -> None:
    """To half a level; hue has 256 steps."""
    apart = np.abs(lit(photo, light) - by_torchvision(photo, light))
    assert apart.max() <= (0.51 if light.hue == 0 else 9) and apart.mean() < 1.5


def test_saturation_scales_the_distance_from_the_largest_channel(photo: np.ndarray) -> None:
    """As of HSV: the value stays, and a gray stays gray."""
    largest = photo.max(axis=2, keepdims=True).astype(float)
    for factor in (0.5, 1.5):
        low = largest - (largest - photo.min(axis=2, keepdims=True)) * factor
        inside = (low >= 0)[..., 0]
        wanted = largest - (largest - photo) * factor
        assert np.abs(lit(photo, Light(saturation=factor)) - wanted)[inside].max() <= 8
    gray = np.repeat(photo[..., :1], 3, axis=2)
    assert (lit(gray, Light(saturation=1.5, hue=10.0)) == gray).all()


def test_hues_go_round(photo: np.ndarray) -> None:
    """A turn to the right and one to the left that make a whole circle are the same."""
    assert (lit(photo, Light(hue=90.0)) == lit(photo, Light(hue=-270.0))).all()


def test_nothing_changes_where_nothing_was_drawn(photo: np.ndarray) -> None:
    assert lit(photo, Light()) is photo and lit(photo, Light(contrast_first=False)) is photo
    whole = Window((75, 100), Rectangle(0, 0, 100, 75))
    assert (view_pixels(photo, Draw(whole), (75, 100), COLOUR) == photo).all()
