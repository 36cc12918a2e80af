"""Whether there will be, in each experiment of a sweep, the figure that decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline.families.family import Family
from pipeline.families.registry import part_exists
from pipeline.graphs.present import graph_in
from pipeline.metrics.coco_ap import COCO_METRICS
from pipeline.runtime.errors import InputError
from pipeline.workers.setting import Setting

COMMON_FIGURES = ("mAP50", "mAP50_11point", *COCO_METRICS[:9], "images", "detections")
"""The numbers that metrics.json of any family has."""


def refuse_unknown_figure(figure: str, families: Mapping[str, Family]) -> None:
    """Refuse a figure that a family has not for certain: what its part `evaluate` adds is known only after a run.

    Args:
        families: those of the experiments, by name.

    Raises:
        InputError: no common figure, and a family adds none to those.
    """
    for name in families:
        if figure not in COMMON_FIGURES and not part_exists(name, "evaluate"):
            raise InputError(
                f"figure: the family {name} has no figure {figure}; it has those that all have: "
                f"{', '.join(COMMON_FIGURES)}"
            )


def refuse_unjudged(settings: Mapping[str, Setting], network_of: Callable[[Family], str]) -> None:
    """Refuse experiments whose graph does not evaluate the network whose figure decides.

    Raises:
        InputError: names an experiment, and the networks that its graph evaluates.
    """
    for experiment, setting in settings.items():
        family = setting.family()
        deciding, stages = network_of(family), graph_in(setting.graph).stages
        if f"evaluate_{deciding}" in stages:
            continue
        others = [network for network in family.networks if f"evaluate_{network}" in stages]
        remedy = f", or choose by another network: network: {{{family.name}: {others[0]}}}" if others else ""
        raise InputError(
            f"experiment {experiment}: its graph has no stage evaluate_{deciding}, whose figures decide; add the stage "
            f"to graphs/{family.name}.yaml{remedy}"
        )
