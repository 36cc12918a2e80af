"""Whole graphs run by workers in clones of their own."""

from __future__ import annotations

import copy
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from pipeline.runtime.variables import EVERY_ITERATIONS
from tests.conftest import TINY, Project, apply_overlay
from tests.families.points_project import POINTS_TINY, install
from tests.faults.processes import until
from tests.stage_forks import StageForks
from tests.workers.cluster import Cluster, cluster, git, ran_in

pytestmark = pytest.mark.long
GIT_USER = ("env", *(f"GIT_{who}_{what}=frcnn" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")))
FOLDER = {"url": ""}


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A bucket of an S3-compatible server on this machine, as a DVC remote."""
    pytest.importorskip("dvc_s3", reason="needs dvc-s3 (pip install dvc-s3 'moto[server]')")
    moto = pytest.importorskip("moto.server", reason="needs moto (pip install dvc-s3 'moto[server]')")
    import boto3

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "frcnn")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        boto3.client("s3", endpoint_url=address).create_bucket(Bucket="frcnn")
        yield {"url": "s3://frcnn/store", "endpointurl": address}
    finally:
        server.stop()


def _three_workers(made: Cluster) -> list[Project]:
    return [made.worker(name, pool)[0] for name, pool in (("w1", "gpu"), ("w2", "gpu"), ("w3", "cpu"))]


@pytest.mark.parametrize("store", ["folder", "s3", "cache"])
def test_three_workers_leave_the_lock_of_a_single_machine(
    tmp_path: Path, tiny_run: Project, store: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    forks = StageForks(tmp_path)
    for name, value in {**forks.variables, "PYTHONPATH": str(forks.site)}.items():
        monkeypatch.setenv(name, value)
    remote = request.getfixturevalue("bucket") if store == "s3" else FOLDER if store == "folder" else None
    with cluster(tmp_path, TINY, remote) as made:
        workers = _three_workers(made)
        made.coordinate("flow", "--on-workers")
        lock = made.coordinator.lock()
        assert lock == tiny_run.lock()
        del lock["code"]  # which the coordinator ran
        ran = [ran_in(worker) for worker in workers]
        assert set.union(*ran) == set(lock) and sum(map(len, ran)) == len(lock)
        # A worker that ran a stage whose input another had written has taken that one's result.
        outside = [
            {dep["path"].removeprefix("data/") for name in own for dep in lock[name]["deps"]} & (set(lock) - own)
            for own in ran
        ]
        assert sum(map(bool, outside)) >= 2
        assert forks.count() >= len(lock) - len(workers)  # the first of each may have begun before they could be
        assert made.coordinator.repro() == []
        again = made.coordinate("flow", "--on-workers")
        assert f"{len(lock)} runs of stages, {len(lock)} of them known before" in again


def test_six_experiments_that_differ_from_step_4_on_train_steps_1_to_3_once(tmp_path: Path) -> None:
    params = apply_overlay(copy.deepcopy(TINY), {"dataset": {"shapes": {"val": 6}}})
    with cluster(tmp_path, params, None) as made:
        workers = _three_workers(made)
        (made.coordinator.root / "rates.yaml").write_text(
            "name: rates\ngrid: {train_head_step4.lr: [0.001, 0.002, 0.003, 0.004, 0.005, 0.006]}\n"
        )
        output = made.coordinate("sweep", "rates.yaml")
        counts = {
            stage: sum(made.log_of(worker).read_text().count(f"Beginning flow run '{stage}'") for worker in workers)
            for stage in ("train_rpn_step1", "train_head_step2", "train_rpn_step3", "train_head_step4")
        }
        assert counts == {"train_rpn_step1": 1, "train_head_step2": 1, "train_rpn_step3": 1, "train_head_step4": 6}
        chosen = output.partition("chosen on val: ")[2].split()[0]
        listed = made.coordinator.run("dvc", "exp", "list", "--name-only").stdout.split()
        assert sorted(listed) == sorted([*(f"rates-{number}" for number in range(1, 7)), f"{chosen}-test"])
        assert output.splitlines()[-1].startswith(f"{chosen}-test ")


def _with_two_families(root: Path) -> None:
    """The made-up family, and a preset of seconds for each family."""
    install(root)
    for name, family, overlay in (("tiny", "faster_rcnn", TINY), ("tiny_points", "points", POINTS_TINY)):
        (root / f"pipeline/presets/{name}.yaml").write_text(yaml.safe_dump({"family": family, **overlay}))


def test_two_workers_run_an_uncommitted_preset_of_another_family_and_a_sweep_of_both(tmp_path: Path) -> None:
    with cluster(tmp_path, {}, None, _with_two_families) as made:
        coordinator = made.coordinator
        workers = [made.worker(name, pool)[0] for name, pool in (("w1", "gpu"), ("w2", "cpu"))]
        assert coordinator.run("frcnn", "preset", "tiny_points").returncode == 0
        made.coordinate("flow", "--on-workers")
        changed = coordinator.run("git", "status", "--porcelain", "--untracked-files=no").stdout.split()
        assert changed == ["M", "dvc.yaml", "M", "params.yaml"]
        points = {"points_targets", "train_points", "detect_points", "evaluate_points"}
        common = {"dataset", "backbone", "resize"}
        assert set.union(*map(ran_in, workers)) == points | common
        assert coordinator.repro() == []
        lock = coordinator.lock()

        (coordinator.root / "both.yaml").write_text("name: both\npresets: [tiny, tiny_points]\nchoose: none\n")
        before = {name: (coordinator.root / name).read_bytes() for name in ("params.yaml", "dvc.yaml", "dvc.lock")}
        output = made.coordinate("sweep", "both.yaml")
        assert before == {name: (coordinator.root / name).read_bytes() for name in before}
        table = [line.split() for line in output.splitlines()[-3:]]
        assert table[0] == ["preset", "network", "mAP50", "AP", "images"]
        assert {tuple(row[:3]) for row in table[1:]} == {
            ("both-tiny", "tiny", "step4"),
            ("both-tiny_points", "tiny_points", "points"),
        }
        # What the flow had run, and what both families have in common, is not run again.
        ran = set.union(*map(ran_in, workers))
        count = sum(made.log_of(worker).read_text().count("Beginning flow run") for worker in workers)
        assert count == len(ran) and len(ran) > 20
        for name, stages in (("both-tiny", ran - points), ("both-tiny_points", points | common)):
            result = coordinator.run(*GIT_USER, "dvc", "exp", "apply", name)
            assert result.returncode == 0, result.stderr
            assert coordinator.repro() == []
            assert stages <= set(coordinator.lock())
        assert {stage: coordinator.lock()[stage] for stage in points} == {stage: lock[stage] for stage in points}


def test_a_worker_whose_clone_has_other_code_runs_nothing_and_says_so_in_one_line(tmp_path: Path) -> None:
    with cluster(tmp_path, TINY, None) as made:
        worker, _ = made.worker("w1", "cpu")
        reader, more = worker.root / "pipeline/datasets/voc.py", worker.root / "pipeline/more.py"
        text = reader.read_text()

        def refused() -> str:
            log = made.log_of(made.coordinator)
            before = len(log.read_text()) if log.exists() else 0
            flow = made.start(made.coordinator, "flow", "--on-workers", "dataset")
            assert flow.wait(timeout=600) == 1
            said = log.read_text()[before:]
            assert "Traceback" not in said
            return said.splitlines()[-1]

        more.write_text("A = 1\n")
        assert refused() == (
            f"frcnn: error: dataset: {more}: not committed; a worker's clone must be as committed; remove it"
        )
        more.unlink()
        reader.write_text(f"{text}A = 1\n")
        assert refused().endswith(
            f"{reader}: changed since the last commit; a worker's clone must be as committed; put it back"
        )
        # Of which git is to say nothing.
        git(worker.root, "update-index", "--assume-unchanged", "pipeline/datasets/voc.py")
        assert refused() == (
            f"frcnn: error: dataset: {worker.root}: the code or the libraries here are not the coordinator's "
            "(pipeline/datasets/voc.py); run make setup in both clones, and remove modules that git ignores"
        )
        assert ran_in(worker) == set()
        reader.write_text(f"{text}# A comment.\n")
        made.coordinate("flow", "--on-workers", "dataset")
        assert ran_in(worker) == {"dataset"}


@pytest.mark.parametrize("remote", [FOLDER, None])
def test_another_worker_goes_on_where_one_was_killed(tmp_path: Path, remote: dict[str, str] | None) -> None:
    long = {"train_rpn_step1": {"iterations": 400, "lr_drop_at": [390]}}
    params = apply_overlay(copy.deepcopy(TINY), long)
    often = {EVERY_ITERATIONS: "5"}
    with cluster(tmp_path, params, remote) as made:
        made.worker("w3", "cpu")
        first, process = made.worker("w1", "gpu", **often)
        flow = made.start(made.coordinator, "flow", "--on-workers", "train_rpn_step1")
        states = made.store / "frcnn-states"
        until(lambda: list(states.glob("*/*/state-*.json")) if states.is_dir() else [], "no state is shared")
        # As if its machine lost power: all of it at once.
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for each in family:
            os.kill(each.pid, signal.SIGKILL)
        second, _ = made.worker("w2", "gpu", **often)
        assert flow.wait(timeout=600) == 0, made.log_of(made.coordinator).read_text()[-3000:]
        assert "train_rpn_step1" in ran_in(second) and "train_rpn_step1" not in ran_in(first)
        assert "resumes from iteration" in made.log_of(made.coordinator).read_text()
        killed = made.coordinator.lock()["train_rpn_step1"]
        alone = made.clone("alone")
        (alone.root / ".dvc/config.local").unlink()
        assert alone.run("dvc", "repro", "train_rpn_step1").returncode == 0
        assert alone.lock()["train_rpn_step1"] == killed
        assert not list(states.glob("*/*/state-*"))
