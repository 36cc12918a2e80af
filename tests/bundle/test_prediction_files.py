"""Predictions written for other tools are read back to the same boxes by the readers of these formats."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

import numpy as np
import pytest
from pycocotools.coco import COCO

from pipeline.bundle import Detections, Detector
from pipeline.bundle.predict import predict
from pipeline.bundle.prediction_files import _Places
from pipeline.datasets.faults import Faults
from pipeline.datasets.reading import read_raw
from pipeline.runtime.errors import InputError
from tests.conftest import apply_overlay
from tests.data_layouts.photos import HEIGHT, WIDTH, put_photo
from tests.defaults import default_content, default_params

CLASSES = ["background", "cat & dog", "é 🚗"]
FOUND = {
    "a.jpg": ([[0.0, 0.0, 40.0, 32.0], [1.25, 2.5, 10.125, 20.0625]], [1, 2], [0.9, 0.5]),
    "inner/a.jpg": ([[3.3333, 4.4444, 5.5555, 6.6666]], [2], [0.75]),
    "b.jpg": ([], [], []),
}


class Stub:
    """A detector that finds what was agreed, by the first pixel of a photo."""

    classes = CLASSES

    def __init__(self, folder: Path) -> None:
        from pipeline.datasets.images import read_rgb

        self._found = {read_rgb(folder / name).tobytes(): own for name, own in FOUND.items()}

    def __call__(self, pixels: np.ndarray) -> Detections:
        boxes, labels, scores = self._found[pixels.tobytes()]
        names = [CLASSES[label] for label in labels]
        return Detections(
            np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64), names, np.array(scores, np.float32)
        )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for seed, name in enumerate(FOUND):
        put_photo(tmp_path / f"photos/{seed}.jpg")
        (tmp_path / "photos" / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"photos/{seed}.jpg").rename(tmp_path / "photos" / name)
    return tmp_path / "photos"


def written(photos: Path, form: str) -> Path:
    out = photos.parent / "found"
    counts = predict(
        cast(Detector, Stub(photos)), [photos / name for name in FOUND], out, 0.1, drawings=False, form=form
    )
    assert (counts.photos, counts.detections, counts.failed) == (3, 3, 0)
    return out


def assert_read_back(root: Path, reader: str, folder: str, tolerance: float, **own: Any) -> None:
    """The reader finds the boxes and classes of each photo in `root`."""
    overlay = {"reader": reader, reader: own, "split": {"test": 0.5}}
    params = type(default_params().dataset).model_validate(apply_overlay(default_content()["dataset"], overlay))
    data = read_raw(root, params, Faults())
    read = {record.file.removeprefix(f"{folder}/"): record for record in data.records}
    assert set(read) == set(FOUND)
    for name, (boxes, labels, _) in FOUND.items():
        record = read[name]
        assert list(record.names) == [CLASSES[label] for label in labels]
        corners = data.boxes.corners(record.written, WIDTH, HEIGHT)
        assert corners == pytest.approx(np.array(boxes).reshape(-1, 4), abs=tolerance)


def test_yolo(photos: Path) -> None:
    out = written(photos, "yolo")
    shutil.copytree(photos, out / "images")
    assert_read_back(out, "yolo", "images", 1e-5, train=["images"], names="data.yaml")
    assert all(
        len(line.split()) == 5 for path in out.rglob("labels/**/*.txt") for line in path.read_text().splitlines()
    )


def test_voc(photos: Path) -> None:
    out = written(photos, "voc")
    root = ElementTree.parse(out / "Annotations/a.xml").getroot()
    assert root.findtext("object[2]/bndbox/xmin") == "2.250" and root.findtext("size/depth") == "3"
    names = [item.findtext("name") for item in root.findall("object")]
    assert names == CLASSES[1:] and root.findtext("filename") == "a.jpg"


def test_voc_is_read_back(photos: Path) -> None:
    out = written(photos, "voc")
    flat = photos.parent / "flat"
    shutil.copytree(photos, flat / "JPEGImages")
    shutil.copytree(out / "Annotations", flat / "Annotations")
    (flat / "JPEGImages/inner/a.jpg").rename(flat / "JPEGImages/inner_a.jpg")
    overlay = {"reader": "voc", "voc": {"train": ["./"]}, "split": {"test": 0.5}}
    params = type(default_params().dataset).model_validate(apply_overlay(default_content()["dataset"], overlay))
    data = read_raw(flat, params, Faults())
    for record, name in zip(data.records, ("a.jpg", "b.jpg", "inner/a.jpg"), strict=True):
        boxes, labels, _ = FOUND[name]
        assert list(record.names) == [CLASSES[label] for label in labels]
        corners = data.boxes.corners(record.written, WIDTH, HEIGHT)
        assert corners == pytest.approx(np.array(boxes).reshape(-1, 4), abs=1e-3)


def test_label_studio_once_what_is_predicted_was_accepted(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = written(photos, "labelstudio")
    tasks = json.loads((out / "label_studio.json").read_text())
    assert [task["predictions"][0]["score"] for task in tasks] == pytest.approx([0.9, 0.75, 0.0])
    scores = [region["score"] for task in tasks for region in task["predictions"][0]["result"]]
    assert scores == pytest.approx([0.9, 0.5, 0.75])
    config = ElementTree.parse(out / "label_config.xml").getroot()
    control = config.find("RectangleLabels")
    assert control is not None and [label.attrib["value"] for label in control] == CLASSES[1:]
    for region in (region for task in tasks for region in task["predictions"][0]["result"]):
        assert region["from_name"] == control.attrib["name"] and region["to_name"] == control.attrib["toName"]
    accepted = [{"data": task["data"], "annotations": [{"result": task["predictions"][0]["result"]}]} for task in tasks]
    (photos / "export.json").write_text(json.dumps(accepted))
    assert_read_back(photos, "label_studio", "", 1e-5)


def test_coco(photos: Path) -> None:
    out = written(photos, "coco")
    coco = COCO(str(out / "detections.json"))
    assert [len(coco.getAnnIds(imgIds=[image])) for image in (1, 2, 3)] == [2, 1, 0]
    assert sorted(path.name for path in out.iterdir()) == ["detections.json"]


@pytest.mark.parametrize(
    ("form", "there"), [("yolo", "labels/a.txt"), ("yolo", "data.yaml"), ("voc", "Annotations/other.xml")]
)
def test_labels_that_are_there_are_never_written_over(photos: Path, form: str, there: str) -> None:
    own = photos.parent / "found" / there
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text("a person's")
    with pytest.raises(InputError, match=r"already exists and is not overwritten; give --out another folder"):
        written(photos, form)
    assert own.read_text() == "a person's" and list(own.parent.iterdir()) == [own]


def test_names_need_no_suffix_and_dots_of_folders_are_no_suffixes(tmp_path: Path) -> None:
    places = _Places([tmp_path / name for name in ("photo", "p.v1/one", "p.v1/two.jpg")])
    assert [places.of(tmp_path / name) for name in ("photo", "p.v1/one", "p.v1/two.jpg")] == [
        "photo",
        "p.v1/one",
        "p.v1/two",
    ]
    with pytest.raises(InputError, match="would both be a_b in this format"):
        _Places([tmp_path / "a/b.jpg", tmp_path / "a_b.jpg"], flat=True)


def test_what_cannot_be_written_is_told(photos: Path) -> None:
    with pytest.raises(InputError, match="--format csv: no such format; there are coco, yolo, voc, labelstudio"):
        written(photos, "csv")
    assert not (photos.parent / "found").exists()
    shutil.copy(photos / "a.jpg", photos / "a.png")
    with pytest.raises(InputError, match=r"a\.jpg and .*a\.png would both be a in this format; rename one"):
        predict(
            cast(Detector, Stub(photos)), [photos / "a.jpg", photos / "a.png"], photos / "out", 0.1, False, form="voc"
        )
