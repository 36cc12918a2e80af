"""The block `finetune_joint` of params.yaml."""

from __future__ import annotations

from typing import Literal

from pipeline.params.schedule import Schedule
from pipeline.params.section import Count, PreNms


class JointParams(Schedule):
    """Joint training; starts from the four steps' network or from the pre-trained trunk."""

    init: Literal["step4", "imagenet"]
    pre_nms: PreNms
    post_nms: Count
