"""Faster R-CNN trained end to end: what its stages do that those of the four steps do not."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from pipeline.artifacts.absent import why_absent
from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.tables import boxes_of, read_columns
from pipeline.artifacts.weights import load_part
from pipeline.building.known_classes import KnownClasses
from pipeline.bundle.file import read_bundle
from pipeline.bundle.writing import write_bundle
from pipeline.families.registry import family_of
from pipeline.graphs.composing import composed
from pipeline.nn.postprocess import DetectedBoxes
from pipeline.params.file import check_params, sections_of
from pipeline.presets.apply import apply_preset
from pipeline.presets.defaults import default_text
from pipeline.runtime.errors import InputError
from pipeline.views.declared_graph import read_declared_graph
from pipeline.views.inspect.drawn import sample_tiles
from pipeline.views.results import results_frame
from tests.conftest import ROOT, apply_overlay, made_once
from tests.defaults import copy_graphs, default_content
from tests.families.joint_project import FAMILY, JOINT_TINY, write_project
from tests.in_process import run_stages

PREPARED = ("dataset", "backbone", "resize", "frozen_features", "anchor_targets")
JUDGED = ("detect_end_to_end", "evaluate_end_to_end", "detect_initial", "evaluate_initial")
SMALL: dict[str, Any] = {"dataset": {"shapes": {"train": 4, "test": 2}}, "train_end_to_end": {"iterations": 2}}


def graph() -> dict[str, Any]:
    stages: dict[str, Any] = yaml.safe_load(composed(ROOT, FAMILY))["stages"]
    return stages


def defaults() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(default_text(family_of(FAMILY)))
    return content


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole graph on a few images; do not change it."""

    def make(root: Path) -> None:
        write_project(root, apply_overlay(copy.deepcopy(JOINT_TINY), SMALL))
        run_stages(root, *PREPARED, "train_end_to_end", *JUDGED)

    return made_once(tmp_path_factory, "joint_run", make)


def test_the_anchors_that_training_sampled_are_drawn(trained: Path) -> None:
    graph = read_declared_graph(trained)
    captions = []
    for image in ("train_00000", "train_00001", "train_00002", "train_00003"):
        try:
            tiles = sample_tiles(graph, graph.commands["train_end_to_end"], trained, image, 1)
        except InputError as error:
            assert "does not train on" in str(error)
        else:
            captions.append([tile.caption for tile in tiles])
    assert captions
    for fg, bg in captions:
        assert "epoch 1 of train_end_to_end, iteration " in fg
        assert "the RoIs were drawn from proposals of the network as it was then, which are not kept" in bg


def test_all_parts_are_trained_and_judged_without_the_four_steps(trained: Path) -> None:
    stages = graph()
    assert not [name for name in stages if "step" in name or name in ("features", "finetune_joint")]
    out = trained / "data/train_end_to_end"
    for part in ("trunk", "rpn", "head"):
        weights = load_part(out, part)
        assert weights and all(torch.isfinite(value).all() for value in weights.values() if value.is_floating_point())
    first, last = load_part(trained / "data/backbone", "trunk"), load_part(out, "trunk")
    assert any(not torch.equal(first[name], last[name]) for name in first)
    assert (out / "history.csv").read_text().startswith("iteration,lr,loss,rpn_objectness,rpn_box,roi_class,roi_box\n")
    metrics = json.loads((trained / "data/evaluate_end_to_end/metrics.json").read_text())
    assert {"mAP50", "AP", "proposal_recall50"} <= metrics.keys()


def test_deltas_are_normalised_as_params_yaml_says(trained: Path) -> None:
    head, given = load_part(trained / "data/train_end_to_end", "head"), defaults()["proposal_targets"]
    classes = len(json.loads((trained / "data/resize/classes.json").read_text()))
    for name in ("mean", "std"):
        assert torch.equal(head[f"delta_{name}"], torch.tensor([given[name]] * classes))


def test_defaults_are_faster_rcnns_but_for_the_sections_of_its_own() -> None:
    own, theirs = defaults(), default_content()
    differ = {name for name in own if own[name] != theirs.get(name)}
    assert differ == {"family", "proposals", "proposal_targets", "train_end_to_end"}
    steps = {"train_rpn_step1", "train_head_step2", "train_rpn_step3", "train_head_step4", "finetune_joint"}
    assert theirs.keys() - own.keys() == steps
    for section, left_out in {
        "proposals": {"source", "mirrored", "images_at_once"},
        "proposal_targets": {"normalise"},
    }.items():
        assert theirs[section].keys() - own[section].keys() == left_out
    assert list(own) == ["family", *sections_of(family_of(FAMILY))]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("proposals.source=file", r"unknown parameter proposals\.source"),
        ("proposal_targets.normalise=measured", r"unknown parameter proposal_targets\.normalise"),
        ("proposals.file=x", f"proposals.file=x: family {FAMILY} has no parameter proposals.source; leave it out"),
        ("train_rpn_step1.lr=1", f"unknown parameter train_rpn_step1.lr: family {FAMILY} has no section"),
    ],
)
def test_what_needs_the_four_steps_is_refused(tmp_path: Path, override: str, said: str) -> None:
    copy_graphs(tmp_path)
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError, match=said):
        apply_preset(tmp_path, "shapes_joint", [override])
    lines = apply_preset(tmp_path, "shapes_joint", [])
    assert not [line for line in lines if "external_proposals" in line]


def test_a_head_that_cannot_stand_on_the_trunk_is_refused() -> None:
    content = apply_overlay(defaults(), {"roi_head": {"kind": "res5"}})
    with pytest.raises(InputError, match=r"^params\.yaml: roi_head\.kind res5 is the last stage of a ResNet"):
        check_params(content, "params.yaml")


OF_DETECTOR = ["Triangle", "un known", "ELLIPSE"]
"""What ellipse, rectangle and triangle are called where the trained network is the initial detector."""


@pytest.fixture(scope="module")
def started(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stages before training, with the trained network as the initial detector; do not change it."""

    def make(root: Path) -> None:
        overlay = apply_overlay(copy.deepcopy(JOINT_TINY), SMALL)
        overlay["init"] = {"detector": "file", "classes": OF_DETECTOR}
        write_project(root, overlay)
        weights = root / "data/initial_detector/model.safetensors"
        weights.symlink_to(trained / "data/train_end_to_end/model.safetensors")
        run_stages(root, *PREPARED[:3], "detect_initial", "evaluate_initial")

    return made_once(tmp_path_factory, "joint_started", make)


def detections(folder: Path, image_id: str, label_of: dict[int, int]) -> list[tuple[int, float, list[float]]]:
    """(label, score, box) of an image's detections of some labels, with others in their place."""
    rows = read_columns(folder / "detections.parquet", DETECTIONS)
    own = [i for i, name in enumerate(rows["image_id"]) if name == image_id and int(rows["label"][i]) in label_of]
    return [(label_of[int(rows["label"][i])], float(rows["score"][i]), boxes_of(rows)[i].tolist()) for i in own]


def test_the_initial_detector_is_judged_before_training_in_the_classes_that_both_name(
    trained: Path, started: Path
) -> None:
    same = {label: label for label in range(4)}
    for image_id in ("test_00000", "test_00001"):
        found = detections(started / "data/detect_initial", image_id, same)
        wanted = detections(trained / "data/detect_end_to_end", image_id, {1: 3, 3: 1})
        assert wanted and found[: len(wanted)] == wanted and {label for label, *_ in found} <= {1, 3}
    metrics = json.loads((started / "data/evaluate_initial/metrics.json").read_text())
    assert (
        metrics["class_AP50"].keys() == {"ellipse", "rectangle", "triangle"} and not metrics["class_AP50"]["rectangle"]
    )
    assert list(results_frame(started / "data", family_of(FAMILY)).index) == ["initial detector"]
    assert KnownClasses(["background", *OF_DETECTOR], ["background", "ellipse", "rectangle"]).unknown == ["rectangle"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"anchors": {"ratios": [1.0]}}, "another RPN than params.yaml: weight 'bbox_pred.bias' has shape"),
        ({"roi_head": {"hidden": 40}}, "another RoI head than params.yaml: weight 'bbox_pred.weight' has shape"),
        (
            {"roi_head": {"class_agnostic": True}},
            "another RoI head than params.yaml: weight 'bbox_pred.bias' has shape",
        ),
    ],
)
def test_heads_that_do_not_fit_start_fresh_and_are_not_judged(
    started: Path, tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    (tmp_path / "data").mkdir()
    for name in ("dataset", "resize", "backbone"):
        (tmp_path / "data" / name).symlink_to(started / "data" / name)
    (tmp_path / "dvc.yaml").write_text((started / "dvc.yaml").read_text())
    params = apply_overlay(yaml.safe_load((started / "params.yaml").read_text()), changed)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    run_stages(tmp_path, "detect_initial", "evaluate_initial")
    assert json.loads((tmp_path / "data/evaluate_initial/metrics.json").read_text()) == {}
    assert said in (why_absent(tmp_path / "data/detect_initial") or "")


def test_what_the_data_set_lacks_takes_no_place_of_what_it_has() -> None:
    known = KnownClasses(["background", "cat", "dining table"], ["background", "diningtable"])
    found = DetectedBoxes(torch.zeros(4, 4), torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.tensor([1, 2, 1, 2]))
    kept = known.of_data_set(found, 1)
    assert (kept.scores.tolist(), kept.labels.tolist()) == ([pytest.approx(0.8)], [1])


def test_a_bundle_of_the_initial_detector_keeps_its_own_classes(started: Path, tmp_path: Path) -> None:
    (line,) = write_bundle(started, "initial", tmp_path / "bundle")
    assert "the initial network, 3 classes" in line
    assert read_bundle(tmp_path / "bundle").settings.classes == ["background", *OF_DETECTOR]


def test_without_an_initial_detector_nothing_is_detected_and_no_table_has_it(trained: Path, tmp_path: Path) -> None:
    assert json.loads((trained / "data/evaluate_initial/metrics.json").read_text()) == {}
    assert json.loads((trained / "data/detect_initial/detections.json").read_text()) == []
    declared = graph()["evaluate_initial"]
    for path in (*declared["outs"], *declared["metrics"]):
        assert (trained / path).is_file()
    assert list(results_frame(trained / "data", family_of(FAMILY)).index) == ["end to end"]
    with pytest.raises(InputError) as error:
        write_bundle(trained, "initial", tmp_path / "bundle")
    said = "--network initial: there is none, as training starts from no detector (init.detector: none)"
    assert str(error.value) == said
