"""What Faster R-CNN's stages require of a data set: `CHECKS`, and the requirements of every family with an RPN."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from pipeline.building.layout import frozen_maps, map_layout
from pipeline.families.faster_rcnn.training.enough_for_rpn import check_anchors, check_enough_with_gt
from pipeline.geometry.anchors import grid_shapes
from pipeline.geometry.layout import Level
from pipeline.params.reading import Params
from pipeline.preflight.anchor_fit import placement_of
from pipeline.preflight.anchorless import have_anchors
from pipeline.preflight.collecting import Checked
from pipeline.preflight.disk import MEMBER_BYTES
from pipeline.preflight.family_checks import FamilyChecks, MapsOfView
from pipeline.preflight.requirements import views_of_image


def checks(train_the_rpn: Collection[str], store_maps: Collection[str]) -> FamilyChecks:
    """What the stages of a family require; some of them train an RPN, some store maps."""

    def images(checked: Checked, params: Params, stage: str) -> int:
        return training_images(checked, params, stage) if stage in train_the_rpn else checked.images["train"]

    def maps(params: Params) -> dict[str, MapsOfView]:
        return {stage: of_view for stage, of_view in stored_maps(params).items() if stage in store_maps}

    return FamilyChecks(prepares=("anchor_targets",), training_images=images, trainable=_trainable, maps=maps)


def stored_maps(params: Params) -> dict[str, MapsOfView]:
    """The maps that the stages frozen_features and features store for a view."""
    layout, frozen = map_layout(params.backbone), frozen_maps(params.backbone)
    value_bytes = {"float16": 2, "float32": 4}[params.features.dtype]
    found: dict[str, MapsOfView] = {}

    def of_view(levels: Sequence[Level]) -> MapsOfView:
        return lambda height, width: value_bytes * layout.values(height, width, levels) + MEMBER_BYTES * len(levels)

    if params.features.keep_frozen_stages and frozen:
        found["frozen_features"] = of_view(frozen)
    if params.features.keep == "maps":
        found["features"] = of_view(layout.levels)
    return found


def training_images(checked: Checked, params: Params, stage: str) -> int:
    """Of a stage that trains the RPN: all, or those with a gt box where it leaves the others out."""
    total = checked.images["train"]
    if params.rpn.images_without_gt != "drop":
        return total
    left, batch = total - checked.without_objects["train"], getattr(params, stage).images_per_iteration
    check_enough_with_gt(left, total, left * views_of_image(params), batch, stage)
    return left


def any_anchor(checked: Checked, params: Params) -> bool:
    """Whether any training image of the RPN has an anchor that may be used; True if there are no images."""
    drop = params.rpn.images_without_gt == "drop"
    sizes = [key[1:] for key in checked.sizes if key[0] == "train"]
    if drop:
        sizes = np.unique(checked.gt.of("train").sizes, axis=0).tolist()
    sizes += [(height, width) for has_gt, height, width in sorted(checked.extra_sizes) if has_gt or not drop]
    shapes = grid_shapes(params.anchors.base_size, params.anchors.ratios, params.anchors.scales)
    return not sizes or bool(have_anchors(np.array(sizes, np.int32), shapes, placement_of(params)).any())


def _trainable(checked: Checked, params: Params) -> None:
    check_anchors(any_anchor(checked, params))


CHECKS = checks(("train_rpn_step1", "train_rpn_step3", "finetune_joint"), ("frozen_features", "features"))
