"""A repository whose dvc.yaml is one of two tiny graphs, of two families, that have one stage in common."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from dvc.repo import Repo

from pipeline.artifacts.atomic import write_text
from pipeline.workers.setting import FILES, Setting
from tests.workers.cluster import git

_WRITE = """
import pathlib, sys
for place, text in zip(sys.argv[2::2], sys.argv[3::2]):
    path = pathlib.Path(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    images = pathlib.Path("data/dataset/all.txt").read_text() if path.name == "model.txt" else ""
    path.write_text(text + images)
with open(".dvc/tmp/ran", "a") as ran:
    ran.write(sys.argv[1] + "\\n")
"""
CODE = {"data/code/evaluate.json": "{}", "data/code/evaluate-other.json": '{"other": 1}'}
"""Code locks of both graphs."""


def _writing(stage: str, **files: str) -> str:
    """A command that writes files, by their paths below data/."""
    words = [word for path, text in files.items() for word in (f"data/{path}", text)]
    return shlex.join([sys.executable, "-S", "write.py", stage, *words])


def _graph(section: str, networks: tuple[str, ...], code: str) -> str:
    stages: dict[str, Any] = {
        "code": {
            "cmd": _writing("code", **{code: CODE[f"data/{code}"]}),
            "always_changed": True,
            "outs": [f"data/{code}"],
        },
        "dataset": {
            "cmd": _writing("dataset", **{"dataset/all.txt": "seed-0"}),
            "params": ["base"],
            "outs": ["data/dataset"],
        },
    }
    for number, network in enumerate(networks):
        name = f"evaluate_{network}"
        metrics = {f"{name}/metrics.json": json.dumps({"mAP50": number / 10, "images": 8})}
        stages[name] = {
            "cmd": _writing(name, **metrics, **{f"train_{network}/model.txt": f"weights of {network}, "}),
            "deps": ["data/dataset", f"data/{code}"],
            "params": [section],
            "outs": [f"data/train_{network}"],
            "metrics": [f"data/{name}/metrics.json"],
        }
    return str(yaml.safe_dump({"stages": stages}, sort_keys=False))


def default_setting() -> Setting:
    """Of Faster R-CNN."""
    networks = ("step2", "step4", "joint")
    return Setting(
        "family: faster_rcnn\nbase:\n  seed: 0\nrpn:\n  channels: 8\n", _graph("rpn", networks, "code/evaluate.json")
    )


def other_setting(other: Setting) -> Setting:
    """Of the family `other`, see the fixture of that name."""
    return Setting(other.params, _graph("other", ("other", "later"), "code/evaluate-other.json"))


@dataclass
class TwoGraphs:
    """The repository, in `root`."""

    root: Path

    def use(self, setting: Setting) -> None:
        """Write the graph and its parameters, as `frcnn preset` does."""
        for name, text in setting.files().items():
            write_text(self.root / name, text)

    def texts(self) -> dict[str, str]:
        return {name: (self.root / name).read_text() for name in FILES}

    def repro(self) -> list[str]:
        """Run what is not up to date; the stages that ran and were not taken from the run-cache, `code` apart."""
        log, here = self.root / ".dvc/tmp/ran", Path.cwd()
        log.unlink(missing_ok=True)
        os.chdir(self.root)
        try:
            with Repo(str(self.root)) as repo:
                repo.reproduce()
        finally:
            os.chdir(here)
        return [name for name in log.read_text().split() if name != "code"]

    def status(self) -> dict[str, Any]:
        """What DVC finds changed, `code` apart."""
        with Repo(str(self.root)) as repo:
            return {name: found for name, found in repo.status().items() if not name.endswith("code")}

    def lock(self) -> dict[str, Any]:
        return dict(yaml.safe_load((self.root / "dvc.lock").read_text())["stages"])


def two_graphs(root: Path, setting: Setting) -> TwoGraphs:
    """A repository in `root` with `setting` committed, of which nothing has run."""
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc/config").write_text("[core]\n    analytics = false\n    check_update = false\n")
    (root / ".gitignore").write_text("/data/\n/.dvc/tmp/\n/.dvc/cache/\n")
    (root / "write.py").write_text(_WRITE)
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    for key in ("user.name", "user.email"):  # dvc exp apply needs them, and a machine may have none
        git(root, "config", key, "somebody")
    made = TwoGraphs(root)
    made.use(setting)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "All")
    return made
