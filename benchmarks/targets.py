"""Anchor and proposal targets against torchvision's box_iou, Matcher and BoxCoder: python -m benchmarks.targets

Both sides get the same boxes and give labels, matched gt boxes and the deltas of the fg. Results are compared before
anything is timed: deltas to 1e-5, labels exactly. torchvision computes IoUs in float32, where anchors that lie alike
around a box do not tie; so labels are compared with those of its Matcher on our IoUs, and the anchors that its own IoUs
label otherwise are counted and reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.ops import box_iou

from benchmarks.measure import interleaved
from benchmarks.page import Row, write_section
from pipeline.families.faster_rcnn.nn.proposal_matching import match_proposals
from pipeline.nn.anchor_matching import assign_anchors
from pipeline.nn.anchors import AnchorGrid, inside
from pipeline.nn.boxes import encode
from pipeline.nn.matching import BG, FG, IGNORE
from tests.layouts import one_level

RUNS = 41
GT_COUNTS = (1, 5, 50)
Targets = tuple[Tensor, Tensor]  # (N,) int8 labels; (F, 4) deltas of the fg, in order
_CODER = BoxCoder((1.0, 1.0, 1.0, 1.0))
_NO_REGIONS = torch.zeros(0, 4)


def random_boxes(count: int, height: int, width: int, seed: int) -> Tensor:
    """(count, 4) float32 boxes inside an image, sides from 20 px to 400 px."""
    draw = torch.Generator().manual_seed(seed)
    image = torch.tensor([width, height], dtype=torch.float32)
    sides = 20 + torch.rand(count, 2, generator=draw) * (image.clamp(max=400) - 20)
    corners = torch.rand(count, 2, generator=draw) * (image - sides)
    return torch.cat([corners, corners + sides], dim=1)


def anchor_targets(anchors: Tensor, size: tuple[int, int], gt_boxes: Tensor, border: float | None) -> Targets:
    """What the stage anchor_targets computes of one image."""
    rule = {"fg_iou": 0.7, "bg_iou": 0.3, "allowed_border": border, "ignore_ioa": 0.5}
    matches = assign_anchors(anchors, size, gt_boxes, _NO_REGIONS, **rule)  # type: ignore[arg-type]
    fg = torch.nonzero(matches.labels == FG).squeeze(1)
    return matches.labels, encode(anchors[fg].float(), gt_boxes[matches.matched_gt[fg]])


def peer_anchor_targets(
    anchors: Tensor, size: tuple[int, int], gt_boxes: Tensor, border: float | None, exact: bool = False
) -> Targets:
    """The same by torchvision; `exact`: from IoUs computed in float64 and rounded."""
    labels = torch.full((len(anchors),), IGNORE, dtype=torch.int8)
    usable = slice(None) if border is None else inside(anchors, *size, border)
    own = anchors[usable]
    iou = box_iou(gt_boxes.double(), own.double()).float() if exact else box_iou(gt_boxes, own.float())
    own_labels, deltas = _matched(iou, own.float(), gt_boxes, Matcher(0.7, 0.3, allow_low_quality_matches=True))
    labels[usable] = own_labels
    return labels, deltas


def proposal_targets(proposals: Tensor, gt_boxes: Tensor) -> Targets:
    """What the stage proposal_targets computes of one image, but only the deltas of the fg."""
    candidates = torch.cat([proposals, gt_boxes])
    matches = match_proposals(candidates, gt_boxes, 0.5, 0.5, 0.0)
    fg = torch.nonzero(matches.labels == FG).squeeze(1)
    return matches.labels, encode(candidates[fg], gt_boxes[matches.matched_gt[fg]])


def peer_proposal_targets(proposals: Tensor, gt_boxes: Tensor) -> Targets:
    """The same by torchvision."""
    candidates = torch.cat([proposals, gt_boxes])
    return _matched(box_iou(gt_boxes, candidates), candidates, gt_boxes, Matcher(0.5, 0.5))


def _matched(iou: Tensor, boxes: Tensor, gt_boxes: Tensor, matcher: Matcher) -> Targets:
    matches = matcher(iou)
    labels = torch.full_like(matches, FG, dtype=torch.int8)
    labels[matches == Matcher.BELOW_LOW_THRESHOLD] = BG
    labels[matches == Matcher.BETWEEN_THRESHOLDS] = IGNORE
    fg = torch.nonzero(matches >= 0).squeeze(1)
    return labels, _CODER.encode_single(gt_boxes[matches[fg]], boxes[fg])


def check(ours: Targets, peer: Targets) -> None:
    """Labels equal, deltas to 1e-5."""
    assert torch.equal(ours[0], peer[0]), "labels differ"
    torch.testing.assert_close(ours[1], peer[1], rtol=0, atol=1e-5)


Case = tuple[str, Callable[[], Targets], Callable[[], Targets], int]


def cases() -> Iterator[Case]:
    """Name, ours, the peer's, and how many labels differ by float32's rounding."""
    for height, width in ((600, 1000), (300, 500)):
        size, anchors = (
            (height, width),
            AnchorGrid(16, (0.5, 1.0, 2.0), (8.0, 16.0, 32.0), one_level(16)).exact([(height // 16, width // 16)]),
        )
        for count in GT_COUNTS:
            gt_boxes = random_boxes(count, height, width, seed=count)
            for border, which in ((None, "all"), (0.0, "inside")):
                arguments = (anchors, size, gt_boxes, border)
                check(anchor_targets(*arguments), peer_anchor_targets(*arguments, exact=True))
                otherwise = int((peer_anchor_targets(*arguments)[0] != anchor_targets(*arguments)[0]).sum())
                name = f"anchors of {height} x {width}, {which}, {count} gt"
                yield (
                    name,
                    lambda a=arguments: anchor_targets(*a),
                    lambda a=arguments: peer_anchor_targets(*a),
                    otherwise,
                )
    for proposal_count in (2000, 300):
        proposals = random_boxes(proposal_count, 600, 1000, seed=0)
        for count in GT_COUNTS:
            given = (proposals, random_boxes(count, 600, 1000, seed=count))
            check(proposal_targets(*given), peer_proposal_targets(*given))
            yield (
                f"{proposal_count} proposals, {count} gt",
                lambda a=given: proposal_targets(*a),
                lambda a=given: peer_proposal_targets(*a),
                0,
            )


def main() -> None:
    torch.set_num_threads(2)
    rows, otherwise = [], 0
    for name, ours, peer, differ in cases():
        times = interleaved({"ours": ours, "peer": peer}, runs=RUNS, per=1e-3)
        rows.append(Row(name, times["ours"], times["peer"], bar=1.0))
        otherwise += differ
        print(f"{name}: {rows[-1].judged:.2f}", flush=True)
    write_section(
        "targets",
        "Anchor and proposal targets",
        "One image's labels, matched gt boxes and deltas of the fg against torchvision's `box_iou`, `Matcher` and\n"
        "`BoxCoder` on the same boxes: 9 anchors at every 16 pixels, all of them or those inside the image. Labels\n"
        "are equal and deltas equal to 1e-5, where both sides are given our IoUs, computed in float64. On IoUs in\n"
        f"float32, which torchvision is timed with, {otherwise} labels of all rows differ: anchors that tie for a gt\n"
        "box, and that float32 takes for different.",
        rows,
        on_cpu=True,
    )


if __name__ == "__main__":
    main()
