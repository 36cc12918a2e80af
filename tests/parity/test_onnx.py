"""The ONNX graph, run by onnxruntime, detects what our network detects in float32 in the same resized pixels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from typer.testing import CliRunner

import pipeline.export.onnx
from pipeline.bundle.file import Bundle, read_bundle
from pipeline.bundle.writing import write_bundle
from pipeline.cli import app
from pipeline.datasets.images import read_rgb
from pipeline.datasets.resizing import resize_rgb
from pipeline.export.files import export_bundle
from pipeline.runtime.errors import InputError
from tests.conftest import ROOT, Project
from tests.parity.comparison import Differences
from tests.parity.onnx_runs import compared, detect_with_onnx, exported, opened, textured, with_changes

pytestmark = [pytest.mark.authority("onnxruntime"), pytest.mark.usefixtures("narrow")]

CROPS: list[Callable[[np.ndarray], np.ndarray]] = [
    lambda photo: photo,
    lambda photo: photo[:, :131],
    lambda photo: photo[20:170],
    lambda photo: photo[3:, 50:],
    lambda photo: photo[:100],
]


@pytest.fixture(scope="module")
def joint(tiny_run: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the tiny run."""
    out = tmp_path_factory.mktemp("onnx") / "joint"
    write_bundle(tiny_run.root, "joint", out)
    return out


@pytest.fixture(scope="module")
def by_command(joint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ONNX file that the command line writes of the bundle, which pools by RoIPool."""
    out = tmp_path_factory.mktemp("onnx") / "net.onnx"
    result = CliRunner().invoke(app, ["export", str(joint), "--format", "onnx", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"{out}: the joint network for ONNX") and len(result.output.splitlines()) == 1
    assert list(out.parent.iterdir()) == [out]
    return out


Exported = tuple[Bundle, onnxruntime.InferenceSession]


@pytest.fixture(scope="module")
def pooling(joint: Path, by_command: Path) -> Exported:
    return read_bundle(joint), opened(by_command)


@pytest.fixture(scope="module")
def aligning(joint: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """RoIAlign, all candidates before NMS, none below 40 px of the original, and few detections."""
    detect = {"pre_nms": -1, "min_size": 40.0, "per_image": 6}
    bundle = with_changes(read_bundle(joint), roi_head={"pool": "roi_align"}, detect=detect)
    return bundle, exported(bundle, tmp_path_factory.mktemp("aligning"))


@pytest.mark.parametrize("network", [pytest.param("pooling", marks=pytest.mark.long), "aligning"])
def test_a_trained_network_detects_the_same_in_images_of_many_sizes(
    tiny_run: Project, network: str, request: pytest.FixtureRequest
) -> None:
    bundle, session = request.getfixturevalue(network)
    total, sizes = Differences(), set()
    for index, path in enumerate(sorted((tiny_run.data / "dataset").rglob("test_*.png"))):
        photo = CROPS[index % len(CROPS)](read_rgb(path))
        pixels = resize_rgb(photo, bundle.settings.params.resize)
        scale = (pixels.shape[1] / photo.shape[1], pixels.shape[0] / photo.shape[0])
        sizes.add(pixels.shape)
        total.add(compared(bundle, session, pixels, scale))
    print(f"{network}: {total.pairs} pairs, scores to {total.score:.1e}, boxes to {total.box:.1e} px")
    assert not total.unpaired
    assert total.pairs >= 6 * 5 and len(sizes) >= 5


def test_the_least_size_is_that_of_the_original_where_the_scale_is_fed(tiny_run: Project, aligning: Exported) -> None:
    pixels = read_rgb(min((tiny_run.data / "dataset").rglob("test_*.png")))
    boxes = []
    for scale in ((1.0, 1.0), (0.5, 0.7), (3.0, 2.5), None):
        found = compared(*aligning, pixels, scale)
        assert not found.unpaired
        boxes.append(detect_with_onnx(aligning[1], pixels, scale)["boxes"])
    assert torch.equal(boxes[0], boxes[3])
    assert 0 < len(boxes[0]) <= 6 and not torch.equal(boxes[0], boxes[2])


@pytest.mark.parametrize("network", ["pooling", "aligning"])
def test_an_image_without_a_proposal_has_no_detection(network: str, request: pytest.FixtureRequest) -> None:
    """The least size is far beyond the image."""
    _, session = request.getfixturevalue(network)
    found = detect_with_onnx(session, textured(33, 40, 0), (1e3, 1e3))
    assert [tuple(found[name].shape) for name in ("boxes", "labels", "scores")] == [(0, 4), (0,), (0,)]


def test_proposals_without_a_sure_class_give_no_detection(by_command: Path, tmp_path: Path) -> None:
    """The head is so sure of background that no other class has a score above the threshold."""
    model = onnx.load(by_command)
    (bias,) = [value for value in model.graph.initializer if value.name == "head.cls_score.bias"]
    sure = numpy_helper.to_array(bias).copy()
    sure[0] = 1e4
    bias.CopyFrom(numpy_helper.from_array(sure, bias.name))
    onnx.save(model, tmp_path / "net.onnx")
    session = opened(tmp_path / "net.onnx")
    for size in ((192, 192), (33, 40)):
        found = detect_with_onnx(session, textured(*size, 0))
        assert [tuple(found[name].shape) for name in ("boxes", "labels", "scores")] == [(0, 4), (0,), (0,)]


def test_the_file_tells_classes_resizing_and_its_bundle(joint: Path, by_command: Path) -> None:
    model, settings = onnx.load(by_command), json.loads((joint / "bundle.json").read_text())
    props = {p.key: p.value for p in model.metadata_props}
    assert json.loads(props["classes"]) == settings["classes"]
    assert json.loads(props["resize"]) == settings["params"]["resize"]
    assert props["model_sha256"] == hashlib.sha256((joint / "model.safetensors").read_bytes()).hexdigest()
    assert props["bundle_sha256"] == settings["settings_sha256"]
    image = next(value for value in model.graph.input if value.name == "image")
    shape = [dim.dim_param or dim.dim_value for dim in image.type.tensor_type.shape.dim]
    assert shape == [1, 3, "height", "width"]
    assert str(ROOT).encode() not in by_command.read_bytes()


def test_what_keeps_onnx_from_being_written_is_told(
    joint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"give a \.onnx file in a folder that exists"):
        export_bundle(joint, "onnx", tmp_path / "net.safetensors")
    monkeypatch.setattr(pipeline.export.onnx, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"^onnx is not installed; install .*\[onnx\]"):
        export_bundle(joint, "onnx", tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())
