"""The smoke test of a GPU runs on a CPU too, and needs torch, torchvision and numpy alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from benchmarks.gpu_network import SMALL, Network, joint_loss, make_batch
from benchmarks.gpu_smoke import gradients, main
from pipeline.detector.arithmetic import set_determinism


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    yield
    set_determinism(False)


def test_it_passes_here(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--small", "--batch", "1"])
    told = capsys.readouterr().out
    assert "the same bits" in told and told.rstrip().endswith("passed")
    assert all(f"{work}, {precision}: " in told for work in ("step 1", "joint") for precision in ("float32", "bf16"))


def test_every_trained_part_has_a_gradient() -> None:
    network = Network(SMALL, "roi_align")
    loss, found = gradients(joint_loss, network, make_batch(network, SMALL))
    assert 0 < loss < 100
    trained = {name for name, weight in network.named_parameters() if weight.requires_grad}
    assert found.keys() == trained
    assert all(torch.isfinite(gradient).all() and gradient.any() for name, gradient in found.items() if "head" in name)


def test_it_imports_nothing_but_torch_and_numpy() -> None:
    foreign = ("accelerate", "pydantic", "pyarrow", "yaml", "cv2", "safetensors", "pandas", "dvc", "prefect")
    code = f"import sys, benchmarks.gpu_smoke; print([name for name in {foreign} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
