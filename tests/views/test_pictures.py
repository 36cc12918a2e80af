"""Pictures of stages: boxes lie where the tables say, for every stage, without torch, and equal each time."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

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
from pipeline.artifacts.proposals import PROPOSALS
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.artifacts.tables import TableWriter, box_columns, deltas_of, read_columns
from pipeline.building.anchors import anchor_grid
from pipeline.detector.boxes import encode
from pipeline.errors import InputError
from pipeline.params.file import load_params
from pipeline.views.command import StageCommand
from pipeline.views.contact_sheet import GAP
from pipeline.views.drawing import ORANGE, PURPLE, SKY_BLUE, Colour
from pipeline.views.encoding import MAX_BYTES, Picture
from pipeline.views.marks import heat_map
from pipeline.views.pictures import picture_of
from pipeline.views.samples import NetworkImages, OriginalImages
from pipeline.views.stored_anchors import decode_anchors
from tests.layouts import one_level

if TYPE_CHECKING:
    from tests.conftest import Project

ROOT = Path(__file__).parents[2]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

ZOOM = 4.4  # 100 x 80 px drawn with a longer side of 440
TILE_WIDTH, TILE_HEIGHT = 440, 352
BELOW_TILE = 32  # caption and gap

Command = Callable[[str], StageCommand]


def decoded(picture: Picture) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert pixels is not None
    return pixels


def tile(picture: Picture | None, column: int = 0) -> np.ndarray:
    """A tile of a sheet with one row of tiles of a handmade image."""
    assert picture is not None
    sheet = decoded(picture)
    top, left = sheet.shape[0] - BELOW_TILE - TILE_HEIGHT, GAP + column * (TILE_WIDTH + GAP)
    return sheet[top : top + TILE_HEIGHT, left : left + TILE_WIDTH]


def is_colour(pixels: np.ndarray, colour: Colour) -> np.ndarray:
    """JPEG bends colours a little; the palette's are far apart."""
    return np.linalg.norm(pixels.astype(float) - colour, axis=-1) < 90


def has_frame(pixels: np.ndarray, box: tuple[float, float, float, float], colour: Colour) -> bool:
    """Whether lines of the colour lie along the box's left, right and bottom edges, and none 6 px beside them.

    The top edge may lie under a tag.
    """
    x1, y1, x2, y2 = (value * ZOOM for value in box)
    left, right, bottom = int(x1 + 0.01), int(np.ceil(x2 - 0.01)) - 1, int(np.ceil(y2 - 0.01)) - 1
    rows, columns = slice(int(y1) + 30, bottom - 8), slice(left + 8, right - 8)
    mask = is_colour(pixels, colour)
    lines = [mask[rows, left], mask[rows, right], mask[bottom, columns]]
    beside = [mask[rows, left + 6], mask[rows, right - 6], mask[bottom - 6, columns]]
    return min(line.mean() for line in lines) > 0.9 and max(line.mean() for line in beside) < 0.1


def mirrored(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    return (100 - box[2], box[1], 100 - box[0], box[3])


GT_A = (10, 20, 40, 60)
DIFFICULT_A = (50, 10, 90, 30)
FG_ROI = (15, 25, 45, 65)


@pytest.mark.parametrize("stage", ["dataset", "resize"])
def test_gt_boxes_of_any_kind_lie_where_the_table_says(handmade: Path, command: Command, stage: str) -> None:
    pixels = tile(picture_of(command(stage), handmade, ["a"]))
    assert has_frame(pixels, GT_A, ORANGE)
    assert has_frame(pixels, DIFFICULT_A, SKY_BLUE)
    assert not has_frame(pixels, mirrored(GT_A), ORANGE)


def test_resized_image_can_be_seen_mirrored(handmade: Path, command: Command) -> None:
    pixels = tile(picture_of(command("resize"), handmade, ["a.mirrored"]))
    assert has_frame(pixels, mirrored(GT_A), ORANGE)
    assert pixels[-20:, -20:].mean() > 240 and pixels[-20:, :20].mean() < 10, "the white patch of a, mirrored"


@pytest.mark.parametrize("name", ["a", "a.mirrored"])
def test_fg_anchors_lie_beside_their_gt_box(handmade: Path, command: Command, name: str) -> None:
    pixels = tile(picture_of(command("anchor_targets"), handmade, [name]))
    anchor = (30, 20, 60, 60)
    turn = mirrored if name.endswith("mirrored") else tuple
    assert has_frame(pixels, turn(GT_A), SKY_BLUE)
    # Its left or right edge crosses the gt box, so the two free edges are enough.
    x1, y1, x2, y2 = (round(value * ZOOM) for value in turn(anchor))
    free = is_colour(pixels, ORANGE)[y1 + 8 : y2 - 8, x1 if name.endswith("mirrored") else x2 - 1]
    assert free.mean() > 0.8
    assert not has_frame(pixels, turn(DIFFICULT_A), SKY_BLUE), "not trained on"


def test_proposals_stand_beside_the_gt(handmade: Path, command: Command) -> None:
    picture = picture_of(command("proposals_step1"), handmade, ["a"])
    assert has_frame(tile(picture, 0), GT_A, SKY_BLUE)
    assert has_frame(tile(picture, 1), (60, 40, 95, 75), ORANGE)
    assert has_frame(tile(picture, 1), (12, 20, 40, 60), ORANGE)
    seen_mirrored = picture_of(command("proposals_step1"), handmade, ["a.mirrored"])
    assert has_frame(tile(seen_mirrored, 0), mirrored(GT_A), SKY_BLUE)
    assert has_frame(tile(seen_mirrored, 1), (5, 5, 45, 35), ORANGE)
    assert not has_frame(tile(seen_mirrored, 1), (60, 40, 95, 75), ORANGE)


def test_only_the_best_proposals_are_drawn(handmade: Path, command: Command) -> None:
    boxes = np.array([[20, 20, 50, 50]] * 15 + [[60, 40, 95, 75]], dtype=np.float32)
    with TableWriter(handmade / "data/proposals_step1/proposals.parquet", PROPOSALS) as table:
        own = {"rank": np.arange(16), "score": np.linspace(0.9, 0.1, 16), **box_columns(boxes)}
        table.write({"image_id": "a", "view": 0, **own})
    pixels = tile(picture_of(command("proposals_step1"), handmade, ["a"]), 1)
    assert has_frame(pixels, (20, 20, 50, 50), ORANGE)
    assert not has_frame(pixels, (60, 40, 95, 75), ORANGE)


def test_fg_and_bg_rois_stand_in_two_colours(handmade: Path, command: Command) -> None:
    picture = picture_of(command("proposal_targets_step2"), handmade, ["a"])
    fg, bg = tile(picture, 0), tile(picture, 1)
    assert has_frame(fg, FG_ROI, ORANGE)
    assert has_frame(bg, (60, 40, 95, 75), PURPLE)
    assert not has_frame(fg, (60, 40, 95, 75), PURPLE) and not has_frame(bg, FG_ROI, ORANGE)
    assert not has_frame(fg, (60, 40, 95, 75), ORANGE) and not has_frame(bg, FG_ROI, PURPLE)
    assert not has_frame(fg, (50, 5, 70, 25), ORANGE) and not has_frame(bg, (50, 5, 70, 25), PURPLE), "ignored"
    assert has_frame(bg, GT_A, SKY_BLUE)


def test_detections_are_brought_to_the_resized_image(handmade: Path, command: Command) -> None:
    picture = picture_of(command("detect_step4"), handmade, ["t"])
    assert has_frame(tile(picture, 0), (20, 10, 60, 70), ORANGE)
    assert has_frame(tile(picture, 1), (20, 10, 60, 70), ORANGE)
    assert is_colour(tile(picture, 1), SKY_BLUE)[:60, round(15 * ZOOM) - 1].mean() > 0.4
    assert not has_frame(tile(picture, 1), (75, 50, 95, 75), SKY_BLUE), "its score is low"


def test_heat_map_is_bright_where_the_map_is_high(handmade: Path, command: Command) -> None:
    for name, bright, dark in (("a", 40, 400), ("a.mirrored", 400, 40)):
        pixels = tile(picture_of(command("features"), handmade, [name]), 1)
        assert pixels[300, bright].sum() > pixels[300, dark].sum() + 200
        assert pixels[100, bright].sum() < pixels[300, bright].sum() - 200


def test_heat_map_of_equal_values_is_one_colour() -> None:
    assert len(np.unique(heat_map(np.full((2, 3), 7.0), (20, 30)).reshape(-1, 3), axis=0)) == 1


def test_images_with_gt_boxes_come_first(handmade: Path) -> None:
    for images in (NetworkImages(handmade / "data/resize"), OriginalImages(handmade / "data/dataset", handmade)):
        assert images.choose(["train"], 2, None) == [Entry("a"), Entry("c")]
        assert images.choose(["train"], 3, None) == [Entry("a"), Entry("b"), Entry("c")]
        assert images.choose(["test"], 5, None) == [Entry("t")]
        assert images.choose(["train", "val", "test"], 1, []) == [Entry("a")]
        assert images.choose(["train"], 1, ["b", "a.mirrored"]) == [Entry("b"), Entry("a", 1)]


@pytest.mark.parametrize(
    "stage", ["dataset", "resize", "anchor_targets", "proposals_step1", "proposal_targets_step2", "features"]
)
def test_image_without_boxes_or_rows_is_drawn(handmade: Path, command: Command, stage: str) -> None:
    picture = picture_of(command(stage), handmade, ["b"])
    assert not is_colour(tile(picture), ORANGE).any()


def test_stage_that_found_nothing_is_drawn(handmade: Path, command: Command) -> None:
    with TableWriter(handmade / "data/detect_step4/detections.parquet", DETECTIONS):
        pass
    assert not is_colour(tile(picture_of(command("detect_step4"), handmade), 1), ORANGE).any()


@pytest.mark.parametrize(
    ("stage", "name", "told"),
    [
        ("resize", "nowhere", "no image 'nowhere'"),
        ("dataset", "nowhere", "no image 'nowhere'"),
        ("anchor_targets", "t", "is a test image"),
        ("proposals_step1", "t", "is a test image"),
        ("features", "t.mirrored", "is a test image"),
        ("detect_step4", "a", "is a train image"),
        ("detect_step4", "t.mirrored", "no mirrors"),
    ],
)
def test_image_that_a_stage_does_not_have_is_told(
    handmade: Path, command: Command, stage: str, name: str, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        picture_of(command(stage), handmade, [name])


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
        picture_of(command("anchor_targets"), handmade, ["a"])


def test_one_row_group_is_read_and_no_more(handmade: Path, command: Command) -> None:
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
    assert picture_of(command("proposals_step1"), handmade, ["a"])
    assert picture_of(command("proposals_step1"), handmade, ["c"])


def test_unknown_module_has_no_picture(tmp_path: Path) -> None:
    assert picture_of(StageCommand.parse("python -m stages.other --params base --out data/other"), tmp_path) is None


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
    assert decoded(picture).shape[0] >= 200 and len(picture.data) <= MAX_BYTES
    assert picture.data.startswith({"image/png": b"\x89PNG", "image/jpeg": b"\xff\xd8\xff"}[picture.mime])
    assert stage in picture.caption


_WITHOUT_TORCH = """
import hashlib, sys
from pathlib import Path
import yaml
from pipeline.views.command import StageCommand
from pipeline.views.metrics import metrics_of
from pipeline.views.pictures import picture_of
import pipeline.views.results
assert "altair" not in sys.modules
for stage in yaml.safe_load(Path("dvc.yaml").read_text())["stages"].values():
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
