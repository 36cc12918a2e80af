"""What `frcnn check-data` prints of anchors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pipeline.preflight.anchor_fit import Placement
from pipeline.preflight.report import table_lines
from pipeline.preflight.size_search import LargerSize
from pipeline.preflight.verdict import LEAST_GAIN, MOST_UNREACHED, Fit, Verdict


def anchor_lines(verdict: Verdict, fits: Mapping[str, Fit], placement: Placement) -> Iterator[str]:
    """How the anchors fit.

    Args:
        verdict: on the boxes of train.
        fits: of the configured anchors, by split, without train.
        placement: where anchors lie.
    """
    border = placement.allowed_border
    within = (
        "wherever they lie"
        if border is None
        else f"that stick out of the image by at most {border:g} px"
        if border
        else "inside the image"
    )
    count = len(verdict.configured.shapes)
    every = " and ".join(map(str, placement.layout.strides))
    yield from ("", f"anchors: {count} a location, every {every} px, {within}; IoU of a box with the best")
    rows = [("  configured, train", _figures(verdict.configured))]
    rows += [(f"  configured, {split}", _figures(fit)) for split, fit in fits.items()]
    if verdict.kind != "fit":
        if border is not None:
            rows.append(("  allowed_border: null, train", _figures(verdict.any_border)))
        rows.append((f"  {len(verdict.clustered.shapes)} shapes by k-means, train", _figures(verdict.clustered)))
        rows.append(("  best grid found, train", _figures(verdict.proposed)))
    yield from table_lines(["boxes", "mean", "below .5", "below .7"], rows)


def _figures(fit: Fit) -> Sequence[object]:
    return len(fit.best_iou), f"{fit.mean:.3f}", f"{fit.below(0.5):.1%}", f"{fit.below(0.7):.1%}"


def advice(
    verdict: Verdict, base_size: float, placement: Placement, larger: LargerSize | None, line: str | None
) -> Iterator[str]:
    """Whether the anchors fit, and what to do where they do not.

    Args:
        verdict: what was found of them.
        base_size: `anchors.base_size`.
        placement: where anchors lie.
        larger: a size of images at which anchors reach the boxes; None where none does, or need not.
        line: a command that gives the proposed anchors; None where there is none.
    """
    gain, unreached = verdict.proposed.mean - verdict.configured.mean, verdict.configured.below(0.5)
    if verdict.kind == "fit":
        yield f"  they fit: at most {MOST_UNREACHED:.0%} below .5, no grid found has a mean higher by {LEAST_GAIN:g}"
        return
    reasons = [f"{unreached:.1%} of the boxes are below .5, over {MOST_UNREACHED:.0%}"] * (unreached > MOST_UNREACHED)
    reasons += [f"another grid raises the mean by {gain:.3f}, over {LEAST_GAIN:g}"] * (gain > LEAST_GAIN)
    yield f"  they do not fit: {'; '.join(reasons)}"
    shapes = ", ".join(f"{width:.0f} x {height:.0f}" for width, height in verdict.clustered.shapes)
    yield f"  shapes by k-means under 1 - IoU: {shapes}"
    if verdict.kind == "no_better":
        border = "" if placement.allowed_border is None else f"set {placement.border_key} to null, "
        yield f"  as many ratios and scales do no better: {border}or give more ratios and scales"
        yield from _larger(larger, "boxes are smaller than any anchor reaches at this size")
        return
    ratios, scales = list(verdict.grid.ratios), list(verdict.grid.scales)
    yield f"  proposed, of base_size {base_size:g}:"
    yield f"    {line}" if line else f"    in params.yaml, anchors.ratios: {ratios} and anchors.scales: {scales}"
    if verdict.proposed.below(0.5) > MOST_UNREACHED:
        yield from _larger(larger, "boxes are smaller than any anchor reaches at this size, the proposed ones too")
    else:
        yield from _larger(larger, "or keep these anchors, which are larger than the boxes")


def _larger(larger: LargerSize | None, why: str) -> Iterator[str]:
    if larger:
        yield f"  {why}: raise {larger.as_text()}; with the configured anchors {larger.below:.1%} are below .5 then"
