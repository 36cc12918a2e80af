"""A bundle as one ONNX graph: from resized pixels to detections, anchors, proposals, NMS and RoI pooling included.

The graph is this project's network (`pipeline.families.faster_rcnn.nn.network`) written with sizes that may vary: where
ours drops rows, it does too. It computes in float32.

Shapes: H, W height, width of the resized image; Fh, Fw of a feature map; K anchors, P proposals, N detections. Maps,
and what the RPN makes of them, are tuples, one tensor per level.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from pipeline.building.anchors import anchor_grid
from pipeline.bundle.contract import Parts
from pipeline.bundle.file import Bundle
from pipeline.export.onnx import TracedDetector, clip_to, limits_of, normalised, padded, write_onnx
from pipeline.families.faster_rcnn.bundle import FasterRCNNParams, typed
from pipeline.families.faster_rcnn.exported.known import refuse_unknown
from pipeline.nn.anchors import joined
from pipeline.nn.backbones.trunk import Maps
from pipeline.nn.boxes import decode
from pipeline.nn.roi_pooling import roi_levels


class OnnxDetector(TracedDetector):
    """The network of a bundle as a module that can be traced.

    Args:
        parts: trunk, RPN and RoI head. params: those of the bundle.
    """

    def __init__(self, parts: Parts, params: FasterRCNNParams) -> None:
        super().__init__()
        self.trunk, self.rpn, self.head = typed(parts)
        self._rule = params.detect
        self._grid = anchor_grid(params.anchors, self.trunk.layout)

    def forward(self, image: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Detections of one image.

        Args:
            image: (1, 3, H, W) float32 RGB in 0..1, of the resized image. scale: (2,) float32 x, y resized pixels per
                original pixel, which the least size of a proposal is multiplied by.

        Returns:
            (N, 4) float32 boxes in resized pixels, (N,) int64 labels 1..C-1, (N,) float32 scores, by descending score.
        """
        maps = self.trunk(padded(normalised(image, self.trunk), self.trunk.layout))
        limits = limits_of(image)
        objectness, deltas = self.rpn(maps)
        anchors = self._grid([(own.shape[2], own.shape[3]) for own in maps])
        boxes = clip_to(decode(anchors, joined([level.reshape(-1, 4) for level in deltas])), limits)
        proposals = self._propose([level.reshape(-1) for level in objectness], boxes, scale)
        return self._classify(maps, proposals, limits)

    def _propose(self, objectness: Sequence[Tensor], boxes: Tensor, scale: Tensor) -> Tensor:
        """`pipeline.families.faster_rcnn.nn.proposals.make_proposals` of the (K,) boxes of all levels."""
        sides = boxes[:, 2:] - boxes[:, :2]
        large = (sides >= (self._rule.min_size * scale).clamp(min=1e-3)).all(dim=1)
        kept, first = [], 0
        for own in objectness:
            last = first + own.shape[0]
            kept.append(self._propose_of_level(own, boxes[first:last], large[first:last]))
            first = last
        if len(kept) == 1:
            return kept[0][0][: self._rule.proposals]
        found, scores = (torch.cat([own[part] for own in kept]) for part in (0, 1))
        order = torch.argsort(scores, descending=True)
        return found[order[: self._rule.proposals]]

    def _propose_of_level(self, objectness: Tensor, boxes: Tensor, large: Tensor) -> tuple[Tensor, Tensor]:
        """The boxes of a level that NMS keeps, best first, and their logits."""
        # What is too small sinks below all others, and the best of the rest are counted.
        usable = torch.where(large, objectness, -torch.inf)
        ranked = objectness if self._rule.cut_first else usable
        _, order = torch.topk(ranked, _at_most(self._rule.pre_nms, objectness.shape[0]))
        scores = usable[order]
        order = order[scores > -torch.inf]
        boxes, scores = boxes[order], usable[order]
        ranks = -torch.arange(boxes.shape[0], dtype=torch.float32)
        keep = torch.ops.torchvision.nms(boxes, ranks, self._rule.proposal_nms_iou)
        return boxes[keep], scores[keep]

    def _pool(self, maps: Tensor, proposals: Tensor, scale: float) -> Tensor:
        """All proposals pooled from the map of one level: which are to be is not known while tracing."""
        rois = torch.cat([torch.zeros_like(proposals[:, :1]), proposals], dim=1)
        own = self.head.pooling
        if own.kind == "roi_pool":
            pooled: Tensor = torch.ops.torchvision.roi_pool(maps, rois, scale, own.size, own.size)[0]
            return pooled
        return torch.ops.torchvision.roi_align(maps, rois, scale, own.size, own.size, own.samples, own.aligned)

    def _classify(self, maps: Maps, proposals: Tensor, limits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        levels = zip(maps, self.trunk.layout.levels, strict=True)
        of_levels = [self._pool(own, proposals, 1.0 / level.stride) for own, level in levels if level.pooled]
        pooled, level = of_levels[0], roi_levels(proposals, self.trunk.layout.pooled.strides)
        for index, own in enumerate(of_levels[1:], start=1):
            pooled = torch.where((level == index)[:, None, None, None], own, pooled)
        hidden = self.head.features(pooled)
        deltas = self.head.decode_deltas(self.head.bbox_pred(hidden).unflatten(1, (-1, 4)))
        every = torch.softmax(self.head.cls_score(hidden), dim=1)[:, 1:]
        boxes = clip_to(decode(proposals, deltas[:, 1:]), limits)
        found = (every > self._rule.score_threshold) & (boxes[..., 2:] > boxes[..., :2]).all(dim=2)
        roi, column = torch.nonzero(found, as_tuple=True)
        scores, boxes, labels = every[roi, column], boxes[roi, column], column + 1
        # Classes are moved apart, as `batched_nms` does; the zero is for an image without any detection.
        reach = torch.cat([boxes.reshape(-1), torch.zeros(1)]).amax(dim=0) + 1
        apart = boxes + (labels.float() * reach)[:, None]
        keep = torch.ops.torchvision.nms(apart, scores, self._rule.nms_iou)[: self._rule.per_image]
        return boxes[keep], labels[keep], scores[keep]


def _at_most(count: int, length: Any) -> Any:
    return length if count < 0 else torch.sym_min(count, length)


def export_onnx(bundle: Bundle, out: Path) -> list[str]:
    """Write a bundle's network as an ONNX file; docs/use.md lists its inputs and outputs.

    Args:
        out: a .onnx file in a folder that exists.

    Returns:
        Lines on what was done.

    Raises:
        InputError: the network has parts that are not known here, onnx or onnxscript is not installed, or the file
            cannot be written.
    """
    refuse_unknown(bundle, "onnx")
    params = cast(FasterRCNNParams, bundle.settings.params)
    return write_onnx(
        bundle,
        OnnxDetector(copy.deepcopy(bundle.parts), params),
        out,
        metadata={"min_size": json.dumps(params.detect.min_size)},
        operators={torch.ops.torchvision.roi_pool.default: _roi_pool},
    )


def _roi_pool(maps: Any, rois: Any, scale: float, height: int, width: int) -> tuple[Any, Any]:
    """torchvision's operator in ONNX; its second result, which is for gradients only, is not used."""
    from onnxscript import opset18 as op

    pooled = op.MaxRoiPool(maps, rois, pooled_shape=(height, width), spatial_scale=scale)
    return pooled, pooled
