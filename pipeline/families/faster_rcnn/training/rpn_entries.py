"""Which images the RPN is trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.families.faster_rcnn.training.enough_for_rpn import check_enough_with_gt

if TYPE_CHECKING:
    from pipeline.artifacts.anchor_targets import AnchorTargets
    from pipeline.artifacts.image_views import Entry
    from pipeline.families.faster_rcnn.params.rpn import RPNParams
    from pipeline.params.schedule import Schedule


def entries_with_gt(
    sizes: dict[Entry, tuple[int, int]], targets: AnchorTargets, rpn: RPNParams, schedule: Schedule, stage: str
) -> dict[Entry, tuple[int, int]]:
    """The entries that train the RPN: all, or those with a trainable gt box, as `rpn.images_without_gt` says.

    Raises:
        InputError: too few are left for one iteration.
    """
    if rpn.images_without_gt == "background":
        return sizes
    kept = {entry: size for entry, size in sizes.items() if targets.has_gt(entry.image_id)}
    left, total = (len({entry.image_id for entry in entries}) for entries in (kept, sizes))
    check_enough_with_gt(left, total, len(kept), schedule.images_per_iteration, stage)
    return kept
