"""What dvc.lock says of a stage run, made before the run: its command and parameters, and what it reads.

DVC's run-cache keeps a run under a key of just that. So the key follows from what the earlier stages have written
of a run, and whether anybody has made it, without having the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.repo import Repo
from dvc.stage.utils import split_params_deps
from dvc.utils import dict_sha256

from pipeline.orchestrate.graph import stages_of
from pipeline.runtime.errors import InputError

LockEntry = dict[str, Any]
"""One stage of dvc.lock: `cmd`, `deps` and `outs` with their digests, `params`."""

_SIZES = ("size", "nfiles")
_PARAMS_FILE = "params.yaml"


@dataclass(frozen=True)
class Declared:
    """What a clone knows about a stage, independent of the parameters and of the output of earlier stages.

    Attributes:
        files: what it reads that no stage writes, code and linked data: path to digest.
        read: what it reads that other stages write: path to the name of the stage.
        sections: of params.yaml.
    """

    command: str
    files: Mapping[str, str]
    read: Mapping[str, str]
    sections: tuple[str, ...]
    outs: tuple[str, ...]

    def entry(self, params: Mapping[str, Any], before: Mapping[str, LockEntry]) -> LockEntry:
        """The lock entry of a run, its outputs without digests.

        Args:
            params: the content of params.yaml. before: the entries of the stages it reads from.
        """
        digests = dict(self.files)
        for path, stage in self.read.items():
            digests[path] = written_by(before[stage])[path]
        return {
            "cmd": self.command,
            "deps": [{"path": path, "hash": "md5", "md5": digests[path]} for path in sorted(digests)],
            "params": {_PARAMS_FILE: {section: params[section] for section in self.sections}},
            "outs": [{"path": path, "hash": "md5"} for path in sorted(self.outs)],
        }


def declared_stages(repo: Repo, known: Mapping[str, str] | None = None) -> dict[str, Declared]:
    """Every stage of a clone; what no stage writes is hashed.

    Args:
        known: digests of files that need not be there, by path.

    Raises:
        InputError: a file that a stage reads is not there.
    """
    root, stages, known = Path(repo.root_dir), stages_of(repo), known or {}
    writer = {_relative(root, out): name for name, stage in stages.items() for out in stage.outs}
    found = {}
    for name, stage in stages.items():
        params, deps = split_params_deps(stage)
        paths = {_relative(root, dep): dep for dep in deps}
        for path, dep in paths.items():
            if path not in writer and path not in known and not dep.exists:
                raise InputError(f"{path}: not there, and the stage {name} reads it")
        found[name] = Declared(
            stage.cmd,
            {path: known.get(path) or dep.get_hash().value for path, dep in paths.items() if path not in writer},
            {path: writer[path] for path in paths if path in writer},
            tuple(sorted(section for dep in params for section in dep.params)),
            tuple(sorted(_relative(root, out) for out in stage.outs)),
        )
    return found


def key_of(entry: LockEntry) -> str:
    """The key under which DVC's run-cache keeps the run: 64 hexadecimal digits."""
    return str(dict_sha256({**entry, "outs": [out["path"] for out in entry["outs"]]}, exclude=_SIZES))


def value_of(entry: LockEntry) -> str:
    """The name under which DVC's run-cache keeps this very result, among others under its key."""
    return str(dict_sha256(entry, exclude=_SIZES))


def written_by(entry: LockEntry) -> dict[str, str]:
    """The digest of each output, by path."""
    return {out["path"]: out["md5"] for out in entry["outs"]}


def differing_inputs(one: LockEntry, other: LockEntry) -> list[str]:
    """What two runs of a stage do not have in common of what they read: paths, sections, or the command."""
    changed = ["the command"] if one["cmd"] != other["cmd"] else []
    digests = [{dep["path"]: dep["md5"] for dep in entry["deps"]} for entry in (one, other)]
    sections: list[Mapping[str, Any]] = [next(iter(entry.get("params", {}).values()), {}) for entry in (one, other)]
    for mine, theirs in (digests, sections):
        changed += sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))
    return changed


def _relative(root: Path, place: Any) -> str:
    return Path(place.fs_path).relative_to(root).as_posix()
