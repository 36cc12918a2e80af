"""The paper's ablations: each changes what it is named after, runs as a DVC experiment, and leaves no trace behind."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline.orchestrate.ablations import ablations_of, changed_params, select
from pipeline.params.file import load_params
from pipeline.runtime.errors import InputError
from tests.conftest import Project
from tests.defaults import DEFAULT_TEXT, default_params
from tests.families import points_project


def test_every_ablation_changes_its_own_parameters_of_the_defaults_and_nothing_else() -> None:
    original = DEFAULT_TEXT
    before = yaml.safe_load(original)
    del before["family"]
    for ablation in ablations_of(default_params()):
        after = yaml.safe_load(changed_params(original, ablation.changes))
        changed = {f"{s}.{k}": after[s][k] for s in before for k in after[s] if after[s][k] != before[s][k]}
        assert changed == ablation.changes, ablation.name


def test_names_are_unique_and_no_two_ablations_ask_the_same() -> None:
    ablations = ablations_of(default_params())
    assert len({a.name for a in ablations}) == len(ablations)
    assert len({(str(a.changes), a.network) for a in ablations}) == len(ablations)


def test_lambda_10_of_the_paper_is_the_weight_1_of_the_defaults() -> None:
    weights = {
        a.name: a.changes["rpn.box_loss_weight"] for a in ablations_of(default_params()) if a.name.startswith("lambda-")
    }
    assert default_params().rpn.box_loss_weight == 1.0
    assert weights == pytest.approx({"lambda-0.1": 0.01, "lambda-1": 0.1, "lambda-100": 10.0})


def test_base_is_always_among_the_chosen_and_an_unknown_name_ends_in_one_line() -> None:
    ablations = ablations_of(default_params())
    assert [a.name for a in select(ablations, ["roi-align"])] == ["base", "roi-align"]
    with pytest.raises(InputError, match=r"no ablation 'roialign'; there are base, "):
        select(ablations, ["roialign"])


def test_a_family_without_ablations_is_told_in_one_line(tmp_path: Path) -> None:
    with points_project.visible():
        params = load_params(points_project.write_project(tmp_path, {}) / "params.yaml")
        with pytest.raises(InputError, match=r"^Points: has no ablations; try changes of your own by frcnn sweep, or"):
            ablations_of(params)


def test_comments_of_params_yaml_survive_a_change() -> None:
    text = changed_params(DEFAULT_TEXT, {"detect.proposals": 20})
    assert "# px of the original image" in text and "proposals: 20" in text


@pytest.mark.long
def test_an_ablation_is_a_dvc_experiment_that_reruns_only_what_it_changes_and_is_undone(
    tiny_run: Project, tmp_path: Path
) -> None:
    shutil.copytree(tiny_run.root, tmp_path / "copy", symlinks=True)
    project = Project(tmp_path / "copy")
    name = ["-c", "user.name=test", "-c", "user.email=test"]
    (project.root / ".gitignore").write_text("__pycache__/\n")
    subprocess.run(["git", "add", "--all"], cwd=project.root, check=True)
    subprocess.run(["git", *name, "commit", "--quiet", "--message", "Start"], cwd=project.root, check=True)
    params, detections = (project.root / "params.yaml").read_bytes(), project.data / "detect_step4/detections.parquet"
    before = detections.read_bytes()
    result = project.run("frcnn", "ablations", "proposals-20")
    assert result.returncode == 0, result.stderr[-2000:]
    ran = {line.split("'")[1] for line in result.stdout.splitlines() if line.startswith("Running stage")}
    assert ran - {"code"} == {
        f"{verb}_{network}" for verb in ("detect", "evaluate") for network in ("step2", "step4", "joint")
    }
    assert [line.split()[:2] for line in result.stdout.splitlines()[-2:]] == [
        ["base", "step4"],
        ["proposals-20", "step4"],
    ]
    listed = project.run("dvc", "exp", "list", "--name-only").stdout.split()
    assert set(listed) == {"ablation-base", "ablation-proposals-20"}
    assert (project.root / "params.yaml").read_bytes() == params
    assert detections.read_bytes() == before
    assert project.repro() == []
