"""Networks of random weights, and of a bundle, through ONNX and through our own code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from pipeline.building.anchors import anchor_grid
from pipeline.building.memory_format import channels_last
from pipeline.building.trunk import new_trunk
from pipeline.bundle.contract import Computation, Parts
from pipeline.bundle.file import Bundle, BundleSettings, PixelNormalisation
from pipeline.families.faster_rcnn.building import detection
from pipeline.families.faster_rcnn.building.detection import detection_rule
from pipeline.families.faster_rcnn.building.roi_head import new_head
from pipeline.families.faster_rcnn.bundle import FasterRCNNParams, typed
from pipeline.families.faster_rcnn.exported.onnx_detector import export_onnx
from pipeline.families.faster_rcnn.nn.network import FasterRCNN
from pipeline.params.reading import Params
from tests.parity.comparison import Differences, differences, named, random_parts


def settings_of(params: FasterRCNNParams, classes: list[str]) -> BundleSettings:
    return BundleSettings(
        format="frcnn-bundle-2",
        family="faster_rcnn",
        network="joint",
        classes=classes,
        params=params,
        normalisation=PixelNormalisation(pixel_mean=[0.0] * 3, pixel_std=[1.0] * 3),
        metrics=None,
        model_sha256="0" * 64,
        dvc_lock_sha256=None,
        settings_sha256="0" * 64,
    )


def random_bundle(params: Params, num_classes: int, seed: int) -> Bundle:
    """A bundle of random weights in memory."""
    trunk = new_trunk(params.backbone)
    draw = torch.Generator().manual_seed(seed)
    trunk.initialise(draw)
    if trunk.neck:
        trunk.neck.initialise(draw)
    sections = {name: getattr(params, name) for name in FasterRCNNParams.model_fields if name != "base"}
    used = FasterRCNNParams(base=Computation(threads=2, precision="float32"), **sections)
    classes = ["background", *(f"class {label}" for label in range(1, num_classes))]
    return Bundle(Path("memory"), settings_of(used, classes), named(random_parts(trunk, params, num_classes, seed)))


def with_changes(bundle: Bundle, **sections: dict[str, Any]) -> Bundle:
    """The bundle with other parameters that its weights fit too."""
    params = bundle.settings.params
    changed = {name: getattr(params, name).model_copy(update=values) for name, values in sections.items()}
    params = params.model_copy(update=changed)
    trunk, rpn, head = typed(bundle.parts)
    other = new_head(trunk.layout, head.num_classes, params.roi_head, params.backbone)
    other.load_state_dict(head.state_dict())
    return Bundle(
        bundle.folder, bundle.settings.model_copy(update={"params": params}), named((trunk, rpn, other.eval()))
    )


def our_network(parts: Parts, params: FasterRCNNParams) -> FasterRCNN:
    rule = detection.test_proposal_rule(params.detect, params.detect.proposals)
    trunk, rpn, head = typed(parts)
    grid = anchor_grid(params.anchors, trunk.layout)
    return FasterRCNN(channels_last(trunk), rpn, head, grid, rule, detection_rule(params.detect))


def exported(bundle: Bundle, folder: Path) -> onnxruntime.InferenceSession:
    export_onnx(bundle, folder / "net.onnx")
    return opened(folder / "net.onnx")


def opened(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # threads of two tests at once would wait for each other
    options.log_severity_level = 3  # it warns that `scale` may be fed
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def detect_with_onnx(session: onnxruntime.InferenceSession, pixels: np.ndarray, scale: Any = None) -> dict[str, Tensor]:
    feeds = {"image": pixels.transpose(2, 0, 1)[None].astype(np.float32) / 255}
    if scale is not None:
        feeds["scale"] = np.array(scale, np.float32)
    names = [output.name for output in session.get_outputs()]
    assert names == ["boxes", "labels", "scores"]
    return {name: torch.from_numpy(value) for name, value in zip(names, session.run(None, feeds), strict=True)}


def compared(
    bundle: Bundle, session: onnxruntime.InferenceSession, pixels: np.ndarray, scale: Any = None
) -> Differences:
    """(H, W, 3) uint8 pixels of the resized image through both."""
    network = our_network(bundle.parts, bundle.settings.params)  # type: ignore[arg-type]
    image = torch.from_numpy(pixels.copy())[None].permute(0, 3, 1, 2)
    (ours,) = network(image, [pixels.shape[:2]], [scale or (1.0, 1.0)])  # type: ignore[list-item]
    return differences(ours, detect_with_onnx(session, pixels, scale))


def textured(height: int, width: int, seed: int) -> np.ndarray:
    """(height, width, 3) uint8 pixels without symmetry."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 7, 9, generator=draw) * 255
    noise = torch.randn(3, height, width, generator=draw) * 15
    pixels = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")[0] + noise
    return pixels.clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
