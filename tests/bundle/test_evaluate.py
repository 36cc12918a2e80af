"""`frcnn evaluate`: the figures of the evaluate stage, classes matched by name, other data sets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.artifacts.dataset_tables import DATASET_BOXES, DATASET_IMAGES
from pipeline.artifacts.image_rows import ImageRows
from pipeline.artifacts.tables import boxes_of, read_columns
from pipeline.bundle import Detector
from pipeline.bundle.evaluate import Evaluation, evaluate, report
from pipeline.cli import app
from pipeline.params.reading import Params
from pipeline.presets.apply import judging_params
from pipeline.runtime.errors import InputError
from tests.conftest import Project


@pytest.fixture(scope="module")
def detector(joint_bundle: Path) -> Detector:
    return Detector.load(joint_bundle, "cpu")


def stage_metrics(run: Project) -> dict[str, object]:
    metrics = json.loads((run.data / "evaluate_joint/metrics.json").read_text())
    return {name: metrics[name] for name in figures_of_detections(metrics)}


def figures_of_detections(metrics: dict[str, object]) -> list[str]:
    """The figures of detections in an evaluate stage's metrics.json."""
    known = ("mAP50", "mAP50_11point", "AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100")
    return [name for name in (*known, "class_AP50", "errors", "images", "detections") if name in metrics]


@pytest.fixture
def coco_tree(tiny_run: Project, tmp_path: Path) -> Path:
    """The images of the tiny run as a COCO data set: classes in another order, one more, one of another name."""
    classes = json.loads((tiny_run.data / "dataset/classes.json").read_text())
    names = [classes[3], "unicorn", classes[1], "renamed"]
    ids = {3: 1, 1: 3, 2: 4}
    images = read_columns(tiny_run.data / "dataset/images.parquet", DATASET_IMAGES)
    boxes = ImageRows(tiny_run.data / "dataset/boxes.parquet", DATASET_BOXES)
    root = tmp_path / "tree"
    (root / "annotations").mkdir(parents=True)
    for split in ("train", "test"):
        listed, objects = [], []
        for number in range(len(images["image_id"])):
            if images["split"][number] != split:
                continue
            image_id, file = images["image_id"][number], images["file"][number].partition("/")[2]
            size = {name: int(images[name][number]) for name in ("width", "height")}
            listed.append({"id": number, "file_name": Path(file).name, **size})
            (root / split).mkdir(exist_ok=True)
            (root / split / Path(file).name).symlink_to(tiny_run.data / "dataset" / file)
            rows = boxes[image_id, False]
            for box, label in zip(boxes_of(rows).tolist(), rows["label"].tolist(), strict=True):
                bbox = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
                objects.append({"id": len(objects) + 1, "image_id": number, "category_id": ids[label], "bbox": bbox})
                objects[-1].update(area=bbox[2] * bbox[3], iscrowd=0)
        categories = [{"id": i, "name": name} for i, name in enumerate(names, start=1)]
        content = {"images": listed, "annotations": objects, "categories": categories}
        (root / f"annotations/instances_{split}.json").write_text(json.dumps(content))
    return root


def coco_params(tmp_path: Path) -> Params:
    settings = ["reader=coco", "coco.train=[annotations/instances_train.json]"]
    settings += ["coco.test=[annotations/instances_test.json]"]
    changes = [f"dataset.{setting}" for setting in settings]
    return judging_params(tmp_path, None, [*changes, "evaluate.score_threshold=0.0"])  # as the stages of the run


def test_the_runs_own_test_set_gives_the_figures_of_the_evaluate_stage(tiny_run: Project, detector: Detector) -> None:
    params = judging_params(tiny_run.root, None, [])
    evaluation = evaluate(detector, tiny_run.data / "dataset", params.dataset, "test", params.evaluate)
    expected = stage_metrics(tiny_run)
    assert evaluation.metrics.keys() == expected.keys()
    for name, value in expected.items():
        assert evaluation.metrics[name] == pytest.approx(value, abs=1e-6), name
    assert evaluation.metrics["detections"] > 0  # type: ignore[operator]
    assert evaluation.remarks == []


def test_classes_are_matched_by_name_and_the_others_left_out(
    tiny_run: Project, detector: Detector, coco_tree: Path, tmp_path: Path
) -> None:
    params = coco_params(tmp_path)
    evaluation = evaluate(detector, coco_tree, params.dataset, "test", params.evaluate)
    own = stage_metrics(tiny_run)["class_AP50"]
    assert isinstance(own, dict)
    first, second, third = detector.classes[1:]
    assert evaluation.metrics["class_AP50"] == {name: pytest.approx(own[name], abs=1e-6) for name in (first, third)}
    assert evaluation.metrics["mAP50"] == pytest.approx((own[first] + own[third]) / 2, abs=1e-6)
    assert evaluation.remarks == [
        "classes that the bundle lacks, whose objects are left out: unicorn, renamed",
        f"classes that the data set lacks, whose detections are left out: {second}",
    ]
    lines = report(evaluation)
    assert any(line.split()[:1] == [first] for line in lines)
    assert not any(mark in line for mark in "{}" for line in lines)
    assert any(line.split()[0] == "missed" and line.split()[1].isdigit() for line in lines if line)


def test_the_command_prints_the_table_and_writes_metrics_json(
    tiny_run: Project, joint_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["evaluate", str(joint_bundle), "--data", str(tiny_run.data / "dataset"), "--device", "cpu"]
    limits = ["--set", "evaluate.score_threshold=0.0"]
    result = CliRunner().invoke(app, [*command, *limits, "--out", "figures"])
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "figures/metrics.json").read_text())
    assert metrics == stage_metrics(tiny_run)
    first, *_ = result.stdout.splitlines()
    assert first.startswith("judged: detections of score 0 and up, at most 100 of an image (evaluate.score_threshold, ")
    lines = dict(line.split() for line in result.stdout.splitlines() if len(line.split()) == 2)
    assert lines["AP"] == f"{metrics['AP']:.4f}" and lines["images"] == "6"
    assert all(name in lines for name in metrics["class_AP50"])


def test_the_command_recognises_the_layout_of_other_data(
    joint_bundle: Path, coco_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["evaluate", str(joint_bundle), "--data", str(coco_tree), "--device", "cpu"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    expected = "dataset: reader coco, COCO with a JSON file a split: test (annotations/instances_test.json)"
    assert result.stdout.splitlines()[0] == expected
    lines = dict(line.split() for line in result.stdout.splitlines() if len(line.split()) == 2)
    assert lines["images"] == "6"
    (coco_tree / "annotations/instances_test.json").unlink()
    result = CliRunner().invoke(app, [*command, "--split", "val"])
    assert result.exit_code == 1 and "and has no val split; give --split, it has train" in str(result.exception)
    result = CliRunner().invoke(app, [*command, "--set", "dataset.reader=shapes"])
    assert result.exit_code == 1 and "dataset.reader is shapes" in str(result.exception)


def test_no_class_in_common_no_image_and_no_reader_are_told(
    tiny_run: Project, detector: Detector, coco_tree: Path, tmp_path: Path
) -> None:
    for path in coco_tree.glob("annotations/*.json"):
        content = json.loads(path.read_text())
        for category in content["categories"]:
            category["name"] += "s"
        path.write_text(json.dumps(content))
    params = judging_params(tmp_path, None, [])
    with pytest.raises(InputError, match="has none of the bundle's classes"):
        evaluate(detector, coco_tree, coco_params(tmp_path).dataset, "test", params.evaluate)
    with pytest.raises(InputError, match="has no val images"):
        evaluate(detector, tiny_run.data / "dataset", params.dataset, "val", params.evaluate)
    with pytest.raises(InputError, match="--split all: no such split"):
        evaluate(detector, tiny_run.data / "dataset", params.dataset, "all", params.evaluate)
    with pytest.raises(InputError, match=r"dataset\.reader is shapes"):
        evaluate(detector, tmp_path, params.dataset, "test", params.evaluate)


def test_one_threshold_and_one_limit_hold_for_bundles_of_all_families(tiny_run: Project, detector: Detector) -> None:
    def judged(*settings: str) -> Evaluation:
        params = judging_params(tiny_run.root, None, [f"evaluate.{setting}" for setting in settings])
        return evaluate(detector, tiny_run.data / "dataset", params.dataset, "test", params.evaluate)

    found = [detector(path) for path in sorted((tiny_run.data / "dataset").rglob("test_*.*"))]
    some = float(np.median(np.concatenate([own.scores for own in found])))
    evaluation = judged(f"score_threshold={some}", "per_image=3")
    expected = sum(min(np.count_nonzero(own.scores >= np.float32(some)), 3) for own in found)
    assert evaluation.metrics["detections"] == expected < judged("per_image=3").metrics["detections"]  # type: ignore[operator]
    assert report(evaluation)[0].startswith(f"judged: detections of score {some:g} and up, at most 3 of an image")


@pytest.mark.parametrize(
    ("kept", "expected", "remedy"),
    [
        (
            {"score_threshold": 0.3},
            "detect.score_threshold 0.3 is above evaluate.score_threshold 0",
            "score_threshold=0.3",
        ),
        ({"per_image": 99}, "detect.per_image 99 is below evaluate.per_image 100", "per_image=99"),
    ],
)
def test_a_bundle_that_keeps_less_than_is_to_be_judged_is_refused(
    tiny_run: Project, joint_bundle: Path, kept: dict[str, float], expected: str, remedy: str
) -> None:
    params, detector = judging_params(tiny_run.root, None, []), Detector.load(joint_bundle, "cpu")
    own = detector.settings.params
    own = own.model_copy(update={"detect": own.detect.model_copy(update=kept)})
    detector.settings = detector.settings.model_copy(update={"params": own})
    with pytest.raises(InputError) as caught:
        evaluate(detector, tiny_run.data / "dataset", params.dataset, "test", params.evaluate)
    assert str(caught.value).startswith(f"the bundle: {expected}, so that")
    assert str(caught.value).endswith(f"; give --set evaluate.{remedy}")


@pytest.mark.parametrize(
    ("preset", "override", "expected"),
    [
        ("voc5", None, "no preset 'voc5'"),
        (None, "dataset.root=x", "unknown parameter dataset.root"),
        (None, "rpn.channels=3", "--set rpn.channels=3: write dataset.key=value or evaluate.key=value"),
        (None, "dataset.reader", "write dataset.key=value"),
        (None, "dataset.reader=xml", "parameter dataset.reader: input should be"),
    ],
)
def test_wrong_settings_are_told(tmp_path: Path, preset: str | None, override: str | None, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        judging_params(tmp_path, preset, [override] if override else [])


def test_settings_come_from_params_yaml_or_a_preset(tiny_run: Project, tmp_path: Path) -> None:
    assert judging_params(tiny_run.root, None, []).dataset.shapes.train == 12
    assert judging_params(tmp_path, None, []).dataset.shapes.train == 300
    assert judging_params(tiny_run.root, "voc6_vgg16", []).dataset.reader == "voc"
    assert judging_params(tiny_run.root, "voc6_vgg16", ["dataset.voc.test=[other]"]).dataset.voc.test == ["other"]
