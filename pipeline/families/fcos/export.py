"""Formats of the family: torchvision's FCOS, and ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.dense.torchvision_export import dense_formats

if TYPE_CHECKING:
    from pipeline.dense.torchvision_export import TorchvisionKind


def _kind() -> TorchvisionKind:
    from pipeline.families.fcos.exported import KIND

    return KIND


FORMATS = dense_formats(_kind)
