"""What is to be run for one or many experiments: every run of a stage that differs from all others, once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.orchestrate.graph import StageNode
from pipeline.params.file import check_params
from pipeline.runtime.yaml_files import parse_yaml
from pipeline.workers.lock_entries import Declared


@dataclass
class PlannedRun:
    """One run of a stage, for all experiments in which it is the same.

    Attributes:
        text, params: params.yaml of the first of them, as text and parsed.
        before: the runs it reads from, by the name of their stage.
    """

    node: StageNode
    declared: Declared
    text: str
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


def plan_of(nodes: Mapping[str, StageNode], declared: Mapping[str, Declared], experiments: Mapping[str, str]) -> Plan:
    """Plan the stages `nodes`, each after those it reads from, for experiments given by the texts of their params.yaml.

    Raises:
        InputError: a value that params.yaml cannot have; names the experiment.
    """
    known: dict[str, PlannedRun] = {}
    of_experiment: dict[str, dict[str, PlannedRun]] = {}
    for experiment, text in experiments.items():
        source = "params.yaml" if len(experiments) == 1 else f"experiment {experiment}"
        params = parse_yaml(text, source)
        check_params(params, source)
        own: dict[str, PlannedRun] = {}
        signs: dict[str, str] = {}
        for name, node in nodes.items():
            stage = declared[name]
            read = sorted(set(stage.read.values()))
            signs[name] = _sign(
                name, {section: params[section] for section in stage.sections}, [signs[b] for b in read]
            )
            if signs[name] not in known:
                before = {other: own[other] for other in read}
                known[signs[name]] = PlannedRun(node, stage, text, params, before)
            own[name] = known[signs[name]]
            own[name].experiments.append(experiment)
        of_experiment[experiment] = own
    return Plan(list(known.values()), of_experiment)


def _sign(stage: str, params: Mapping[str, Any], before: Sequence[str]) -> str:
    content = json.dumps([stage, params, list(before)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()
