"""torchvision's compiled operators without torchvision's Python package.

`import torchvision` takes longer than `import torch` (it imports every model, and torch._dynamo), and a dozen stages
would pay for it in every run. NMS, RoIPool and RoIAlign are compiled operators that register themselves when their
library is loaded, so only that library and its autograd formulas are loaded here. A later `import torchvision` in the
same process works and shares them.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

import torch


def _load_operators() -> None:
    if "torchvision" in sys.modules:
        return
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("torchvision is not installed")
    stand_in = ModuleType("torchvision")
    stand_in.__path__ = list(spec.submodule_search_locations)
    sys.modules["torchvision"] = stand_in
    try:
        importlib.import_module("torchvision.extension")
        if importlib.util.find_spec("torchvision._autograd_registrations"):
            importlib.import_module("torchvision._autograd_registrations")
    finally:
        del sys.modules["torchvision"]


_load_operators()

nms = torch.ops.torchvision.nms
"""(boxes (N, 4), scores (N,), iou_threshold) -> int64 indices kept, by descending score."""


def roi_pool(maps: torch.Tensor, rois: torch.Tensor, scale: float, size: int) -> torch.Tensor:
    """RoIPool of (R, 5) rois (map index, xyxy) to (R, D, size, size); Fast R-CNN, section 2.1."""
    return torch.ops.torchvision.roi_pool(maps, rois, scale, size, size)[0]


def compiled_roi_align(
    maps: torch.Tensor, rois: torch.Tensor, scale: float, size: int, samples: int, aligned: bool = True
) -> torch.Tensor:
    """RoIAlign of (R, 5) rois to (R, D, size, size); see `roi_align`."""
    return torch.ops.torchvision.roi_align(maps, rois, scale, size, size, samples, aligned)
