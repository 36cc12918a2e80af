"""The key of a run differs with what the run depends on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline.runtime.run_key import MANIFEST, run_key
from tests.defaults import default_params

PARAMS = default_params("base", "features")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "resize").mkdir()
    (tmp_path / "resize" / "images.parquet").write_text("rows")
    return tmp_path / "resize"


def test_the_same_twice_and_another_for_another_stage_or_other_sections(folder: Path) -> None:
    key = run_key("features", PARAMS, {"resize": folder}, "code")
    assert key == run_key("features", PARAMS, {"resize": folder}, "code")
    others = [
        run_key("features2", PARAMS, {"resize": folder}, "code"),
        run_key("features", default_params("base"), {"resize": folder}, "code"),
        run_key("features", PARAMS, {"resize": None}, "code"),
        run_key("features", PARAMS, {"trunk": folder}, "code"),
    ]
    assert len({key, *others}) == 5


def test_inputs_count_by_their_files_or_their_manifest(folder: Path) -> None:
    keys = [run_key("features", PARAMS, {"resize": folder}, "code")]
    (folder / "images.parquet").write_text("other rows")
    keys.append(run_key("features", PARAMS, {"resize": folder}, "code"))
    (folder / MANIFEST).write_text("{}")
    keys.append(run_key("features", PARAMS, {"resize": folder}, "code"))
    (folder / "images.parquet").write_text("as the manifest says")
    assert run_key("features", PARAMS, {"resize": folder}, "code") == keys[-1]
    assert len(set(keys)) == 3


def test_it_differs_with_the_code(folder: Path) -> None:
    keys = {run_key("features", PARAMS, {"resize": folder}, code) for code in ("", "code", "other code")}
    assert len(keys) == 3


def test_it_differs_with_the_gpu_of_a_stage_that_asks_for_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.runtime import device

    keys = []
    for name in ("cpu", "NVIDIA A100, CUDA 13.2, cuDNN 92000", "NVIDIA H100, CUDA 13.2, cuDNN 92000"):
        monkeypatch.setattr(device, "gpu_model", lambda name=name: name)
        keys.append(run_key("features", PARAMS, {"resize": folder}, "code"))
    assert len(set(keys)) == 3
    monkeypatch.delitem(sys.modules, "pipeline.runtime.device")
    assert "pipeline.runtime.device" not in sys.modules
    assert run_key("features", PARAMS, {"resize": folder}, "code") == keys[0]
