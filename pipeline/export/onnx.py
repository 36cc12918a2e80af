"""The frame of an ONNX file: a family's network is traced with sizes that may vary, and written with what a user of the
file has to know.

Every graph takes pixels of the resized image and gives detections, see `TracedDetector`, and computes in float32.

Shapes: H, W height, width of the resized image; N detections.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.artifacts.atomic import atomic_file
from pipeline.bundle.file import Bundle
from pipeline.export.traced_trunk import check_traced_trunk
from pipeline.geometry.layout import MapLayout
from pipeline.geometry.trunk_settings import TIMM
from pipeline.nn.backbones.trunk import Trunk
from pipeline.runtime.errors import InputError

_OPSET = 18
_EXAMPLE = (160, 192)  # height, width, px; any other size runs too


class TracedDetector(nn.Module):
    """A network that can be traced: from `image` (1, 3, H, W) float32 RGB in 0..1, of the resized image, and `scale`
    (2,) float32 x, y resized pixels per original pixel to (N, 4) float32 boxes in resized pixels, (N,) int64 labels
    1..C-1 and (N,) float32 scores, by descending score. A family writes it so that H and W may be symbols.

    Attributes:
        size: (H, W) of the only images that it takes; None: any.
    """

    size: tuple[int, int] | None = None

    def forward(self, image: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Detections of one image."""
        raise NotImplementedError


def normalised(image: Tensor, trunk: Trunk) -> Tensor:
    """(1, 3, H, W) RGB in 0..1 as the trunk takes it; the same arithmetic as of bytes."""
    mean, std = (value.reshape(1, 3, 1, 1) for value in (trunk.pixel_mean, trunk.pixel_std))
    return (image * 255 - mean * 255) / (std * 255)


def padded(image: Tensor, layout: MapLayout) -> Tensor:
    """`pipeline.nn.backbones.trunk.padded`, written so that sizes may vary."""
    least, multiple = layout.least_side, layout.multiple
    if multiple == 1:
        down, right = (torch.sym_max(least - own, 0) for own in image.shape[2:])
    else:
        least = -(-least // multiple) * multiple
        down, right = (
            torch.sym_max((own + (multiple - 1)) // multiple * multiple, least) - own for own in image.shape[2:]
        )
    sides: list[Any] = [0, right, 0, down]
    return functional.pad(image, sides)


def limits_of(image: Tensor) -> Tensor:
    """(4,) float32: what x, y, x, y of a box are clipped to."""
    height, width = image.shape[2], image.shape[3]
    return torch.stack([torch.scalar_tensor(side, dtype=torch.float32) for side in (width, height)] * 2)


def clip_to(boxes: Tensor, limits: Tensor) -> Tensor:
    """(..., 4) boxes clipped to an image, see `limits_of`."""
    return torch.minimum(boxes.clamp(min=0), limits)


def write_onnx(
    bundle: Bundle,
    network: TracedDetector,
    out: Path,
    metadata: Mapping[str, str] | None = None,
    operators: Mapping[Any, Callable[..., Any]] | None = None,
) -> list[str]:
    """Write a bundle's network as an ONNX file.

    Args:
        network: the bundle's, of weights of its own. out: a .onnx file in a folder that exists.
        metadata: of the family, beside what all files have.
        operators: those of torch that ONNX has under another name, to what makes the node.

    Returns:
        Lines on what was done.

    Raises:
        InputError: onnx or onnxscript is not installed, the network does what cannot be traced, or the file cannot be
            written.
    """
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise InputError(f"{missing[0]} is not installed; install this project with its extra: pip install '.[onnx]'")
    if bundle.settings.params.backbone.name.startswith(TIMM):
        check_traced_trunk(bundle, partial(_trunk_graph, bundle), padded)
    model = _traced(bundle, network.eval(), metadata or {}, operators or {})
    try:
        with atomic_file(out) as temporary:
            temporary.write_bytes(model.SerializeToString())
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror}); choose another place") from error
    return [f"{out}: the {bundle.settings.network} network for ONNX, {out.stat().st_size / 1e6:.1f} MB"]


def _traced(
    bundle: Bundle,
    network: TracedDetector,
    metadata: Mapping[str, str],
    operators: Mapping[Any, Callable[..., Any]],
) -> Any:
    """The onnx.ModelProto, with what a user of the file has to know in `metadata_props`."""
    import onnx
    import torchvision  # noqa: F401  (tells torch.export the shapes that its operators give)

    settings = bundle.settings
    example = (torch.zeros(1, 3, *(network.size or _EXAMPLE)), torch.ones(2))
    model = _graph(
        bundle,
        network,
        example,
        ["image", "scale"],
        ["boxes", "labels", "scores"],
        None if network.size else ({2: "height", 3: "width"}, None),
        operators,
    )
    # The exporter notes at each node the lines of code it comes from, with the paths of this machine.
    for part in (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    # An initializer of an input's name is its value where none is fed.
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(2, np.float32), "scale"))
    onnx.helper.set_model_props(
        model,
        {
            "format": "frcnn-onnx-1",
            "family": settings.family,
            "network": settings.network,
            "classes": json.dumps(settings.classes),
            "resize": settings.params.resize.model_dump_json(),
            **metadata,
            "bundle_sha256": settings.settings_sha256,
            "model_sha256": settings.model_sha256,
        },
    )
    onnx.checker.check_model(model)
    return model


def _trunk_graph(bundle: Bundle, maps: nn.Module, size: tuple[int, int]) -> Any:
    """The onnx.ModelProto from an `image` to the maps of the trunk."""
    return _graph(bundle, maps, (torch.zeros(1, 3, *size),), ["image"], None, ({2: "height", 3: "width"},), {})


def _graph(
    bundle: Bundle,
    module: nn.Module,
    example: tuple[Tensor, ...],
    inputs: list[str],
    outputs: list[str] | None,
    shapes: Any,
    operators: Mapping[Any, Callable[..., Any]],
) -> Any:
    """The onnx.ModelProto of a module.

    Raises:
        InputError: it does what cannot be traced.
    """
    log = logging.getLogger("torch.onnx")
    level = log.level
    try:
        log.setLevel(logging.ERROR)
        with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                example,
                dynamo=True,
                verbose=False,
                opset_version=_OPSET,
                input_names=inputs,
                output_names=outputs,
                dynamic_shapes=shapes,
                custom_translation_table=dict(operators),
            )
    except torch.onnx.OnnxExporterError as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0][:300]
        raise InputError(
            f"{bundle.folder}: the network cannot be traced for --format onnx ({reason}); use the bundle itself with "
            "pipeline.bundle.Detector or frcnn predict, or write what is named so that sizes may vary"
        ) from error
    finally:
        log.setLevel(level)
    assert program is not None
    return program.model_proto
