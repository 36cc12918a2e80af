"""What is to be run for one or many experiments: every run of a stage that differs from all others, once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.orchestrate.graph import StageNode
from pipeline.orchestrate.lock_entries import Declared
from pipeline.params.file import check_params, family_in
from pipeline.runtime.errors import InputError
from pipeline.runtime.yaml_files import parse_yaml
from pipeline.workers.graphs import DeclaredGraph
from pipeline.workers.setting import Setting


@dataclass
class PlannedRun:
    """One run of a stage, for all experiments in which it is the same.

    Attributes:
        setting: that of the first of them. params: its params.yaml, parsed.
        before: the runs it reads from, by the name of their stage.
    """

    node: StageNode
    declared: Declared
    setting: Setting
    params: Mapping[str, Any]
    before: dict[str, PlannedRun]
    experiments: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """`runs`, each after those it reads from; `of_experiment` has each experiment's run of every stage by name."""

    runs: Sequence[PlannedRun]
    of_experiment: Mapping[str, Mapping[str, PlannedRun]]

    def name_of(self, run: PlannedRun) -> str:
        """The stage, and the experiments where it is not the same in all."""
        name = f"{run.node.meta.step}: {run.node.name}" if run.node.meta.step else run.node.name
        if len(run.experiments) == len(self.of_experiment):
            return name
        first = ", ".join(run.experiments[:3])
        more = len(run.experiments) - 3
        return f"{name} ({first}{f' and {more} more' if more > 0 else ''})"


def plan_of(experiments: Mapping[str, Setting], graph_of: Callable[[Setting], DeclaredGraph]) -> Plan:
    """Plan the stages of experiments, each after those it reads from.

    Args:
        graph_of: the graph of a setting, see `Graphs.of`.

    Raises:
        InputError: a value that params.yaml cannot have, a graph that DVC cannot read, or one that reads sections which
            the params.yaml beside it does not have; names the experiment.
    """
    known: dict[str, PlannedRun] = {}
    of_experiment: dict[str, dict[str, PlannedRun]] = {}
    for experiment, setting in experiments.items():
        source = "params.yaml" if len(experiments) == 1 else f"experiment {experiment}"
        params = parse_yaml(setting.params, source)
        check_params(params, source)
        try:
            graph = graph_of(setting)
        except InputError as error:
            raise error if len(experiments) == 1 else InputError(f"{source}: {error}") from None
        own: dict[str, PlannedRun] = {}
        signs: dict[str, str] = {}
        for name, node in graph.nodes.items():
            stage = graph.declared[name]
            if lacking := [section for section in stage.sections if section not in params]:
                raise InputError(
                    f"{source}: has no section {lacking[0]}, which stage {name} of dvc.yaml reads; the two are not of "
                    f"one family ({family_in(params, source).name} by params.yaml); write both with frcnn preset"
                )
            read = sorted(set(stage.read.values()))
            sections = {section: params[section] for section in stage.sections}
            signs[name] = _sign(name, stage, sections, [signs[other] for other in read])
            if signs[name] not in known:
                known[signs[name]] = PlannedRun(node, stage, setting, params, {other: own[other] for other in read})
            own[name] = known[signs[name]]
            own[name].experiments.append(experiment)
        of_experiment[experiment] = own
    return Plan(list(known.values()), of_experiment)


def _sign(name: str, stage: Declared, params: Mapping[str, Any], before: Sequence[str]) -> str:
    content = json.dumps([name, asdict(stage), params, list(before)], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()
