"""Lock the code of every stage: write for each module of stages/ which modules it is made of, and a digest of each.

Other stages depend on their lock, and so DVC reruns them where their own code has changed, but for comments, docstrings
and layout, or a library that results depend on. Stage code runs before all others, and so it also checks the whole of
params.yaml: what is wrong anywhere in it is reported before anything trains.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.artifacts.atomic import write_text
from pipeline.own_code import MEMO, stage_locks
from pipeline.params.file import load_params
from pipeline.stage_process import StageProcess


def code(out: Path, params_file: Path, memo: Path) -> None:
    """Check params.yaml and write a lock per stage module; locks of modules that are gone are removed."""
    load_params(params_file)
    locks = stage_locks(memo)
    out.mkdir(parents=True, exist_ok=True)
    for left in set(out.glob("*.json")) - {out / f"{name}.json" for name in locks}:
        left.unlink()
    for name, lock in locks.items():
        write_text(out / f"{name}.json", lock.text())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write a lock per stage module into")
    parser.add_argument("--params-file", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    process = StageProcess("code", arguments.out)
    with process.until_end():
        code(arguments.out, arguments.params_file, process.notes / MEMO)
