"""`frcnn predict`: which photos, in which order; detections.json; drawings; photos that cannot be read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from faster_coco_eval import COCO
from typer.testing import CliRunner

from pipeline.bundle import Detections, Detector
from pipeline.bundle.predict import LONGEST_DRAWING, PhotoCounts, draw, find_photos, predict
from pipeline.cli import app
from pipeline.datasets.images import image_size, read_rgb
from pipeline.runtime.errors import InputError
from tests.conftest import Project
from tests.in_process import run_frcnn


@pytest.fixture(scope="module")
def detector(joint_bundle: Path) -> Detector:
    return Detector.load(joint_bundle, "cpu")


@pytest.fixture
def album(tiny_run: Project, tmp_path: Path) -> Path:
    """Three photos, two of which have the same name, and a text beside them."""
    source = sorted((tiny_run.data / "dataset").rglob("test_*.*"))
    folder = tmp_path / "album"
    (folder / "inner").mkdir(parents=True)
    shutil.copyfile(source[0], folder / "b.png")
    shutil.copyfile(source[1], folder / "a.png")
    shutil.copyfile(source[2], folder / "inner/a.PNG")
    (folder / "notes.txt").write_text("no photo")
    return folder


def test_the_run_images_are_png(tiny_run: Project) -> None:
    assert {path.suffix for path in (tiny_run.data / "dataset").rglob("test_*.*")} == {".png"}


def names(paths: list[Path], album: Path) -> list[str]:
    return [path.relative_to(album).as_posix() for path in paths]


def test_photos_come_in_the_order_given_and_sorted_within_a_folder_or_glob_each_once(album: Path) -> None:
    out = album / "out"
    assert names(find_photos([str(album)], out).photos, album) == ["a.png", "b.png", "inner/a.PNG"]
    assert names(find_photos([str(album / "b.png"), str(album)], out).photos, album) == [
        "b.png",
        "a.png",
        "inner/a.PNG",
    ]
    assert names(find_photos([str(album / "*.png")], out).photos, album) == ["a.png", "b.png"]
    assert names(find_photos([str(album / "**/*.PNG")], out).photos, album) == ["inner/a.PNG"]
    (out / "drawn").mkdir(parents=True)
    shutil.copyfile(album / "a.png", out / "drawn/a.png")
    assert names(find_photos([str(album)], out).photos, album) == ["a.png", "b.png", "inner/a.PNG"]


def test_a_name_with_the_signs_of_a_glob_is_that_file(album: Path) -> None:
    (album / "a.png").rename(album / "[1].png")
    assert names(find_photos([str(album / "[1].png")], album / "out").photos, album) == ["[1].png"]


@pytest.mark.parametrize(
    ("path", "expected"), [("none.png", "no such file"), ("*.bmp", "no glob"), ("inner/x", "no s")]
)
def test_a_path_that_names_nothing_is_told(album: Path, path: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        find_photos([str(album / path)], album / "out")


def test_a_folder_without_photos_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no photos there"):
        find_photos([str(tmp_path)], tmp_path / "out")


def test_detections_json_loads_as_coco_and_holds_what_the_detector_finds(
    detector: Detector, album: Path, tmp_path: Path
) -> None:
    photos, out = find_photos([str(album)], tmp_path / "out").photos, tmp_path / "out"
    middle = min(float(np.median(detector(photo).scores)) for photo in photos)
    outcome = predict(detector, photos, out, middle, drawings=True)
    expected = [detector(photo).above(middle) for photo in photos]
    assert outcome == PhotoCounts(3, sum(map(len, expected)), 0)
    assert all(map(len, expected)) and sum(map(len, expected)) < sum(len(detector(photo)) for photo in photos)
    coco = COCO(str(out / "detections.json"), print_function=lambda *_: None)
    assert [image["file_name"] for image in coco.dataset["images"]] == [photo.as_posix() for photo in photos]
    assert {c["id"]: c["name"] for c in coco.dataset["categories"]} == dict(list(enumerate(detector.classes))[1:])
    for number, (photo, found) in enumerate(zip(photos, expected, strict=True), start=1):
        image = coco.loadImgs([number])[0]
        assert (image["width"], image["height"]) == image_size(photo)
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[number]))
        assert [a["category_id"] for a in annotations] == found.labels.tolist()
        corners = np.array([[x, y, x + w, y + h] for x, y, w, h in (a["bbox"] for a in annotations)])
        assert np.abs(corners - found.boxes).max() <= 2e-3
        assert np.abs(np.array([a["score"] for a in annotations]) - found.scores).max() <= 1e-6
    assert sorted(path.name for path in (out / "drawn").iterdir()) == ["a-2.jpg", "a.jpg", "b.jpg"]
    assert image_size(out / "drawn/b.jpg") == image_size(album / "b.png")
    assert sorted(path.name for path in out.iterdir()) == ["detections.json", "drawn"]


def test_the_same_photos_give_the_same_bytes(detector: Detector, album: Path, tmp_path: Path) -> None:
    photos = find_photos([str(album)], tmp_path).photos
    for name in ("one", "two"):
        predict(detector, photos, tmp_path / name, 0.0, drawings=True)
    for path in sorted((tmp_path / "one").rglob("*.*")):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_an_unreadable_photo_is_one_warning_and_status_1_and_the_others_are_predicted(
    joint_bundle: Path, album: Path, tmp_path: Path
) -> None:
    broken = album / "b.png"
    broken.write_bytes(broken.read_bytes()[:200])
    out = tmp_path / "out"
    command = ["predict", str(joint_bundle), str(album), "--out", str(out), "--no-drawings", "--device", "cpu"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    (warning,) = [line for line in result.stderr.splitlines() if "warning" in line]
    assert warning.startswith(f"frcnn: warning: {broken}: is cut off")
    assert "in 2 photos, 1 photo could not be read" in result.stdout
    content = json.loads((out / "detections.json").read_text())
    assert [image["file_name"] for image in content["images"]] == [f"{album}/a.png", f"{album}/inner/a.PNG"]
    assert not (out / "drawn").exists()
    broken.unlink()
    assert CliRunner().invoke(app, command).exit_code == 0


@pytest.mark.parametrize(
    ("bundle", "photo", "expected"),
    [("none", "a.png", "none: no such bundle"), ("joint", "b.jpg", "b.jpg: no such file or folder")],
)
def test_without_a_bundle_or_photos_one_line_and_status_1(
    joint_bundle: Path, album: Path, bundle: str, photo: str, expected: str
) -> None:
    result = run_frcnn(album, "predict", str(joint_bundle.parent / bundle), photo, "--out", "out")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("frcnn: error: ") and expected in line
    assert not (album / "out").exists()


def test_no_detection_leaves_an_empty_but_whole_file(detector: Detector, album: Path, tmp_path: Path) -> None:
    outcome = predict(detector, [album / "a.png"], tmp_path / "out", 1.0, drawings=True)
    content = json.loads((tmp_path / "out/detections.json").read_text())
    assert outcome.detections == len(content["annotations"]) == 0
    assert len(content["images"]) == 1
    highest = float(detector(read_rgb(album / "a.png")).scores.max())
    assert outcome.nothing_found() == f"; the highest score is {highest:.4f}, give a lower --score to see more"


def test_what_to_do_is_said_only_where_photos_have_no_detection() -> None:
    assert PhotoCounts(0, 0, 2).nothing_found() == ""
    assert PhotoCounts(2, 1, highest=0.9).nothing_found() == ""
    assert PhotoCounts(2, 0).nothing_found() == "; no box has a score that the bundle keeps (detect.score_threshold)"


def test_a_place_that_cannot_be_written_is_told(detector: Detector, album: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        predict(detector, [album / "a.png"], album / "notes.txt", 0.5, drawings=False)


def test_a_drawing_is_of_the_photos_size_up_to_a_limit_and_marks_the_box() -> None:
    pixels = np.full((100, 120, 3), 128, np.uint8)
    found = Detections(np.array([[20, 30, 80, 90]], np.float32), np.array([1]), ["cat"], np.array([0.9], np.float32))
    drawn = draw(pixels, found)
    assert drawn.shape == pixels.shape
    assert (drawn[60, 20] != 128).any() and (drawn[60, 50] == 128).all()
    assert max(draw(np.zeros((10, 5000, 3), np.uint8), found.above(2)).shape) == LONGEST_DRAWING
