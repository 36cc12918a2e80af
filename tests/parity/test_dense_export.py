"""Dense families' networks as torchvision's classes: written, read again, and compared in what they detect.

Images are as large as the largest stride and have sides that are multiples of 32 px: torchvision predicts in the
padding too, ours does not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline.building.trunk import new_trunk
from pipeline.bundle.contract import family_bundle
from pipeline.bundle.file import Bundle, BundleSettings
from pipeline.dense.building import fresh_head
from pipeline.dense.network import DenseDetector
from pipeline.export.contract import formats_of
from pipeline.export.files import load_exported
from pipeline.families.registry import family_of, part_of
from pipeline.params.file import check_params
from pipeline.params.reading import Params
from pipeline.presets.defaults import default_text
from pipeline.runtime.errors import InputError
from tests.conftest import apply_overlay
from tests.families.retinanet_project import PYRAMID
from tests.families.retinanet_project import params_of as retinanet_params
from tests.parity.comparison import differences
from tests.ssd_models import VOC

pytestmark = pytest.mark.authority("torchvision")

SIZE, CLASSES = (128, 160), ["background", "cat", "dog"]
FIXED = {"resize": {"rule": "fixed", "fixed_width": SIZE[1], "fixed_height": SIZE[0]}}
ON_32 = {"backbone": {"size_divisible": 32}}


def retinanet(**changes: Any) -> Params:
    own = {"anchors": {"placement": "torchvision"}, "detect_retinanet": {"per_image": 10_000}}
    return retinanet_params(PYRAMID, ON_32, FIXED, own, changes)


def of_family(family: str, *overlays: dict[str, Any]) -> Params:
    content = yaml.safe_load(default_text(family_of(family)))
    for overlay in overlays:
        apply_overlay(content, overlay)
    return Params(check_params(content, "test"), family)


def fcos(**changes: Any) -> Params:
    pyramid = {"backbone": PYRAMID["backbone"], "fcos": {"depth": 4, "channels": 256, "placement": "torchvision"}}
    own = {"detect_fcos": {"score_threshold": 0.2, "per_image": 10_000}, "evaluate": {"score_threshold": 0.2}}
    return of_family("fcos", pyramid, ON_32, FIXED, own, changes)


def ssd() -> Params:
    return of_family("ssd", VOC, {"backbone": {"weights": "random"}, "detect_ssd": {"per_image": 10_000}})


NETWORKS = {
    "ssd": lambda: ssd(),
    "fcos": lambda: fcos(),
    "fcos_centred": lambda: fcos(fcos={"placement": "centred"}),
    "retinanet": lambda: retinanet(),
    "retinanet_v2": lambda: retinanet(backbone={"neck": {"p6_from": "c5"}}, retinanet={"norm": "group"}),
    "retinanet_centred": lambda: retinanet(anchors={"placement": "centred"}, backbone={"norm_epsilon": 1e-4}),
}


def drawn(head: torch.nn.Module, generator: torch.Generator) -> None:
    """Weights that make outputs of ordinary size."""
    outputs = {"classification_head.cls_logits": 0.02, "classification_head.module_list": 0.02}
    outputs |= {"regression_head.bbox": 0.005, "regression_head.module_list": 0.005}
    with torch.no_grad():
        for name, weight in head.named_parameters():
            if weight.ndim == 4:
                of_output = [std for part, std in outputs.items() if name.startswith(part)]
                std = of_output[0] if of_output else (2 / weight[0].numel()) ** 0.5
                weight.normal_(std=std, generator=generator)
            elif name.endswith("bias"):
                weight.normal_(-2.0 if "cls_logits" in name else 0.0, 0.1, generator=generator)


def bundle_of(params: Params) -> Bundle:
    """A network of random weights."""
    part: Any = part_of(params.family, "detect_dense")
    generator = torch.Generator().manual_seed(0)
    trunk = new_trunk(params.backbone).eval()
    trunk.initialise(generator)
    if trunk.neck is not None:
        trunk.neck.initialise(generator)
    head = fresh_head(part, trunk.layout, len(CLASSES), params, generator).eval()
    drawn(head, generator)
    model = family_bundle(params.family).params
    sections = {name: own for name, own in params.sections().items() if name in model.model_fields}
    settings = BundleSettings.model_construct(
        family=params.family, network=params.family, classes=CLASSES, params=model.model_construct(**sections)
    )
    return Bundle(Path("bundle"), settings, {"trunk": trunk, "head": head})


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name == "ssd" else name for name in NETWORKS]
)
@torch.inference_mode()
def test_the_exported_network_detects_the_same(name: str, tmp_path: Path) -> None:
    params = NETWORKS[name]()
    bundle = bundle_of(params)
    lines = formats_of(params.family)["torchvision"].write(bundle, tmp_path / "net.safetensors")
    assert len(lines) == 2 and json.loads((tmp_path / "net.json").read_text())["classes"] == CLASSES
    model = load_exported(tmp_path / "net.safetensors")
    size = (300, 300) if name == "ssd" else SIZE
    pixels = torch.randint(0, 256, (1, 3, *size), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    trunk, head = bundle.parts["trunk"], bundle.parts["head"]
    network = DenseDetector(trunk, head, part_of(params.family, "detect_dense"), params)  # type: ignore[arg-type]
    (ours,) = network(pixels, [size], [(1.0, 1.0)])
    theirs = model([pixels[0] / 255])[0]
    # Theirs keeps boxes without area, which clipping makes; they suppress none.
    filled = (theirs["boxes"][:, 2:] > theirs["boxes"][:, :2]).all(dim=1)
    found = differences(ours, {name: own[filled] for name, own in theirs.items()})
    assert found.pairs > 20 and not found.unpaired
    assert found.score < 1e-4 and found.box < 0.05


def test_the_file_is_a_state_dict_of_torchvisions_own_class(tmp_path: Path) -> None:
    from torchvision.models.detection import retinanet_resnet50_fpn

    params = retinanet(backbone={"name": "resnet50"})
    formats_of("retinanet")["torchvision"].write(bundle_of(params), tmp_path / "net.safetensors")
    with torch.device("meta"):
        own = retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=len(CLASSES)).state_dict()
    shapes = {name: value.shape for name, value in own.items() if not name.endswith("num_batches_tracked")}
    assert {name: value.shape for name, value in load_file(tmp_path / "net.safetensors").items()} == shapes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"retinanet": {"depth": 2}}, "retinanet.depth is 2"),
        ({"retinanet": {"channels": 64}}, "retinanet.channels is 64"),
        ({"backbone": {"name": "tiny", "neck": {"name": "none"}}}, "backbone.name is tiny"),
    ],
)
def test_what_torchvision_cannot_express_is_refused_before_anything_is_written(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    bundle = bundle_of(retinanet(**changes))
    with pytest.raises(InputError, match=words):
        formats_of("retinanet")["torchvision"].write(bundle, tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda own: own["params"].pop("anchors"), "settings.params.anchors in its header"),
        (lambda own: own.pop("classes"), "are not whole"),
        (lambda own: own.update(format="other"), "format is 'other'"),
        (lambda own: own.update(classes="ab"), "classes are 'ab'"),
        (lambda own: own.update(image_std=None), "image_std is None"),
        (lambda own: own.update(image_mean=[0.5]), r"image_mean is \[0.5\]"),
    ],
)
def test_damaged_settings_end_in_one_line(change: Any, words: str, tmp_path: Path) -> None:
    place = tmp_path / "net.safetensors"
    formats_of("retinanet")["torchvision"].write(bundle_of(retinanet()), place)
    state: dict[str, Tensor] = load_file(place)
    settings = json.loads((tmp_path / "net.json").read_text())
    change(settings)
    save_file(state, place, metadata={"settings": json.dumps(settings)})
    with pytest.raises(InputError, match=words):
        load_exported(place)
