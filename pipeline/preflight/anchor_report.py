"""What `frcnn check-data` prints about anchors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pipeline.geometry.anchors import Floats
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


def level_lines(best: Floats, shapes: Floats, placement: Placement) -> Iterator[str]:
    """How many boxes of train each level's anchors fit best, and how well.

    Args:
        best: (N, levels) largest IoU of each box with the anchors of each level.
        shapes: (A, 2) of the anchors of the first level, px.
    """
    sides, nearest, rows = np.sqrt(shapes.prod(axis=1)), best.argmax(axis=1), []
    for level, scale in enumerate(placement.layout.scales):
        own = best[nearest == level, level]
        low, high = sides.min() * scale, sides.max() * scale
        size = f"{low:.0f}" if round(low) == round(high) else f"{low:.0f} to {high:.0f}"
        mean = f"{own.mean():.3f}" if len(own) else "-"
        name = f"  {placement.layout.prefix(level)}anchors of {size} px"
        rows.append((name, (len(own), f"{len(own) / len(best):.1%}", mean, int((own < 0.5).sum()))))
    yield "  by the level whose anchors come nearest, train"
    yield from table_lines(["boxes", "share", "mean", "below .5"], rows)


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
    reasons += [f"another grid raises the mean by {gain:.3f}, more than {LEAST_GAIN:g}"] * (gain > LEAST_GAIN)
    yield f"  they do not fit: {'; '.join(reasons)}"
    shapes = ", ".join(f"{width:.0f} x {height:.0f}" for width, height in verdict.clustered.shapes)
    levels = ", of the first level" if len(placement.layout.levels) > 1 else ""
    yield f"  shapes by k-means under 1 - IoU{levels}: {shapes}"
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
