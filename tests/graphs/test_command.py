"""Command lines of stages, taken apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.graphs.command import StageCommand
from pipeline.runtime.errors import InputError

STAGES = yaml.safe_load((Path(__file__).parents[2] / "dvc.yaml").read_text())["stages"]
del STAGES["code"]


@pytest.mark.parametrize("stage", STAGES)
def test_commands_of_dvc_yaml_name_their_data_and_output(stage: str) -> None:
    command = StageCommand.parse(STAGES[stage]["cmd"])
    data = {Path(dep) for dep in STAGES[stage]["deps"] if "/code/" not in dep}
    outs = [Path(out) for kind in ("outs", "metrics") for out in STAGES[stage].get(kind, [])]
    assert set(command.options.values()) == data
    assert command.stage == stage
    assert outs and all(out.is_relative_to(command.out) for out in outs)
    assert list(command.params) == STAGES[stage]["params"]


def test_options_are_named_as_stages_name_them() -> None:
    command = StageCommand.parse(
        "/usr/bin/python3 -m stages.train_rpn --anchor-targets='data/my targets' --params base,rpn\n --out data/x"
    )
    assert command == StageCommand(
        "train_rpn", {"anchor_targets": Path("data/my targets")}, Path("data/x"), ("base", "rpn"), "x"
    )
    assert command.input("anchor_targets") == Path("data/my targets")


def test_stage_name_and_params_file_are_no_inputs() -> None:
    command = StageCommand.parse("python -m stages.detect --stage s --params-file p.yaml --params a --out data/x")
    assert (command.stage, dict(command.options)) == ("s", {})


@pytest.mark.parametrize(
    ("cmd", "told"),
    [
        ("", "python -m"),
        ("python stages/detect.py --params a --out x", "python -m"),
        ("dvc repro", "python -m"),
        ("python -m pipeline.cli --params a --out x", "not a module of stages"),
        ("python -m stages. --params a --out x", "not a module of stages"),
        ("python -m stages.a.b --params a --out x", "not a module of stages"),
        ("python -m stages.detect --params a", "--out is missing"),
        ("python -m stages.detect --out x", "--params is missing"),
        ("python -m stages.detect --out --params a", "--out has no value"),
        ("python -m stages.detect --params a --out", "--out has no value"),
        ("python -m stages.detect data/x --params a --out x", "is not an option"),
        ("python -m stages.detect -x 3 --params a --out x", "is not an option"),
        ("python -m stages.detect -- --params a --out x", "is not an option"),
        ("python -m stages.detect --out x --params a --out y", "is given twice"),
        ("python -m stages.detect --out 'x --params a", "cannot be split"),
    ],
)
def test_other_commands_are_refused_in_one_line(cmd: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        StageCommand.parse(cmd)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_option_is_told() -> None:
    command = StageCommand.parse("python -m stages.detect --params a --out data/x")
    with pytest.raises(InputError, match="x: its command has no --rpn-trunk"):
        command.input("rpn_trunk")
