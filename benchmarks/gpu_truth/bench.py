"""What sections share: where things lie, how to time work on the device, and a record that outlives a section's end."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from benchmarks.photos import Photos


@dataclass
class Bench:
    """One section at work.

    Attributes:
        kit: folder of the kit. work: a temporary one, shared by the sections.
        result: JSON file that has all that is recorded so far.
        small: tiny sizes.
    """

    kit: Path
    work: Path
    result: Path
    device: torch.device
    small: bool
    measured: dict[str, Any] = field(default_factory=dict)

    def record(self, **measured: Any) -> None:
        """Add figures by name; they are on disk when this returns."""
        self.measured.update(measured)
        unfinished = self.result.with_suffix(".part")
        unfinished.write_text(json.dumps(self.measured), encoding="utf-8")
        unfinished.replace(self.result)

    def attempt(self, name: str, work: Callable[[], Any]) -> None:
        """Record what `work` gives, or what it raises; the section continues."""
        try:
            result = work()
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        self.record(**{name: result})

    def wait(self) -> None:
        """Until the device has done what it was asked for."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(self, work: Callable[[], object], runs: int = 5, warmup: int = 2) -> float:
        """The least of some runs, after some to warm up."""
        times = []
        for run in range(warmup + runs):
            self.wait()
            began = time.perf_counter()
            work()
            self.wait()
            if run >= warmup:
                times.append(time.perf_counter() - began)
        return min(times)

    def weights(self) -> Path:
        """A folder with VGG16's trunk in float32 alone, made of the kit's float16."""
        from safetensors.torch import load_file, save_file

        folder = self.work / "weights"
        if not folder.exists():
            folder.mkdir()
            state = load_file(self.kit / "vgg16-float16.safetensors")
            save_file({name: value.float() for name, value in state.items()}, folder / "vgg16.safetensors")
        return folder

    @contextmanager
    def photos(self, train: int, **changes: Any) -> Iterator[Photos]:
        """Some photos of the kit, `test` of them for tests (2), taken through the stages up to targets; see
        `benchmarks.photos`."""
        from benchmarks.photos import prepared

        given = argparse.Namespace(photos=self.kit / "photos", weights=self.weights())
        side = 64 if self.small else 600
        head = {"hidden": 32 if self.small else 4096, "pool": "roi_align", **changes.pop("roi_head", {})}
        if self.small:
            changes["base"] = {"threads": 1, **changes.get("base", {})}
        test = changes.pop("test", 2)
        train, test = (4, 2) if self.small else (train, test)
        with prepared("gpu_truth", given, side, train, test, roi_head=head, **changes) as made:
            yield made
