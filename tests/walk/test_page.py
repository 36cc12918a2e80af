"""The page: its numbers are those of ../shared/ORACLES.md, none is typed in, and the docs have what is written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.families.faster_rcnn.params.typed import FasterRCNNParams
from pipeline.geometry.backbones import trunk_layout
from pipeline.geometry.trunk_settings import TrunkSettings
from pipeline.nn.anchors import AnchorGrid
from pipeline.views.contact_sheet import Tile
from pipeline.views.drawing import ORANGE
from pipeline.walk.anchors import Anchors, anchors_of
from pipeline.walk.ap_example import ap_example
from pipeline.walk.command import walk
from pipeline.walk.labels import Labels, decoded_of, labels_of, labels_pictures, overlap_of
from pipeline.walk.network import SEED, make_network, recipe
from pipeline.walk.nms_example import nms_example
from pipeline.walk.page import TEMPLATE, Page, ious_text, make_page
from pipeline.walk.photo import Photo
from pipeline.walk.resizing import Resized, both_rules, numbered
from pipeline.walk.sliding_window import windows
from pipeline.walk.trunk import cut
from tests.conftest import ROOT

DOCS = ROOT / "docs"
ORACLES = ROOT.parent / "shared" / "ORACLES.md"
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


@pytest.fixture(scope="module")
def oracles() -> str:
    if not ORACLES.is_file():
        pytest.skip("../shared/ORACLES.md is not there")
    return ORACLES.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def sizes(drawn: Photo) -> tuple[Resized, Resized]:
    return both_rules(drawn, recipe(), halvings=4)


@pytest.fixture(scope="module")
def anchors(sizes: tuple[Resized, Resized]) -> Anchors:
    own = recipe().anchors
    layout = trunk_layout("vgg16", TrunkSettings(2, True))
    grid = AnchorGrid(own.base_size, own.ratios, own.scales, layout)
    return anchors_of(grid, (50, 50), sizes[0], own.ratios, own.scales)


@pytest.fixture(scope="module")
def labels(sizes: tuple[Resized, Resized], anchors: Anchors) -> Labels:
    return labels_of(anchors, sizes[0], recipe(), SEED)


def has(text: str, *values: str) -> None:
    """Fail unless the text has each value, and not as part of another number."""
    missing = [value for value in values if not re.search(rf"(?<![\d.,]){re.escape(value)}(?!\d|[.,]\d)", text)]
    assert missing == []


def test_sizes_and_boxes_are_those_of_the_zebras(oracles: str, drawn: Photo, sizes: tuple[Resized, Resized]) -> None:
    fixed, paper = sizes
    has(oracles, *(f"({','.join(f'{value:.0f}' for value in box)})" for box in drawn.boxes))
    has(oracles, *(f"({','.join(f'{value:.0f}' for value in box)})" for box in fixed.truncated))
    has(oracles, f"{fixed.scale[0]:.1f}", f"{fixed.scale[1]:.10f}")
    assert (fixed.height, fixed.width, paper.height, paper.width) == (800, 800, 600, 900)
    assert (fixed.cells, fixed.cells_up, paper.cells, paper.cells_up) == ((50, 50), (50, 50), (37, 56), (38, 57))


def test_trunk_is_cut_where_the_notes_cut_it(oracles: str) -> None:
    own = cut(recipe().backbone, 800, 800)
    shape = " x ".join(map(str, own.blocks[-1].shape))
    has(oracles, f"{own.layers} layers", shape)
    assert [block.convolutions for block in own.blocks] == [2, 2, 3, 3, 3]
    assert (own.sees, own.with_rpn) == (196, 228)  # the second is the paper's, section 3.1


def test_anchors_are_as_many_and_lie_where_they_should(oracles: str, anchors: Anchors) -> None:
    has(oracles, f"{anchors.count:,} anchors", f"{anchors.count_inside:,} wholly inside")
    plain = oracles.replace("\n", " ")
    for *_, box in anchors.first:
        has(plain, *(f"{value:.8f}".rstrip("0").rstrip(".") for value in box if value % 1))


def test_places_inside_sum_to_the_anchors_inside(sizes: tuple[Resized, Resized], anchors: Anchors) -> None:
    assert sum(count for *_, count in anchors.places) == anchors.count_inside == 8_940
    for (_, _, width, height, _), (across, down, count) in zip(anchors.first, anchors.places, strict=True):
        # Centres are at 8, 24 ... 792.
        assert across == sum(width / 2 <= x <= 800 - width / 2 for x in range(8, 800, 16))
        assert down == sum(height / 2 <= y <= 800 - height / 2 for y in range(8, 800, 16))
        assert count == across * down


def test_labels_are_those_of_the_zebras(oracles: str, labels: Labels) -> None:
    published = re.search(r"each of those four: ([\d., ]+\d)\.", oracles)
    assert published is not None
    expected = [float(value) for value in published[1].split(", ")]
    assert [best.truncated_iou for best in labels.best] == pytest.approx(expected, abs=1e-7)
    has(oracles, f"{labels.ties} anchors tie", f"{labels.truncated_fg} positive", f"{labels.truncated_bg:,} background")
    assert (labels.fg, labels.bg, len(labels.fg_rows), len(labels.bg_rows)) == (45, 7_472, 45, 211)


def test_best_anchors_and_those_that_reach_the_threshold_are_the_fg(labels: Labels) -> None:
    assert labels.ties + labels.reach_fg_iou - labels.both == labels.fg


def test_the_best_anchor_decodes_to_its_gt_box(labels: Labels) -> None:
    for best in labels.best:
        own = decoded_of(best)
        assert own.box == pytest.approx(best.gt)
        dx, _, dw, _ = own.deltas
        assert own.centre[0] == pytest.approx(own.anchor_centre[0] + dx * own.anchor_sides[0])
        assert own.sides[0] == pytest.approx(np.exp(dw) * own.anchor_sides[0])


def test_an_iou_by_steps_ends_in_the_same_iou(labels: Labels) -> None:
    for best in labels.best:
        own = overlap_of(best)
        for steps in (own.continuous, own.inclusive):
            assert steps.iou == pytest.approx(steps.width * steps.height / steps.union)
            assert steps.union == pytest.approx(steps.gt_area + steps.anchor_area - steps.shared)
        assert own.continuous.iou == pytest.approx(best.iou, abs=1e-6)
        assert own.inclusive.width == own.continuous.width + 1
        assert own.inclusive.iou > own.continuous.iou


def test_many_ious_become_their_range_and_median() -> None:
    assert ious_text([0.5, 0.25]) == "0.50, 0.25"
    assert ious_text([0.7, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]) == "0.10 to 0.70, median 0.40,"


def test_windows_are_counted_by_the_formula_and_meet_zebras_worse_than_anchors(
    sizes: tuple[Resized, Resized], labels: Labels
) -> None:
    own = windows(800, 800, sizes[0].boxes)
    assert own.count == len(range(0, 800 - 64 + 1, 8)) ** 2
    assert max(own.best) < min(best.iou for best in labels.best)


def test_nms_goes_as_the_example_says(oracles: str) -> None:
    example = nms_example()
    has(oracles.replace("\n", " "), *(f"({' '.join(map(str, box)).replace(' ', ',')})" for _, box, _ in example.rows))
    assert example.kept_by_share == [2, 4]  # the third and the fifth
    assert example.kept == [2, 4, 0]
    shares = {other: (round(value, 2), goes) for other, value, goes in example.by_share[0].others}
    assert (shares[0], shares[1]) == ((0.8, True), (0.67, True))


def test_ap_is_that_of_the_example(oracles: str) -> None:
    example = ap_example()
    low = example.at[0]
    has(oracles, *(f"{row.iou:.3f}"[1:] for row in low.rows), f"{low.ap:.2f}"[1:])
    assert all(row.right for row in low.rows)
    assert low.ap == 0.75


def test_ap_is_the_sum_that_the_page_shows(small_page: Page) -> None:
    low, high = ap_example().at
    assert [(step, round(precision, 4)) for step, precision in high.area] == [(0.25, 1.0), (0.25, 0.6667)]
    assert [(count, round(precision, 4)) for count, precision in high.points] == [(3, 1.0), (3, 0.6667), (5, 0.0)]
    for one in (low, high):
        assert sum(step * precision for step, precision in one.area) == pytest.approx(one.ap)
        assert sum(count for count, _ in one.points) == 11
        assert sum(count * precision for count, precision in one.points) / 11 == pytest.approx(one.ap_11_point)
    text = small_page.text("walkthrough", "..", "")
    assert f"0.25 * 1.0000 + 0.25 * 0.6667 = **{high.ap:.4f}**" in text
    assert f"(3 * 1.0000 + 3 * 0.6667 + 5 * 0.0000) / 11 = {high.ap_11_point:.4f}" in text


def typed_in(template: str) -> list[str]:
    """Lines of a template with a digit outside of expressions, code and names such as VGG16."""
    text = re.sub(r"\{\{.*?\}\}|\{%.*?%\}|`[^`]*`", "", re.sub(r"```.*?```", "", template, flags=re.DOTALL))
    text = re.sub(r"^\d\. ", "", re.sub(r"\b[A-Za-z]+\d+\b", "", text), flags=re.MULTILINE)
    return [line for line in text.splitlines() if re.search(r"\d", line)]


def test_no_number_of_the_page_is_typed_in() -> None:
    assert typed_in(TEMPLATE.read_text(encoding="utf-8")) == []
    assert typed_in("{{ x }} of 9 anchors\nVGG16, fc6 `2 * 2`\n1. first") == [" of 9 anchors"]


def words(page: str) -> list[str]:
    """The lines of a page without numbers, rows of tables left out: how many there are is a number too."""
    return [NUMBER.sub("#", line) for line in page.splitlines() if not line.startswith("|")]


def test_the_words_of_the_docs_are_those_of_the_template(small_page: Page) -> None:
    committed = (DOCS / "walkthrough.md").read_text(encoding="utf-8")
    assert words(committed) == words(small_page.text("walkthrough", "..", "")), "run frcnn walk --out docs"


def test_the_page_of_a_small_network_has_its_own_numbers(small_page: Page, small_params: FasterRCNNParams) -> None:
    text = small_page.text("walkthrough", "..", "")
    own = small_page.numbers
    has(text, "160 x 160", f"{own['anchors'].count:,}", "18", "36", "21", "84", f"{own['rois'].features:,}")
    assert own["outputs"].classification == pytest.approx(np.log(2), rel=0.2)
    assert own["rois"].classification == pytest.approx(np.log(21), rel=0.5)
    assert own["rois"].features == 49 * small_page.numbers["map"][0]
    assert len(own["rois"].boxes) <= 128
    way = {(each.name, each.samples): each.moved for each in own["pooled"].ways}
    assert way["RoIAlign", 2][0] > 0


def test_roi_pool_changes_where_a_rounded_corner_moves(small_page: Page) -> None:
    own = small_page.numbers["pooled"]
    pool = dict(zip(own.moves, next(way.moved for way in own.ways if way.samples is None), strict=True))
    assert all((change == 0) == (move <= own.still[0]) for move, change in pool.items())
    assert own.still[0] + 1 in pool
    stride = own.roi[0] / own.in_cells[0]
    left, top, right, bottom = np.array(own.in_cells)
    for axis, corners in enumerate(((left, right), (top, bottom))):
        to_jump = min((-(corner - 0.5)) % 1 for corner in corners) * stride  # px to the next half cell
        assert own.still[axis] == np.ceil(to_jump) - 1


def test_shapes_that_tie_are_all_that_tie_and_have_one_scale(labels: Labels) -> None:
    assert [dict(best.shapes) for best in labels.best][1] == {(1.0, 16.0): 15, (2.0, 16.0): 9}
    for best in labels.best:
        assert sum(best.shapes.values()) == best.ties
        assert len({scale for _, scale in best.shapes}) == 1


def test_proposals_among_the_fg_are_counted_without_the_gt_boxes(small_page: Page, drawn: Photo) -> None:
    own = small_page.numbers["rois"]
    assert own.fg == own.fg_proposals + len(drawn.boxes)


def test_every_picture_is_there_and_small(small_page: Page) -> None:
    text = (DOCS / "walkthrough.md").read_text(encoding="utf-8")
    named = re.findall(r"!\[[^]]+\]\((walkthrough/\w+\.webp)\)", text)
    assert {Path(name).stem for name in named} == set(small_page.tiles)
    files = [DOCS / name for name in named]
    assert sorted(files) == sorted((DOCS / "walkthrough").iterdir())
    assert sum(file.stat().st_size for file in files) <= 300_000
    for name, data in small_page.pictures().items():
        assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None, name


def numbers(page: str) -> Iterator[float]:
    return (float(found.replace(",", "")) for found in NUMBER.findall(page))


@pytest.mark.long
def test_the_docs_are_what_the_command_writes(tmp_path: Path) -> None:
    """Word for word, and number for number as far as two processors agree on what a network makes of a photo."""
    (tmp_path / "docs").mkdir()
    lines: list[str] = []
    walk(None, [], None, tmp_path / "docs", lines.append)
    written, committed = ((place / "docs/walkthrough.md").read_text(encoding="utf-8") for place in (tmp_path, ROOT))
    links = re.compile(r"\]\((?!walkthrough/)[^)#]*/")
    written, committed = (links.sub("](", page) for page in (written, committed))
    assert [NUMBER.sub("#", line) for line in written.splitlines()] == [
        NUMBER.sub("#", line) for line in committed.splitlines()
    ]
    np.testing.assert_allclose(list(numbers(written)), list(numbers(committed)), rtol=0.02, atol=0.02)
    assert "8 pictures" in lines[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.jpg"], "absent.jpg: "),
        (["--boxes", "1,2,3,4"], "--boxes: need a photo; give PHOTO too"),
        (["photo.png", "--boxes", "1,2,3"], "--boxes 1,2,3: is not a box; write x1,y1,x2,y2"),
        (["photo.png", "--boxes", "1,2,nan,4"], "--boxes 1,2,nan,4: is not a box"),
        (["photo.png", "--boxes", "5,5,5,9"], "--boxes 5,5,5,9: has no area"),
        (["photo.png", "--boxes", "-1,-1,0,0"], "--boxes -1,-1,0,0: has no area in the photo"),
        (["photo.png", "--boxes", "80,70,81,71"], "--boxes 80,70,81,71: has no area in the photo"),
        (["small.png"], "small.png: has 20 x 90 px; give a photo of at least 64 px a side"),
        (["photo.png", "--boxes", "5,5,90,9"], "--boxes 5,5,90,9: sticks out of the photo of 80 x 70 px"),
        (["photo.png", "--boxes", "empty.xml"], "empty.xml: has no <object>; give another annotation"),
        (["photo.png", "--boxes", "none.xml"], "none.xml: object 1 has no <bndbox> of four numbers; fix"),
        (["photo.png", "--boxes", "absent.xml"], "absent.xml: cannot be read"),
        (["photo.png", "--weights", "absent.pth"], "--weights absent.pth: no such file; give a state dict"),
        (["photo.png", "--weights", "photo.png"], "give --weights a state dict of torchvision's vgg16"),
        (["--out", "photo.png"], "--out photo.png: is a file; give a folder"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_params: FasterRCNNParams
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipeline.walk.command.recipe", lambda: small_params)
    cv2.imwrite("photo.png", np.zeros((70, 80, 3), np.uint8))
    cv2.imwrite("small.png", np.zeros((90, 20, 3), np.uint8))
    Path("empty.xml").write_text("<annotation></annotation>")
    Path("none.xml").write_text("<annotation><object><bndbox><xmin>1</xmin></bndbox></object></annotation>")
    result = CliRunner().invoke(app, ["walk", *arguments])
    assert result.exit_code == 1
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not Path("walk").exists()


def test_a_readers_photo_with_a_voc_annotation_is_walked_through(
    tmp_path: Path, small_params: FasterRCNNParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.walk.command.recipe", lambda: small_params)
    pixels = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "photo.png"), pixels)
    corners = "<xmin>11</xmin><ymin>21</ymin><xmax>90</xmax><ymax>80</ymax>"
    (tmp_path / "photo.xml").write_text(f"<annotation><object><bndbox>{corners}</bndbox></object></annotation>")
    walk(tmp_path / "photo.png", [str(tmp_path / "photo.xml"), "100,5,119,30"], None, tmp_path / "out", print)
    text = (tmp_path / "out/walkthrough.md").read_text(encoding="utf-8")
    assert "| 0 | 10, 20, 90, 80 |" in text
    assert "| 1 | 100, 5, 119, 30 |" in text
    assert "The photo is `photo.png`. Photo and boxes are yours." in text
    targets = [target for target in re.findall(r"\]\(([^)#\s]+)", text) if not target.endswith(".webp")]
    assert all(target.startswith("file:///") for target in targets), "the folder may be moved"
    assert all(Path(unquote(urlsplit(target).path)).exists() for target in targets)
    assert len(list((tmp_path / "out/walkthrough").iterdir())) == 8


def test_one_gt_box_is_written_in_the_singular(small_params: FasterRCNNParams, drawn: Photo) -> None:
    page = make_page(Photo(drawn.pixels, drawn.boxes[:1], drawn.origin), make_network(small_params, None))
    text = page.text("walkthrough", "..", "")
    assert "the best window for the 1 gt box has an IoU of" in text
    assert "1 gt box joins them" in text.replace("\n", " ")
    assert not re.search(r"\b1 (gt boxes|anchors) ", text)


def test_gt_boxes_of_pictures_have_their_numbers() -> None:
    layer = numbered(np.zeros((3, 4)))
    assert layer.labels == ["0", "1", "2"]


def test_fg_anchors_of_the_sample_are_not_hidden_by_bg(
    sizes: tuple[Resized, Resized], anchors: Anchors, labels: Labels
) -> None:
    def orange(tile: Tile) -> int:
        return int((tile.image == ORANGE).all(axis=2).sum())

    alone, all_drawn = labels_pictures(sizes[0], anchors, labels, 400)
    assert orange(all_drawn) >= orange(alone) > 0
    assert [key.text for key in alone.legend[:-1]] == [f"fg of gt box {index}" for index in range(4)]
    assert torch.bincount(labels.fg_gt).tolist() == [6, 24, 12, 3]
