"""`frcnn gc` keeps what every family needs, and what it removes makes nothing fail."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.orchestrate.dvc_leftovers import mend_lock_file
from pipeline.orchestrate.gc import collect_garbage
from pipeline.orchestrate.gc_locks import check_lock
from pipeline.orchestrate.gc_needs import Revisions
from pipeline.orchestrate.lock_entries import key_of
from pipeline.orchestrate.run_cache import results_of_cache
from pipeline.orchestrate.workspace import hold_workspace
from pipeline.runtime.errors import InputError
from pipeline.runtime.run_times import record_run
from pipeline.runtime.yaml_files import dump_yaml
from pipeline.workers.experiments import keep_experiments
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
    assert [line for line in (lines[2], said[2])] == [f"not needed, would be removed: {freed}", f"removed: {freed}"]
    assert lines[-1] == "nothing removed"
    assert cache_size(made.root) < size
    with Repo(str(made.root)) as repo:
        results = results_of_cache(repo)
        assert results.first(key_of(lock["dataset"])) is None  # of seed 1
        assert results.first(key_of(lock["evaluate_other"])) is None
        assert results.first(key_of(lock["evaluate_step2"])) == lock["evaluate_step2"]
    assert collect(made)[2:] == ["nothing to remove"]
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
    with pytest.raises(
        InputError, match=rf"^{path}: [^\n]+ would be removed; restore it from git or from a saved copy$"
    ):
        collect(made)
    assert objects(made.root) == before
    assert (path.read_text() if path.exists() else None) == text


def test_while_a_run_holds_the_workspace_it_is_refused(made: TwoGraphs) -> None:
    with hold_workspace(made.root), pytest.raises(InputError, match="is at work in this workspace"):
        collect(made)


def test_a_lock_cut_off_at_any_line_or_byte_is_refused(made: TwoGraphs) -> None:
    path, entries = made.root / "dvc.lock", made.lock()
    text = path.read_text()
    check_lock(made.root)
    for name in entries.keys() - {"code"}:
        record_run(made.root, name, 0.0, 1.0)
    check_lock(made.root)
    lines = [index + 1 for index, letter in enumerate(text) if letter == "\n"]
    for end in {*lines[:-1], *range(0, len(text), 37)}:
        path.write_text(text[:end])
        with pytest.raises(InputError, match=r"would be removed[^\n]*$"):
            check_lock(made.root)


def test_outputs_of_another_family_that_a_lock_does_not_name_are_seen_by_its_graph(made: TwoGraphs) -> None:
    path, entries = made.root / "dvc.lock", made.lock()
    (made.root / "graphs").mkdir()
    (made.root / "graphs/one.yaml").write_text(ONE.graph)
    check_lock(made.root)
    entries["evaluate_step4"]["outs"].pop()
    path.write_text(dump_yaml({"schema": "2.0", "stages": entries}))
    with pytest.raises(InputError, match=r"does not name data/train_step4, which stage evaluate_step4 has written"):
        check_lock(made.root)


def test_after_a_torn_lock_was_mended_nothing_is_removed_until_a_person_has_looked(made: TwoGraphs) -> None:
    path, before = made.root / "dvc.lock", objects(made.root)
    text = path.read_text()
    path.write_text(text[: text.index("  evaluate_joint:") + 60])
    made.use(ONE)
    assert "dvc.lock.torn is the torn file" in mend_lock_file(made.root)
    with pytest.raises(
        InputError, match=r"dvc\.lock\.torn: [^\n]+ names evaluate_joint, which dvc\.lock does not name"
    ):
        collect(made)
    path.write_text(text)
    (made.root / "dvc.lock.torn").unlink()
    made.use(with_seed(TWO, 1))
    assert collect(made)[2:] == ["nothing to remove"] and objects(made.root) == before


def answer_of_git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.mark.parametrize("kind", ["torn", "empty", "merge", "graph"])
def test_an_experiment_that_cannot_be_read_is_named(made: TwoGraphs, kind: str) -> None:
    name = "dvc.yaml" if kind == "graph" else "dvc.lock"
    path, before = made.root / name, objects(made.root)
    text = path.read_text()
    head, ends = answer_of_git(made.root, "rev-parse", "HEAD"), len(text) - 5
    texts = {
        "torn": text[:ends],
        "empty": "schema: '2.0'\nstages: {}\n",
        "merge": f"<<<<<<< a\n{text}",
        "graph": "stages: [",
    }
    path.write_text(texts[kind])
    git(made.root, "add", name)
    tree = answer_of_git(made.root, "write-tree")
    commit = answer_of_git(made.root, "commit-tree", tree, "-p", head, "-m", "x")
    git(made.root, "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/broken", commit)
    git(made.root, "reset", "--quiet")
    path.write_text(text)
    with pytest.raises(InputError, match=r"^experiment broken: [^\n]+dvc exp remove broken$"):
        collect(made)
    assert objects(made.root) == before


def list_of_files(made: TwoGraphs, stage: str) -> Path:
    """The object with the list of files of a stage's folder."""
    digest = next(out["md5"] for out in made.lock()[stage]["outs"] if out["md5"].endswith(".dir"))
    return made.root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]


@pytest.mark.parametrize(
    ("stage", "remedy"), [("evaluate_step2", r"frcnn preset, frcnn repro"), ("evaluate_other", "run frcnn repro, ")]
)
def test_a_list_of_files_that_is_damaged_is_one_line_that_names_its_stage(
    made: TwoGraphs, stage: str, remedy: str
) -> None:
    before, damaged = objects(made.root), list_of_files(made, stage)
    damaged.chmod(0o644)
    damaged.write_text("[{")
    damaged.chmod(0o444)
    with pytest.raises(InputError, match=rf"^the cache is damaged: stage {stage}[ :][^\n]+{remedy}[^\n]*$"):
        collect(made)
    assert objects(made.root) == before


def test_without_a_list_of_files_of_another_family_nothing_is_removed(made: TwoGraphs) -> None:
    list_of_files(made, "evaluate_step2").unlink()
    before = objects(made.root)
    with pytest.raises(
        InputError, match=r"^stage evaluate_step2 of dvc\.lock: the list of the files of data/train_step2 "
    ):
        collect(made)
    assert objects(made.root) == before


def test_a_list_of_files_of_this_family_that_is_gone_is_told(made: TwoGraphs) -> None:
    list_of_files(made, "evaluate_other").unlink()
    assert "needed: stage evaluate_other: the list of the files of data/train_other" in collect(made)[2]


def test_a_cache_in_this_project_that_another_clone_uses_is_refused_until_it_is_named(
    made: TwoGraphs, tmp_path: Path
) -> None:
    assert collect(made)[1].startswith(f"cache: {made.root}/.dvc/cache, taken to be of this project alone")
    other = Path(shutil.copytree(made.root, tmp_path / "other", symlinks=True, ignore=lambda *_: ["cache"]))
    (other / ".dvc/config.local").write_text("[cache]\n    dir = ../../project/.dvc/cache\n")
    with pytest.raises(InputError, match=rf"^{made.root}/.dvc/cache: {other} keeps its results there too"):
        collect(made)
    assert collect(made, projects=[other])[1].startswith(
        f"cache: {made.root}/.dvc/cache, taken to be of these projects"
    )


def test_a_cache_that_others_may_share_is_refused_until_they_are_named(made: TwoGraphs, tmp_path: Path) -> None:
    store = tmp_path / "store"
    (made.root / ".dvc/cache").rename(store)
    with Repo(str(made.root)) as repo, repo.config.edit("local") as config:
        config["cache"]["dir"] = str(store)
    with pytest.raises(InputError, match="lies outside of this project"):
        collect(made)
    other = TwoGraphs(Path(shutil.copytree(made.root, tmp_path / "other", symlinks=True)))
    made.use(with_seed(TWO, 2))
    made.repro()
    with pytest.raises(InputError, match="keeps its results there too"):
        collect(made)
    collect_garbage(made.root, lambda _: None, None, projects=[other.root])
    assert other.status() == {} and used_again(other, with_seed(TWO, 1)) == []
    with pytest.raises(InputError, match=f"{other.root} keeps its results there too"):
        collect_garbage(made.root, lambda _: None, None, projects=[made.root])
    (other.root / ".dvc/config.local").unlink()
    collect_garbage(made.root, lambda _: None, None, projects=[made.root])
    (other.root / ".dvc/config.local").write_text(f"[cache]\n    dir = {store}\n")
    assert len(used_again(other, with_seed(TWO, 1))) == 3


def test_a_worktree_of_git_that_uses_the_cache_is_found_wherever_it_is(made: TwoGraphs, tmp_path: Path) -> None:
    tree = tmp_path / "far/away"
    git(made.root, "worktree", "add", "--quiet", "--detach", str(tree))
    collect(made, dry=True)
    (tree / ".dvc/config.local").write_text(f"[cache]\n    dir = {made.root}/.dvc/cache\n")
    with pytest.raises(InputError, match=rf"{tree} keeps its results there too"):
        collect(made)


def test_typed_where_nobody_can_be_asked_it_wants_to_be_told(made: TwoGraphs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made.root)
    result = CliRunner().invoke(app, ["gc"])
    assert isinstance(result.exception, InputError) and "--yes" in str(result.exception)
    result = CliRunner().invoke(app, ["gc", "--dry", "--all-commits"])
    assert result.exit_code == 0 and result.output.startswith("needed: the workspace, 1 experiment or commit, "), result
    assert "nothing to remove" in CliRunner().invoke(app, ["gc", "-f"]).output


def cache_size(root: Path) -> int:
    return sum(path.stat().st_size for path in (root / ".dvc/cache").rglob("*") if path.is_file())
