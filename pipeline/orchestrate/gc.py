"""`frcnn gc`: remove from DVC's cache what nothing needs any more, as `dvc gc --workspace` does, but keep all families.

`dvc gc` keeps the outputs of the stages of dvc.yaml, which are those of one family: what another family has trained
would go, though dvc.lock still names it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dvc.repo import Repo
from dvc_data.hashfile.gc import gc as remove_unused
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree
from dvc_objects.errors import ObjectFormatError

from pipeline.orchestrate.dvc_leftovers import is_whole_lock
from pipeline.orchestrate.graph import opened
from pipeline.orchestrate.workspace import hold_workspace, refuse_if_held
from pipeline.runtime.errors import InputError
from pipeline.runtime.surroundings import check_repository
from pipeline.runtime.words import count_text
from pipeline.runtime.yaml_files import YamlError, parse_yaml


@dataclass(frozen=True)
class Revisions:
    """Commits whose results are kept, beside the workspace and all experiments."""

    branches: bool = False
    tags: bool = False
    commits: bool = False


@dataclass
class _Needed:
    """What is kept: objects of the cache, and the numbers of what they were found by."""

    objects: set[HashInfo] = field(default_factory=set)
    revisions: int = 0
    other_stages: set[str] = field(default_factory=set)


def collect_garbage(
    root: Path,
    log: Callable[[str], None],
    confirm: Callable[[str], bool] | None,
    revisions: Revisions = Revisions(),
    projects: Sequence[Path] = (),
    dry: bool = False,
) -> None:
    """Remove objects of the cache that no result needs, and entries of the run-cache whose objects are then gone.

    Kept is what is needed by the workspace, by all experiments, and by `revisions`: what their dvc.yaml and dvc.lock
    name together, and what dvc.lock alone names, which are the results of other families.

    Args:
        confirm: asked before anything is removed; None: nobody is asked.
        projects: other clones with the same cache folder, whose results are kept too.
        dry: say what would be removed, and remove nothing.

    Raises:
        InputError: a run is at work in one of the projects, a dvc.lock is missing or torn, a commit's graph cannot be
            read, an object of the cache is damaged, or the cache folder is outside of the project and no other project
            is named.
    """
    root = Path(root).resolve()
    roots = list(dict.fromkeys([root, *(Path(project).resolve() for project in projects)]))
    with ExitStack() as stack:
        for place in roots:
            check_repository(place)
            refuse_if_held(place)
            _check_lock(place)  # before a torn one is mended: what was cut off would be lost
            stack.enter_context(hold_workspace(place))
        stack.enter_context(_quiet())
        repos = [stack.enter_context(opened(place)) for place in roots]
        _check_cache(repos, bool(projects))
        needed = _Needed()
        for repo in repos:
            stack.enter_context(repo.lock)
            _collect(repo, revisions, needed)
        caches = _caches(repos[0])
        unused = {odb: _unused(odb, needed.objects) for odb in caches}
        count, size = sum(map(len, unused.values())), sum(map(_size, caches, unused.values()))
        log(f"needed: {_text_of(needed)}")
        what = f"{count_text(count, 'object')} of {repos[0].cache.local_cache_dir}, {size / 1e6:,.1f} MB"
        if dry or not count:
            log(f"not needed, would be removed: {what}" if count else "nothing to remove")
        elif confirm is None or confirm(f"Remove what is not needed, {what}?"):
            for odb in caches:
                remove_unused(odb, needed.objects)
            log(f"removed: {what}")
        else:
            log("nothing removed")
            return
        if not dry and (gone := _forget_runs(repos[0])):
            log(f"removed from the run-cache: {count_text(gone, 'entry', 'entries')} whose results are gone")


def _check_lock(root: Path) -> None:
    """Refuse a dvc.lock that does not say all that is needed."""
    path = root / "dvc.lock"
    try:
        whole = is_whole_lock(path.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, so that every result would be removed; restore it from git") from None
    if not whole:
        raise InputError(
            f"{path}: torn or edited, so that results which it named would be removed; restore it from git, or run "
            "frcnn repro, which mends it"
        )


def _check_cache(repos: Sequence[Repo], others_named: bool) -> None:
    """Refuse to remove what other clones may need."""
    first = repos[0]
    cache = Path(first.cache.local_cache_dir).resolve()
    if not cache.is_relative_to(Path(first.root_dir).resolve()) and not others_named:
        raise InputError(
            f"{cache}: the cache lies outside of this project, where other clones may keep their results; name each of "
            "them with --project PATH, or --project . where there is none"
        )
    for other in repos[1:]:
        if Path(other.cache.local_cache_dir).resolve() != cache:
            raise InputError(f"{other.root_dir}: its cache is {other.cache.local_cache_dir}, not {cache}; leave it out")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without DVC's warnings that stages have not run yet."""
    logger = logging.getLogger("dvc")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _collect(repo: Repo, revisions: Revisions, needed: _Needed) -> None:
    """Add what a project needs."""
    every = {"all_branches": revisions.branches, "all_tags": revisions.tags, "all_commits": revisions.commits}
    try:
        for _ in repo.brancher(all_experiments=True, **every):
            needed.revisions += 1
            # force: where the list of a folder's files is not in the cache there is nothing to be asked about.
            for objects in repo.index.used_objs(force=True).values():
                needed.objects |= objects
            _collect_other_stages(repo, needed)
    except ObjectFormatError as error:
        raise InputError(f"the cache is damaged: {error}; run frcnn repro, which makes it anew") from None


def _collect_other_stages(repo: Repo, needed: _Needed) -> None:
    """Add what dvc.lock has of stages that dvc.yaml does not have.

    What they read is added too: of stages that all families have, dvc.lock names only what the last family wrote.
    """
    present = {getattr(stage, "name", "") for stage in repo.index.stages}
    for name, entry in _lock_stages(repo).items():
        if name in present:
            continue
        needed.other_stages.add(name)
        for file in (*(entry.get("deps") or ()), *(entry.get("outs") or ())):
            if digest := file.get("md5"):
                info = HashInfo("md5" if file.get("hash") == "md5" else "md5-dos2unix", digest)
                needed.objects |= _with_content(repo, info)


def _lock_stages(repo: Repo) -> Mapping[str, Any]:
    path = repo.fs.join(repo.root_dir, "dvc.lock")
    if not repo.fs.exists(path):
        return {}
    with repo.fs.open(path, encoding="utf-8") as file:
        stages: Mapping[str, Any] = parse_yaml(file.read(), path).get("stages") or {}
    return stages


def _with_content(repo: Repo, info: HashInfo) -> set[HashInfo]:
    """An object and, of a folder whose list of files is in the cache, those."""
    odb = repo.cache.local if info.name == "md5" else repo.cache.legacy
    if not info.isdir or not odb.exists(info.value):
        return {info}
    return {info, *(entry for _, _, entry in Tree.load(odb, info))}


def _caches(repo: Repo) -> list[Any]:
    found: list[Any] = []
    for _, odb in repo.cache.by_scheme():
        if odb and odb not in found:
            found.append(odb)
    return found


def _unused(odb: Any, needed: Iterable[HashInfo]) -> list[str]:
    """What DVC would remove."""
    used = {info.value for info in needed if info.name == odb.hash_name}
    return [digest for digest in odb.all() if digest not in used]


def _size(odb: Any, digests: Iterable[str]) -> int:
    return sum(odb.fs.size(odb.oid_to_path(digest)) or 0 for digest in digests)


def _forget_runs(repo: Repo) -> int:
    """Remove entries of the run-cache whose results are gone, and with a remote are nowhere else; how many.

    Who coordinates workers takes what has an entry for done.
    """
    if repo.config["core"].get("remote"):
        return 0
    odb, gone = repo.cache.local, 0
    for path in Path(repo.cache.legacy.path, "runs").glob("*/*/*"):
        try:
            outs = parse_yaml(path.read_text(encoding="utf-8"), path)["outs"]
            there = all(odb.exists(out["md5"]) for out in outs)
        except (YamlError, UnicodeDecodeError, KeyError, TypeError):
            continue  # torn: DVC passes over it
        if not there:
            path.unlink()
            gone += 1
            if not any(path.parent.iterdir()):
                path.parent.rmdir()  # DVC fails where a key has no entry
    return gone


def _text_of(needed: _Needed) -> str:
    kept = ["the workspace"]
    if needed.revisions > 1:
        kept.append(count_text(needed.revisions - 1, "experiment or commit", "experiments and commits"))
    if needed.other_stages:
        kept.append(f"{count_text(len(needed.other_stages), 'stage')} of dvc.lock that dvc.yaml does not have")
    return ", ".join(kept)
