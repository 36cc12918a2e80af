"""What version 0.1.0 wrote for people to keep: parameters, a bundle, proposals, and the state of a training.

Each is made here as it was written then. A later version reads it with nothing lost, or refuses it in one line that
says what to do."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from pipeline.bundle.detector import Detector
from pipeline.bundle.file import read_bundle
from pipeline.bundle.writing import write_bundle as write_a_bundle
from pipeline.exchange.proposal_files import read_proposal_file
from pipeline.params.file import load_params
from pipeline.runtime.errors import InputError
from pipeline.training.checkpoints import Checkpoints

PARAMS = """\
base: {seed: 0, threads: 2, precision: bf16, deterministic: false, mirror: true}
dataset: {reader: shapes, shapes: {train: 300, val: 0, test: 100, image_size: 256, max_objects: 8},
  voc: {train: [trainval], val: [], test: [test], classes: null},
  coco: {train: [annotations/instances_train2017.json], val: [], test: [annotations/instances_val2017.json],
  images: '{name}', classes: null}, kitti: {train: [train], val: [], test: [val], folder: training,
  classes: [Car, Pedestrian, Cyclist], merge: {}}, yolo: {train: [images/train], val: [], test: [images/val],
  names: data.yaml}, table: {train: [train], val: [], test: [test], file: boxes.csv, boxes: xyxy, classes: null},
  findings: {non_numeric: error, non_finite: drop, inverted: drop, zero_area: drop, subpixel: keep,
  outside_image: fix, duplicate_box: keep, duplicate_image_id: error, same_image_in_train_and_test: error,
  same_content_in_train_and_test: keep, unknown_class: drop, missing_difficult: allow,
  annotation_without_image: error, image_without_annotation: error, size_differs: error, undecodable: error,
  truncated: error, too_large: error, exif_orientation: fix, mode: fix}}
backbone: {name: tiny, weights: pretrain, frozen_blocks: 2, ceil_pool: false, pretrain: {images: 300,
  crops_per_iteration: 64, crop_size: 64, iterations: 240, lr: 0.1}}
init: {detector: none}
resize: {rule: shorter_side, shorter_side: 256, longer_side: 426, fixed_width: 800, fixed_height: 800}
anchors: {base_size: 16, ratios: [0.5, 1.0, 2.0], scales: [1.25, 2.5, 5.0, 9.0]}
anchor_targets: {fg_iou: 0.7, bg_iou: 0.3, allowed_border: 0.0, ignore_ioa: 0.5}
rpn: {channels: 128, anchors_per_image: 256, fg_fraction: 0.5, sigma: 3.0, box_loss_weight: 1.0,
  images_without_gt: background}
proposals: {source: rpn, pre_nms: 1000, nms_iou: 0.7, post_nms: 300, min_size: 8.0, mirrored: recomputed}
proposal_targets: {fg_iou: 0.5, bg_iou_high: 0.5, bg_iou_low: 0.0, ignore_ioa: 0.5, normalise: fixed, mean: [0.0,
  0.0, 0.0, 0.0], std: [0.1, 0.1, 0.2, 0.2]}
roi_head: {pool: roi_pool, output_size: 7, hidden: 512, dropout: 0.0, rois_per_image: 64, fg_fraction: 0.25,
  sigma: 1.0, box_loss_weight: 1.0}
features: {dtype: float16, keep_frozen_blocks: false}
solver: {momentum: 0.9, weight_decay: 0.0005, bias_lr_factor: 2.0, trunk_lr_factor: 1.0, lr_decay: linear,
  clip_norm: 10.0, log_every: 20}
train_rpn_step1: {iterations: 800, images_per_iteration: 4, lr: 0.15, lr_drop_at: [600], lr_drop_factor: 0.1,
  warmup_iterations: 100}
train_head_step2: {iterations: 1200, images_per_iteration: 4, lr: 0.15, lr_drop_at: [900], lr_drop_factor: 0.1,
  warmup_iterations: 100}
train_rpn_step3: {init: fresh, iterations: 1800, images_per_iteration: 4, lr: 0.2, lr_drop_at: [1350],
  lr_drop_factor: 0.1, warmup_iterations: 100}
train_head_step4: {init: step2, iterations: 1200, images_per_iteration: 4, lr: 0.1, lr_drop_at: [900],
  lr_drop_factor: 0.1, warmup_iterations: 100}
finetune_joint: {init: step4, pre_nms: 1000, post_nms: 200, iterations: 400, images_per_iteration: 4, lr: 0.1,
  lr_drop_at: [300], lr_drop_factor: 0.1, warmup_iterations: 50}
detect: {pre_nms: 2000, proposal_nms_iou: 0.7, proposals: 300, recall_ranks: 1000, min_size: 8.0,
  score_threshold: 0.05, nms_iou: 0.3, per_image: 100}
evaluate: {split: test, recall_proposals: 300, confusion_score: 0.5}
"""
_CONVOLUTIONS = {0: (16, 3), 4: (32, 16), 8: (64, 32), 11: (64, 64), 15: (96, 64), 18: (96, 96), 21: (96, 96)}


def read_or_refused(read: Callable[[], Any], remedy: str) -> Any:
    """What is read; None where it is refused in one line with the remedy."""
    try:
        return read()
    except InputError as error:
        assert "\n" not in str(error) and remedy in str(error)
        return None


def leaves(value: Any, place: str = "") -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {place: value}
    return {key: leaf for name, own in value.items() for key, leaf in leaves(own, f"{place}.{name}").items()}


def test_parameters(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS)
    params = read_or_refused(lambda: load_params(path), "params.yaml")
    if params is not None:
        now = leaves({name: section.model_dump() for name, section in params.sections().items()})
        then = leaves(yaml.safe_load(PARAMS))
        renamed = {key: key.replace("frozen_blocks", "frozen_stages") for key in then}
        assert {renamed[key]: value for key, value in then.items()}.items() <= now.items()


def weights() -> dict[str, torch.Tensor]:
    """A trunk of seven convolutions with batch normalisation, an RPN of 12 anchors, a head of 2 classes and 8 hidden
    units."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"rpn.conv": (128, 96, 3, 3), "rpn.cls_score": (24, 128, 1, 1), "rpn.bbox_pred": (48, 128, 1, 1)}
    shapes |= {"head.fc6": (8, 4704), "head.fc7": (8, 8), "head.cls_score": (3, 8), "head.bbox_pred": (12, 8)}
    tensors = {"trunk.pixel_mean": torch.full((3,), 0.5), "trunk.pixel_std": torch.full((3,), 0.25)}
    tensors |= {"head.delta_mean": torch.zeros(3, 4), "head.delta_std": torch.ones(3, 4)}
    for layer, (to, of) in _CONVOLUTIONS.items():
        shapes[f"trunk.layers.{layer}"] = (to, of, 3, 3)
        norm = f"trunk.layers.{layer + 1}"
        tensors |= {f"{norm}.{name}": torch.ones(to) for name in ("weight", "running_var")}
        tensors |= {f"{norm}.{name}": torch.zeros(to) for name in ("bias", "running_mean")}
        tensors[f"{norm}.num_batches_tracked"] = torch.tensor(0)
    for name, shape in shapes.items():
        tensors[f"{name}.weight"] = 0.1 * torch.randn(shape, generator=generator)
        tensors[f"{name}.bias"] = torch.zeros(shape[0])
    return tensors


def write_bundle(folder: Path) -> None:
    """As `frcnn bundle` wrote it."""
    folder.mkdir()
    save_file(weights(), folder / "model.safetensors")
    params = yaml.safe_load(PARAMS)
    sections = ("backbone", "anchors", "rpn", "resize", "roi_head", "detect")
    content = {
        "format": "frcnn-bundle-1",
        "network": "joint",
        "classes": ["__background__", "circle", "square"],
        "params": {"base": {"threads": 1, "precision": "float32"}, **{name: params[name] for name in sections}},
        "normalisation": {"pixel_mean": [0.5] * 3, "pixel_std": [0.25] * 3},
        "metrics": {"mAP50": 0.5},
        "model_sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "dvc_lock_sha256": None,
    }
    content["params"]["roi_head"]["hidden"] = 8
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    (folder / "bundle.json").write_text(json.dumps({**content, "settings_sha256": digest}, indent=1) + "\n")


def test_a_bundle(tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle")
    bundle = read_or_refused(lambda: read_bundle(tmp_path / "bundle"), "write it again with frcnn bundle")
    if bundle is not None:
        assert bundle.settings.classes == ["__background__", "circle", "square"]
        now = {
            f"{name}.{key}": value for name, part in bundle.parts.items() for key, value in part.state_dict().items()
        }
        assert now.keys() == weights().keys() and all(torch.equal(now[name], own) for name, own in weights().items())
        found = Detector.load(tmp_path / "bundle", "cpu")(np.full((64, 96, 3), 128, np.uint8))
        assert found.boxes.shape == (len(found), 4)


def old_project(root: Path, changes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A project in which 0.1.0 trained the joint network, with `changes` of the parameters that dvc.lock records; its
    params.yaml has the keys that came later."""
    params = yaml.safe_load(PARAMS)
    params["evaluate"] |= {"score_threshold": 0.05, "per_image": 100}
    params["roi_head"]["hidden"] = 8
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    for name in ("finetune_joint", "resize"):
        (root / "data" / name).mkdir(parents=True)
    save_file(weights(), root / "data/finetune_joint/model.safetensors")
    (root / "data/resize/classes.json").write_text('["__background__", "circle", "square"]')
    recorded = {name: dict(params[name]) for name in ("resize", "backbone", "anchors", "roi_head")}
    for section, values in changes.items():
        recorded[section] |= values
        recorded[section] = {key: value for key, value in recorded[section].items() if value is not ...}
    entries = {
        "resize": {"params": {"params.yaml": {"resize": recorded["resize"]}}},
        "finetune_joint": {
            "params": {"params.yaml": {name: recorded[name] for name in ("backbone", "anchors", "roi_head")}}
        },
    }
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": entries}))
    return params


def test_a_network_that_0_1_0_trained_is_bundled(tmp_path: Path) -> None:
    old_project(tmp_path, {})
    write_a_bundle(tmp_path, "joint", tmp_path / "bundle")
    assert read_bundle(tmp_path / "bundle").settings.network == "joint"


@pytest.mark.parametrize(
    "changes",
    [{"resize": {"shorter_side": ...}}, {"resize": {"of_another_version": 3}}, {"roi_head": {"pool": "of_another"}}],
)
def test_records_of_parameters_of_another_version_are_refused_in_one_line(
    tmp_path: Path, changes: dict[str, dict[str, Any]]
) -> None:
    old_project(tmp_path, changes)
    with pytest.raises(InputError, match=r"^params.yaml: .*; run dvc repro") as refused:
        write_a_bundle(tmp_path, "joint", tmp_path / "bundle")
    assert "\n" not in str(refused.value) and not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("layout", ["detectron2", "mmdetection", "mmdetection2"])
def test_proposals(tmp_path: Path, layout: str) -> None:
    boxes = [np.array([[1, 2, 30, 40], [5, 5, 9, 9]], np.float32), np.zeros((0, 4), np.float32)]
    scores = [np.array([0.75, 0.5], np.float32), np.zeros(0, np.float32)]
    logits = [np.log(own / (1 - own)) for own in scores]
    content = {
        "detectron2": {"ids": ["a", "b"], "boxes": boxes, "objectness_logits": logits, "bbox_mode": 0},
        "mmdetection": {
            f"raw/{n}.png": {"bboxes": b, "scores": s} for n, b, s in zip("ab", boxes, scores, strict=True)
        },
        "mmdetection2": [np.concatenate([b, s[:, None]], axis=1) for b, s in zip(boxes, scores, strict=True)],
    }[layout]
    path = tmp_path / "proposals.pkl"
    path.write_bytes(pickle.dumps(content, protocol=3).replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray"))
    read = read_or_refused(lambda: read_proposal_file(path), "proposals.pkl")
    if read is not None:
        assert read.layout == layout
        for entry, own_boxes, own_scores in zip(read.entries, boxes, scores, strict=True):
            np.testing.assert_array_equal(entry.boxes, own_boxes)
            np.testing.assert_allclose(entry.scores, own_scores, rtol=1e-5)


def test_the_state_of_a_training_is_passed_over_in_one_line(tmp_path: Path) -> None:
    folder, lines = tmp_path / "key", []
    folder.mkdir()
    save_file({"step.a": torch.ones(1)}, folder / "state-000000010.safetensors")
    content = {"schema": 1, "iteration": 10, "told": {"history": [], "sums": {}, "count": 0}}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    digest.update((folder / "state-000000010.safetensors").read_bytes())
    (folder / "state-000000010.json").write_text(json.dumps({**content, "sha256": digest.hexdigest()}))
    assert Checkpoints(tmp_path, "key", lines.append).last() is None
    assert len(lines) == 1 and "state-000000010" in lines[0] and "\n" not in lines[0]
