"""Boxes, tags, sheets and files of pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.views.contact_sheet import GAP, Key, Tile, contact_sheet
from pipeline.views.drawing import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY_BLUE,
    YELLOW,
    BoxLayer,
    Dash,
    draw_boxes,
    draw_text,
    enlarged,
    shortened,
    text_width,
)
from pipeline.views.encoding import MAX_BYTES, encode_png, encode_webp
from pipeline.views.marks import draw_arrows


def where(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (image == np.array(colour, dtype=np.uint8)).all(axis=2)


def extent(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Continuous x1, y1, x2, y2 of the true pixels."""
    ys, xs = np.nonzero(mask)
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


def black(height: int, width: int) -> np.ndarray:
    return np.zeros((height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("box", [(10, 20, 40, 30), (0, 0, 100, 50), (99, 49, 100, 50), (33, 7, 34, 50)])
def test_line_lies_just_inside_its_box(box: tuple[int, int, int, int]) -> None:
    layer = BoxLayer(np.array([box], dtype=np.float32), ORANGE, thickness=1)
    mask = where(draw_boxes(black(50, 100), [layer], 400), ORANGE)
    assert extent(mask) == tuple(4 * value for value in box)
    left, top, right, bottom = extent(mask)
    assert mask[top, left:right].all() and mask[bottom - 1, left:right].all()
    assert mask[top:bottom, left].all() and mask[top:bottom, right - 1].all()
    assert not mask[top + 1 : bottom - 1, left + 1 : right - 1].any()


@pytest.mark.parametrize("width", range(90, 130))
def test_box_of_the_whole_image_is_closed_at_every_zoom(width: int) -> None:
    whole = BoxLayer(np.array([[0, 0, width, 71]], dtype=np.float32), GREEN)
    drawn = draw_boxes(black(71, width), [whole], 441)
    mask = where(drawn, GREEN)
    assert mask[0].all() and mask[-1].all() and mask[:, 0].all() and mask[:, -1].all()


def test_box_that_sticks_out_is_cut() -> None:
    layer = BoxLayer(np.array([[-20, 10, 40, 500]], dtype=np.float32), ORANGE)
    mask = where(draw_boxes(black(50, 100), [layer], 100), ORANGE)
    assert extent(mask) == (0, 10, 40, 50)
    assert not mask[20:, 0].any() and not mask[-1, :38].any()


def test_later_layers_cover_earlier_ones() -> None:
    boxes = np.array([[10, 10, 50, 40]], dtype=np.float32)
    drawn = draw_boxes(black(50, 100), [BoxLayer(boxes, ORANGE), BoxLayer(boxes, SKY_BLUE)], 400)
    assert not where(drawn, ORANGE).any()
    assert where(drawn, SKY_BLUE).any()


@pytest.mark.parametrize(
    "box", [(0, 0, 20, 20), (80, 0, 100, 20), (0, 30, 20, 50), (80, 30, 100, 50), (0, 0, 100, 50), (40, 20, 60, 30)]
)
def test_tag_lies_whole_in_the_image_and_text_can_be_seen(box: tuple[int, int, int, int]) -> None:
    layer = BoxLayer(np.array([box], dtype=np.float32), BLUE, ["rectangle 0.98"], thickness=0)
    drawn = draw_boxes(black(50, 100), [layer], 400)
    left, top, right, bottom = extent(where(drawn, BLUE))
    assert right - left == text_width("rectangle 0.98") + 6
    assert bottom - top == 20
    # Thin strokes are smoothed: few of their pixels are white, many are nearer to it than to the tag's colour.
    assert (drawn[top:bottom, left:right].min(axis=2) > 128).sum() > 50


def test_tags_of_equal_boxes_do_not_cover_each_other() -> None:
    boxes = np.array([[40, 20, 60, 30]] * 4, dtype=np.float32)
    layer = BoxLayer(boxes, YELLOW, ["one", "two", "three", "four"], thickness=0)
    area = where(draw_boxes(black(50, 100), [layer], 400), BLACK)
    covered = sum((text_width(text) + 6) * 20 for text in ("one", "two", "three", "four"))
    texts_and_tags = area.size - area.sum()
    # Black text is counted as background, so the tags' own pixels are a little fewer than what they cover.
    assert 0.6 * covered < texts_and_tags <= covered
    drawn_once = where(draw_boxes(black(50, 100), [BoxLayer(boxes[:1], YELLOW, ["one"], thickness=0)], 400), YELLOW)
    assert texts_and_tags > 3 * drawn_once.sum()


@pytest.mark.parametrize(("height", "width"), [(10, 20), (256, 256), (1200, 800), (1, 5000)])
def test_any_image_is_brought_to_the_longer_side(height: int, width: int) -> None:
    image, (zoom_x, zoom_y) = enlarged(black(height, width), 440)
    assert max(image.shape[:2]) == 440
    assert image.shape[1] == pytest.approx(width * zoom_x)
    assert image.shape[0] == pytest.approx(height * zoom_y)


def test_mirrored_view_of_an_array_can_be_drawn_on() -> None:
    image = np.arange(50 * 100 * 3, dtype=np.uint32).astype(np.uint8).reshape(50, 100, 3)[:, ::-1]
    before = image.copy()
    draw_boxes(image, [BoxLayer(np.array([[0, 0, 9, 9]], dtype=np.float32), ORANGE)], 100)
    assert (image == before).all()


def test_sheet_shows_each_tile_whole_and_its_colours() -> None:
    colours = (ORANGE, SKY_BLUE, GREEN)
    tiles = [Tile(np.full((40, 200 - 30 * i, 3), c, dtype=np.uint8), f"tile {i}") for i, c in enumerate(colours)]
    sheet = contact_sheet(tiles)
    assert sheet.shape[1] == 2 * (200 + GAP) + GAP
    for i, colour in enumerate(colours):
        left, top, right, bottom = extent(where(sheet, colour))
        assert (right - left, bottom - top) == (200 - 30 * i, 40)
        assert where(sheet[bottom : bottom + 22], BLACK).any(), "a caption under each"
    assert contact_sheet(tiles * 2).shape[1] == 3 * (200 + GAP) + GAP, "more than four"


def test_long_legend_goes_on_in_the_next_line() -> None:
    sheet = contact_sheet(
        [Tile(black(10, 150), "", [Key(ORANGE, "a long text here"), Key(SKY_BLUE, "another long text")])]
    )
    assert extent(where(sheet, SKY_BLUE))[1] > extent(where(sheet, ORANGE))[3]


def test_wide_tile_has_a_row_of_its_own() -> None:
    small, wide = np.full((40, 60, 3), ORANGE, np.uint8), np.full((30, 150, 3), GREEN, np.uint8)
    tiles = [Tile(small, ""), Tile(wide, "", wide=True), Tile(small, "")]
    sheet = contact_sheet(tiles, 2)
    assert sheet.shape[1] == 150 + 2 * GAP
    left, top, right, bottom = extent(where(sheet, GREEN))
    assert (left, right - left) == (GAP, 150)
    orange = where(sheet, ORANGE)
    assert orange[:top].sum() == orange[bottom:].sum() == 40 * 60


def test_long_caption_goes_on_in_the_next_line_and_is_cut_after_the_last() -> None:
    heights = [
        contact_sheet([Tile(black(10, 150), text)], 1).shape[0] for text in ("one", "two " * 15, "many " * 40, "m" * 99)
    ]
    assert heights[0] == heights[3] < heights[1] <= heights[2]


def test_title_and_the_legend_of_a_tile_are_drawn() -> None:
    tiles = [Tile(black(10, 150), "", [Key(PURPLE, "some", "dashed"), Key(GREEN, "other", "dot")])]
    sheet = contact_sheet(tiles, 1, title="a title")
    assert where(sheet, PURPLE).any() and where(sheet, GREEN).any()
    assert sheet.shape[0] > contact_sheet([Tile(black(10, 150), "")], 1).shape[0]


@pytest.mark.parametrize(("dash", "share"), [("solid", 1.0), ("dashed", 10 / 16), ("dotted", 3 / 7)])
def test_dashes_leave_out_their_share_of_a_line(dash: Dash, share: float) -> None:
    layer = BoxLayer(np.array([[10, 10, 90, 40]], np.float32), ORANGE, thickness=2, dash=dash)
    mask = where(draw_boxes(black(50, 100), [layer], 800), ORANGE)
    assert extent(mask)[:2] == (80, 80)
    for line in (mask[80, 100:700], mask[100:300, 80], mask[319, 100:700], mask[100:300, 719]):
        assert line.mean() == pytest.approx(share, abs=0.05)
    assert (mask[80, 100:700] == mask[81, 100:700]).all(), "as thick as it is told"


def test_dashed_box_that_sticks_out_is_cut() -> None:
    layer = BoxLayer(np.array([[-20, -30, 40, 500]], np.float32), ORANGE, dash="dashed")
    mask = where(draw_boxes(black(50, 100), [layer], 100), ORANGE)
    assert extent(mask)[0] == 38 and mask[:, 39].any()


def test_arrow_leads_from_its_start_to_its_end() -> None:
    canvas = black(50, 100)
    draw_arrows(canvas, np.array([[20.0, 25.0]]), np.array([[80.0, 25.0]]), ORANGE)
    mask = where(canvas, ORANGE)
    assert mask[24:26, 25:75].any(axis=0).all()
    left, _, right, _ = extent(mask)
    assert left in range(16, 20) and right in range(79, 83)
    assert mask[:, 70:82].sum() > mask[:, 20:32].sum(), "its head is at the end"


def test_text_is_shortened_to_its_width() -> None:
    assert shortened("train_00000", 400) == "train_00000"
    cut = shortened("train_00000" * 20, 100)
    assert cut.endswith("…") and text_width(cut) <= 100


def test_zero_has_no_stroke_through_it() -> None:
    zero = np.full((20, 12, 3), 255, np.uint8)
    draw_text(zero, "0", (2, 2), BLACK)
    left, top, right, bottom = extent(zero.min(axis=2) < 128)
    middle = zero[(top + bottom) // 2 - 1 : (top + bottom) // 2 + 1, (left + right) // 2]
    assert middle.min() > 200


def test_png_keeps_every_pixel() -> None:
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    picture = encode_png(image, "noise")
    assert (picture.mime, picture.caption) == ("image/png", "noise")
    assert (cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR_RGB) == image).all()


def test_picture_keeps_to_the_size_however_noisy() -> None:
    image = np.random.default_rng(0).integers(0, 255, (900, 900, 3), dtype=np.uint8)
    picture = encode_webp(image, "noise", MAX_BYTES)
    assert picture.mime == "image/webp" and 0 < len(picture.data) <= MAX_BYTES < len(encode_webp(image, "noise").data)
    calm = encode_webp(np.full((900, 900, 3), ORANGE, dtype=np.uint8), "one colour", MAX_BYTES)
    decoded = cv2.imdecode(np.frombuffer(calm.data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert decoded.shape == (900, 900, 3)
    assert np.abs(decoded.astype(int) - ORANGE).max() <= 3
