"""The block `proposals` of params.yaml."""

from __future__ import annotations

from typing import Literal

from pipeline.params.section import Count, Fraction, ImagesAtOnce, NonNegative, PreNms, Section


class ProposalRuleParams(Section):
    """Which of the RPN's boxes become proposals."""

    pre_nms: PreNms
    nms_iou: Fraction
    post_nms: Count
    min_size: NonNegative
    cut_first: bool = False


class ProposalParams(ProposalRuleParams):
    """Proposals for training the RoI head: the RPN's, or those in a file of another codebase."""

    source: Literal["rpn", "file"]
    mirrored: Literal["recomputed", "mirrored"]
    images_at_once: ImagesAtOnce = 1  # earlier parameters lack it
