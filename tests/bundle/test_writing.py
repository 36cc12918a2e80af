"""`frcnn bundle`: what the folder holds, and what is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from pipeline.artifacts.weights import load_part
from pipeline.building.initial_detector import load_detector
from pipeline.building.trunk import new_trunk
from pipeline.bundle.file import read_bundle
from pipeline.bundle.writing import write_bundle
from pipeline.families.faster_rcnn.family import FAMILY
from pipeline.runtime.errors import InputError
from tests.conftest import TINY, Project
from tests.defaults import write_default_params


def test_the_joint_bundle_holds_the_weights_that_its_stage_wrote_byte_for_byte(
    tiny_run: Project, joint_bundle: Path
) -> None:
    weights = (tiny_run.data / "finetune_joint/model.safetensors").read_bytes()
    assert (joint_bundle / "model.safetensors").read_bytes() == weights
    assert sorted(path.name for path in joint_bundle.iterdir()) == ["bundle.json", "model.safetensors"]
    assert list(joint_bundle.parent.iterdir()) == [joint_bundle]


def test_the_step4_bundle_is_put_together_from_three_stages(tiny_run: Project, tmp_path: Path) -> None:
    write_bundle(tiny_run.root, "step4", tmp_path / "step4")
    for part, stage in FAMILY.networks["step4"].parts.items():
        expected = load_part(tiny_run.data / stage, part)
        found = load_part(tmp_path / "step4", part)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_bundle_json_tells_what_using_the_weights_takes(tiny_run: Project, joint_bundle: Path) -> None:
    content = json.loads((joint_bundle / "bundle.json").read_text())
    assert content["classes"] == json.loads((tiny_run.data / "dataset/classes.json").read_text())
    assert content["metrics"] == json.loads((tiny_run.data / "evaluate_joint/metrics.json").read_text())
    assert (content["format"], content["family"], content["network"]) == ("frcnn-bundle-2", "faster_rcnn", "joint")
    assert content["params"]["resize"]["shorter_side"] == 192
    assert content["params"]["base"] == {"precision": "bf16", **TINY["base"]}
    assert content["normalisation"]["pixel_mean"] == pytest.approx([0.485, 0.456, 0.406])
    for key, path in (
        ("model_sha256", joint_bundle / "model.safetensors"),
        ("dvc_lock_sha256", tiny_run.root / "dvc.lock"),
    ):
        assert content[key] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert str(tiny_run.root) not in (joint_bundle / "bundle.json").read_text()


def test_writing_twice_gives_equal_bytes_and_replaces_the_first(
    tiny_run: Project, joint_bundle: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        write_bundle(tiny_run.root, "joint", tmp_path / "again")
    for name in ("bundle.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (joint_bundle / name).read_bytes()
    assert list(tmp_path.iterdir()) == [tmp_path / "again"]


@pytest.mark.parametrize("network", ["step4", "joint"])
def test_weights_of_an_earlier_data_set_are_refused(finished_run: Project, tmp_path: Path, network: str) -> None:
    """As after `frcnn preset` for other data and a run that has come to `resize` alone."""
    lock = yaml.safe_load((finished_run.root / "dvc.lock").read_text())
    lock["stages"]["resize"]["outs"][0]["md5"] = "0" * 32 + ".dir"
    (finished_run.root / "dvc.lock").write_text(yaml.safe_dump(lock))
    with pytest.raises(InputError, match=r"was trained on other data than data/resize holds now.*; run frcnn repro"):
        write_bundle(finished_run.root, network, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_bundle_starts_another_training(tiny_run: Project, joint_bundle: Path) -> None:
    params = read_bundle(joint_bundle).settings.params.backbone
    trunk = new_trunk(params)
    found = load_detector(trunk, params, joint_bundle, None)
    assert set(found.parts) == {"rpn", "classifier", "head"}
    assert found.classes is not None and found.classes[0] == "background" and len(found.classes) > 1
    joint = load_part(tiny_run.data / "finetune_joint", "trunk")
    assert all(torch.equal(value, joint[name]) for name, value in trunk.state_dict().items())


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ("step3", "--network step3: no such network; there are step4, joint"),
        (
            "step2",
            "--network step2: step 2 (unshared) has several networks, not one; give --network step4 or joint",
        ),
    ],
)
def test_other_networks_are_refused(tmp_path: Path, network: str, expected: str) -> None:
    write_default_params(tmp_path)
    with pytest.raises(InputError) as caught:
        write_bundle(tmp_path, network, tmp_path / "out")
    assert str(caught.value) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def test_a_folder_that_is_no_bundle_is_never_replaced(tiny_run: Project, tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text("{}")
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="exists and is not a bundle"):
        write_bundle(tiny_run.root, "joint", tmp_path)
    assert (tmp_path / "holiday.jpg").exists()
    with pytest.raises(InputError, match="exists and is not a bundle"):
        write_bundle(tiny_run.root, "joint", tmp_path / "holiday.jpg")


@pytest.mark.parametrize(
    ("overlay", "expected"),
    [
        ({"anchors": {"scales": [1.0, 2.0, 4.0, 8.0]}}, "params.yaml: anchors.scales is [1.0, 2.0, 4.0, 8.0], data/"),
        ({"roi_head": {"pool": "roi_align"}}, "params.yaml: roi_head.pool is 'roi_align', data/"),
        ({"backbone": {"ceil_pool": True}}, "params.yaml: backbone.ceil_pool is True, data/"),
        ({"resize": {"shorter_side": 200}}, "params.yaml: resize.shorter_side is 200, data/resize was made with 192"),
        ({"rpn": {"channels": 64}}, "rpn: weight 'bbox_pred.weight' has shape (48, 128, 1, 1)"),
    ],
)
def test_parameters_changed_since_training_are_named(
    finished_run: Project, overlay: dict[str, Any], expected: str
) -> None:
    finished_run.set_params(overlay)
    with pytest.raises(InputError) as caught:
        write_bundle(finished_run.root, "joint", finished_run.root / "out")
    assert expected in str(caught.value)
    assert not list(finished_run.root.glob("*out*"))


def test_thresholds_may_be_changed_after_training_and_then_the_metrics_are_left_out(finished_run: Project) -> None:
    limits = {"score_threshold": 0.3, "per_image": 7}
    finished_run.set_params({"detect": limits, "evaluate": limits})
    write_bundle(finished_run.root, "joint", finished_run.root / "out")
    settings = read_bundle(finished_run.root / "out").settings
    assert (settings.params.detect.score_threshold, settings.params.detect.per_image) == (0.3, 7)
    assert settings.metrics is None


def test_metrics_of_a_run_before_a_parameter_was_there_are_kept(finished_run: Project) -> None:
    lock = finished_run.lock()
    del lock["detect_joint"]["params"]["params.yaml"]["detect"]["cut_first"]
    (finished_run.root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": lock}))
    write_bundle(finished_run.root, "joint", finished_run.root / "out")
    assert read_bundle(finished_run.root / "out").settings.metrics is not None


def test_without_dvc_there_is_neither_a_hash_of_its_lock_nor_a_trust_in_the_metrics(finished_run: Project) -> None:
    (finished_run.root / "dvc.lock").unlink()
    write_bundle(finished_run.root, "joint", finished_run.root / "out")
    settings = read_bundle(finished_run.root / "out").settings
    assert (settings.dvc_lock_sha256, settings.metrics) == (None, None)


def test_missing_weights_and_classes_of_another_run_are_named(finished_run: Project) -> None:
    out = finished_run.root / "out"
    (finished_run.data / "resize/classes.json").write_text('["background", "one"]')
    with pytest.raises(InputError, match="names 2 classes, the network was trained with 4"):
        write_bundle(finished_run.root, "joint", out)
    shutil.rmtree(finished_run.data / "train_rpn_step3")
    with pytest.raises(InputError, match=r"train_rpn_step3/model\.safetensors: no such weights file"):
        write_bundle(finished_run.root, "step4", out)
    assert not list(finished_run.root.glob("*out*"))
