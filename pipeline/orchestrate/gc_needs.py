"""What `frcnn gc` keeps: objects that dvc.yaml and dvc.lock name, in the workspace, experiments and commits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.experiments.utils import exp_refs
from dvc.scm import NoSCM
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree
from dvc_objects.errors import ObjectFormatError

from pipeline.orchestrate.gc_locks import lock_entries
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text

_MOST_NAMED = 3


@dataclass(frozen=True)
class Revisions:
    """Commits whose results are kept, beside the workspace and all experiments."""

    branches: bool = False
    tags: bool = False
    commits: bool = False


@dataclass
class Needed:
    """What is kept: objects of the cache, and the numbers of their sources.

    Of a folder whose list of files is not in the cache, the files are not known. `unknown` are those of stages that the
    workspace's dvc.lock alone names, which no run brings back while another family is present; `absent` are the others,
    such as of a commit whose results were not fetched. Each is in words.
    """

    objects: set[HashInfo] = field(default_factory=set)
    revisions: int = 0
    other_stages: set[str] = field(default_factory=set)
    unknown: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Its sources, in words."""
        kept = ["the workspace"]
        if self.revisions > 1:
            kept.append(count_text(self.revisions - 1, "experiment or commit", "experiments and commits"))
        if self.other_stages:
            kept.append(f"{count_text(len(self.other_stages), 'stage')} of dvc.lock that dvc.yaml does not have")
        return ", ".join(kept)

    def absent_text(self) -> str:
        """The lists of files that are absent, the first by name."""
        more = len(self.absent) - _MOST_NAMED
        return ", ".join(self.absent[:_MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")

    def refuse_unknown(self) -> None:
        """Raise InputError where it is not known what another family needs."""
        if self.unknown:
            raise InputError(
                f"{self.unknown[0]} is not in the cache, so that what that stage needs cannot be known and would be "
                "removed; bring it back (dvc pull, or frcnn preset of its family and frcnn repro), or where its "
                "results may go, take its entry out of dvc.lock"
            )


def add_needed(repo: Repo, revisions: Revisions, needed: Needed) -> None:
    """Add what a project needs.

    Raises:
        InputError: a dvc.lock is torn, a graph cannot be read, or a list of files is damaged; of which commit.
    """
    every = {"all_branches": revisions.branches, "all_tags": revisions.tags, "all_commits": revisions.commits}
    experiments = {} if isinstance(repo.scm, NoSCM) else {repo.scm.get_ref(str(ref)): ref for ref in exp_refs(repo.scm)}
    for revision in repo.brancher(all_experiments=True, sha_only=True, **every):
        needed.revisions += 1
        if revision in ("", "workspace"):
            _add_revision(repo, needed, "")
            continue
        experiment = experiments.get(revision)
        name = f"experiment {experiment.name}" if experiment else f"commit {revision[:7]}"
        remedy = (
            f"dvc exp remove {experiment.name}" if experiment else "keep fewer commits (--all-branches, --all-tags)"
        )
        with _named(name, remedy):
            _add_revision(repo, needed, f"{name}: ")


@contextmanager
def _named(name: str, remedy: str) -> Iterator[None]:
    """Add the revision to an error within."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}; or where its results may go, {remedy}") from None
    except DvcException as error:
        words = " ".join(str(error).split())
        raise InputError(f"{name}: dvc cannot read its graph: {words}; where its results may go, {remedy}") from None


def _add_revision(repo: Repo, needed: Needed, revision: str) -> None:
    text, where = _lock_text(repo), "dvc.lock" if revision else f"{repo.root_dir}/dvc.lock"
    entries: Mapping[str, Any] = {}
    if text is not None:
        # Before DVC reads it, which has its own words for what is wrong in it.
        entries = lock_entries(text, where, has_stages=False)
        lock_entries(text, where, has_stages=any(getattr(stage, "name", "") for stage in repo.index.stages))
    remedy = "run frcnn repro, which makes it anew" if not revision else "bring it back with dvc pull"
    for stage in repo.index.stages:
        what = f"{revision}stage {getattr(stage, 'name', stage.relpath)}"
        with _whole(what, remedy):
            # force: where the list of a folder's files is not in the cache there is nothing to be asked about.
            for objects in stage.get_used_objs(force=True).values():
                needed.objects |= objects
        for out in stage.outs:
            if not (out.use_cache and out.hash_info and out.hash_info.isdir):
                continue
            if out.cache.exists(out.hash_info.value):
                with _whole(what, remedy):  # DVC passes over a damaged one
                    needed.objects |= {each for _, _, each in Tree.load(out.cache, out.hash_info)}
            else:
                needed.absent.append(f"{what}: the list of the files of {out.def_path}")
    _add_other_stages(repo, entries, needed, revision)


def _add_other_stages(repo: Repo, entries: Mapping[str, Any], needed: Needed, revision: str) -> None:
    """Add what dvc.lock has of stages that dvc.yaml does not have.

    What they read is added too: of stages that all families have, dvc.lock names only what the last family wrote. What
    no stage writes, such as data/raw, was never in the cache.
    """
    present = {getattr(stage, "name", "") for stage in repo.index.stages}
    written = {out["path"] for entry in entries.values() for out in entry["outs"]}
    remedy = "bring it back with dvc pull, or run its family again (frcnn preset, frcnn repro)"
    for name, entry in entries.items():
        if name in present:
            continue
        needed.other_stages.add(name)
        for file in (*entry.get("deps", ()), *entry["outs"]):
            info = HashInfo("md5" if file.get("hash") == "md5" else "md5-dos2unix", file["md5"])
            odb = repo.cache.local if info.name == "md5" else repo.cache.legacy
            needed.objects.add(info)
            if not info.isdir:
                continue
            if odb.exists(info.value):
                with _whole(f"{revision}stage {name} of dvc.lock", remedy):
                    needed.objects |= {each for _, _, each in Tree.load(odb, info)}
            elif file["path"] in written:
                lost = f"{revision}stage {name} of dvc.lock: the list of the files of {file['path']}"
                (needed.absent if revision else needed.unknown).append(lost)


@contextmanager
def _whole(stage: str, remedy: str) -> Iterator[None]:
    """Add the stage to the error of a damaged list of files."""
    try:
        yield
    except ObjectFormatError as error:
        raise InputError(f"the cache is damaged: {stage}: {error}; {remedy}") from None


def _lock_text(repo: Repo) -> str | None:
    path = repo.fs.join(repo.root_dir, "dvc.lock")
    if not repo.fs.exists(path):
        return None
    with repo.fs.open(path, "rb") as file:
        return str(file.read().decode("utf-8", errors="replace"))
