"""The formats of dense families: one ONNX graph.

A family's part `export` takes `FORMATS` from here. Its head and its `decode` must then be such that sizes may vary.

Shapes: H, W height, width of the resized image; N locations; M detections.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline.bundle.file import Bundle
from pipeline.dense.bundle import as_params, dense_part, typed
from pipeline.export.contract import Format
from pipeline.export.known import ONNX_NECKS, RESIZE_RULES, onnx_backbones, refuse_unknown
from pipeline.export.onnx import TracedDetector, normalised, padded, write_onnx
from pipeline.geometry.trunk_settings import NECK_SIDES

if TYPE_CHECKING:
    from pipeline.dense.contract import DetectPart
    from pipeline.dense.head import DenseHead
    from pipeline.geometry.points import Grid
    from pipeline.nn.backbones.trunk import Trunk
    from pipeline.params.reading import Params


class OnnxDense(TracedDetector):
    """A dense detector as a module that can be traced: `pipeline.dense.network.DenseDetector` of one image.

    Args:
        trunk, head: its parts. part: the family's `detect_dense`. params: with the sections of the part.
    """

    def __init__(self, trunk: Trunk, head: DenseHead, part: DetectPart, params: Params) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head
        self._part, self._params = part, params

    def forward(self, image: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Detections of one image; arguments and results as of `TracedDetector`. The scale is not needed."""
        layout = self.head.locations.layout
        image_in = padded(padded(normalised(image, self.trunk), self.trunk.layout), layout)
        outputs = self.head(self.trunk(image_in))
        grid, maps = self._grid(*image.shape[2:]), self._grid(*image_in.shape[2:])
        inside = _within(grid, maps)
        own = {name: value[0][inside] for name, value in outputs.items()}
        found = self._part.decode(own, grid, (image.shape[2], image.shape[3]), self._params)
        return found.boxes, found.labels, found.scores

    def _grid(self, height: Any, width: Any) -> Grid:
        """The locations of an image whose sides may be symbolic."""
        return self.head.locations.of_cells(
            [
                (_cells(height, level.stride, level.round_up), _cells(width, level.stride, level.round_up))
                for level in self.head.locations.layout.levels
            ]
        )


def _cells(side: Any, stride: int, round_up: bool) -> Any:
    return torch.sym_max((side + stride - 1) // stride if round_up else side // stride, 1)


def _within(grid: Grid, maps: Grid) -> Tensor:
    """`Grid.within`, traceable for any size."""
    found: list[Tensor] = []
    first: Any = 0
    for (high, wide), (_, columns), each, count in zip(grid.cells, maps.cells, grid.per_cell, maps.counts, strict=True):
        cell = torch.arange(high)[:, None] * columns + torch.arange(wide)
        found.append((cell[..., None] * each + torch.arange(each)).reshape(-1) + first)
        first = first + count
    return torch.cat(found)


def export_onnx(bundle: Bundle, out: Path) -> list[str]:
    """Write a bundle's network as an ONNX file; docs/use.md lists its inputs and outputs.

    Args:
        out: a .onnx file in a folder that exists.

    Returns:
        Lines on what was done.

    Raises:
        InputError: the backbone or the way of resizing is not known here, onnx or onnxscript is not installed, or the
            file cannot be written.
    """
    params = bundle.settings.params
    refuse_unknown(
        bundle,
        "onnx",
        [
            ("backbone.name", params.backbone.name, onnx_backbones(params.backbone.name)),
            ("backbone.neck.name", params.backbone.neck.name, ONNX_NECKS),
            ("resize.rule", params.resize.rule, RESIZE_RULES),
        ],
    )
    trunk, head = typed(copy.deepcopy(bundle.parts))
    network = OnnxDense(trunk, head, dense_part(bundle.settings.family), as_params(params))
    side = NECK_SIDES.get(params.backbone.neck.name)
    network.size = None if side is None else (side, side)
    return write_onnx(bundle, network, out)


FORMATS = {"onnx": Format(".onnx", export_onnx)}
