"""Labels and deltas of proposals: of all of one image, as they are stored, and of those drawn from a batch."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from pipeline.families.faster_rcnn.nn.roi_targets import Candidates, GtBoxes, MatchingRule, assign_rois, find_candidates
from pipeline.nn.boxes import encode
from pipeline.nn.matching import FG, IGNORE

RULE = MatchingRule(0.5, 0.5, 0.1, 0.5)
NONE = GtBoxes(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
TWO = GtBoxes(torch.tensor([[10.0, 10, 50, 50], [60, 20, 90, 80]]), torch.tensor([3, 1]))
ONE = GtBoxes(torch.tensor([[5.0, 5, 40, 60]]), torch.tensor([2]), torch.tensor([[20.0, 20, 100, 100]]))


def candidates_of(gt: GtBoxes, seed: int, usable: Tensor | None = None) -> Candidates:
    corners = torch.rand(300, 4, generator=torch.Generator().manual_seed(seed)) * 50
    return find_candidates(torch.cat([corners[:, :2], corners[:, :2] + 1 + corners[:, 2:]], dim=1), gt, RULE, usable)


def every_other(labels: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Every second of the fg and bg candidates of each image, fg first."""
    drawn, fg, before = [], [], 0
    for own in labels:
        parts = [torch.nonzero(own == kind).squeeze(1)[::2] for kind in (1, 0)]
        fg.append(torch.arange(before, before + len(parts[0])))
        drawn.append(torch.cat(parts))
        before += len(drawn[-1])
    return drawn, torch.cat(fg)


def test_gt_boxes_join_the_proposals_as_fg_of_their_own_and_a_candidate_has_the_deltas_to_its_gt_box() -> None:
    own = candidates_of(TWO, 0)
    found = assign_rois([own], [TWO])
    assert found.labels[-2:].tolist() == [3, 1]
    assert found.deltas[-2:].abs().max() == 0
    assert torch.equal(found.deltas, encode(own.boxes, TWO.boxes[own.matches.matched_gt]))
    assert torch.equal(found.fg, torch.nonzero(own.matches.labels == FG).squeeze(1))
    assert {-1, 0, 1, 3} == set(found.labels.tolist())


@pytest.mark.parametrize("gt", [[TWO, ONE], [NONE, ONE], [TWO, NONE], [NONE, NONE]], ids=["2 1", "0 1", "2 0", "0 0"])
def test_what_is_drawn_from_a_batch_has_the_bits_that_are_stored_of_each_image(gt: list[GtBoxes]) -> None:
    candidates = [candidates_of(own, seed) for seed, own in enumerate(gt)]
    stored = [assign_rois([own], [truth]) for own, truth in zip(candidates, gt, strict=True)]
    found = assign_rois(candidates, gt, every_other)
    drawn, _ = every_other([own.matches.labels for own in candidates])
    assert torch.equal(
        torch.cat(found.rois), torch.cat([own.rois[0][rows] for own, rows in zip(stored, drawn, strict=True)])
    )
    assert torch.equal(found.labels, torch.cat([own.labels[rows] for own, rows in zip(stored, drawn, strict=True)]))
    deltas = torch.cat([own.deltas[rows] for own, rows in zip(stored, drawn, strict=True)])
    assert torch.equal(found.deltas[found.fg], deltas[found.fg])
    assert (found.labels[found.fg] > 0).all() and int((found.labels > 0).sum()) == len(found.fg)


def test_proposals_that_are_not_usable_and_bg_in_a_region_are_ignored() -> None:
    usable = torch.arange(300) % 2 == 0
    own, plain = candidates_of(ONE, 1, usable), candidates_of(GtBoxes(ONE.boxes, ONE.labels), 1)
    assert (own.matches.labels[:300][~usable] == IGNORE).all()
    in_region = (own.matches.labels[:300] != plain.matches.labels[:300]) & usable
    assert in_region.any() and (own.boxes[:300][in_region][:, 2:] > 20).all()
