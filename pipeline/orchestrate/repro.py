"""`frcnn repro`: runs `dvc repro` after cleaning up, if no other run is at work in the workspace."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.graphs.present import check_graph
from pipeline.graphs.writing import graph_to_make
from pipeline.orchestrate.code_stage import lock_code
from pipeline.orchestrate.precision import slow_precision
from pipeline.orchestrate.preloading import preloaded_until_this_ends
from pipeline.orchestrate.version_change import version_change
from pipeline.orchestrate.workspace import check_data_places, environment_in, hold_workspace
from pipeline.runtime.surroundings import check_repository
from pipeline.runtime.variables import check_variables


def run_repro(root: Path, arguments: Sequence[str]) -> None:
    """Replace this process by `dvc repro` with these arguments; does not return.

    Raises:
        InputError: another run, or a dvc command, is at work in `root`, it is not a git repository, dvc.yaml or
            params.yaml not YAML, of two families, or without stages.
        StartedOtherwise: a variable of the environment is wrong.
    """
    check_variables()
    root = Path(root).resolve()
    check_data_places(Path(os.path.relpath(root)))
    check_repository(root)
    check_graph(root)
    with hold_workspace(root) as lock:
        for line in filter(None, (graph_to_make(root), version_change(root), slow_precision(root))):
            print(line, file=sys.stderr, flush=True)
        if any(map(_leaves_out_stages, arguments)):
            lock_code(root)  # DVC would not run stage code
        # DVC takes this process's place and the lock with it, which its stages do not inherit.
        os.set_inheritable(lock, True)
        command = [sys.executable, "-m", "pipeline.orchestrate.quiet_dvc", "--wait-for-lock", "repro", *arguments]
        environment = environment_in(root, os.environ)
        os.execve(sys.executable, command, {**environment, **preloaded_until_this_ends(root, environment)})


def _leaves_out_stages(argument: str) -> bool:
    """Whether DVC takes an argument for --single-item, in full, cut short, or as one letter, alone or among others, or
    for --downstream."""
    in_full = ("--single-item", "--downstream")
    return any(len(argument) > 3 and option.startswith(argument) for option in in_full) or bool(
        re.fullmatch("-[a-zA-Z]*s[a-zA-Z]*", argument)
    )
