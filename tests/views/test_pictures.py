"""Pictures of stages: the panels of a few images, boxes where the tables say, without torch, and equal each time."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch
import yaml

from pipeline.artifacts.anchor_targets import ANCHOR_IMAGES, FG_ANCHORS, AnchorTargets
from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.ground_truth import GroundTruth
from pipeline.artifacts.image_rows import ImageRows
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.maps import FEATURE_IMAGES
from pipeline.artifacts.proposals import PROPOSALS
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.artifacts.tables import TableWriter, box_columns, deltas_of, read_columns
from pipeline.building.anchors import anchor_grid
from pipeline.families.faster_rcnn.panels.proposals import rank_colours
from pipeline.graphs.command import StageCommand
from pipeline.nn.boxes import encode
from pipeline.params.file import load_params
from pipeline.runtime.errors import InputError
from pipeline.views.contact_sheet import Tile, contact_sheet
from pipeline.views.drawing import GREEN, ORANGE, SKY_BLUE, VERMILLION, WHITE, Colour
from pipeline.views.encoding import MAX_BYTES, Picture, encode_webp
from pipeline.views.marks import heat_map
from pipeline.views.panels.entries import entry_of, first_entries
from pipeline.views.panels.registry import panels_of
from pipeline.views.pictures import picture_of
from pipeline.views.stored_anchors import decode_anchors
from tests.layouts import one_level

if TYPE_CHECKING:
    from tests.conftest import Project

ROOT = Path(__file__).parents[2]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
del STAGES["code"]

ZOOM = 4.4  # 100 x 80 px drawn with a longer side of 440

Command = Callable[[str], StageCommand]
Drawn = Callable[[str, str], list[Tile]]
Box = tuple[float, float, float, float]


@pytest.fixture
def drawn(handmade: Path, command: Command) -> Drawn:
    """The panels, in brief, of a stage of the handmade run for an image."""
    return lambda stage, name: panels_of(command(stage), handmade, entry_of(command(stage), handmade, name), brief=True)


def has_colour(pixels: np.ndarray, *colours: Colour) -> np.ndarray:
    return np.any([(pixels == np.array(colour, np.uint8)).all(axis=-1) for colour in colours], axis=0)


def has_frame(pixels: np.ndarray, box: Box, *colours: Colour, least: float = 0.9) -> bool:
    """Whether lines of these colours lie along the box's left, right and bottom edges, and none 6 px beside them.

    The top edge may lie under a tag.
    """
    x1, y1, x2, y2 = (value * ZOOM for value in box)
    left, right, bottom = int(x1 + 0.01), int(np.ceil(x2 - 0.01)) - 1, int(np.ceil(y2 - 0.01)) - 1
    rows, columns = slice(int(y1) + 30, bottom - 8), slice(left + 8, right - 8)
    mask = has_colour(pixels, *colours)
    lines = [mask[rows, left], mask[rows, right], mask[bottom, columns]]
    beside = [mask[rows, left + 6], mask[rows, right - 6], mask[bottom - 6, columns]]
    return min(line.mean() for line in lines) > least and max(line.mean() for line in beside) < 0.1


def mirrored(box: Box) -> Box:
    return (100 - box[2], box[1], 100 - box[0], box[3])


GT_A = (10, 20, 40, 60)
DIFFICULT_A = (50, 10, 90, 30)
FG_ROI = (15, 25, 45, 65)
BG_ROI = (60, 40, 95, 75)
IGNORED_ROI = (50, 5, 70, 25)


def test_resized_image_can_be_seen_mirrored(drawn: Drawn) -> None:
    pixels = drawn("resize", "a.mirrored")[0].image
    assert has_frame(pixels, mirrored(GT_A), ORANGE) and not has_frame(pixels, GT_A, ORANGE)
    assert pixels[-20:, -20:].mean() > 240 and pixels[-20:, :20].mean() < 10, "the white patch of a, mirrored"


@pytest.mark.parametrize("name", ["a", "a.mirrored"])
def test_fg_anchors_lie_beside_their_gt_box(drawn: Drawn, name: str) -> None:
    (tile,) = drawn("anchor_targets", name)
    turn = mirrored if name.endswith("mirrored") else tuple
    mask = has_colour(tile.image, ORANGE)
    # Left and right edges of one cross the other, so the free edge of each is enough.
    x1, y1, x2, y2 = (round(value * ZOOM) for value in turn((30, 20, 60, 60)))
    assert mask[y1 + 8 : y2 - 8, x1 if name.endswith("mirrored") else x2 - 1].mean() > 0.9, "the anchor, solid"
    x1, y1, x2, y2 = (round(value * ZOOM) for value in turn(GT_A))
    assert 0.5 < mask[y1 + 8 : y2 - 8, x2 - 1 if name.endswith("mirrored") else x1].mean() < 0.7, "the gt box, dashed"
    assert not mask[: round(20 * ZOOM) - 20].any(), "not trained on: the difficult one"
    counts = "1 fg anchor" if name.endswith("mirrored") else "2 fg anchors"
    assert f"{counts} of 1 gt box, IoU 0.70" in tile.caption and "; 16 bg of 16 anchors" in tile.caption


def test_proposals_of_a_mirror_are_its_own(drawn: Drawn) -> None:
    [first, second], [only] = rank_colours(2), rank_colours(1)
    pixels = drawn("proposals_step1", "a")[-1].image
    assert has_frame(pixels, BG_ROI, first) and has_colour(pixels, second).any()
    pixels = drawn("proposals_step1", "a.mirrored")[-1].image
    assert has_frame(pixels, (5, 5, 45, 35), only) and not has_frame(pixels, BG_ROI, only)


def test_only_the_best_proposals_are_drawn_in_brief(handmade: Path, drawn: Drawn) -> None:
    boxes = np.array([[2, 2, 30, 70]] * 9 + [FG_ROI, BG_ROI], dtype=np.float32)
    with TableWriter(handmade / "data/proposals_step1/proposals.parquet", PROPOSALS) as table:
        own = {"rank": np.arange(11), "score": np.linspace(0.9, 0.1, 11), **box_columns(boxes)}
        table.write({"image_id": "a", "view": 0, **own})
    objectness, best = drawn("proposals_step1", "a")
    assert has_frame(best.image, FG_ROI, rank_colours(10)[9], WHITE)
    assert not has_colour(best.image[:, 300:], *rank_colours(11)).any(), "the eleventh"
    assert "the best 10 of 11 proposals" in best.caption and "no objectness map" in objectness.caption


def test_fg_and_bg_rois_stand_apart(drawn: Drawn) -> None:
    fg, bg = (tile.image for tile in drawn("proposal_targets_step2", "a"))
    # Its deltas are 0: they take it to itself.
    assert has_frame(fg, FG_ROI, ORANGE, SKY_BLUE) and not has_frame(bg, FG_ROI, ORANGE, SKY_BLUE)
    assert has_frame(bg, BG_ROI, ORANGE) and not has_frame(fg, BG_ROI, ORANGE)
    assert has_frame(bg, IGNORED_ROI, GREEN, least=0.3) and not has_frame(bg, IGNORED_ROI, ORANGE)
    assert has_frame(bg, GT_A, WHITE)


def test_detections_are_brought_to_the_resized_image(drawn: Drawn) -> None:
    gt, found = drawn("detect_step4", "t")
    assert has_frame(gt.image, (20, 10, 60, 70), GREEN) and has_frame(found.image, (20, 10, 60, 70), GREEN)
    assert has_colour(found.image, VERMILLION)[:60, round(15 * ZOOM) - 1].mean() > 0.4
    assert not has_frame(found.image, (75, 50, 95, 75), VERMILLION), "its score is low"
    assert "2 of 3 detections" in found.caption and "judged here" in found.caption


def test_heat_map_is_bright_where_the_map_is_high(drawn: Drawn) -> None:
    for name, bright, dark in (("a", 80, 400), ("a.mirrored", 360, 40)):
        image, mean = drawn("features", name)
        assert image.image.shape == mean.image.shape and [key.text for key in mean.legend] == ["0.00", "1.00", "2.00"]
        pixels = mean.image.astype(int)
        assert pixels[300, bright].sum() > pixels[300, dark].sum() + 100
        assert pixels[100, bright].sum() < pixels[300, bright].sum() - 100


def test_stage_that_keeps_no_maps_shows_the_images(handmade: Path, command: Command, drawn: Drawn) -> None:
    with TableWriter(handmade / "data/features/images.parquet", FEATURE_IMAGES):
        pass
    (tile,) = drawn("features", "a")
    assert tile.caption == "a: features keeps no maps, images are read"
    assert picture_of(command("features"), handmade)


@pytest.mark.parametrize(
    ("stage", "names"),
    [
        ("dataset", "acb"),
        ("resize", "acb"),
        ("anchor_targets", "acb"),
        ("proposals_step1", "ac"),
        ("proposal_targets_step2", "ac"),
        ("features", "ac"),
        ("detect_step4", "t"),
    ],
)
def test_picture_is_a_sheet_of_the_panels_of_a_few_images(
    handmade: Path, command: Command, drawn: Drawn, monkeypatch: pytest.MonkeyPatch, stage: str, names: str
) -> None:
    sheets: list[np.ndarray] = []

    def noting(image: np.ndarray, *rest: Any) -> Picture:
        sheets.append(image)
        return encode_webp(image, *rest)

    monkeypatch.setattr("pipeline.views.gallery.encode_webp", noting)
    picture = picture_of(command(stage), handmade)
    assert picture is not None and f"frcnn inspect {stage} --image ID" in picture.caption
    assert np.array_equal(sheets[0], contact_sheet([tile for name in names for tile in drawn(stage, name)]))


@pytest.mark.parametrize(("panels", "images"), [(1, 3), (2, 2), (3, 2), (4, 1), (6, 1)])
def test_a_sheet_holds_whole_images(
    handmade: Path, command: Command, monkeypatch: pytest.MonkeyPatch, panels: int, images: int
) -> None:
    """However many panels one has: a trunk of several levels has a map of each."""
    shown: list[Entry] = []

    def noting(own: StageCommand, root: Path, entry: Entry, **rest: Any) -> list[Tile]:
        shown.append(entry)
        return [Tile(np.zeros((8, 8, 3), np.uint8), "")] * panels

    monkeypatch.setattr("pipeline.views.gallery.panels_of", noting)
    assert picture_of(command("features"), handmade)
    assert shown == [Entry("a"), Entry("c"), Entry("b")][:images]


def test_detections_of_a_picture_are_those_that_the_evaluation_counts(
    handmade: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = handmade / "params.yaml"
    params.write_text(params.read_text().replace("confusion_score: 0.5", "confusion_score: 0.1"))
    captions: list[str] = []

    def noting(tiles: list[Tile]) -> np.ndarray:
        captions.extend(tile.caption for tile in tiles)
        return contact_sheet(tiles)

    monkeypatch.setattr("pipeline.views.gallery.contact_sheet", noting)
    picture_of(command("detect_step4"), handmade)
    assert "3 of 3 detections, score at least 0.1" in captions[-1]


def test_heat_map_of_equal_values_is_one_colour() -> None:
    assert len(np.unique(heat_map(np.full((2, 3), 7.0), (20, 30)).reshape(-1, 3), axis=0)) == 1


def test_images_with_gt_boxes_come_first(handmade: Path, command: Command) -> None:
    for stage in ("dataset", "resize"):
        assert first_entries(command(stage), handmade, 2) == [Entry("a"), Entry("c")]
        assert first_entries(command(stage), handmade, 5) == [Entry("a"), Entry("c"), Entry("b")]
    assert first_entries(command("detect_step4"), handmade, 5) == [Entry("t")]


@pytest.mark.parametrize(
    "stage", ["dataset", "resize", "anchor_targets", "proposals_step1", "proposal_targets_step2", "features"]
)
def test_image_without_boxes_or_rows_is_drawn(drawn: Drawn, stage: str) -> None:
    assert not any(has_colour(tile.image, ORANGE).any() for tile in drawn(stage, "b"))


def test_stage_that_found_nothing_is_drawn(handmade: Path, command: Command, drawn: Drawn) -> None:
    with TableWriter(handmade / "data/detect_step4/detections.parquet", DETECTIONS):
        pass
    assert "0 of 0 detections" in drawn("detect_step4", "t")[-1].caption
    assert picture_of(command("detect_step4"), handmade)


@pytest.mark.parametrize(
    ("stage", "missing"),
    [
        ("dataset", "dataset/images/a.png"),
        ("dataset", "dataset/classes.json"),
        ("backbone", "backbone/model.safetensors"),
        ("resize", "resize/pixels-00000.npz"),
        ("anchor_targets", "anchor_targets/bg-00000.npz"),
        ("anchor_targets", "resize/images.parquet"),
        ("proposals_step1", "proposals_step1/proposals.parquet"),
        ("proposal_targets_step2", "proposal_targets_step2/proposal_targets.parquet"),
        ("features", "features/maps-00000.npz"),
        ("train_rpn_step1", "train_rpn_step1/history.csv"),
        ("detect_step4", "detect_step4/detections.parquet"),
        ("evaluate_step4", "evaluate_step4/pr_curves.csv"),
    ],
)
def test_missing_and_damaged_files_are_told_in_one_line(
    handmade: Path, command: Command, stage: str, missing: str
) -> None:
    path = handmade / "data" / missing
    path.unlink(missing_ok=True)
    with pytest.raises(InputError, match=path.name) as caught:
        picture_of(command(stage), handmade)
    assert "\n" not in str(caught.value)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\xffnothing of the kind")
    with pytest.raises(InputError, match=path.name):
        picture_of(command(stage), handmade)


def test_targets_of_another_run_are_told(handmade: Path, command: Command) -> None:
    own = {"anchor": 1, "matched_gt": 7, "max_iou": 0.7, "dx": 0.0, "dy": 0.0, "dw": 0.0, "dh": 0.0}
    with TableWriter(handmade / "data/anchor_targets/fg_anchors.parquet", FG_ANCHORS) as table:
        table.write({"image_id": "a", "view": 0, **own})
    with pytest.raises(InputError, match="other images"):
        picture_of(command("anchor_targets"), handmade)


def test_one_row_group_is_read_and_no_more(handmade: Path, drawn: Drawn) -> None:
    """All later row groups of the table are damaged, and the picture of the first image does not notice."""
    path = handmade / "data/proposals_step1/proposals.parquet"
    boxes = np.random.default_rng(0).uniform(0, 80, (1000, 4)).astype(np.float32)
    own = {"rank": np.arange(1000), "score": 0.5, **box_columns(boxes)}
    with TableWriter(path, PROPOSALS) as table:
        for image_id in ("a", *(f"b{i:03d}" for i in range(200)), "c"):
            table.write({"image_id": image_id, "view": 0, **own})
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        read_columns(path, PROPOSALS)
    assert drawn("proposals_step1", "a") and drawn("proposals_step1", "c")


def test_unknown_module_has_no_picture(handmade: Path) -> None:
    assert picture_of(StageCommand.parse("python -m stages.other --params base --out data/other"), handmade) is None


def test_deltas_lead_back_to_their_anchors() -> None:
    draw = np.random.default_rng(0)
    boxes = draw.uniform(0, 500, (2, 100, 2))
    corners = np.concatenate([boxes, boxes + draw.uniform(1, 300, (2, 100, 2))], axis=2).astype(np.float32)
    anchors, gt = (torch.from_numpy(part) for part in corners)
    decoded_anchors = decode_anchors(encode(anchors, gt).numpy(), gt.numpy())
    assert decoded_anchors.dtype == np.float32
    np.testing.assert_allclose(decoded_anchors, anchors.numpy(), atol=2e-3)
    assert decode_anchors(np.zeros((0, 4)), np.zeros((0, 4))).shape == (0, 4)


def test_decoded_anchors_are_those_of_the_parameters(tiny_run: Project) -> None:
    params = load_params(tiny_run.root / "params.yaml", ["anchors"])
    grid = anchor_grid(params.anchors, one_level(8))
    images, gt = ResizedImages(tiny_run.data / "resize", "train"), GroundTruth(tiny_run.data / "resize")
    index = ImageRows(tiny_run.data / "anchor_targets/images.parquet", ANCHOR_IMAGES)
    rows = ImageRows(tiny_run.data / "anchor_targets/fg_anchors.parquet", FG_ANCHORS)
    targets = AnchorTargets(tiny_run.data / "anchor_targets")
    checked = 0
    for image in images:
        size = index[image.image_id, False]
        anchors = grid([(int(size["feature_height"][0]), int(size["feature_width"][0]))]).numpy()
        for entry in (Entry(image.image_id), Entry(image.image_id, 1)):
            own = rows[entry]
            gt_boxes = gt.boxes(entry, image.size[1])[own["matched_gt"].astype(int)]
            found = decode_anchors(deltas_of(own), gt_boxes)
            np.testing.assert_allclose(found, anchors[targets[entry].fg], atol=2e-3)
            checked += len(found)
    assert checked > 50


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_a_picture(tiny_run: Project, command: Command, stage: str) -> None:
    picture = picture_of(command(stage), tiny_run.root)
    assert picture is not None
    pixels = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert pixels is not None and pixels.shape[0] >= 200 and len(picture.data) <= MAX_BYTES
    assert picture.data.startswith({"image/png": b"\x89PNG", "image/webp": b"RIFF"}[picture.mime])
    assert stage in picture.caption


_WITHOUT_TORCH = """
import hashlib, sys
from pathlib import Path
import yaml
from pipeline.graphs.command import StageCommand
from pipeline.views.metrics import metrics_of
from pipeline.views.pictures import picture_of
import pipeline.views.results
assert "altair" not in sys.modules
for name, stage in yaml.safe_load(Path("dvc.yaml").read_text())["stages"].items():
    if name == "code":
        continue
    command = StageCommand.parse(stage["cmd"])
    assert metrics_of(command, Path("."))
    print(hashlib.sha256(picture_of(command, Path(".")).data).hexdigest())
for name in ("torch", "torchvision", "matplotlib", "stages"):
    assert name not in sys.modules, name
"""


def test_pictures_need_no_torch_and_are_equal_in_another_process(tiny_run: Project, command: Command) -> None:
    result = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TORCH],
        cwd=tiny_run.root,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    pictures = [picture_of(command(stage), tiny_run.root) for stage in STAGES]
    assert result.stdout.split() == [hashlib.sha256(picture.data).hexdigest() for picture in pictures if picture]
