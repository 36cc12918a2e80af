"""The block `train_head_step4` of params.yaml."""

from __future__ import annotations

from typing import Literal

from pipeline.params.schedule import Schedule


class HeadStep4(Schedule):
    """Step 4; cls_score and bbox_pred start fresh or from step 2's."""

    init: Literal["fresh", "step2"]
