"""The exported torchvision FasterRCNN detects what our network detects in the same resized pixels."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchvision.models.detection import FasterRCNN as TorchvisionFasterRCNN

from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.building.trunk import load_trunk
from pipeline.export.files import export_bundle, load_exported
from pipeline.families.faster_rcnn.building.roi_head import load_head
from pipeline.families.faster_rcnn.building.rpn import load_rpn
from pipeline.families.faster_rcnn.family import FAMILY
from pipeline.geometry.backbones import VGGShape
from pipeline.nn.backbones import build as backbone
from pipeline.nn.backbones.vgg import VGGTrunk
from pipeline.params.reading import Params
from pipeline.runtime.errors import InputError
from tests.conftest import ROOT, TINY, Project
from tests.in_process import run_frcnn
from tests.layouts import register_toy
from tests.parity.comparison import (
    Differences,
    detect_with_ours,
    detect_with_theirs,
    differences,
    exported,
    ours,
    params_of,
    random_parts,
)

pytestmark = pytest.mark.authority("torchvision")

SMALL_VGG = VGGShape(((8,), (16,), (16, 16), (24, 24), (24, 24)), batch_norm=False)
SMALL = {
    "resize": {"shorter_side": 96, "longer_side": 150},
    "anchors": {"scales": [1.25, 3.0]},
    "rpn": {"channels": 40},
    "roi_head": {"hidden": 48, "output_size": 5},
    "detect": {"pre_nms": 150, "proposals": 60, "score_threshold": 0.05, "per_image": 500},
}


@pytest.fixture(scope="module", params=["step4", "joint"])
def tiny_export(request: pytest.FixtureRequest, tiny_run: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of the tiny run, exported by the command line."""
    folder = tmp_path_factory.mktemp("export")
    bundle, out = folder / f"bundle_{request.param}", folder / f"{request.param}.safetensors"
    result = run_frcnn(tiny_run.root, "bundle", "--network", request.param, "--out", str(bundle))
    assert result.returncode == 0, result.stderr
    result = run_frcnn(tiny_run.root, "export", str(bundle), "--format", "torchvision", "--out", str(out))
    assert result.returncode == 0, result.stderr
    assert f"{out}: the {request.param} network" in result.stdout
    return out


def test_a_trained_network_detects_the_same_when_exported(tiny_run: Project, tiny_export: Path) -> None:
    trained_by = FAMILY.networks[tiny_export.stem].parts
    params, folders = params_of(TINY), [tiny_run.data / trained_by[part] for part in ("trunk", "rpn", "head")]
    trunk = load_trunk(folders[0], params.backbone)
    rpn = load_rpn(folders[1], trunk.layout, params.anchors, params.rpn)
    network = ours((trunk, rpn, load_head(folders[2], trunk.layout, params.roi_head, params.backbone)), params)
    model, images, total = load_exported(tiny_export), ResizedImages(tiny_run.data / "resize", "test"), Differences()
    for info in images:
        pixels = torch.from_numpy(images.pixels(Entry(info.image_id)).copy()).permute(2, 0, 1)
        total.add(differences(detect_with_ours(network, pixels), detect_with_theirs(model, pixels)))
    assert not total.unpaired
    assert total.pairs >= 6 * 5


def test_the_file_holds_plain_tensors_under_torchvisions_names_and_the_json_what_its_header_holds(
    tiny_run: Project, tiny_export: Path
) -> None:
    state = load_file(tiny_export)
    assert set(state) == set(load_exported(tiny_export).state_dict())
    for part in (
        "rpn.head.cls_logits",
        "rpn.head.conv.0.0",
        "roi_heads.box_head.fc6",
        "roi_heads.box_predictor.cls_score",
    ):
        assert state[f"{part}.weight"].dtype == torch.float32
    settings = json.loads(tiny_export.with_suffix(".json").read_text())
    assert settings["network"] == tiny_export.stem
    assert settings["classes"] == json.loads((tiny_run.data / "dataset/classes.json").read_text())
    assert sorted(path.name for path in tiny_export.parent.iterdir()) == [
        f"bundle_{tiny_export.stem}",
        f"{tiny_export.stem}.json",
        f"{tiny_export.stem}.safetensors",
    ]
    moved = tiny_export.parent / "elsewhere" / "moved.safetensors"
    moved.parent.mkdir()
    shutil.copyfile(tiny_export, moved)
    assert isinstance(load_exported(moved), TorchvisionFasterRCNN)
    shutil.rmtree(moved.parent)


def small_params(monkeypatch: pytest.MonkeyPatch, overlay: dict[str, Any]) -> Params:
    """Parameters of a small trunk of VGG16's form and stride, which takes VGG16's place."""
    monkeypatch.setitem(backbone.BACKBONES, "vgg16", partial(VGGTrunk, SMALL_VGG))
    return params_of(SMALL, {"backbone": {"name": "vgg16", "weights": "random"}}, overlay)


def small_network(params: Params, seed: int = 0) -> tuple[Any, TorchvisionFasterRCNN]:
    """Ours and the exported one, of random weights."""
    trunk = backbone.build_trunk("vgg16", frozen_stages=2, ceil_pool=params.backbone.ceil_pool)
    trunk.initialise(torch.Generator().manual_seed(seed))
    trunk.pixel_mean.copy_(torch.tensor([0.4, 0.5, 0.6]))
    trunk.pixel_std.copy_(torch.tensor([0.3, 0.2, 0.1]))
    parts = random_parts(trunk, params, 4, seed)
    return ours(parts, params), exported(parts, params)


def textured(height: int, width: int, seed: int) -> Tensor:
    """(3, height, width) uint8 pixels without symmetry."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 7, 9, generator=draw) * 255
    noise = torch.randn(3, height, width, generator=draw) * 15
    pixels = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")[0] + noise
    return pixels.clamp(0, 255).to(torch.uint8)


@pytest.mark.parametrize("pool", ["roi_pool", "roi_align"])
@pytest.mark.parametrize("ceil_pool", [False, True])
@pytest.mark.parametrize(("height", "width"), [(96, 96), (96, 131), (149, 96), (81, 150), (40, 150)])
def test_random_weights_with_a_measured_normalisation_detect_the_same(
    monkeypatch: pytest.MonkeyPatch, pool: str, ceil_pool: bool, height: int, width: int
) -> None:
    params = small_params(monkeypatch, {"roi_head": {"pool": pool}, "backbone": {"ceil_pool": ceil_pool}})
    network, model = small_network(params)
    pixels = textured(height, width, seed=1)
    found = differences(detect_with_ours(network, pixels), detect_with_theirs(model, pixels))
    assert not found.unpaired
    assert found.pairs > 20


@pytest.mark.parametrize(
    ("overlay", "height", "width"),
    [
        ({"detect": {"pre_nms": -1}}, 96, 120),
        ({"resize": {"rule": "fixed", "fixed_height": 80, "fixed_width": 112}}, 80, 112),
        ({"resize": {"rule": "fixed", "fixed_height": 3, "fixed_width": 112}}, 3, 112),  # thinner than a stride
    ],
)
def test_all_candidates_and_a_fixed_size_detect_the_same(
    monkeypatch: pytest.MonkeyPatch, overlay: dict[str, Any], height: int, width: int
) -> None:
    network, model = small_network(small_params(monkeypatch, overlay))
    pixels = textured(height, width, seed=2)
    found = differences(detect_with_ours(network, pixels), detect_with_theirs(model, pixels))
    assert not found.unpaired
    assert found.pairs > 20


@pytest.mark.parametrize(("pre_nms", "placement"), [(60, "centred"), (-1, "torchvision")])
def test_a_trunk_of_three_levels_detects_the_same(
    monkeypatch: pytest.MonkeyPatch, pre_nms: int, placement: str
) -> None:
    """Each level gives at most 60 candidates, of the 1,368 of the first level."""
    register_toy(monkeypatch)
    detect = {"pre_nms": pre_nms, "proposals": 150, "cut_first": True}
    changed = {"backbone": {"name": "tiny", "weights": "random"}, "detect": detect, "rpn": {"depth": 2}}
    changed["anchors"] = {"placement": placement}
    params = params_of(SMALL, changed)
    trunk = backbone.build_trunk("tiny", frozen_stages=0, ceil_pool=False)
    trunk.initialise(torch.Generator().manual_seed(0))
    parts = random_parts(trunk, params, 4, 0)
    network, model = ours(parts, params), exported(parts, params)
    for seed, size in enumerate([(96, 120), (150, 96), (20, 150)]):
        pixels = textured(*size, seed)
        found = differences(detect_with_ours(network, pixels), detect_with_theirs(model, pixels))
        assert not found.unpaired
        assert found.pairs > 10


def test_a_larger_photo_is_resized_and_its_detections_are_in_its_own_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A photo of doubled pixels is the resized one again when a bilinear resize has halved it."""
    network, model = small_network(small_params(monkeypatch, {}))
    pixels = textured(96, 120, seed=3)
    photo = pixels.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    theirs = detect_with_theirs(model, photo)
    theirs["boxes"] = theirs["boxes"] / 2
    found = differences(detect_with_ours(network, pixels), theirs)
    assert not found.unpaired
    assert found.pairs > 20


def test_photos_of_one_size_in_one_batch_detect_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    network, model = small_network(small_params(monkeypatch, {}))
    pixels = [textured(96, 120, seed) for seed in (4, 5)]
    with torch.inference_mode():
        batch = model([image.float() / 255 for image in pixels])
    for image, theirs in zip(pixels, batch, strict=True):
        found = differences(detect_with_ours(network, image), theirs)
        assert not found.unpaired
        assert found.pairs > 20


@pytest.mark.parametrize(
    ("form", "out", "expected"),
    [
        ("openvino", "a.safetensors", "--format openvino: Faster R-CNN has no such format; it has torchvision, onnx"),
        ("torchvision", "a.pth", "a.pth: give a .safetensors file in a folder that exists"),
        ("torchvision", "missing/a.safetensors", "give a .safetensors file in a folder that exists"),
    ],
)
def test_what_cannot_be_written_is_refused(
    tiny_export: Path, tmp_path: Path, form: str, out: str, expected: str
) -> None:
    with pytest.raises(InputError) as caught:
        export_bundle(tiny_export.parent / f"bundle_{tiny_export.stem}", form, tmp_path / out)
    assert expected in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("absent", "no such file"),
        ("truncated", "not a readable safetensors file"),
        ("no settings", "has no settings in its header"),
        ("another format", "settings.format in its header"),
        (
            "another family",
            "settings.family in its header is 'dense_cap', whose networks this version does not rebuild",
        ),
        ("no JSON", "settings in its header: Invalid JSON"),
        ("another backbone", "backbone 'resnet' is unknown"),
        ("a weight less", "weight 'rpn.head.cls_logits.bias' is missing"),
    ],
)
def test_files_that_hold_no_exported_network_are_told(
    tiny_export: Path, tmp_path: Path, fault: str, expected: str
) -> None:
    path, state = tmp_path / "model.safetensors", load_file(tiny_export)
    text = tiny_export.with_suffix(".json").read_text()
    if fault == "truncated":
        path.write_bytes(tiny_export.read_bytes()[:-100])
    elif fault != "absent":
        if fault == "a weight less":
            del state["rpn.head.cls_logits.bias"]
        text = text.replace("frcnn-torchvision-1", "other") if fault == "another format" else text
        text = text.replace('"faster_rcnn"', '"dense_cap"') if fault == "another family" else text
        text = text[:-9] if fault == "no JSON" else text
        text = text.replace('"tiny"', '"resnet"') if fault == "another backbone" else text
        save_file(state, path, metadata=None if fault == "no settings" else {"settings": text})
    with pytest.raises(InputError, match=expected) as caught:
        load_exported(path)
    assert "\n" not in str(caught.value)


def test_the_command_line_starts_without_torch() -> None:
    code = "import sys, pipeline.cli; sys.exit('torch' in sys.modules or 'torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
