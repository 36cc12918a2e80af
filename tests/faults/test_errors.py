"""Bad input ends in one clear last line, a non-zero status, no traceback, and no half-written artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.params.file import load_params
from pipeline.presets.links import LINKED
from pipeline.runtime.errors import InputError
from tests.conftest import SECTIONS, TINY, Project, new_project
from tests.in_process import run_command

DATASET = "python -m stages.dataset --raw data/raw --params base,dataset --out data/dataset"
BACKBONE = (
    "python -m stages.backbone --weights data/weights --detector data/initial_detector --params base,backbone,init "
    "--out data/backbone"
)
CODE = "python -m stages.code --out data/code"
RESIZE = "python -m stages.resize --dataset data/dataset --raw data/raw --params base,resize --out data/resize"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return new_project(tmp_path / "project", TINY)


def _last_line(project: Project, command: str) -> str:
    result = run_command(project.root, *command.split()[2:])
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    linked = {Path(place).name for place in LINKED.values()} | {".gitignore", "code"}
    assert {path.name for path in project.data.iterdir()} == linked
    return result.stderr.rstrip("\n").split("\n")[-1]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"base": {"sead": 1}}, "unknown parameter base.sead"),
        ({"resize": {"shorter_side": 0}}, "parameter resize.shorter_side: input should be greater than 0, got 0"),
        ({"rpn": {"fg_fraction": 1.5}}, "parameter rpn.fg_fraction"),
        ({"anchor_targets": {"bg_iou": 0.8}}, "parameter anchor_targets: bg_iou 0.8 is above fg_iou 0.7"),
        ({"backbone": {"name": "vgg16"}}, "weights 'pretrain' exist for the tiny trunk only"),
    ],
)
def test_bad_parameters_end_in_stage_code_which_all_others_wait_for(
    project: Project, params: dict[str, Any], expected: str
) -> None:
    project.set_params(params)
    assert expected in _last_line(project, CODE)


def test_a_typo_in_any_section_is_reported_before_anything_else_runs(project: Project) -> None:
    path = project.root / "params.yaml"
    good = path.read_text()
    for section in SECTIONS:
        project.set_params({section: {"typo": 1}})
        with pytest.raises(InputError, match=rf"unknown parameter {section}\.typo;"):
            load_params(path)  # as stage `code` does
        if section in ("base", "finetune_joint"):  # one that families share, and one of this family
            assert f"code: error: params.yaml: unknown parameter {section}.typo;" in _last_line(project, CODE)
        path.write_text(good)
    path.write_text(good + "train_rpn_step11: {}\n")
    assert "unknown section 'train_rpn_step11'" in _last_line(project, CODE)


def test_a_missing_data_root_and_a_bad_parameter_of_its_own_end_a_stage(project: Project) -> None:
    project.set_params({"dataset": {"reader": "voc"}})
    assert "dataset: error: data/raw: " in _last_line(project, DATASET)
    project.set_params({"dataset": {"reader": "vco"}})
    assert "dataset: error: params.yaml: parameter dataset.reader: " in _last_line(project, DATASET)


def test_params_that_are_no_yaml_or_not_there(project: Project) -> None:
    (project.root / "params.yaml").write_text("base: [")
    assert "params.yaml: not valid YAML" in _last_line(project, DATASET)
    (project.root / "params.yaml").unlink()
    assert "params.yaml: no such file" in _last_line(project, DATASET)


def test_a_section_that_does_not_exist_and_an_input_that_is_not_there(project: Project) -> None:
    assert "no section 'datset'" in _last_line(project, DATASET.replace("base,dataset", "base,datset"))
    assert "--dataset data/dataset: no such path" in _last_line(project, RESIZE)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (None, "holds 0 files where one weights file is needed"),
        (b"not weights", "not a readable weights file"),
        ({"features.0.weight": torch.zeros(64, 3, 5, 5)}, "features.0.weight"),
        ({"conv1.weight": torch.zeros(1)}, "has no weights named features.*"),
        ([1, 2], "is not a state dict of tensors"),
    ],
)
def test_weights_files_that_do_not_fit(project: Project, weights: Any, expected: str) -> None:
    project.set_params({"backbone": {"name": "vgg16", "weights": "file"}})
    path = project.data / "weights/vgg16.pth"
    if isinstance(weights, bytes):
        path.write_bytes(weights)
    elif weights is not None:
        torch.save(weights, path)
    assert expected in _last_line(project, BACKBONE)


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("executed").touch, ())


def test_code_pickled_into_a_weights_file_is_not_run(project: Project) -> None:
    project.set_params({"backbone": {"name": "vgg16", "weights": "file"}})
    torch.save({"features.0.weight": Malicious()}, project.data / "weights/vgg16.pth")
    assert "not a readable weights file" in _last_line(project, BACKBONE)
    assert not (project.root / "executed").exists()
