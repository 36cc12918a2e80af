"""Device, precision and determinism; weights rounded once for inference give the bits that autocast gives."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator

import pytest
import torch

from pipeline.geometry.trunk_settings import NeckSettings
from pipeline.nn.arithmetic import set_determinism
from pipeline.nn.backbones.build import build_trunk
from pipeline.nn.backbones.frozen_norm import FrozenBatchNorm
from pipeline.params.base import Base
from pipeline.runtime.errors import InputError
from pipeline.runtime.inference import for_inference
from pipeline.runtime.launcher import check_pool, launch


def base(deterministic: bool, precision: str = "float32") -> Base:
    return Base(seed=0, threads=torch.get_num_threads(), precision=precision, deterministic=deterministic, mirror=True)


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    yield
    set_determinism(False)


@pytest.mark.usefixtures("restored")
def test_a_gpu_that_is_to_repeat_itself_refuses_to_train_through_roi_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(
        InputError, match=r"choose roi_head\.pool roi_align, or set base\.deterministic to false"
    ) as told:
        launch(base(deterministic=True), "roi_pool")
    assert "\n" not in str(told.value)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    ("deterministic", "pool", "on_gpu"),
    [(False, "roi_pool", True), (True, "roi_align", True), (True, None, True), (True, "roi_pool", False)],
)
def test_every_other_choice_is_taken(deterministic: bool, pool: str | None, on_gpu: bool) -> None:
    check_pool(deterministic, pool, on_gpu)


@pytest.mark.usefixtures("restored")
@pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU the parameter takes effect")
def test_on_a_cpu_the_parameter_changes_nothing() -> None:
    accelerator = launch(base(deterministic=True), "roi_pool")
    assert accelerator.device.type == "cpu"
    assert not torch.are_deterministic_algorithms_enabled()
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.usefixtures("restored")
def test_determinism_is_switched_on_and_off() -> None:
    set_determinism(True)
    assert torch.are_deterministic_algorithms_enabled() and torch.backends.cudnn.deterministic
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    set_determinism(False)
    assert not torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.deterministic


@pytest.mark.parametrize("precision", ["bf16", "float32"])
@pytest.mark.parametrize("name", ["tiny", "resnet18"])
def test_maps_are_those_of_unrounded_weights_under_autocast(name: str, precision: str) -> None:
    accelerator = launch(base(False, precision))
    draw = torch.Generator().manual_seed(1)
    images = torch.randn(1, 3, 32, 40, generator=draw)
    trunk = build_trunk(name, frozen_stages=2, neck=None if name == "tiny" else NeckSettings("fpn", 16, "batch")).eval()
    trunk.initialise(draw)
    if trunk.neck:
        trunk.neck.initialise(draw)
    for module in trunk.modules():
        if isinstance(module, FrozenBatchNorm):
            module.weight.uniform_(0.5, 1.5, generator=draw)
    found = []
    for ready in (lambda trunk: trunk, lambda trunk: for_inference(trunk, accelerator)):
        with torch.inference_mode(), accelerator.autocast():
            found.append(ready(copy.deepcopy(trunk))(images))
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("float32", torch.float32)])
def test_weights_are_rounded_once_in_place(precision: str, dtype: torch.dtype) -> None:
    trunk = for_inference(build_trunk("tiny"), launch(base(False, precision)))
    assert {weight.dtype for weight in trunk.layers[0].parameters()} == {dtype}
