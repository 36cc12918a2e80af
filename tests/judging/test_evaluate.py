"""`frcnn evaluate --detections`: published APs at several IoUs in each form of file, and bad files in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.tables import TableWriter, box_columns
from pipeline.cli import app
from pipeline.judging.evaluate import judge_detections
from pipeline.params.dataset import DatasetParams
from pipeline.presets.apply import judging_params
from pipeline.runtime.errors import InputError
from pipeline.walk.ap_example import DETECTIONS as FOUND
from pipeline.walk.ap_example import TRUTH
from tests.conftest import ROOT

pytestmark = pytest.mark.authority("figures published with notes, notebooks and reference codes")

VOC = ["--set", "dataset.reader=voc", "--set", "dataset.voc.train=[train]", "--set", "dataset.voc.test=[test]"]
COCO = [
    "--set",
    "dataset.reader=coco",
    "--set",
    "dataset.coco.train=[train.json]",
    "--set",
    "dataset.coco.test=[test.json]",
]
IMAGES = ["297", "299", "363"]
CORNERS = ("xmin", "ymin", "xmax", "ymax")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example of three detections as a VOC tree, boxes as published: inclusive pixels. Class cat is never found."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "tree"
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for name in [*IMAGES, "trained"]:
        cv2.imwrite(str(root / f"JPEGImages/{name}.jpg"), np.full((500, 860, 3), int(name[-1] == "d") * 90, np.uint8))
        boxes = [gt.box for gt in TRUTH if gt.image == name]
        objects = "".join(_object("dog", box) for box in boxes)
        objects += _object("cat", (1, 1, 60, 40)) if name in ("299", "trained") else ""
        size = "<size><width>860</width><height>500</height><depth>3</depth></size>"
        (root / f"Annotations/{name}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
    (root / "ImageSets/Main/test.txt").write_text("\n".join(IMAGES))
    (root / "ImageSets/Main/train.txt").write_text("trained\n")
    return root


def _object(name: str, box: Any) -> str:
    corners = "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(CORNERS, box, strict=True))
    return f"<object><name>{name}</name><difficult>0</difficult><bndbox>{corners}</bndbox></object>"


def voc_text(path: Path) -> Path:
    path.write_text("".join(f"{one.image} {one.score} {' '.join(map(str, one.box))}\n" for one in FOUND))
    return path


def coco_rows() -> list[dict[str, Any]]:
    """Results with continuous corners."""
    rows = []
    for one in FOUND:
        x1, y1, x2, y2 = one.box
        bbox = [x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1]
        rows.append({"image_id": int(one.image), "category_id": 7, "bbox": bbox, "score": one.score})
    return rows


def coco_names() -> dict[str, Any]:
    return {
        "images": [{"id": int(name), "file_name": f"JPEGImages/{name}.jpg"} for name in IMAGES],
        "categories": [{"id": 7, "name": "Dog"}],
    }


@pytest.fixture(scope="module")
def voc_params(tmp_path_factory: pytest.TempPathFactory) -> DatasetParams:
    return judging_params(tmp_path_factory.mktemp("none"), None, [text for text in VOC if text != "--set"]).dataset


def coco_train(root: Path) -> None:
    """An image of another split, since a data set is trained on, too."""
    cv2.imwrite(str(root / "t.png"), np.full((50, 50, 3), 7, np.uint8))
    image = {"id": 1, "file_name": "t.png", "width": 50, "height": 50}
    box = {"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0}
    categories = [{"id": 7, "name": "Dog"}]
    content = {"images": [image], "annotations": [box], "categories": categories}
    (root / "train.json").write_text(json.dumps(content))


def evaluate(*arguments: str) -> list[str]:
    result = CliRunner().invoke(app, ["evaluate", *arguments])
    assert result.exit_code == 0, result.exception
    return result.stdout.splitlines()


def figures(lines: list[str], name: str) -> list[str]:
    return next(line.split()[1:] for line in lines if line.startswith(f"{name} "))


def test_vocs_texts_have_the_published_ap_at_each_iou(tree: Path) -> None:
    voc_text(tree.parent / "comp4_det_test_dog.txt")
    for iou, expected in (("0.3", "0.7500"), (".5", "0.4167"), (".55", "0.4167"), (".6", "0.0000")):
        lines = evaluate("--detections", "comp4_det_test_dog.txt", "--data", str(tree), *VOC, "--iou", iou)
        assert figures(lines, "dog")[0] == expected, iou
    assert lines[0] == "judged: all VOC results, at IoU 0.6"
    assert evaluate("--detections", "comp4_det_test_dog.txt", "--data", str(tree), *VOC)[0].endswith("at IoU 0.5")


def test_figures_and_curves_are_written(tree: Path) -> None:
    (tree.parent / "results").mkdir()
    voc_text(tree.parent / "results/comp4_det_test_dog.txt")
    lines = evaluate("--detections", "results", "--data", str(tree), *VOC, "--iou", ".3", "--out", "figures")
    assert lines[-1] == "figures/pr_curves.png: written"
    shown = (ROOT / "docs/use.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if "COCO" not in line and line[:2] not in ("im", "de") and line not in shown] == []
    metrics = json.loads(Path("figures/metrics.json").read_text())
    assert metrics["classes"] == {
        "cat": {"AP": 0.0, "AP_11point": 0.0, "gt_boxes": 1, "detections": 0, "recall": 0.0},
        "dog": {"AP": 0.75, "AP_11point": 0.727273, "gt_boxes": 4, "detections": 3, "recall": 0.75},
    }
    assert (metrics["mAP"], metrics["iou"], metrics["images"]) == (0.375, 0.3, 3)
    curves = pd.read_csv("figures/pr_curves.csv")
    dog = curves[curves["class"] == "dog"]
    assert dog["precision"].mean() == pytest.approx(0.75, abs=0.01)
    assert cv2.imread("figures/pr_curves.png") is not None


def test_coco_annotations_with_scores_name_their_images_and_classes(tree: Path) -> None:
    Path("found.json").write_text(json.dumps({**coco_names(), "annotations": coco_rows()}))
    lines = evaluate("--detections", "found.json", "--data", str(tree), *VOC, "--iou", ".3")
    assert lines[0] == "judged: all COCO annotations with scores, at IoU 0.3"
    assert figures(lines, "dog") == ["0.7500", "0.7273", "0.7500", "4", "3"]


def test_coco_results_take_names_from_the_annotations_of_the_split(tree: Path) -> None:
    content = coco_names()
    content["annotations"] = [
        {**row, "id": number, "iscrowd": 0, "area": 1.0} for number, row in enumerate(coco_rows(), start=1)
    ]
    for image in content["images"]:
        image.update(width=860, height=500)
    for row in content["annotations"]:
        del row["score"]
    (tree / "test.json").write_text(json.dumps(content))
    coco_train(tree)
    Path("results.json").write_text(json.dumps(coco_rows()))
    images = ["--set", "dataset.coco.images=."]
    lines = evaluate("--detections", "results.json", "--data", str(tree), *COCO, *images, "--iou", ".9")
    assert figures(lines, "Dog")[0] == "1.0000"  # the ground truth is what is found


def test_a_stages_table_is_read_with_its_classes(tree: Path) -> None:
    folder = tree.parent / "run/data/detect_x"
    folder.mkdir(parents=True)
    (folder.parent / "dataset").mkdir()
    (folder.parent / "dataset/classes.json").write_text(json.dumps(["background", "horse", "dog"]))
    with TableWriter(folder / "detections.parquet", DETECTIONS) as table:
        for name in IMAGES:
            own = [one for one in FOUND if one.image == name]
            boxes = np.array([one.box for one in own], np.float32).reshape(-1, 4) - [1, 1, 0, 0]
            scores = np.array([one.score for one in own], np.float32)
            table.write({"image_id": name, "label": [2] * len(own), "score": scores, **box_columns(boxes)})
    lines = evaluate("--detections", str(folder / "detections.parquet"), "--data", str(tree), *VOC, "--iou", ".3")
    assert lines[0] == "judged: all detections of a stage, at IoU 0.3"
    assert figures(lines, "dog")[0] == "0.7500"


def test_what_is_of_other_images_and_classes_is_counted_and_left_out(tree: Path) -> None:
    text = voc_text(tree.parent / "comp4_det_test_dog.txt")
    text.write_text(text.read_text() + "trained .9 1 1 50 50\nnowhere .9 1 1 50 50\n")
    (tree.parent / "all").mkdir()
    text.rename(tree.parent / "all/comp4_det_test_dog.txt")
    (tree.parent / "all/comp4_det_test_traffic_light.txt").write_text("297 .5 1 1 50 50\n")
    lines = evaluate("--detections", "all", "--data", str(tree), *VOC, "--iou", ".3")
    assert lines[1:3] == [
        "2 detections of images that the test split does not have: left out, trained, nowhere",
        "1 detection of classes that the data set does not have: left out, traffic_light",
    ]
    assert figures(lines, "dog")[0] == "0.7500"


def test_an_image_of_another_split_is_not_taken_for_one_of_its_name(tmp_path: Path) -> None:
    found: dict[str, Any] = {"images": [], "categories": [{"id": 7, "name": "dog"}], "annotations": []}
    for number, split in enumerate(("train", "test"), start=1):
        file = f"images/{split}/0001.png"
        (tmp_path / file).parent.mkdir(parents=True)
        cv2.imwrite(str(tmp_path / file), np.full((50, 50, 3), number * 40, np.uint8))
        image = {"id": number, "file_name": file, "width": 50, "height": 50}
        box = {"id": number, "image_id": number, "category_id": 7, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0}
        content = {"images": [image], "annotations": [box], "categories": found["categories"]}
        (tmp_path / f"{split}.json").write_text(json.dumps(content))
        found["images"].append(image)
        found["annotations"].append({**box, "score": 0.5})
    (tmp_path / "found.json").write_text(json.dumps(found))
    changes = [text for text in COCO if text != "--set"] + ["dataset.coco.images=."]
    params = judging_params(tmp_path, None, changes).dataset
    judged = judge_detections(tmp_path / "found.json", tmp_path, params, "test", 0.5)
    assert judged.metrics["detections"] == 1
    assert judged.remarks == [
        "1 detection of images that the test split does not have: left out, images/train/0001.png"
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.json", None, "--detections absent.json: no such file; give COCO results, VOC's texts"),
        ("found.csv", "a,b", "--detections found.csv: is not a .json, .txt or .parquet file; give"),
        ("found.json", "{", "found.json: not valid JSON"),
        ("found.json", "3", "found.json: is neither a list of COCO results nor a COCO data set"),
        ("found.json", "{}", "found.json: has no list 'annotations'; give"),
        ("found.json", "[1]", "found.json: is a list of COCO results, whose ids need COCO annotations; give --set"),
        ("found.json", {"annotations": [{}]}, "found.json: detection 0 has no score, so the file is ground truth"),
        ("found.json", {"annotations": [1]}, "found.json: detection 0 is not an object with image_id"),
        (
            "found.json",
            {"annotations": [{"score": 1, "category_id": 9}]},
            "category_id 9 is not among the file's categories (7 Dog); correct it",
        ),
        ("found.json", {"annotations": [{"score": 1, "category_id": 7}]}, "image_id None is not an id"),
        (
            "found.json",
            {"annotations": [{"score": 1, "category_id": 7, "image_id": 297}]},
            "its box is not four finite numbers",
        ),
        (
            "found.json",
            {"annotations": [{"score": "x", "category_id": 7, "image_id": 297, "bbox": [1, 1, 2, 2]}]},
            "found.json: detection 0: its score is not a finite number",
        ),
        (
            "found.json",
            {"annotations": [{"score": 1, "category_id": 7, "image_id": 1, "bbox": [1, 1, 2, 2]}]},
            "found.json: none of its images, such as image_id 1, is one of the test images; give another --split",
        ),
        ("comp4_det_test_dog.txt", "297 .5 1 1 9", "line 1: has 5 words where image, score and four corners"),
        ("comp4_det_test_dog.txt", "297 .5 1 1 nan 9", "line 1: its box is not four finite numbers"),
        ("comp4_det_test_dog.txt", "297 .5 9 9 1 1", "line 1: its box is not four finite numbers"),
        ("comp4_det_test_dog.txt", "297 inf 1 1 9 9", "line 1: its score is not a finite number"),
        ("comp4_det_test_boat.txt", "297 1 1 1 9 9", "is of boat, and the data set of cat, dog; give detections of it"),
        ("things.txt", "297 1 1 1 9 9", "things.txt: its name ends in no class of the data set; call it comp4_det"),
        ("found.parquet", "x", "found.parquet: its labels are those of"),
    ],
)
def test_a_bad_file_is_one_line(name: str, content: Any, message: str, tree: Path, voc_params: DatasetParams) -> None:
    if content is not None:
        text = content if isinstance(content, str) else json.dumps({**coco_names(), **content})
        (tree.parent / name).write_text(text)
    with pytest.raises(InputError) as raised:
        judge_detections(Path(name), tree, voc_params, "test", 0.5)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either a BUNDLE, to detect and judge, or --detections FILE"),
        (["bundle", "--detections", "x.json"], "give either a BUNDLE"),
        (["bundle", "--iou", ".3"], "--iou: goes with --detections"),
        (["--detections", "x.json", "--iou", "0"], "--iou 0: is not an IoU; give a number above 0"),
        (["--detections", "x.json", "--iou", "nan"], "--iou nan: is not an IoU"),
        (["--detections", "x.json", "--split", "all"], "--split all: no such split; there are train"),
        (["--detections", "x.json", "--out", "x.json"], "--out x.json: the figures and the curves"),
        (["--detections", "x.json", "--set", "evaluate.per_image=5"], "--set evaluate.per_image=5: has no effect"),
    ],
)
def test_bad_options_are_one_line(arguments: list[str], message: str, tree: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate", *arguments, "--data", str(tree), *VOC])
    assert isinstance(result.exception, InputError), result.output
    assert message in str(result.exception)


@pytest.mark.parametrize(
    ("iou", "all_point", "eleven"), [(0.1, 0.2801328502, 0.3024538867), (0.3, 0.2253968254, 0.2683982684)]
)
def test_seven_pascal_images_have_the_published_aps(
    shared: Path, tmp_path: Path, iou: float, all_point: float, eleven: float
) -> None:
    """Of github:rafaelpadilla/Object-Detection-Metrics, without its + 1; see ../shared/data."""
    source = shared / "data/ap_reference/pascal_7_images/samples/sample_2"
    images, annotations, found = [], [], []
    for number, path in enumerate(sorted((source / "groundtruths").glob("*.txt")), start=1):
        cv2.imwrite(str(tmp_path / f"{path.stem}.png"), np.full((400, 400, 3), number * 20, np.uint8))
        images.append({"id": number, "file_name": f"{path.stem}.png", "width": 400, "height": 400})
        for line in path.read_text().split("\n"):
            if line.split():
                box = [float(value) for value in line.split()[1:]]
                annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": 1, "bbox": box})
        for line in (source / "detections" / path.name).read_text().split("\n"):
            if line.split():
                score, *box = (float(value) for value in line.split()[1:])
                found.append({"image_id": number, "category_id": 1, "bbox": box, "score": score})
    names = {"images": images, "categories": [{"id": 1, "name": "object"}]}
    (tmp_path / "test.json").write_text(json.dumps({**names, "annotations": annotations}))
    (tmp_path / "found.json").write_text(json.dumps(found))
    coco_train(tmp_path)
    changes = [text for text in COCO if text != "--set"] + ["dataset.coco.images=."]
    params = judging_params(tmp_path, None, changes).dataset
    own = judge_detections(tmp_path / "found.json", tmp_path, params, "test", iou).metrics["classes"]["object"]
    assert (own["gt_boxes"], own["detections"]) == (15, 24)
    assert own["AP"] == pytest.approx(all_point, abs=1e-5)
    assert own["AP_11point"] == pytest.approx(eleven, abs=1e-5)
