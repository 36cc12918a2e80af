"""The ablations of a family's paper as named DVC experiments, each one change of the present params.yaml.

A family says which there are: `ABLATIONS` of its part `ablations`, a function of the parameters. The first is `base`.
An experiment runs in the workspace, so it reuses all that its change leaves alone; the first run is cached by DVC, and
asking again only reads it back.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from pipeline.artifacts.atomic import write_text
from pipeline.families.registry import declared, family_of
from pipeline.orchestrate.preloading import preloaded
from pipeline.params.file import check_params, load_params
from pipeline.params.reading import Params
from pipeline.runtime.errors import InputError
from pipeline.runtime.surroundings import check_repository
from pipeline.runtime.variables import check_variables
from pipeline.runtime.yaml_files import EditedYaml, in_one_line, parse_yaml

_COLUMNS = {"mAP50": "VOC mAP@.5", "AP": "COCO AP", "proposal_recall50": "recall"}
"""Of a table of ablations: figures of metrics.json, where a family has them, and their titles."""


@dataclass(frozen=True)
class Ablation:
    """A question of a paper: `changes` of `section.key`, judged by the figures of one `network`; an empty change reads
    another network of the same run."""

    name: str
    changes: dict[str, Any]
    network: str

    @property
    def experiment(self) -> str:
        """The name of its DVC experiment."""
        return f"ablation-{self.name}"


def ablations_of(params: Params) -> list[Ablation]:
    """All ablations of the family of the present params.yaml.

    Raises:
        InputError: the family has none.
    """
    family = family_of(params.family)
    ablations: Callable[[Params], list[Ablation]] | None = declared(family.name, "ablations", "ABLATIONS")
    if ablations is None:
        raise InputError(
            f"{family.title}: has no ablations; try changes of your own by frcnn sweep, or declare some in "
            f"pipeline/families/{family.name}/ablations.py"
        )
    return ablations(params)


def select(ablations: Sequence[Ablation], names: Sequence[str]) -> list[Ablation]:
    """The named ones, or all; `base` always comes first, as the others are compared with it.

    Raises:
        InputError: no ablation of that name.
    """
    known = {ablation.name: ablation for ablation in ablations}
    for name in names:
        if name not in known:
            raise InputError(f"no ablation {name!r}; there are {', '.join(known)}")
    return [a for a in ablations if not names or a.name == "base" or a.name in names]


def run_ablations(root: Path, names: Sequence[str], log: Callable[[str], None]) -> pd.DataFrame:
    """Run the named ablations, or all, in the workspace `root`, then put params.yaml and data/ back.

    Returns:
        One row an ablation: its figures on the images of `evaluate.split`, and the difference of mAP from `base`.

    Raises:
        InputError: an unknown name, or a run that failed.
        StartedOtherwise: a variable of the environment is wrong.
    """
    check_variables()
    check_repository(root)
    chosen = select(ablations_of(load_params(root / "params.yaml")), names)
    rows: dict[str, dict[str, Any]] = {}
    with preloaded(root, _environment()) as variables, _params_put_back(root, variables):
        original = (root / "params.yaml").read_text(encoding="utf-8")
        for number, ablation in enumerate(chosen, start=1):
            changes = ", ".join(f"{key}={value}" for key, value in ablation.changes.items())
            log(f"[{number}/{len(chosen)}] {ablation.name}: {changes or f'the network {ablation.network} of base'}")
            write_text(root / "params.yaml", changed_params(original, ablation.changes))
            _forget_experiment(root, ablation.experiment)
            _dvc(root, "exp", "run", "--name", ablation.experiment, variables=variables)
            metrics = json.loads((root / f"data/evaluate_{ablation.network}/metrics.json").read_text(encoding="utf-8"))
            figures = {title: metrics[key] for key, title in _COLUMNS.items() if key in metrics}
            difference = metrics["mAP50"] - rows["base"][_COLUMNS["mAP50"]] if rows else 0.0
            rows[ablation.name] = {"network": ablation.network, **figures, "difference": difference}
    return pd.DataFrame.from_dict(rows, orient="index")


def changed_params(original: str, changes: dict[str, Any]) -> str:
    """The text of a params.yaml with some `section.key` changed, comments kept.

    Raises:
        InputError: a value that params.yaml cannot have.
    """
    edited = EditedYaml(original, "params.yaml")
    for key, value in changes.items():
        section, name = key.split(".")
        edited.content[section][name] = in_one_line(value)
    text = edited.text()
    check_params(parse_yaml(text, "params.yaml"), "params.yaml")
    return text if changes else original


@contextmanager
def _params_put_back(root: Path, variables: Mapping[str, str]) -> Iterator[None]:
    path = root / "params.yaml"
    original = path.read_text(encoding="utf-8")
    try:
        yield
    finally:
        write_text(path, original)
    _dvc(root, "repro", variables=variables)


def _forget_experiment(root: Path, name: str) -> None:
    # `dvc exp run --force` would take a name again, but also run every stage again.
    if name in _dvc(root, "exp", "list", "--name-only", capture=True).split():
        _dvc(root, "exp", "remove", name, capture=True)


def _environment() -> dict[str, str]:
    # `dvc exp` makes commits of its own, for which git wants a name.
    names = {f"GIT_{who}_{what}": "frcnn" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**names, **os.environ, "DVC_NO_ANALYTICS": "1", "PATH": path}


def _dvc(
    root: Path, *arguments: str, capture: bool = False, variables: Mapping[str, str] = MappingProxyType({})
) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    environment = {**_environment(), **variables}
    output = subprocess.PIPE if capture else None
    result = subprocess.run(command, cwd=root, env=environment, check=False, stdout=output, text=True)
    if result.returncode:
        raise InputError(f"dvc {' '.join(arguments)} ended with status {result.returncode}; see what it said above")
    return result.stdout or ""
