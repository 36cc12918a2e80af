"""Whether a trunk of timm's gives the same maps as an ONNX graph: such a model is one of hundreds, and no list says
which were compared."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pipeline.bundle.file import Bundle
from pipeline.nn.backbones.trunk import Trunk
from pipeline.runtime.errors import InputError

_SIZES = ((97, 131), (160, 75))  # height, width, px, of other images than the example that is traced
_TOLERANCE = 1e-3  # of the largest value of a map; float32 in another order is off by 1e-5 and less


class _Maps(nn.Module):
    """The maps of one image as a graph has them."""

    def __init__(self, trunk: Trunk, padded: Callable[..., Tensor]) -> None:
        super().__init__()
        self.trunk, self._padded = trunk, padded

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """The map of each level of a (1, 3, H, W) normalised image."""
        return self.trunk(self._padded(image, self.trunk.layout))


def check_traced_trunk(
    bundle: Bundle, trace: Callable[[nn.Module, tuple[int, int]], Any], padded: Callable[..., Tensor]
) -> None:
    """See that the graph of a bundle's trunk gives its maps in images of other sizes than the one that is traced.

    Args:
        trace: from a module of an image and the sides of an example to the onnx.ModelProto. padded: as a graph pads.

    Raises:
        InputError: it does not, it cannot be traced, or onnxruntime is not installed.
    """
    if find_spec("onnxruntime") is None:
        raise InputError(
            "onnxruntime is not installed, by which a graph of a model of timm's is checked; install this project with "
            "its extra: pip install '.[onnx]'"
        )
    import onnxruntime

    trunk = copy.deepcopy(bundle.parts["trunk"]).cpu().float().eval()
    assert isinstance(trunk, Trunk)
    model = trace(_Maps(trunk, padded), (128, 160))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it has to say is in the error below
    draw = torch.Generator().manual_seed(0)
    content = model.SerializeToString()
    for size in _SIZES:
        image = torch.randn(1, 3, *size, generator=draw)
        with torch.inference_mode():
            ours = trunk(image)
        try:
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            theirs = session.run(None, {"image": image.numpy()})
        except Exception:  # onnxruntime has an error of its own for whatever does not fit the graph
            theirs = []
        if not _equal(ours, theirs):
            raise InputError(
                f"{bundle.folder}: the graph of {bundle.settings.params.backbone.name} gives other maps than the model "
                f"in images of {size[1]} x {size[0]} px, or none; use the bundle itself with pipeline.bundle.Detector "
                "or frcnn predict"
            )


def _equal(ours: Sequence[Tensor], theirs: Sequence[npt.NDArray[np.float32]]) -> bool:
    return len(ours) == len(theirs) and all(
        own.shape == other.shape
        and torch.allclose(own, torch.from_numpy(other), rtol=0, atol=_TOLERANCE * float(own.abs().max()))
        for own, other in zip(ours, theirs, strict=True)
    )
