"""The whole of params.yaml: every section there is, and its model.

Stages read their own sections alone (`pipeline.params.reading`), so that a new section, or a new key in one, reruns
only the stages that have it. Stage `code`, which runs before all others, checks the whole file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.families.faster_rcnn.params.anchor_targets import AnchorTargetParams
from pipeline.families.faster_rcnn.params.detect import DetectParams
from pipeline.families.faster_rcnn.params.finetune_joint import JointParams
from pipeline.families.faster_rcnn.params.proposal_targets import ProposalTargetParams
from pipeline.families.faster_rcnn.params.proposals import ProposalParams
from pipeline.families.faster_rcnn.params.roi_head import RoIHeadParams
from pipeline.families.faster_rcnn.params.rpn import RPNParams
from pipeline.families.faster_rcnn.params.train_head_step4 import HeadStep4
from pipeline.families.faster_rcnn.params.train_rpn_step3 import RPNStep3
from pipeline.params.anchors import AnchorParams
from pipeline.params.backbone import BackboneParams
from pipeline.params.base import Base
from pipeline.params.dataset import DatasetParams
from pipeline.params.evaluate import EvaluateParams
from pipeline.params.features import FeatureParams
from pipeline.params.initial import InitParams
from pipeline.params.reading import Params, check_section, read_content
from pipeline.params.resize import ResizeParams
from pipeline.params.schedule import Schedule
from pipeline.params.section import Section
from pipeline.params.solver import SolverParams
from pipeline.runtime.errors import InputError

SECTIONS: dict[str, type[Section]] = {
    "base": Base,
    "dataset": DatasetParams,
    "backbone": BackboneParams,
    "init": InitParams,
    "resize": ResizeParams,
    "anchors": AnchorParams,
    "anchor_targets": AnchorTargetParams,
    "rpn": RPNParams,
    "proposals": ProposalParams,
    "proposal_targets": ProposalTargetParams,
    "roi_head": RoIHeadParams,
    "features": FeatureParams,
    "solver": SolverParams,
    "train_rpn_step1": Schedule,
    "train_head_step2": Schedule,
    "train_rpn_step3": RPNStep3,
    "train_head_step4": HeadStep4,
    "finetune_joint": JointParams,
    "detect": DetectParams,
    "evaluate": EvaluateParams,
}


def load_params(path: Path, sections: Sequence[str] | None = None) -> Params:
    """Read and check the whole of params.yaml; give out the named sections, or all.

    Raises:
        InputError: the file is missing or no YAML mapping, or a section, key, type or value is wrong.
    """
    checked = check_params(read_content(path), path)
    for name in sections or ():
        if name not in SECTIONS:
            raise InputError(f"--params: no section {name!r}; there are {', '.join(SECTIONS)}")
    return Params({name: checked[name] for name in (sections or checked)})


def check_params(content: object, source: Path | str) -> dict[str, Section]:
    """Check a whole parsed params.yaml.

    Raises:
        InputError: naming the first wrong parameter as `section.key`, its value and what is wrong with it.
    """
    if not isinstance(content, dict):
        raise InputError(f"{source}: must hold one block per stage; see the committed params.yaml")
    for name in content:
        if name not in SECTIONS:
            raise InputError(f"{source}: unknown section {name!r}; there are {', '.join(SECTIONS)}")
    return {name: check_section(name, model, content, source) for name, model in SECTIONS.items()}
