"""A graph of a model of timm's is compared with the model before it is written."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn

import pipeline.export.traced_trunk as traced_trunk
from pipeline.bundle.file import Bundle
from pipeline.export.known import ONNX_BACKBONES, onnx_backbones
from pipeline.export.onnx import padded
from pipeline.nn.backbones.build import build_trunk
from pipeline.runtime.errors import InputError

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install '.[onnx]'")


class Session:
    """A graph that gives the maps of a module, moved by `off`."""

    def __init__(self, module: nn.Module, off: float) -> None:
        self._module, self._off = module, off

    def run(self, names: None, feeds: dict[str, Any]) -> list[Any]:
        with torch.inference_mode():
            return [own.numpy() + self._off for own in self._module(torch.from_numpy(feeds["image"]))]


@pytest.fixture
def bundle() -> Bundle:
    trunk = build_trunk("tiny")
    trunk.initialise(torch.Generator().manual_seed(0))
    params = SimpleNamespace(backbone=SimpleNamespace(name="timm/some_model"))
    return cast(
        Bundle,
        SimpleNamespace(folder=Path("b"), parts={"trunk": trunk.eval()}, settings=SimpleNamespace(params=params)),
    )


def check(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, off: float) -> None:
    asked: list[nn.Module] = []

    def trace(module: nn.Module, size: tuple[int, int]) -> Any:
        asked.append(copy.deepcopy(module))
        return SimpleNamespace(SerializeToString=bytes)

    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *given, **more: Session(asked[0], off))
    traced_trunk.check_traced_trunk(bundle, trace, padded)


def test_equal_maps_pass_and_others_are_refused(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    check(bundle, monkeypatch, 0.0)
    with pytest.raises(
        InputError, match=r"^b: the graph of timm/some_model gives other maps than the model in images of"
    ):
        check(bundle, monkeypatch, 0.5)


def test_the_comparison_needs_onnxruntime(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traced_trunk, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"^onnxruntime is not installed, .*\[onnx\]'$"):
        check(bundle, monkeypatch, 0.0)


def test_a_model_of_timms_may_be_written_and_other_names_not() -> None:
    assert onnx_backbones("timm/some_model") == (*ONNX_BACKBONES, "timm/some_model")
    assert onnx_backbones("added") == ONNX_BACKBONES


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed: pip install '.[timm]'")
@pytest.mark.parametrize(("model", "multiple"), [("test_resnet", 1), ("test_vit", 16)])
def test_graphs_of_models_of_timms_give_the_models_maps(model: str, multiple: int) -> None:
    from functools import partial

    from pipeline.building.timm_trunk import TimmTrunk
    from pipeline.export.onnx import _trunk_graph
    from pipeline.geometry.trunk_settings import TrunkSettings

    trunk = TimmTrunk(f"timm/{model}", TrunkSettings(frozen_stages=5, size_divisible=multiple))
    trunk.initialise(torch.Generator().manual_seed(0))
    params = SimpleNamespace(backbone=SimpleNamespace(name=f"timm/{model}"))
    own = cast(
        Bundle, SimpleNamespace(folder=Path("b"), parts={"trunk": trunk}, settings=SimpleNamespace(params=params))
    )
    traced_trunk.check_traced_trunk(own, partial(_trunk_graph, own), padded)


def test_a_graph_that_cannot_run_is_refused_in_one_line(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("the input has another size than the graph")

    monkeypatch.setattr(Session, "run", fail)
    with pytest.raises(InputError, match=r"^b: the graph of timm/some_model gives other maps than .*, or none; use"):
        check(bundle, monkeypatch, 0.0)


def test_so_is_one_with_other_levels(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "run", lambda *_: [])
    with pytest.raises(InputError, match="or none"):
        check(bundle, monkeypatch, 0.0)
