"""The block `train_rpn_step3` of params.yaml."""

from __future__ import annotations

from typing import Literal

from pipeline.params.schedule import Schedule


class RPNStep3(Schedule):
    """Step 3; its RPN head starts fresh or from step 1's."""

    init: Literal["fresh", "step1"]
