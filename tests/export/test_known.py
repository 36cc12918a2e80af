"""What a format cannot express is refused in one line, before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.building.trunk import new_trunk
from pipeline.bundle.contract import Computation
from pipeline.bundle.file import Bundle, BundleSettings, PixelNormalisation
from pipeline.families.faster_rcnn.bundle import FasterRCNNParams
from pipeline.families.faster_rcnn.exported.onnx_detector import export_onnx
from pipeline.families.faster_rcnn.exported.torchvision_file import export_torchvision
from pipeline.families.faster_rcnn.nn.roi_head import RoIHead
from pipeline.families.faster_rcnn.nn.rpn import RPNHead
from pipeline.nn.backbones import build as backbone
from pipeline.runtime.errors import InputError
from tests.parity.comparison import named, params_of, random_parts

EXPORTS = {"onnx": (export_onnx, "net.onnx"), "torchvision": (export_torchvision, "net.safetensors")}


class CascadeHead(RoIHead):
    """Of the weights of a RoI head, and another network."""


class CentredRPN(RPNHead):
    """Of the weights of an RPN, and another network."""


@pytest.fixture
def bundle() -> Bundle:
    """Random weights in memory."""
    params = params_of({"rpn": {"channels": 8}, "roi_head": {"hidden": 8, "output_size": 2}})
    trunk = new_trunk(params.backbone)
    trunk.initialise(torch.Generator().manual_seed(0))
    sections = {name: getattr(params, name) for name in FasterRCNNParams.model_fields if name != "base"}
    settings = BundleSettings(
        format="frcnn-bundle-2",
        family="faster_rcnn",
        network="joint",
        classes=["background", "cell"],
        params=FasterRCNNParams(base=Computation(threads=2, precision="float32"), **sections),
        normalisation=PixelNormalisation(pixel_mean=[0.0] * 3, pixel_std=[1.0] * 3),
        metrics=None,
        model_sha256="0" * 64,
        dvc_lock_sha256=None,
        settings_sha256="0" * 64,
    )
    return Bundle(Path("memory"), settings, named(random_parts(trunk, params, 2, seed=0)))


def with_value(bundle: Bundle, key: str, value: object) -> Bundle:
    """The bundle with a parameter that this version has no such value of."""
    section, name = key.split(".")
    params = bundle.settings.params
    changed = getattr(params, section).model_copy(update={name: value})
    settings = bundle.settings.model_copy(update={"params": params.model_copy(update={section: changed})})
    return Bundle(bundle.folder, settings, bundle.parts)


def refusal(bundle: Bundle, form: str, folder: Path) -> str:
    export, name = EXPORTS[form]
    with pytest.raises(InputError) as caught:
        export(bundle, folder / name)
    assert not list(folder.iterdir()) and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("form", EXPORTS)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("roi_head.pool", "deform_pool"),
        ("roi_head.pool", "roi_align_v1"),
        ("backbone.name", "darknet53"),
        ("resize.rule", "letterbox"),
    ],
)
def test_an_unknown_value_is_refused(bundle: Bundle, form: str, key: str, value: str, tmp_path: Path) -> None:
    told = refusal(with_value(bundle, key, value), form, tmp_path)
    assert told.startswith(f"memory: {key} is {value}, which --format {form} does not export (it does ")
    assert "; use the bundle itself" in told


@pytest.mark.parametrize("form", EXPORTS)
def test_a_head_of_another_kind_is_refused(bundle: Bundle, form: str, tmp_path: Path) -> None:
    rpn, head = bundle.parts["rpn"], bundle.parts["head"]
    head.__class__ = CascadeHead
    assert "the RoI head is CascadeHead" in refusal(bundle, form, tmp_path)
    head.__class__ = RoIHead
    rpn.__class__ = CentredRPN
    assert "the RPN is CentredRPN" in refusal(bundle, form, tmp_path)


def test_torchvisions_format_refuses_a_neck_that_its_frame_has_not(bundle: Bundle, tmp_path: Path) -> None:
    neck = bundle.settings.params.backbone.neck
    told = refusal(
        with_value(bundle, "backbone.neck", neck.model_copy(update={"name": "fpn_p3_p7"})), "torchvision", tmp_path
    )
    assert "backbone.neck.name is fpn_p3_p7, which --format torchvision does not export (it does none, fpn)" in told


def test_a_neck_that_is_added_is_not_exported_before_its_graph_was_compared(bundle: Bundle, tmp_path: Path) -> None:
    neck = bundle.settings.params.backbone.neck
    told = refusal(with_value(bundle, "backbone.neck", neck.model_copy(update={"name": "bifpn"})), "onnx", tmp_path)
    assert (
        "backbone.neck.name is bifpn, which --format onnx does not export (it does none, fpn, fpn_p3_p7, ssd300, "
        in told
    )


def test_a_backbone_that_is_added_is_not_exported_before_its_graph_was_compared(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(backbone.BACKBONES, "added", backbone.BACKBONES["tiny"])
    added = with_value(bundle, "backbone.name", "added")
    told = refusal(added, "onnx", tmp_path)
    assert "backbone.name is added, which --format onnx does not export (it does vgg16, tiny, resnet18, " in told
    assert len(export_torchvision(added, tmp_path / "net.safetensors")) == 2  # read by this project, which has it
