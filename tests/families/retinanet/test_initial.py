"""RetinaNet that starts from a trained detector: judged as it is, and trained further."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torchvision
import yaml
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.retinanet import RetinaNet
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from pipeline.artifacts.absent import why_absent
from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.tables import boxes_of, read_columns
from pipeline.artifacts.weights import load_part
from tests.conftest import apply_overlay, made_once
from tests.families.retinanet.test_run import run_graph
from tests.families.retinanet_project import PYRAMID, RETINANET_TINY, write_project
from tests.in_process import run_stages

OF_DETECTOR = ["Triangle", "un known", "ELLIPSE"]
"""What ellipse, rectangle and triangle are called where the trained network is the initial detector."""

PREPARED = ("dataset", "backbone", "resize", "retinanet_targets")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole graph, run once. Do not change it."""
    return made_once(tmp_path_factory, "retinanet_run", run_graph)


def project(root: Path, weights: Path, *overlays: dict[str, Any]) -> Path:
    """One that starts from these weights."""
    write_project(root, {**RETINANET_TINY, "init": {"detector": "file", "classes": OF_DETECTOR}})
    params = yaml.safe_load((root / "params.yaml").read_text())
    for overlay in overlays:
        apply_overlay(params, overlay)
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    (root / "data/initial_detector/model").with_suffix(weights.suffix).symlink_to(weights)
    return root


def detections(folder: Path, image_id: str, label_of: dict[int, int]) -> list[tuple[int, float, list[float]]]:
    """(label, score, box) of an image's detections of some labels, with others in their place."""
    rows = read_columns(folder / "detections.parquet", DETECTIONS)
    own = [i for i, name in enumerate(rows["image_id"]) if name == image_id and int(rows["label"][i]) in label_of]
    return [(label_of[int(rows["label"][i])], float(rows["score"][i]), boxes_of(rows)[i].tolist()) for i in own]


def test_a_detector_is_judged_as_it_is_in_the_classes_that_both_name_and_trained_further(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = project(tmp_path / "own", trained / "data/train_retinanet/model.safetensors")
    run_stages(root, *PREPARED, "detect_retinanet_initial", "evaluate_retinanet_initial", "train_retinanet")
    for image_id in ("test_00000", "test_00001"):
        found = detections(root / "data/detect_retinanet_initial", image_id, {1: 1, 2: 2, 3: 3})
        wanted = detections(trained / "data/detect_retinanet", image_id, {1: 3, 3: 1})
        assert wanted and found[: len(wanted)] == wanted and {label for label, *_ in found} <= {1, 3}
    assert json.loads((root / "data/evaluate_retinanet_initial/metrics.json").read_text())["AP"] >= 0
    assert "class rows: 2 of 3 classes start from the detector's" in capsys.readouterr().err
    # What three iterations have changed is still nearer to where it started than a fresh head is.
    start, end = (load_part(where / "data/train_retinanet", "head") for where in (trained, root))
    name = "classification_head.conv.0.0.weight"
    assert (start[name] - end[name]).norm() < 0.5 * start[name].norm()


def test_a_head_that_does_not_fit_is_not_judged_and_lends_what_fits(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = trained / "data/train_retinanet/model.safetensors"
    root = project(tmp_path / "own", weights, {"anchors": {"ratios": [1.0]}})
    run_stages(root, *PREPARED, "detect_retinanet_initial", "evaluate_retinanet_initial", "train_retinanet")
    assert json.loads((root / "data/evaluate_retinanet_initial/metrics.json").read_text()) == {}
    why = why_absent(root / "data/detect_retinanet_initial")
    assert why is not None and "another head than params.yaml" in why and "cls_logits" in why
    assert "class rows: none starts from the detector's: its classification_head.cls_logits" in capsys.readouterr().err


@pytest.mark.authority("torchvision")
def test_torchvisions_file_comes_in_whole_and_is_judged(tmp_path: Path) -> None:
    torch.manual_seed(0)
    body = cast(torchvision.models.ResNet, torchvision.models.resnet18(norm_layer=FrozenBatchNorm2d))
    backbone = _resnet_fpn_extractor(body, 5, returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256))
    theirs = RetinaNet(backbone, len(OF_DETECTOR) + 1).state_dict()
    torch.save(theirs, tmp_path / "theirs.pth")
    root = project(tmp_path / "own", tmp_path / "theirs.pth", PYRAMID)
    run_stages(root, "dataset", "backbone", "resize", "detect_retinanet_initial", "evaluate_retinanet_initial")
    head = load_part(root / "data/backbone", "head")
    assert torch.equal(head["regression_head.bbox_reg.weight"], theirs["head.regression_head.bbox_reg.weight"])
    assert json.loads((root / "data/evaluate_retinanet_initial/metrics.json").read_text())["AP"] >= 0
