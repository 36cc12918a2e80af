"""Reading params.yaml: a stage sees its sections alone, and a damaged file ends in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.params.file import load_params
from pipeline.runtime.errors import InputError
from tests.params.checking import COMMITTED, Content, put


def test_values_cannot_be_changed_after_reading() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_params(COMMITTED).rpn.sigma = 1.0


def test_sections_not_granted_are_not_readable() -> None:
    params = load_params(COMMITTED, ["base", "rpn"])
    assert params.rpn.sigma > 0
    assert params.base.seed >= 0
    with pytest.raises(InputError, match=r"--params lacks section 'solver'; dvc\.yaml has the stage's whole command"):
        _ = params.solver
    assert not hasattr(params, "solver")


def test_a_fault_in_a_section_not_granted_is_told_all_the_same(tmp_path: Path, content: Content) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(put(content, "solver.momentum", 2)), encoding="utf-8")
    with pytest.raises(InputError, match=r"parameter solver\.momentum"):
        load_params(path, ["base"])


def test_granting_a_section_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="no section 'rnp'"):
        load_params(COMMITTED, ["base", "rnp"])


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"params\.yaml: no such file"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("damage", [b"base: {seed: 0\nrpn: [", b"base:\n\tseed: 0", b"\xff\xfe\x00base"])
def test_text_that_is_no_yaml_is_told_in_one_line(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(damage)
    with pytest.raises(InputError, match=r"params\.yaml: not valid YAML") as caught:
        load_params(path)
    assert "\n" not in str(caught.value)
