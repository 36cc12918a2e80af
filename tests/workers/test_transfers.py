"""What stages have written goes from one clone to another."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
from dvc.repo import Repo

from pipeline.orchestrate.graph import opened
from pipeline.orchestrate.lock_entries import written_by
from pipeline.runtime.errors import InputError
from pipeline.workers import transfers
from pipeline.workers.transfers import fetch_outputs, send_outputs
from tests.workers.two_graphs import TwoGraphs, default_setting, two_graphs

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")  # of DVC's use of pygtrie


@pytest.fixture
def done(tmp_path: Path) -> TwoGraphs:
    """A repository in which all has run."""
    made = two_graphs(tmp_path / "done", default_setting())
    made.repro()
    return made


def use_remote(root: Path, remote: Path) -> None:
    (root / ".dvc/config.local").write_text(f"[core]\n    remote = store\n['remote \"store\"']\n    url = {remote}\n")


def test_by_a_remote(done: TwoGraphs, tmp_path: Path) -> None:
    other = two_graphs(tmp_path / "other", default_setting())
    shutil.copyfile(done.root / "dvc.lock", other.root / "dvc.lock")
    for made in (done, other):
        use_remote(made.root, tmp_path / "store")
    entry = done.lock()["evaluate_step4"]
    with opened(done.root, wait_for_lock=True) as repo:
        send_outputs(repo, entry)
    with opened(other.root, wait_for_lock=True) as repo:
        fetch_outputs(repo, {"evaluate_step4": entry})
    for path in written_by(entry):
        files = [file.relative_to(done.root) for file in [done.root / path, *(done.root / path).rglob("*")]]
        for file in files:
            if (done.root / file).is_file():
                assert (other.root / file).read_bytes() == (done.root / file).read_bytes()
    assert not (other.root / "data/dataset").exists()


def test_by_a_cache_of_all(done: TwoGraphs) -> None:
    entry = done.lock()["dataset"]
    shutil.rmtree(done.root / "data")
    with opened(done.root) as repo:
        fetch_outputs(repo, {})
        assert not (done.root / "data").exists()
        fetch_outputs(repo, {"dataset": entry})
        send_outputs(repo, entry)  # which is there
    assert (done.root / "data/dataset/all.txt").read_text() == "seed-0"


@pytest.mark.parametrize("remote", [False, True])
def test_what_is_nowhere_is_one_line(done: TwoGraphs, tmp_path: Path, remote: bool) -> None:
    entry = done.lock()["dataset"]
    shutil.rmtree(done.root / "data")
    shutil.rmtree(done.root / ".dvc/cache")
    if remote:
        use_remote(done.root, tmp_path / "store")
    with (
        opened(done.root) as repo,
        pytest.raises(InputError, match="^dvc pull: " if remote else "^dvc checkout: ") as caught,
    ):
        fetch_outputs(repo, {"dataset": entry})
    assert "data/dataset" in str(caught.value) and "\n" not in str(caught.value)


def test_what_a_remote_refuses_is_one_line(done: TwoGraphs, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("in the way")
    use_remote(done.root, tmp_path / "store")
    with opened(done.root) as repo, pytest.raises(InputError, match=r"^dvc push: \S") as caught:
        send_outputs(repo, done.lock()["dataset"])
    assert "\n" not in str(caught.value)


def test_a_failure_of_any_kind_is_one_line_and_its_traceback_is_for_debugging(
    done: TwoGraphs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("no\nanswer")

    log = logging.Logger("frcnn", logging.DEBUG)
    log.addHandler(caplog.handler)
    monkeypatch.setattr(transfers, "get_logger", lambda _: log)
    monkeypatch.setattr(Repo, "checkout", fail)
    with opened(done.root) as repo, pytest.raises(InputError, match=r"^dvc checkout: no answer$"):
        fetch_outputs(repo, {"dataset": done.lock()["dataset"]})
    assert "dvc checkout failed" in caplog.text and "ConnectionError" in caplog.text and "in fail" in caplog.text
