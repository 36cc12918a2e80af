"""Every decision of the product at a threshold, on boxes that lie at it exactly, as a line of JSON: name to digest.

`test_processors.py` runs it as on several processors: `python tests/decisions.py [intel|other]`. There it also says
whether the trunk's layers compute in each precision what torch's own do.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

TWENTIETHS = np.arange(1, 21) / 20
PLACES = ((0.0, 0.0, 10.0), (3.0, 7.0, 30.0), (12.7, 5.3, 33.3), (101.1, 64.9, 100.1))  # x1, y1 and side, px
RATIOS = ([0.5, 1.0, 2.0], [0.3, 0.7, 3.0])


def covering(dtype: type = np.float32) -> tuple[np.ndarray, np.ndarray]:
    """(80, 4) boxes and (80, 4) parts of them from a twentieth to all: IoUs and shares of exactly so much, on paper."""
    whole, part = [], []
    for x, y, side in PLACES:
        for share in TWENTIETHS:
            whole.append([x, y, x + side, y + side])
            part.append([x, y, x + side, y + side * share])
    return np.array(whole, dtype), np.array(part, dtype)


def of_the_detector() -> Iterator[tuple[str, list[np.ndarray]]]:
    """Anchors, matching, regions, proposals, NMS."""
    import torch

    from pipeline.families.faster_rcnn.nn.proposal_matching import match_proposals
    from pipeline.nn.anchor_matching import assign_anchors
    from pipeline.nn.anchors import AnchorGrid, inside
    from pipeline.nn.batched_nms import batched_nms
    from pipeline.nn.boxes import clip, intersection_over_own_area, pairwise_iou
    from pipeline.nn.matching import ignore_in_regions
    from pipeline.nn.operators import nms
    from tests.layouts import one_level

    whole, part = (torch.from_numpy(boxes) for boxes in covering())
    for index, ratios in enumerate(RATIOS):
        for rows, columns in ((3, 5), (20, 31)):  # tails of vectors, and one gt box at a time
            anchors = AnchorGrid(16, ratios, [1.25, 2.5, 5.0, 9.0], one_level(8)).exact([(rows, columns)])
            size = (8 * rows, 8 * columns)
            some = anchors[:: len(anchors) // 30]
            gt = torch.cat([some - (some - some[:, [0, 1, 0, 1]]) * (1 - iou) for iou in (0.3, 0.5, 0.7)]).float()
            halves = torch.tensor([[0.0, 0, columns * 4 + 4, 999], [0, 0, 999, rows * 4 + 4], [4, 0, 12, 999]])
            name = f"ratios {index}, {rows} x {columns}"
            yield f"anchors, {name}", [anchors.numpy(), inside(anchors, *size).numpy()]
            yield f"IoU, {name}", [pairwise_iou(gt, anchors.float()).numpy()]
            yield f"share, {name}", [intersection_over_own_area(anchors, halves.double()).numpy()]
            for border in (0.0, 4.0, None):
                options = {"fg_iou": 0.7, "bg_iou": 0.3, "allowed_border": border, "ignore_ioa": 0.5}
                found = assign_anchors(anchors, size, gt, halves, **options)
                told = [found.labels.numpy(), found.matched_gt.numpy(), found.max_iou.numpy()]
                yield f"anchor targets, {name}, border {border}", told
    for threshold in (0.3, 0.5, 0.7):
        found = match_proposals(part, whole, threshold, threshold, 0.1)
        told = [found.labels.numpy(), found.matched_gt.numpy(), found.max_iou.numpy()]
        yield f"proposal targets, {threshold}", told
        yield f"regions, {threshold}", [ignore_in_regions(found.labels.clamp(max=0), whole, part, threshold).numpy()]
        boxes = torch.cat([whole, part])
        scores, groups = torch.arange(len(boxes), 0, -1).float(), torch.arange(len(boxes)) % 3
        kept = [
            nms(boxes, scores, threshold).numpy(),
            batched_nms(boxes, scores, groups, threshold, len(boxes)).numpy(),
        ]
        yield f"NMS, {threshold}", kept
    yield "clipping", [clip(torch.cat([whole, part]), 100.1, 100.1).numpy()]


def of_the_figures() -> Iterator[tuple[str, list[np.ndarray]]]:
    """VOC's matching, kinds of errors, recall, COCO's figures."""
    from pipeline.metrics.coco_ap import coco_metrics
    from pipeline.metrics.detection_matching import match_by_score
    from pipeline.metrics.error_kinds import confusion_pairs, judge
    from pipeline.metrics.recall import RecallCounter
    from pipeline.metrics.rows import DetectionRows, GtRows, pair_iou, pair_share
    from pipeline.metrics.voc_ap import voc_ap

    whole, part = covering()
    image, count = np.arange(len(whole)), len(whole)
    yield "pairs", [pair_iou(part, whole), pair_iou(part, whole, True), pair_share(whole, part)]
    found = DetectionRows(image, image % 2 + 1, np.linspace(1, 0.1, count, dtype=np.float32), part)
    label = np.where(image % 7 == 3, -1, image % 5 % 2 + 1)
    truth = GtRows(image, label, whole, image % 11 == 5, image % 13 == 7)
    counter = RecallCounter((1, 3, 50))
    for one in range(0, count, 20):
        counter.add(part[one : one + 20][::-1], whole[one : one + 20])
    yield "recall", [np.concatenate([counter.curve_by_iou(50), counter.curve_by_budget(0.7), [counter.AR(3)]])]
    for threshold in (0.3, 0.5, 0.7):
        own = match_by_score(found, truth, threshold)
        judged = judge(found, truth, threshold)
        curves = voc_ap(found, truth, 3, threshold)
        yield (
            f"VOC, {threshold}",
            [own.matched_gt, own.max_iou, own.right, own.wrong, *confusion_pairs(found, truth, 0.5)],
        )
        yield f"errors, {threshold}", [judged.kind, judged.gt, judged.iou, judged.finder]
        yield f"AP, {threshold}", [np.array([curves.mean_all_point, curves.mean_11_point])]
    yield "COCO", [np.array(list(coco_metrics(found, truth).values()))]


def of_the_data() -> Iterator[tuple[str, list[np.ndarray]]]:
    """Boxes that end at an image's edge or are a pixel wide, sizes, imported proposals, and which anchors fit."""
    from pipeline.artifacts.resized_images import ImageInfo
    from pipeline.datasets.records import CENTRE, INCLUSIVE, XYWH, XYXY, RawData, RawRecord, no_flags
    from pipeline.datasets.resizing import resized_size
    from pipeline.datasets.validation import validate
    from pipeline.exchange.importing import to_resized
    from pipeline.exchange.proposal_files import Proposals
    from pipeline.geometry.anchors import Floats, grid_shapes
    from pipeline.preflight.anchor_fit import Placement, shape_iou
    from pipeline.preflight.anchor_search import Grid, cluster_shapes, fit_grid, quantile_grid
    from pipeline.presets.apply import preset_params
    from tests.datasets.policies import policy
    from tests.layouts import one_level

    _, part = covering(np.float64)
    part = np.concatenate([part, part + np.array([[0.0, 0, 1, 1]]) / 3])
    part[::7, 2:] = part[::7, :2] + 1
    sizes = part[:, 2:] - part[:, :2]
    count, here = len(part), Path(__file__)
    for form in (INCLUSIVE, XYXY, XYWH, CENTRE):
        told = []
        for width, height in ((101, 99), (134, 98), (40, 38), (202, 165)):
            written = {
                XYXY: part,
                INCLUSIVE: part + np.array([1, 1, 0, 0]),
                XYWH: np.concatenate([part[:, :2], sizes], axis=1),
            }
            sides = np.array([width, height] * 2)
            own = written.get(form, np.concatenate([part[:, :2] + sizes / 2, sizes], axis=1) / sides)
            objects, flags = np.arange(count), no_flags(count)
            record = RawRecord(
                "a",
                "train",
                here.name,
                "a",
                ["car"] * count,
                own.round(6),
                flags,
                flags,
                flags,
                objects,
                (width, height),
            )
            data = validate(RawData(here.parent, "dataset.made", form, ["car"], [record]), policy(subpixel="drop"))
            told += [image.boxes for image in data.images]
            told.append(np.array([f"{fault.object} {fault.kind} {fault.action}" for fault in data.findings]))
        yield f"boxes as {', '.join(form.names)}", told
    params = preset_params("default")
    yield "sizes", [np.array([resized_size(h, w, params.resize) for h in range(90, 110) for w in range(90, 300)])]
    image = ImageInfo("a", (256, 341), (99, 132), (341 / 132, 256 / 99), "")
    for least in (1.0, 5.0, 10.0, 33.3):
        kept = to_resized(Proposals(part.astype(np.float32), np.ones(count, np.float32)), image, count, least)
        yield f"imported proposals of {least} px", [kept.boxes]

    shapes, placement = grid_shapes(16, RATIOS[0], [1.25, 2.5, 5.0, 9.0]), Placement(one_level(8), 0.0)
    boxes, around = part.astype(np.float32), np.full((count, 2), (160, 240), np.int32)

    def fit(shapes: Floats) -> Floats:
        return placement.best_iou(boxes, around, shapes)

    yield "anchor fit", [fit(shapes), fit(shapes) < 0.5, shape_iou(sizes, shapes)]
    clusters = cluster_shapes(sizes, 6, np.random.default_rng(0))
    yield "clusters", [clusters.shapes, np.array(clusters.mean_iou)]

    def score(grid: Grid) -> float:
        best = fit(grid_shapes(16, grid.ratios, grid.scales))
        return float(best.mean()) - float((best < 0.5).mean())

    grid = fit_grid(score, [quantile_grid(sizes, 16, 2, 2)])
    yield "grid", [np.array([*grid.ratios, *grid.scales])]


def digests() -> dict[str, str]:
    """Of every decision, the bytes of what was decided and of the numbers that it was decided by."""
    told = {}
    for part in (of_the_detector, of_the_figures, of_the_data):
        for name, arrays in part():
            digest = hashlib.sha256()
            for array in arrays:
                digest.update(repr((array.dtype, array.shape)).encode() + np.ascontiguousarray(array).tobytes())
            told[name] = digest.hexdigest()[:16]
    return told


def layers_are_torchs() -> dict[str, bool]:
    """Whether a convolution and its gradient come out as torch's own, for each precision."""
    import torch

    from pipeline.nn.convolution import conv3x3

    layer, maps = torch.nn.Conv2d(4, 8, 3, padding=1), torch.arange(320).reshape(2, 4, 5, 8) / 320
    told = {}
    for name, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16)):
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            expected, out = torch.relu(layer(maps)), conv3x3(layer, maps, relu=True)
            with torch.no_grad():
                without_gradient = conv3x3(layer, maps, relu=True)
        out.float().sum().backward()
        bias = layer.bias.grad
        told[name] = torch.equal(out, expected) and torch.equal(without_gradient, expected) and bias is not None
    return told


if __name__ == "__main__":
    import torch

    from tests.processors import numpy_still_has, tell_mkl

    is_told = tell_mkl(sys.argv[1] == "intel")
    print(
        json.dumps(
            {
                "MKL is told": is_told,
                "torch uses": torch.backends.cpu.get_cpu_capability(),
                "numpy still has": numpy_still_has(os.environ["NPY_DISABLE_CPU_FEATURES"]),
                "roots": torch.arange(1000, dtype=torch.float64).sqrt().tolist(),
                "layers are torch's": layers_are_torchs(),
                "decisions": digests(),
            }
        )
    )
