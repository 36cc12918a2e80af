"""The key of a run differs with what the run depends on."""

from __future__ import annotations

import importlib.metadata
import sys
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import ModuleType

import pytest

from pipeline.params.file import load_params
from pipeline.run_key import MANIFEST, run_key
from tests.conftest import ROOT

PARAMS = load_params(ROOT / "pipeline/presets/default.yaml", ["base", "features"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "resize").mkdir()
    (tmp_path / "resize" / "images.parquet").write_text("rows")
    return tmp_path / "resize"


def test_the_same_twice_and_another_for_another_stage_or_other_sections(folder: Path) -> None:
    key = run_key("features", PARAMS, {"resize": folder})
    assert key == run_key("features", PARAMS, {"resize": folder})
    others = [
        run_key("features2", PARAMS, {"resize": folder}),
        run_key("features", load_params(ROOT / "pipeline/presets/default.yaml", ["base"]), {"resize": folder}),
        run_key("features", PARAMS, {"resize": None}),
        run_key("features", PARAMS, {"trunk": folder}),
    ]
    assert len({key, *others}) == 5


def test_inputs_count_by_their_files_or_their_manifest(folder: Path) -> None:
    keys = [run_key("features", PARAMS, {"resize": folder})]
    (folder / "images.parquet").write_text("other rows")
    keys.append(run_key("features", PARAMS, {"resize": folder}))
    (folder / MANIFEST).write_text("{}")
    keys.append(run_key("features", PARAMS, {"resize": folder}))
    (folder / "images.parquet").write_text("as the manifest says")
    assert run_key("features", PARAMS, {"resize": folder}) == keys[-1]
    assert len(set(keys)) == 3


def test_the_stage_s_own_module_counts_though_it_runs_as_main(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = ModuleType("__main__")
    main.__spec__ = ModuleSpec("stages.features", None)
    main.__file__ = str(tmp_path / "features.py")
    monkeypatch.setitem(sys.modules, "__main__", main)
    # Other tests may have imported it under its own name.
    monkeypatch.delitem(sys.modules, "stages.features", raising=False)
    keys = []
    for code in ("one = 1", "one = 2"):
        (tmp_path / "features.py").write_text(code)
        keys.append(run_key("features", PARAMS, {"resize": folder}))
    assert keys[0] != keys[1]


@pytest.mark.parametrize("name", ["torch", "torchvision", "numpy", "cv2"])
def test_a_library_counts_by_its_module_whatever_distribution_it_came_from(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def none_by_this_name(distribution: str) -> str:
        raise PackageNotFoundError(distribution)

    monkeypatch.setattr(importlib.metadata, "version", none_by_this_name)
    keys = []
    for version in ("1.0", "1.1"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
        sys.modules[name].__version__ = version  # type: ignore[attr-defined]
        keys.append(run_key("features", PARAMS, {"resize": folder}))
    monkeypatch.delitem(sys.modules, name)
    keys.append(run_key("features", PARAMS, {"resize": folder}))
    assert name not in sys.modules  # no stage waits for what it does not use
    assert len(set(keys)) == 3


def test_it_differs_with_the_gpu_of_a_stage_that_asks_for_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline import device

    keys = []
    for name in ("cpu", "NVIDIA A100, CUDA 13.2, cuDNN 92000", "NVIDIA H100, CUDA 13.2, cuDNN 92000"):
        monkeypatch.setattr(device, "gpu_model", lambda name=name: name)
        keys.append(run_key("features", PARAMS, {"resize": folder}))
    assert len(set(keys)) == 3
    monkeypatch.delitem(sys.modules, "pipeline.device")
    assert "pipeline.device" not in sys.modules and run_key("resize", PARAMS, {"resize": folder})
