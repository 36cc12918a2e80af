"""The benchmarks put ours and the peer's work on one device, shown with torch's `meta` in place of a GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks import inference_time, page, peer
from benchmarks.inference_time import detect_all, pixels_of
from pipeline.nn.postprocess import DetectedBoxes

META = torch.device("meta")


@pytest.fixture
def autocasts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The types of devices that autocast is asked for."""
    asked: list[str] = []

    @contextlib.contextmanager
    def autocast(kind: str, *given: Any, **more: Any) -> Iterator[None]:
        asked.append(kind)
        yield

    monkeypatch.setattr(torch, "autocast", autocast)
    return asked


def test_inference_gets_pixels_and_precision_on_the_device(autocasts: list[str]) -> None:
    class Images(list[SimpleNamespace]):
        def pixels(self, entry: object) -> np.ndarray:
            return np.zeros((4, 6, 3), np.uint8)

    images: Any = Images([SimpleNamespace(image_id="one"), SimpleNamespace(image_id="two")])
    pixels = pixels_of(images, 1, META)
    assert [(image.device, image.shape) for image in pixels] == [(META, (3, 4, 6))]
    met: list[torch.device] = []

    def network(batch: Tensor, sizes: object, scales: object) -> list[DetectedBoxes]:
        met.append(batch.device)
        empty = torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64)
        return [DetectedBoxes(*empty)]

    detect_all(network, pixels, bf16=True)  # type: ignore[arg-type]
    assert met == [META] and autocasts == ["meta"]


def test_detections_are_compared_on_the_cpu(monkeypatch: pytest.MonkeyPatch, autocasts: list[str]) -> None:
    moved: list[str] = []

    class OnDevice:
        def __init__(self, name: str) -> None:
            self._name = name

        def cpu(self) -> str:
            moved.append(self._name)
            return self._name

    found = DetectedBoxes(*(OnDevice(name) for name in ("boxes", "scores", "labels")))  # type: ignore[arg-type]
    monkeypatch.setattr(inference_time, "detect_all", lambda *given, **more: [found])
    monkeypatch.setattr(inference_time, "detect_with_theirs", lambda *given: {"boxes": OnDevice("theirs")})
    ours, theirs = inference_time._pair(None, None, torch.zeros(3, 4, 6))  # type: ignore[arg-type]
    assert (ours.boxes, ours.scores, ours.labels) == ("boxes", "scores", "labels") and theirs == {"boxes": "theirs"}
    assert sorted(moved) == ["boxes", "labels", "scores", "theirs"]


def test_the_peers_batches_and_network_lie_on_the_device(monkeypatch: pytest.MonkeyPatch, autocasts: list[str]) -> None:
    monkeypatch.setattr(peer, "gpu_or_cpu", lambda: META)
    met: list[set[torch.device]] = []

    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]], boxes: list[Tensor]) -> Any:
            every = [*images, *boxes, *targets[0].values(), self.weight]
            met.append({value.device for value in every})
            raise KeyboardInterrupt  # what comes after needs numbers

    batch = ([torch.zeros(3, 4, 6)], [{"boxes": torch.zeros(1, 4)}], [torch.zeros(2, 4)])
    run = peer.peer_loop(Part(), [batch], 1e-3, bf16=False)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        run()
    assert met == [{META}] and autocasts == ["meta"]


def test_a_section_of_the_page_names_the_gpu_where_it_computed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(page, "has_gpu", lambda: True)
    monkeypatch.setattr(page, "gpu_model", lambda: "NVIDIA H100, CUDA 13.2, cuDNN 92000")
    assert page.processor() == "NVIDIA H100, CUDA 13.2, cuDNN 92000"
    for name in ("training_time", "start_up"):
        rows = [page.Row("a", [1.0])]
        page.write_section(name, name, "About it.", rows, tmp_path / "page.md", on_cpu=name == "start_up")
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "## training_time: NVIDIA H100, CUDA" in text and f"## start_up: {page.cpu()}\n" in text
