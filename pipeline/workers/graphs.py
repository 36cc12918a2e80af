"""The graphs of settings as DVC reads them, each read once."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.orchestrate.graph import StageNode, nodes_of, opened
from pipeline.orchestrate.lock_entries import Declared, declared_stages
from pipeline.runtime.yaml_files import parse_yaml
from pipeline.workers.setting import Setting

_SECTION_IN_GRAPH = re.compile(r"\$\{\s*(\w+)")


@dataclass(frozen=True)
class DeclaredGraph:
    """The requested stages of a flow, each after those it reads from, and what all stages are declared to read."""

    nodes: Mapping[str, StageNode]
    declared: Mapping[str, Declared]


class Graphs:
    """The graphs of settings of one project.

    Args:
        root: the project.
        targets: stages that are wanted with all that they need; all where there is none.
        known: digests of files that stages read and that need not be there, by path.
    """

    def __init__(self, root: Path, targets: Sequence[str] = (), known: Mapping[str, str] | None = None) -> None:
        self._root, self._targets, self._known = root, targets, known or {}
        self._read: dict[str, DeclaredGraph] = {}

    def of(self, setting: Setting) -> DeclaredGraph:
        """The graph of a setting.

        Raises:
            InputError: DVC cannot read it, a target is not a stage of it, or a file that a stage reads is not there.
        """
        sign = _sign(setting)
        if sign not in self._read:
            with opened(self._root, setting.files()) as repo:
                self._read[sign] = DeclaredGraph(nodes_of(repo, self._targets), declared_stages(repo, self._known))
        return self._read[sign]


def _sign(setting: Setting) -> str:
    """What the stages depend on: dvc.yaml, and those sections of params.yaml whose values it takes over."""
    sections = sorted(set(_SECTION_IN_GRAPH.findall(setting.graph)))
    params = parse_yaml(setting.params, "params.yaml") if sections else {}
    return json.dumps([setting.graph, {name: params.get(name) for name in sections}], default=str)
