"""`frcnn gc` keeps what every family needs, and what it removes makes nothing fail."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.orchestrate.gc import Revisions, collect_garbage
from pipeline.orchestrate.workspace import hold_workspace
from pipeline.runtime.errors import InputError
from pipeline.workers.experiments import keep_experiments
from pipeline.workers.lock_entries import key_of
from pipeline.workers.run_cache import results_of_cache
from pipeline.workers.setting import Setting
from tests.workers.cluster import git
from tests.workers.two_graphs import CODE, TwoGraphs, default_setting, other_setting, two_graphs

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")  # of DVC's use of pygtrie

ONE = default_setting()
TWO = other_setting(Setting(ONE.params + "other: {strides: [8]}\n", ""))


NETWORKS = ("evaluate_step2", "evaluate_step4", "evaluate_joint")


def with_seed(setting: Setting, seed: int) -> Setting:
    """The same for other images: stages that both families have write something else."""
    assert setting.params.count("  seed: 0\n") == 1
    return Setting(
        setting.params.replace("  seed: 0\n", f"  seed: {seed}\n"), setting.graph.replace("seed-0", f"seed-{seed}")
    )


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> TwoGraphs:
    """Both families have run, the second on other images."""
    made = two_graphs(tmp_path_factory.mktemp("ran") / "project", ONE)
    assert len(made.repro()) == 4
    made.use(with_seed(TWO, 1))
    assert len(made.repro()) == 3
    return made


@pytest.fixture
def made(ran: TwoGraphs, tmp_path: Path) -> TwoGraphs:
    shutil.copytree(ran.root, tmp_path / "project", symlinks=True)
    return TwoGraphs(tmp_path / "project")


def collect(made: TwoGraphs, **more: Any) -> list[str]:
    lines: list[str] = []
    collect_garbage(made.root, lines.append, None, **more)
    return lines


def objects(root: Path) -> set[str]:
    folder = root / ".dvc/cache/files/md5"
    return {path.relative_to(folder).as_posix() for path in folder.glob("*/*")}


def used_again(made: TwoGraphs, setting: Setting) -> list[str]:
    """Use a setting again, with nothing in data/; the stages that ran for it."""
    made.use(setting)
    shutil.rmtree(made.root / "data", ignore_errors=True)
    ran = made.repro()
    assert made.status() == {}
    return ran


def test_dvc_gc_loses_the_other_family(made: TwoGraphs) -> None:
    with Repo(str(made.root)) as repo:
        repo.gc(workspace=True)
    assert len(used_again(made, ONE)) == 4


def test_each_family_can_be_used_again_and_nothing_runs(made: TwoGraphs) -> None:
    lines = collect(made)
    assert lines[0] == "needed: the workspace, 3 stages of dvc.lock that dvc.yaml does not have"
    for setting in (ONE, with_seed(TWO, 1), ONE):
        assert used_again(made, setting) == []
    assert (made.root / "data/dataset/all.txt").read_text() == "seed-0"
    assert (made.root / "data/train_step2/model.txt").read_text() == "weights of step2, seed-0"


def test_what_nothing_needs_is_removed_with_its_entry_in_the_run_cache(made: TwoGraphs) -> None:
    lock = made.lock()
    made.use(with_seed(TWO, 2))
    assert len(made.repro()) == 3
    before, size = objects(made.root), cache_size(made.root)
    # With --dry and with a no nothing happens.
    lines: list[str] = []
    collect_garbage(made.root, lines.append, None, dry=True)
    collect_garbage(made.root, lines.append, lambda _: False)
    assert objects(made.root) == before
    said = collect(made)
    freed = f"{len(before) - len(objects(made.root))} objects of {made.root}/.dvc/cache, 0.0 MB"
    assert [line for line in (lines[1], said[1])] == [f"not needed, would be removed: {freed}", f"removed: {freed}"]
    assert lines[-1] == "nothing removed"
    assert cache_size(made.root) < size
    with Repo(str(made.root)) as repo:
        results = results_of_cache(repo)
        assert results.first(key_of(lock["dataset"])) is None  # of seed 1
        assert results.first(key_of(lock["evaluate_other"])) is None
        assert results.first(key_of(lock["evaluate_step2"])) == lock["evaluate_step2"]
    assert collect(made)[1:] == ["nothing to remove"]
    assert used_again(made, with_seed(TWO, 2)) == []
    assert len(used_again(made, with_seed(TWO, 1))) == 3


def test_with_a_remote_entries_of_the_run_cache_stay(made: TwoGraphs) -> None:
    lock = made.lock()
    made.use(with_seed(TWO, 2))
    made.repro()
    with Repo(str(made.root)) as repo, repo.config.edit("local") as config:
        config["core"]["remote"] = "store"
        config["remote"]["store"] = {"url": str(made.root.parent / "store")}
    collect(made)
    with Repo(str(made.root)) as repo:
        assert results_of_cache(repo).first(key_of(lock["dataset"])) == lock["dataset"]


@pytest.mark.parametrize("kept_as", ["experiment", "commit"])
def test_experiments_are_kept_and_commits_where_that_is_asked_for(made: TwoGraphs, kept_as: str) -> None:
    setting = with_seed(ONE, 3)
    made.use(setting)
    assert len(made.repro()) == 4
    if kept_as == "experiment":
        entries = {name: entry for name, entry in made.lock().items() if name in ("dataset", *NETWORKS)}
        keep_experiments(made.root, {"kept": setting}, lambda _: entries, CODE, lambda _: None)
    else:
        git(made.root, "add", "--all")
        git(made.root, "commit", "--quiet", "--message", "Second")
    made.use(with_seed(ONE, 4))
    made.repro()
    assert "experiment" in collect(made, revisions=Revisions(commits=kept_as == "commit"))[0]
    if kept_as == "experiment":
        with Repo(str(made.root)) as repo:
            repo.experiments.apply("kept")
        assert made.status() == {}
    assert used_again(made, setting) == []
    if kept_as == "commit":
        made.use(with_seed(ONE, 4))
        assert made.repro() == []
        assert "experiment" not in collect(made)[0]
        assert len(used_again(made, setting)) == 4


@pytest.mark.parametrize(
    "text", [None, "", "schema: '2.0'\nstages:\n  one:\n    cmd: x\n    outs:\n    - pa", "stages: 7", "\0"]
)
def test_without_a_whole_lock_nothing_is_removed(made: TwoGraphs, text: str | None) -> None:
    before, path = objects(made.root), made.root / "dvc.lock"
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=rf"^{path}: [^\n]+ would be removed; restore it from git[^\n]*$"):
        collect(made)
    assert objects(made.root) == before
    assert (path.read_text() if path.exists() else None) == text


def test_while_a_run_holds_the_workspace_it_is_refused(made: TwoGraphs) -> None:
    with hold_workspace(made.root), pytest.raises(InputError, match="is at work in this workspace"):
        collect(made)


def test_a_list_of_files_that_is_damaged_is_one_line(made: TwoGraphs) -> None:
    before = objects(made.root)
    for damaged in (made.root / ".dvc/cache/files/md5").glob("*/*.dir"):
        damaged.chmod(0o644)
        damaged.write_text("[{")
        damaged.chmod(0o444)
    with pytest.raises(InputError, match=r"^the cache is damaged: [^\n]+$"):
        collect(made)
    assert objects(made.root) == before


def test_a_cache_that_others_may_share_is_refused_until_they_are_named(made: TwoGraphs, tmp_path: Path) -> None:
    store = tmp_path / "store"
    (made.root / ".dvc/cache").rename(store)
    with Repo(str(made.root)) as repo, repo.config.edit("local") as config:
        config["cache"]["dir"] = str(store)
    other = TwoGraphs(Path(shutil.copytree(made.root, tmp_path / "other", symlinks=True)))
    made.use(with_seed(TWO, 2))
    made.repro()
    with pytest.raises(InputError, match="lies outside of this project"):
        collect(made)
    collect_garbage(made.root, lambda _: None, None, projects=[other.root])
    assert other.status() == {} and used_again(other, with_seed(TWO, 1)) == []
    collect_garbage(made.root, lambda _: None, None, projects=[made.root])
    assert len(used_again(other, with_seed(TWO, 1))) == 3


def test_typed_where_nobody_can_be_asked_it_wants_to_be_told(made: TwoGraphs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made.root)
    result = CliRunner().invoke(app, ["gc"])
    assert isinstance(result.exception, InputError) and "--yes" in str(result.exception)
    result = CliRunner().invoke(app, ["gc", "--dry", "--all-commits"])
    assert result.exit_code == 0 and result.output.startswith("needed: the workspace, 1 experiment or commit, "), result
    assert "nothing to remove" in CliRunner().invoke(app, ["gc", "-f"]).output


def cache_size(root: Path) -> int:
    return sum(path.stat().st_size for path in (root / ".dvc/cache").rglob("*") if path.is_file())
