"""The formats of Faster R-CNN: torchvision's model, and one ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from pipeline.bundle.file import Bundle
from pipeline.export.contract import Format


# Each is imported only when needed: torchvision's detectors and the exporter take seconds.
def _write_torchvision(bundle: Bundle, out: Path) -> list[str]:
    from pipeline.families.faster_rcnn.exported.torchvision_file import export_torchvision

    return export_torchvision(bundle, out)


def _rebuild_torchvision(settings: str, state: Mapping[str, Tensor], source: Path) -> nn.Module:
    from pipeline.families.faster_rcnn.exported.torchvision_file import rebuild_torchvision

    return rebuild_torchvision(settings, state, source)


def _write_onnx(bundle: Bundle, out: Path) -> list[str]:
    from pipeline.families.faster_rcnn.exported.onnx_detector import export_onnx

    return export_onnx(bundle, out)


FORMATS = {
    "torchvision": Format(".safetensors", _write_torchvision, _rebuild_torchvision),
    "onnx": Format(".onnx", _write_onnx),
}
