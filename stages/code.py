"""Lock the code of every stage: for each command, write the modules that it runs, with a digest of each.

Each other stage depends on its lock. So DVC reruns it if its own code has changed, apart from comments, docstrings and
layout, or a library that results depend on. Stage code runs before all others. Therefore it also checks the whole of
params.yaml, and that its family is that of dvc.yaml, so that mistakes are reported before anything trains.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from pipeline.artifacts.atomic import write_text
from pipeline.graphs.present import DVC_YAML, PresentGraph, check_params_of_graph, extras_in, present_graph
from pipeline.runtime.errors import InputError
from pipeline.runtime.own_code import CODE_STAGE, LOCKS, MEMO, is_family, stage_locks
from pipeline.runtime.stage_process import StageProcess
from pipeline.runtime.yaml_files import read_yaml


def code(out: Path, params_file: Path, memo: Path) -> None:
    """Check params.yaml and write the locks of the present graph, those beside dvc.yaml; others are removed."""
    graph = present_graph(params_file.parent)
    # A family that does not exist is named below, with what to write.
    stages = [(module, family) for module, family in graph.code() if not family or is_family(family)]
    locks = stage_locks(stages, memo, extras=extras_in(params_file))
    # Not before: a module that is not valid Python is named by then, and this one imports a part of them.
    from pipeline.params.file import load_params

    load_params(params_file)
    check_params_of_graph(params_file.parent, graph, read_yaml(params_file))
    _check_outputs(graph, locks)
    out.mkdir(parents=True, exist_ok=True)
    for left in set(out.glob("*.json")) - {out / f"{name}.json" for name in locks}:
        left.unlink()
    for name, lock in locks.items():
        write_text(out / f"{name}.json", lock.text())


def _check_outputs(graph: PresentGraph, names: Iterable[str]) -> None:
    """Whether the graph has just these locks as outputs of stage `code`.

    Raises:
        InputError: it has one of code that no command runs, or a stage reads one that is not among them.
    """
    if CODE_STAGE not in graph.stages:
        return
    listed = set(graph.paths(CODE_STAGE, "outs"))
    for lock in sorted(listed - {(LOCKS / f"{name}.json").as_posix() for name in names}):
        raise InputError(f"{DVC_YAML}: stage code lists {lock}, of code that no command runs; run frcnn graph")
    for stage in graph.stages:
        for lock in graph.paths(stage, "deps"):
            if Path(lock).parent == LOCKS and lock not in listed:
                raise InputError(
                    f"{DVC_YAML}: stage {stage} depends on {lock}, which stage code does not list; run frcnn graph"
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write the locks into")
    parser.add_argument("--params-file", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    process = StageProcess(CODE_STAGE, arguments.out)
    with process.until_end():
        code(arguments.out, arguments.params_file, process.notes / MEMO)
