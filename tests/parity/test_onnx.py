"""The ONNX graph, run by onnxruntime, detects what our network detects in float32 in the same resized pixels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from onnx import numpy_helper
from torch import Tensor
from typer.testing import CliRunner

import pipeline.export.onnx
from pipeline.building.anchors import anchor_grid
from pipeline.building.memory_format import channels_last
from pipeline.building.trunk import new_trunk
from pipeline.bundle.contract import Computation, Parts
from pipeline.bundle.file import Bundle, BundleSettings, PixelNormalisation, read_bundle
from pipeline.bundle.writing import write_bundle
from pipeline.cli import app
from pipeline.datasets.images import read_rgb
from pipeline.datasets.resizing import resize_rgb
from pipeline.export.files import export_bundle
from pipeline.families.faster_rcnn.building import detection
from pipeline.families.faster_rcnn.building.detection import detection_rule
from pipeline.families.faster_rcnn.building.roi_head import new_head
from pipeline.families.faster_rcnn.bundle import FasterRCNNParams, typed
from pipeline.families.faster_rcnn.exported.onnx_detector import export_onnx
from pipeline.families.faster_rcnn.nn.network import FasterRCNN
from pipeline.geometry.backbones import RESNETS, VGGShape
from pipeline.nn.backbones.build import BACKBONES
from pipeline.nn.backbones.frozen_norm import FrozenBatchNorm
from pipeline.nn.backbones.resnet import ResNetTrunk
from pipeline.nn.backbones.vgg import VGGTrunk
from pipeline.params.file import check_params
from pipeline.params.reading import Params
from pipeline.runtime.errors import InputError
from tests.conftest import ROOT, Project, apply_overlay
from tests.defaults import default_content
from tests.layouts import register_toy
from tests.parity import comparison
from tests.parity.comparison import Differences, differences, named, random_parts

pytestmark = pytest.mark.authority("onnxruntime")

SCORE_TOLERANCE, BOX_TOLERANCE = 1e-4, 1e-2
SMALL_VGG = VGGShape(((8,), (16,), (16, 16), (24, 24), (24, 24)), batch_norm=False)
FPN = {"name": "fpn", "channels": 24}
SMALL = {
    "resize": {"shorter_side": 96, "longer_side": 150},
    "anchors": {"scales": [1.25, 3.0]},
    "rpn": {"channels": 40},
    "roi_head": {"hidden": 48, "output_size": 5},
    "detect": {"pre_nms": 150, "proposals": 60, "per_image": 500},
}


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Detections pair up within this page's tolerances."""
    monkeypatch.setattr(comparison, "SCORE_TOLERANCE", SCORE_TOLERANCE)
    monkeypatch.setattr(comparison, "BOX_TOLERANCE", BOX_TOLERANCE)


@pytest.fixture(scope="module")
def joint(tiny_run: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the tiny run."""
    out = tmp_path_factory.mktemp("onnx") / "joint"
    write_bundle(tiny_run.root, "joint", out)
    return out


def settings_of(params: FasterRCNNParams, classes: list[str]) -> BundleSettings:
    return BundleSettings(
        format="frcnn-bundle-2",
        family="faster_rcnn",
        network="joint",
        classes=classes,
        params=params,
        normalisation=PixelNormalisation(pixel_mean=[0.0] * 3, pixel_std=[1.0] * 3),
        metrics=None,
        model_sha256="0" * 64,
        dvc_lock_sha256=None,
        settings_sha256="0" * 64,
    )


def random_bundle(params: Params, num_classes: int, seed: int) -> Bundle:
    """A bundle of random weights in memory."""
    trunk = new_trunk(params.backbone)
    draw = torch.Generator().manual_seed(seed)
    trunk.initialise(draw)
    if trunk.neck:
        trunk.neck.initialise(draw)
    sections = {name: getattr(params, name) for name in FasterRCNNParams.model_fields if name != "base"}
    used = FasterRCNNParams(base=Computation(threads=2, precision="float32"), **sections)
    classes = ["background", *(f"class {label}" for label in range(1, num_classes))]
    return Bundle(Path("memory"), settings_of(used, classes), named(random_parts(trunk, params, num_classes, seed)))


def with_changes(bundle: Bundle, **sections: dict[str, Any]) -> Bundle:
    """The bundle with other parameters that its weights fit too."""
    params = bundle.settings.params
    changed = {name: getattr(params, name).model_copy(update=values) for name, values in sections.items()}
    params = params.model_copy(update=changed)
    trunk, rpn, head = typed(bundle.parts)
    other = new_head(trunk.layout, head.num_classes, params.roi_head, params.backbone)
    other.load_state_dict(head.state_dict())
    return Bundle(
        bundle.folder, bundle.settings.model_copy(update={"params": params}), named((trunk, rpn, other.eval()))
    )


def our_network(parts: Parts, params: FasterRCNNParams) -> FasterRCNN:
    rule = detection.test_proposal_rule(params.detect, params.detect.proposals)
    trunk, rpn, head = typed(parts)
    grid = anchor_grid(params.anchors, trunk.layout)
    return FasterRCNN(channels_last(trunk), rpn, head, grid, rule, detection_rule(params.detect))


def exported(bundle: Bundle, folder: Path) -> onnxruntime.InferenceSession:
    export_onnx(bundle, folder / "net.onnx")
    return opened(folder / "net.onnx")


def opened(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # threads of two tests at once would wait for each other
    options.log_severity_level = 3  # it warns that `scale` may be fed
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def detect_with_onnx(session: onnxruntime.InferenceSession, pixels: np.ndarray, scale: Any = None) -> dict[str, Tensor]:
    feeds = {"image": pixels.transpose(2, 0, 1)[None].astype(np.float32) / 255}
    if scale is not None:
        feeds["scale"] = np.array(scale, np.float32)
    names = [output.name for output in session.get_outputs()]
    assert names == ["boxes", "labels", "scores"]
    return {name: torch.from_numpy(value) for name, value in zip(names, session.run(None, feeds), strict=True)}


def compared(
    bundle: Bundle, session: onnxruntime.InferenceSession, pixels: np.ndarray, scale: Any = None
) -> Differences:
    """(H, W, 3) uint8 pixels of the resized image through both."""
    network = our_network(bundle.parts, bundle.settings.params)  # type: ignore[arg-type]
    image = torch.from_numpy(pixels.copy())[None].permute(0, 3, 1, 2)
    (ours,) = network(image, [pixels.shape[:2]], [scale or (1.0, 1.0)])  # type: ignore[list-item]
    return differences(ours, detect_with_onnx(session, pixels, scale))


def textured(height: int, width: int, seed: int) -> np.ndarray:
    """(height, width, 3) uint8 pixels without symmetry."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 7, 9, generator=draw) * 255
    noise = torch.randn(3, height, width, generator=draw) * 15
    pixels = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")[0] + noise
    return pixels.clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


CROPS: list[Callable[[np.ndarray], np.ndarray]] = [
    lambda photo: photo,
    lambda photo: photo[:, :131],
    lambda photo: photo[20:170],
    lambda photo: photo[3:, 50:],
    lambda photo: photo[:100],
]


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


@pytest.mark.parametrize("network", ["pooling", "aligning"])
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


@pytest.mark.parametrize(
    ("pool", "ceil_pool"),
    [
        ("roi_pool", True),
        pytest.param("roi_align", True, marks=pytest.mark.long),
        pytest.param("roi_pool", False, marks=pytest.mark.long),
        pytest.param("roi_align", False, marks=pytest.mark.long),
    ],
)
def test_random_weights_of_vggs_form_detect_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pool: str, ceil_pool: bool
) -> None:
    monkeypatch.setitem(BACKBONES, "vgg16", partial(VGGTrunk, SMALL_VGG))
    network = {"name": "vgg16", "weights": "random", "ceil_pool": ceil_pool}
    params = comparison.params_of(SMALL, {"backbone": network, "roi_head": {"pool": pool}})
    bundle = random_bundle(params, 4, seed=0)
    session, total = exported(bundle, tmp_path), Differences()
    for seed, size in enumerate([(96, 96), (96, 131), (149, 96), (81, 150), (40, 150)]):
        found = compared(bundle, session, textured(*size, seed))
        assert found.pairs > 20
        total.add(found)
    for seed, size in enumerate([(3, 120), (120, 3), (1, 1)]):  # thinner than a stride
        found = compared(bundle, session, textured(*size, seed))
        assert found.pairs > 0
        total.add(found)
    assert not total.unpaired


@pytest.mark.parametrize(
    ("name", "backbone", "others"),
    [
        ("resnet18", {}, {"roi_head": {"kind": "res5", "output_size": 4}}),
        pytest.param(
            "resnet18",
            {"size_divisible": 32, "neck": FPN},
            {"anchors": {"placement": "torchvision"}},
            marks=pytest.mark.long,
        ),
        pytest.param(
            "resnet50",
            {"size_divisible": 32, "neck": FPN | {"norm": "batch"}, "stride_in_1x1": True},
            {"anchors": {"placement": "torchvision"}, "rpn": {"depth": 2}, "roi_head": {"kind": "convs"}},
            marks=pytest.mark.long,
        ),
        pytest.param("resnet50", {}, {"roi_head": {"kind": "res5", "output_size": 4}}, marks=pytest.mark.long),
        pytest.param("resnet18", {"neck": FPN}, {"detect": {"cut_first": True}}, marks=pytest.mark.long),
        pytest.param("resnet18", {"neck": FPN | {"name": "fpn_p3_p7"}}, {}, marks=pytest.mark.long),
    ],
    ids=["c4", "fpn", "fpn_convs", "c4_of_bottlenecks", "fpn_of_any_size", "p3_to_p7"],
)
def test_random_weights_of_a_resnet_detect_the_same(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    backbone: dict[str, Any],
    others: dict[str, Any],
) -> None:
    # One block a stage: export takes longer the more nodes a graph has, and a stage's further blocks bring nothing new.
    shape = replace(RESNETS[name], blocks=(1, 1, 1, 1))
    monkeypatch.setitem(RESNETS, name, shape)
    monkeypatch.setitem(BACKBONES, name, partial(ResNetTrunk, shape))
    aligned = {"backbone": {"name": name, "weights": "random", **backbone}, "roi_head": {"pool": "roi_align"}}
    bundle = random_bundle(comparison.params_of(SMALL, aligned, others), 4, seed=0)
    for norm in norms_of(bundle):  # so that a norm left out would be seen
        draw = torch.Generator().manual_seed(1)
        norm.running_var.uniform_(0.7, 1.4, generator=draw)
        norm.running_mean.normal_(std=0.1, generator=draw)
    session, total = exported(bundle, tmp_path), Differences()
    for seed, size in enumerate([(96, 96), (96, 131), (149, 96), (81, 150), (40, 150)]):
        found = compared(bundle, session, textured(*size, seed))
        assert found.pairs > 20
        total.add(found)
    for seed, size in enumerate([(3, 120), (120, 3), (1, 1)]):  # thinner than a stride
        found = compared(bundle, session, textured(*size, seed))
        assert found.pairs > 0
        total.add(found)
    print(f"{total.pairs} pairs, scores to {total.score:.1e}, boxes to {total.box:.1e} px")
    assert not total.unpaired


def norms_of(bundle: Bundle) -> list[FrozenBatchNorm]:
    return [own for part in bundle.parts.values() for own in part.modules() if isinstance(own, FrozenBatchNorm)]


@pytest.mark.long
@pytest.mark.parametrize("pool", ["roi_pool", "roi_align"])
def test_vgg16_of_random_weights_detects_the_same(tmp_path: Path, pool: str) -> None:
    content = default_content()
    apply_overlay(content, yaml.safe_load((ROOT / "pipeline/presets/voc6_vgg16.yaml").read_text()))
    apply_overlay(content, {"roi_head": {"pool": pool}})
    bundle = random_bundle(Params(check_params(content, "test")), 7, seed=0)
    session, total = exported(bundle, tmp_path), Differences()
    for seed, size in enumerate([(224, 224), (224, 301), (333, 250)]):
        found = compared(bundle, session, textured(*size, seed), (1.3, 1.2))
        assert found.pairs > 20
        total.add(found)
    print(f"VGG16, {pool}: {total.pairs} pairs, scores to {total.score:.1e}, boxes to {total.box:.1e} px")
    assert not total.unpaired


@pytest.mark.parametrize(
    ("cut_first", "roi_head"),
    [
        (True, {"pool": "roi_align", "samples": 0, "aligned": False, "class_agnostic": True}),
        pytest.param(False, {}, marks=pytest.mark.long),
        pytest.param(False, {"pool": "roi_align", "samples": 0, "aligned": True}, marks=pytest.mark.long),
        pytest.param(True, {"pool": "roi_align", "samples": 2, "aligned": False}, marks=pytest.mark.long),
        pytest.param(True, {"kind": "convs", "pool": "roi_align"}, marks=pytest.mark.long),
    ],
)
def test_a_trunk_of_three_levels_detects_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cut_first: bool, roi_head: dict[str, Any]
) -> None:
    register_toy(monkeypatch)
    changed = {"resize": {"shorter_side": 150, "longer_side": 400}, "detect": {"cut_first": cut_first}}
    placement = "torchvision" if cut_first else "centred"
    changed |= {"rpn": {"depth": 2}, "roi_head": roi_head, "anchors": {"placement": placement}}
    params = comparison.params_of(SMALL, changed, {"backbone": {"name": "tiny", "weights": "random"}})
    bundle = random_bundle(params, 4, seed=0)
    session, total = exported(bundle, tmp_path), Differences()
    for seed, size in enumerate([(150, 200), (331, 150), (20, 150), (1, 1)]):
        total.add(compared(bundle, session, textured(*size, seed)))
    assert total.pairs > 60
    assert not total.unpaired
