"""What is drawn from the artifacts of a real run: fractions, candidates and rows."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.artifacts.anchor_targets import AnchorTargets
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.proposal_targets import ProposalTargets
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.families.faster_rcnn.training.anchor_samples import AnchorSampler
from pipeline.families.faster_rcnn.training.roi_sampler import RoISampler
from tests.conftest import Project

pytestmark = pytest.mark.authority("the paper's sampling fractions")


def entries_of(run: Project) -> list[Entry]:
    return [Entry(i.image_id, m) for i in ResizedImages(run.data / "resize", "train") for m in (False, True)]


@pytest.mark.parametrize("count", [256, 8])
def test_anchors_of_an_image_are_at_most_half_fg_and_bg_fills_the_rest(tiny_run: Project, count: int) -> None:
    """Faster R-CNN, section 3.1.3: 256 anchors, a ratio of up to 1:1, padded with negatives."""
    targets = AnchorTargets(tiny_run.data / "anchor_targets")
    sampler = AnchorSampler(targets, count, 0.5, 0, "train_rpn_step1")
    drawn_fg = []
    for entry in entries_of(tiny_run):
        assigned, sample = targets[entry], sampler.draw(0, entry)
        fg, bg = sample.fg.tolist(), sample.bg.tolist()
        assert len(fg) == min(len(assigned.fg), count // 2)
        assert len(fg) + len(bg) == count == len({*fg, *bg})
        assert set(fg) <= set(assigned.fg.tolist()) and set(bg) <= set(assigned.bg.tolist())
        own = {anchor: row for anchor, row in zip(assigned.fg.tolist(), assigned.deltas.tolist(), strict=True)}
        assert sample.deltas.tolist() == [own[anchor] for anchor in fg]
        drawn_fg.append(len(fg))
    assert max(drawn_fg) == count // 2 or count == 256
    assert min(drawn_fg) < count // 2


@pytest.mark.parametrize("count", [64, 8])
@pytest.mark.parametrize("step", ["step2", "step4"])
def test_rois_of_an_image_are_at_most_a_quarter_fg_and_never_ignored_ones(
    tiny_run: Project, step: str, count: int
) -> None:
    """Fast R-CNN, section 2.3: 64 RoIs an image, a quarter of them of IoU 0.5 and more."""
    targets = ProposalTargets(tiny_run.data / f"proposal_targets_{step}")
    sampler = RoISampler(targets, count, 0.25, 0, f"train_head_{step}")
    drawn_fg = []
    for entry in entries_of(tiny_run):
        own, sample = targets[entry], sampler.draw(0, entry)
        candidates = {
            tuple(box): (label, deltas, overlap)
            for box, label, deltas, overlap in zip(
                own.boxes.tolist(), own.labels.tolist(), own.deltas.tolist(), own.max_iou, strict=True
            )
        }
        fg = int((sample.labels > 0).sum())
        assert fg == min(int((own.labels > 0).sum()), count // 4)
        assert len(sample.rois) == min(count, fg + int((own.labels == 0).sum()))
        for roi, label, deltas in zip(
            sample.rois.tolist(), sample.labels.tolist(), sample.deltas.tolist(), strict=True
        ):
            assert candidates[tuple(roi)][:2] == (label, deltas)
            overlap = candidates[tuple(roi)][2]
            assert overlap >= 0.5 if label > 0 else 0 <= overlap < 0.5
        drawn_fg.append(fg)
    assert max(drawn_fg) == count // 4 or count == 64
    assert np.sum(drawn_fg) > 0
