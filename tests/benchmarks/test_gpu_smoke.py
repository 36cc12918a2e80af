"""The smoke test of a GPU runs on a CPU too, and needs torch, torchvision and numpy alone."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from benchmarks import gpu_smoke
from benchmarks.gpu_network import SMALL, Network, joint_loss, make_batch
from benchmarks.gpu_smoke import gradients, is_agreed, largest_difference, main, worst
from pipeline.nn.arithmetic import set_determinism


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


def test_nan_is_no_agreement_wherever_it_stands() -> None:
    good, bad = torch.tensor([1.0, 2.0]), torch.tensor([1.0, math.nan])
    weights = {"first": good, "second": good, "third": good}
    assert largest_difference(weights, weights) == 0
    for name in weights:
        assert math.isnan(largest_difference({**weights, name: bad}, weights))
        assert math.isnan(largest_difference(weights, {**weights, name: bad}))
    assert math.isnan(worst([0.0, math.nan])) and math.isnan(worst([math.nan, 1.0]))
    pools = ("joint, roi_align", "joint, roi_pool")
    for told in ((0.0, math.nan), (math.nan, 0.0), (math.inf, 0.0), (0.01, 0.0), (0.0, 0.02)):
        assert not is_agreed(dict(zip(pools, told, strict=True)))
    assert is_agreed(dict(zip(pools, (4e-3, 1e-2), strict=True)))


def test_a_gradient_of_nothing_agrees_with_itself_alone() -> None:
    nothing, some = {"weight": torch.zeros(2)}, {"weight": torch.ones(2)}
    assert largest_difference(nothing, nothing) == 0
    assert largest_difference(some, nothing) == math.inf
    assert largest_difference({}, some) == math.inf


def test_it_fails_on_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_smoke, "agreement", lambda *given: {"joint, roi_align": math.nan, "step 1": 0.0})
    monkeypatch.setattr(gpu_smoke, "repeats", lambda *given: True)
    monkeypatch.setattr(gpu_smoke, "speeds", lambda *given, **more: {})
    with pytest.raises(SystemExit, match="failed"):
        main(["--small", "--batch", "1"])


def test_one_value_may_be_off_but_not_all_of_them() -> None:
    gradient = torch.randn(512, 512, generator=torch.Generator().manual_seed(0))
    one = gradient.clone()
    one[3, 5] += 0.05 * gradient.abs().max()
    assert is_agreed({"step 1": largest_difference({"weight": one}, {"weight": gradient})})
    all_of_them = gradient + 0.01 * gradient.roll(1, 0)
    assert not is_agreed({"step 1": largest_difference({"weight": all_of_them}, {"weight": gradient})})
