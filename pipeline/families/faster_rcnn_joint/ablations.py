"""The ablations of Faster R-CNN's paper that concern the network, not the four steps."""

from __future__ import annotations

from pipeline.families.faster_rcnn.ablations import network_ablations
from pipeline.orchestrate.ablations import Ablation
from pipeline.params.reading import Params


def _ablations(params: Params) -> list[Ablation]:
    return [Ablation("base", {}, "end_to_end"), *network_ablations(params, "end_to_end")]


ABLATIONS = _ablations
