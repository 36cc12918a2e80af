"""Reports in one line which stages will rerun because another version of the code ran them last."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.orchestrate.code_stage import current_locks, md5_of
from pipeline.runtime.errors import InputError
from pipeline.runtime.own_code import CODE_STAGE
from pipeline.runtime.run_times import read_runs
from pipeline.runtime.version import UNKNOWN, current_version
from pipeline.runtime.words import count_text
from pipeline.runtime.yaml_files import read_yaml


def version_change(root: Path) -> str | None:
    """A line on the stages that another version last ran in `root` and whose code has changed since; None where there
    is none, as in a fresh clone. What the next run has done again is not named any more."""
    now = current_version()
    versions = {name: run.version for name, run in read_runs(root).items() if run.version not in (now, UNKNOWN)}
    if not versions or now == UNKNOWN:
        return None
    try:
        declared, locked = (read_yaml(root / name)["stages"] for name in ("dvc.yaml", "dvc.lock"))
        declared = {name: stage for name, stage in declared.items() if name != CODE_STAGE}
        ran = versions.keys() & declared.keys() & locked.keys()
        digests = {path: md5_of(lock) for path, lock in current_locks(root).items()}
        changed = {name for name in ran if not _ran_with(digests, declared[name], locked[name])}
        earlier = ", ".join(sorted({versions[name] for name in changed}))
    except (OSError, InputError, KeyError, TypeError, AttributeError):
        return None  # DVC names what is wrong with its files
    if not changed:
        return None
    return (
        f"{count_text(len(changed), 'stage')} of {len(declared)} last ran with version {earlier} and will rerun with "
        f"this one, {now}; see CHANGELOG.md"
    )


def _ran_with(digests: Mapping[str, str], declared: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    """Whether a stage of dvc.lock ran with the code whose locks have these digests, by path."""
    ran = {dep["path"]: dep["md5"] for dep in entry["deps"]}
    return all(ran.get(dep) == digests[dep] for dep in declared["deps"] if dep in digests)
