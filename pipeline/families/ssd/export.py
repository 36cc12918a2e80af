"""Formats of the family: torchvision's SSD, and ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.dense.torchvision_export import dense_formats

if TYPE_CHECKING:
    from pipeline.dense.torchvision_export import TorchvisionKind


def _kind() -> TorchvisionKind:
    from pipeline.families.ssd.exported import KIND

    return KIND


FORMATS = dense_formats(_kind)
