"""The graph on a dozen images as `dvc repro` leaves it, in a quarter of the time: Python and torch start once.

python -m tests.whole_run FOLDER PARAMS
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import yaml

from tests.conftest import new_project
from tests.in_process import run_command, words_of


def main(folder: str, params: str) -> None:
    """Make a project in a folder with changes to the parameters, as JSON, and run each stage of its graph."""
    project = new_project(Path(folder), json.loads(params))
    for name in yaml.safe_load((project.root / "dvc.yaml").read_text())["stages"]:
        ended = run_command(project.root, *words_of(project.root, name), dvc_root=project.root)
        assert ended.returncode == 0, ended.stderr
    os.environ["DVC_NO_ANALYTICS"] = "1"
    done = run_command(project.root, "dvc", "commit", "--force")
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    main(*sys.argv[1:])
