"""`frcnn gc`: remove from DVC's cache what is no longer needed, like `dvc gc --workspace`, but keep all families.

`dvc gc` keeps the outputs of the stages of dvc.yaml, which are those of one family: what another family has trained
would go, though dvc.lock still names it.
"""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from dvc.repo import Repo
from dvc_data.hashfile.gc import gc as remove_unused
from dvc_data.hashfile.hash_info import HashInfo

from pipeline.orchestrate.dvc_leftovers import cache_of
from pipeline.orchestrate.gc_locks import check_lock
from pipeline.orchestrate.gc_needs import Needed, Revisions, add_needed
from pipeline.orchestrate.graph import opened
from pipeline.orchestrate.workspace import hold_workspace, refuse_if_held
from pipeline.runtime.errors import InputError
from pipeline.runtime.surroundings import check_repository
from pipeline.runtime.words import count_text
from pipeline.runtime.yaml_files import YamlError, parse_yaml

_WORKSPACE_ALONE = Revisions()


def collect_garbage(
    root: Path,
    log: Callable[[str], None],
    confirm: Callable[[str], bool] | None,
    revisions: Revisions = _WORKSPACE_ALONE,
    projects: Sequence[Path] = (),
    dry: bool = False,
) -> None:
    """Remove objects of the cache that no result needs, and entries of the run-cache whose objects are then gone.

    Kept is what is needed by the workspace, by all experiments, and by `revisions`: what their dvc.yaml and dvc.lock
    name together, and what dvc.lock alone names, which are the results of other families.

    Args:
        confirm: called before anything is removed; None: no confirmation.
        projects: other clones with the same cache folder, whose results are kept too.
        dry: say what would be removed, and remove nothing.

    Raises:
        InputError: a run is at work in one of the projects, a dvc.lock is missing or torn, a commit's graph cannot be
            read, a list of files is damaged, or absent for a stage of another family, or other projects use the cache
            folder, or may, as it is outside of this one, and are not named.
    """
    root = Path(root).resolve()
    roots = list(dict.fromkeys([root, *(Path(project).resolve() for project in projects)]))
    with ExitStack() as stack:
        for place in roots:
            check_repository(place)
            refuse_if_held(place)
            check_lock(place)  # before a torn one is mended
            stack.enter_context(hold_workspace(place))
        stack.enter_context(_quiet())
        repos = [stack.enter_context(opened(place)) for place in roots]
        _check_cache(repos, roots, bool(projects))
        needed = Needed()
        for repo in repos:
            stack.enter_context(repo.lock)
            add_needed(repo, revisions, needed)
        caches = _caches(repos[0])
        unused = {odb: _unused(odb, needed.objects) for odb in caches}
        count, size = sum(map(len, unused.values())), sum(map(_size, caches, unused.values()))
        log(f"needed: {needed.text()}")
        whose = "these projects" if len(roots) > 1 else "this project"
        log(f"cache: {repos[0].cache.local_cache_dir}, taken to be of {whose} alone (others are named by --project)")
        if count:
            needed.refuse_unknown()
        if needed.absent:
            log(f"not in the cache, so that what is only in it counts as not needed: {needed.absent_text()}")
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


def _check_cache(repos: Sequence[Repo], roots: Sequence[Path], others_named: bool) -> None:
    """Refuse to remove what other clones may need."""
    first = repos[0]
    cache = Path(first.cache.local_cache_dir).resolve()
    if others := [place for place in _neighbours(repos) if place not in roots and cache_of(place).resolve() == cache]:
        raise InputError(
            f"{cache}: {others[0]} keeps its results there too; name it with --project {others[0]}, so that they stay"
        )
    if not cache.is_relative_to(Path(first.root_dir).resolve()) and not others_named:
        raise InputError(
            f"{cache}: the cache lies outside of this project, where other clones may keep their results; name each of "
            "them with --project PATH, or --project . where there is none"
        )
    for other in repos[1:]:
        if Path(other.cache.local_cache_dir).resolve() != cache:
            raise InputError(f"{other.root_dir}: its cache is {other.cache.local_cache_dir}, not {cache}; leave it out")


def _neighbours(repos: Sequence[Repo]) -> list[Path]:
    """Projects where it costs little to look: in folders beside these and beside their caches, and git's worktrees."""
    caches = [Path(repo.cache.local_cache_dir).resolve() for repo in repos]
    folders = {Path(repo.root_dir).resolve().parent for repo in repos} | {cache.parent for cache in caches}
    found = {path.parent for folder in folders for path in folder.glob("*/.dvc")}
    for repo in repos:
        command = ["git", "-C", repo.root_dir, "worktree", "list", "--porcelain"]
        listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        found |= {Path(line.removeprefix("worktree ")) for line in listed.splitlines() if line.startswith("worktree ")}
    return sorted(path.resolve() for path in found if (path / ".dvc").is_dir())


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress DVC's warnings that stages have not run yet."""
    logger = logging.getLogger("dvc")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


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
