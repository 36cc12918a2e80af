"""The input of a report: a project's folder, its parameters, its graph and when its stages ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.families.family import Family
from pipeline.families.registry import family_of
from pipeline.graphs.command import StageCommand
from pipeline.graphs.present import check_same_family
from pipeline.orchestrate.graph import Graph, read_graph
from pipeline.params.file import load_params
from pipeline.params.reading import Params
from pipeline.runtime.errors import InputError
from pipeline.runtime.run_times import RunTime, read_runs
from pipeline.views.json_files import read_metrics


@dataclass(frozen=True)
class Run:
    """A project in its present state."""

    root: Path
    params: Params
    graph: Graph
    times: Mapping[str, RunTime]

    @classmethod
    def read(cls, root: Path) -> Run:
        """The project in `root`.

        Raises:
            InputError: there is none, or its parameters or its graph cannot be read, or are of two families.
        """
        root = Path(root)
        params = load_params(root / "params.yaml")
        check_same_family(root)
        return cls(root, params, read_graph(root), read_runs(root))

    def folder(self, stage: str) -> Path:
        """The folder that a stage writes."""
        return self.root / "data" / stage

    @property
    def family(self) -> Family:
        """The family of params.yaml."""
        return family_of(self.params.family)

    def has(self, stage: str) -> bool:
        """Whether a stage of the graph has written its folder. One of another family's graph may lie in data/, too."""
        folder = self.folder(stage)
        return stage in self.graph.nodes and folder.is_dir() and any(folder.iterdir())

    def need(self, stage: str) -> Path:
        """The folder of a stage that has run.

        Raises:
            InputError: it has not.
        """
        if not self.has(stage):
            raise InputError(f"{self.folder(stage)}: not made yet; dvc repro {stage}")
        return self.folder(stage)

    def command(self, stage: str) -> StageCommand:
        """A stage's command line.

        Raises:
            InputError: the graph has no such stage.
        """
        if stage not in self.graph.nodes:
            raise InputError(f"{self.root / 'dvc.yaml'}: has no stage {stage}; frcnn preset writes the whole graph")
        return StageCommand.parse(self.graph.nodes[stage].command)

    def networks(self) -> dict[str, str]:
        """The titles of the networks that have been evaluated, by name; without those that do not exist."""
        networks = self.family.networks
        return {name: network.title for name, network in networks.items() if self._is_judged(f"evaluate_{name}")}

    def _is_judged(self, stage: str) -> bool:
        return self.has(stage) and bool(read_metrics(self.folder(stage)))
