"""Step 1 from images with a thread that makes batches, and with one, two and four processes (`FRCNN_LOADERS`)."""

from __future__ import annotations

import os
from functools import partial
from unittest.mock import patch

from benchmarks.gpu_truth.bench import Bench
from benchmarks.gpu_truth.training import measure
from pipeline.runtime.variables import LOADERS


def run(bench: Bench) -> None:
    """In bf16, of two images and of eight; the start of the processes is a small part of the time."""
    with bench.photos(16) as made:
        for count in (0, 2) if bench.small else (0, 1, 2, 4):
            with patch.dict(os.environ, {LOADERS: str(count)}):
                for images in (2,) if bench.small else (2, 8):
                    how = f"{LOADERS}={count}" if count else "a thread"
                    bench.attempt(
                        f"{images} images, {how}", partial(measure, bench, made, "bf16", images, least=600 // images)
                    )
