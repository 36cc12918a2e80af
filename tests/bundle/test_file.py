"""A bundle is used as it was written or refused in one line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.bundle.detector import Detector
from pipeline.bundle.file import read_bundle, settings_text
from pipeline.runtime.errors import InputError
from tests.conftest import Project


def edit(folder: Path, change: Callable[[dict], object], rehash: bool) -> None:
    """Change bundle.json, with its hash made to fit again or not."""
    path = folder / "bundle.json"
    content = json.loads(path.read_text())
    change(content)
    del content["settings_sha256"]
    text = settings_text(content)
    if not rehash:
        text = text.replace(json.loads(text)["settings_sha256"], "0" * 64)
    path.write_text(text)


def replace_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change the weights, with both hashes made to fit again."""
    path = folder / "model.safetensors"
    state = load_file(path)
    change(state)
    save_file(state, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    edit(folder, lambda content: content.update(model_sha256=digest), rehash=True)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors: not a readable"),
    "no settings": (lambda f: (f / "bundle.json").unlink(), "is not a bundle, it holds no bundle.json"),
    "weights cut off": (lambda f: truncate(f / "model.safetensors"), "its SHA-256 differs"),
    "settings cut off": (lambda f: truncate(f / "bundle.json"), "bundle.json: not readable as JSON"),
    "settings that are no text": (lambda f: (f / "bundle.json").write_bytes(b"\xff\xfe\x00"), "not readable as JSON"),
    "settings of another kind": (lambda f: (f / "bundle.json").write_text("[1]"), "format is 'None'"),
    "a later schema": (lambda f: edit(f, lambda c: c.update(format="frcnn-bundle-3"), True), "'frcnn-bundle-3'"),
    "another family": (
        lambda f: edit(f, lambda c: c.update(family="yolo"), True),
        "family is 'yolo', there are faster_rcnn",
    ),
    "no family": (lambda f: edit(f, lambda c: c.pop("family"), True), "family is 'None'"),
    "no parameters": (lambda f: edit(f, lambda c: c.pop("params"), True), "bundle.json: params: "),
    "a network that is none": (
        lambda f: edit(f, lambda c: c.update(network="step2"), True),
        "network: is none of step4, joint",
    ),
    "classes exchanged": (
        lambda f: edit(f, lambda c: c["classes"].reverse(), False),
        "was changed after it was written",
    ),
    "an unknown key": (lambda f: edit(f, lambda c: c.update(extra=1), True), "extra: Extra inputs are not permitted"),
    "a threshold out of range": (
        lambda f: edit(f, lambda c: c["params"]["detect"].update(nms_iou=2.0), True),
        "params.detect.nms_iou: Input should be less than or equal to 1",
    ),
    "a class less": (lambda f: edit(f, lambda c: c["classes"].pop(), True), "the configured network needs"),
    "another normalisation": (
        lambda f: edit(f, lambda c: c["normalisation"].update(pixel_mean=[0.0, 0.0, 0.0]), True),
        "its pixel_mean is not that of bundle.json",
    ),
    "a weight less": (
        lambda f: replace_weights(f, lambda state: state.pop("rpn.conv.bias")),
        "rpn: weight 'conv.bias' is missing",
    ),
    "a pickle in the place of weights": (
        lambda f: (
            torch.save({"a": torch.zeros(1)}, f / "model.safetensors"),
            edit(
                f,
                lambda c: c.update(model_sha256=hashlib.sha256((f / "model.safetensors").read_bytes()).hexdigest()),
                True,
            ),
        ),
        "not a readable safetensors file",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_bundle_is_told_in_one_line(spoiled: Path, fault: str) -> None:
    damage, expected = FAULTS[fault]
    damage(spoiled)
    with pytest.raises(InputError) as caught:
        read_bundle(spoiled)
    assert expected in str(caught.value)
    assert str(spoiled) in str(caught.value) and "\n" not in str(caught.value)


def test_a_bundle_of_the_first_schema_which_names_no_family_detects_the_same(
    tiny_run: Project, joint_bundle: Path, spoiled: Path
) -> None:
    def first(content: dict) -> None:
        assert content.pop("family") == "faster_rcnn"
        content["format"] = "frcnn-bundle-1"

    edit(spoiled, first, rehash=True)
    photo = min((tiny_run.data / "dataset").rglob("test_*.*"))
    old, new = (Detector.load(folder, "cpu")(photo) for folder in (spoiled, joint_bundle))
    assert len(old) > 0 and np.array_equal(old.boxes, new.boxes) and np.array_equal(old.scores, new.scores)
    assert old.names == new.names


def test_a_single_changed_bit_of_the_weights_is_noticed(spoiled: Path) -> None:
    path = spoiled / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="SHA-256 differs"):
        read_bundle(spoiled)


def test_no_folder_and_a_folder_of_something_else_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such bundle"):
        read_bundle(tmp_path / "none")
    with pytest.raises(InputError, match="is not a bundle"):
        read_bundle(tmp_path)


def test_a_bundle_that_does_not_fit_says_the_version_of_timm_that_it_was_written_with(spoiled: Path) -> None:
    edit(spoiled, lambda content: content.update(timm="1.0.0"), rehash=True)
    Detector.load(spoiled)
    replace_weights(spoiled, lambda state: state.pop("trunk.pixel_std"))
    with pytest.raises(InputError, match=r"'pixel_std' is missing; .*; bundle\.json was written with timm 1\.0\.0$"):
        read_bundle(spoiled)
