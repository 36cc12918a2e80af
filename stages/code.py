"""Lock the code of every stage: write for each module of stages/ which modules it is made of, and a digest of each.

Other stages depend on their lock, and so DVC reruns them where their own code has changed, but for comments, docstrings
and layout, or a library that results depend on. Stage code runs before all others, and so it also checks the whole of
params.yaml: what is wrong anywhere in it is reported before anything trains.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.artifacts.atomic import write_text
from pipeline.runtime.errors import InputError
from pipeline.runtime.own_code import CODE_STAGE, MEMO, stage_locks
from pipeline.runtime.stage_process import StageProcess
from pipeline.runtime.yaml_files import read_yaml


def code(out: Path, params_file: Path, memo: Path) -> None:
    """Check params.yaml and write a lock per stage module; locks of modules that are gone are removed."""
    locks = stage_locks(memo)
    # Not before: a module that is not valid Python is named by then, and this one imports a part of them.
    from pipeline.params.file import load_params

    load_params(params_file)
    _check_graph(params_file.with_name("dvc.yaml"), out, locks)
    out.mkdir(parents=True, exist_ok=True)
    for left in set(out.glob("*.json")) - {out / f"{name}.json" for name in locks}:
        left.unlink()
    for name, lock in locks.items():
        write_text(out / f"{name}.json", lock.text())


def _check_graph(file: Path, out: Path, modules: Iterable[str]) -> None:
    """Whether the graph has the locks of these modules as outputs of stage `code`.

    Raises:
        InputError: it has one of another, or a stage reads one that is not among them.
    """
    if not file.exists():
        return
    stages, locks = read_yaml(file).get("stages") or {}, {(out / f"{name}.json").as_posix() for name in modules}
    listed = set(map(_path, stages.get(CODE_STAGE, {}).get("outs") or ()))
    for lock in sorted(listed - locks):
        module = f"stages/{Path(lock).stem}.py"
        raise InputError(f"{file}: stage code lists {lock}, and there is no {module}; restore it, or remove the line")
    for name, stage in stages.items():
        for lock in sorted((locks & set(map(_path, stage.get("deps") or ()))) - listed):
            raise InputError(f"{file}: stage {name} depends on {lock}; list it as an output of stage code too")


def _path(item: str | Mapping[str, Any]) -> str:
    """The path of an output or a dependency, which may have settings of DVC's."""
    return item if isinstance(item, str) else next(iter(item))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write a lock per stage module into")
    parser.add_argument("--params-file", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    process = StageProcess(CODE_STAGE, arguments.out)
    with process.until_end():
        code(arguments.out, arguments.params_file, process.notes / MEMO)
