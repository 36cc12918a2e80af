"""What DVC needs for many small files against the same bytes in shards: python -m benchmarks.dvc_files

10,000 files of 16 KiB, and 157 shards of 64 of them; and shards as large as those of VGG16's maps. Timed are `dvc add`
(hash, and copy into the cache), `dvc status` of what has not changed, and `dvc checkout` of a folder that is gone, by
each type of link.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.page import Row, write_section
from benchmarks.sizes import PAGE, VGG16_AT_600, maps, size_text
from pipeline.artifacts.shards import IMAGES_PER_SHARD

FILES, BYTES, PER_SHARD = 10_000, 16 << 10, 64
LINKS = ("copy", "hardlink", "symlink")
LAYOUTS = {"shards": PER_SHARD, "small files": 1}
LARGE, LARGE_BYTES = 6, IMAGES_PER_SHARD * maps(VGG16_AT_600)
Times = dict[str, float]


def plant(folder: Path, per_file: int) -> None:
    """The same bytes in FILES / `per_file` files."""
    folder.mkdir(parents=True)
    draw = random.Random(0)
    for index in range(0, FILES, per_file):
        count = min(per_file, FILES - index)
        (folder / f"{index:06d}").write_bytes(b"".join(draw.randbytes(BYTES) for _ in range(count)))


def plant_large(folder: Path) -> None:
    """Shards of a run at size."""
    folder.mkdir(parents=True)
    draw = random.Random(0)
    for index in range(LARGE):
        with (folder / f"{index:06d}").open("wb") as file:
            for _ in range(0, LARGE_BYTES, 1 << 20):
                file.write(draw.randbytes(1 << 20))


def dvc(root: Path, *arguments: str) -> float:
    """Seconds of a DVC command."""
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=root, env=environment, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - began


def measure(root: Path, planted: Callable[[Path], None]) -> Times:
    """Add, ask, and check out by each type of link, in a repository of its own."""
    root.mkdir()
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    dvc(root, "init", "--quiet")
    planted(root / "data")
    times = {"add": dvc(root, "add", "data"), "status": dvc(root, "status")}
    for link in LINKS:
        dvc(root, "config", "cache.type", link)
        shutil.rmtree(root / "data")
        times[f"checkout by {link}"] = dvc(root, "checkout")
    return times


ON_BYTES = ("add", "checkout by copy")
"""What reads or writes all bytes."""


def _rate(size: int, seconds: float) -> float:
    """MB/s."""
    return size / 1e6 / max(seconds, 1e-3)


def main(runs: int = 1) -> None:
    with tempfile.TemporaryDirectory() as folder:
        nothing = Path(folder) / "nothing"
        nothing.mkdir()
        subprocess.run(["git", "init", "--quiet", str(nothing)], check=True)
        dvc(nothing, "init", "--quiet")
        start = min(dvc(nothing, "status") for _ in range(3))
        measured: dict[str, list[Times]] = {name: [] for name in LAYOUTS}
        for run in range(runs):
            for name, per_file in LAYOUTS.items():
                root = Path(folder) / f"{name}-{run}"
                measured[name].append(measure(root, partial(plant, per_file=per_file)))
                shutil.rmtree(root)
        large = measure(Path(folder) / "large", plant_large)
    rows = [
        Row(
            what,
            *([times[what] for times in measured[name]] for name in LAYOUTS),  # type: ignore[arg-type]
            unit="s",
        )
        for what in measured["shards"][0]
    ]
    seconds = min(times["add"] for times in measured["shards"]) - start
    rate = _rate(FILES * BYTES, seconds)
    large_rates = ", ".join(f"{what} {_rate(LARGE * LARGE_BYTES, large[what] - start):.0f} MB/s" for what in ON_BYTES)
    per_file_cost = (min(times["add"] for times in measured["small files"]) - start - seconds) / FILES
    write_section(
        "dvc_files",
        "Many files against shards, in DVC",
        f"{FILES:,} files of {BYTES >> 10} KiB (peer), and the same bytes in {-(-FILES // PER_SHARD)} shards (ours).\n"
        f"DVC's own start, {start:.1f} s, is part of every time. Without it, shards are hashed and copied into the\n"
        f"cache at {rate:.0f} MB/s, and each further file costs {per_file_cost * 1e3:.2f} ms.\n"
        f"{LARGE} shards of {size_text(LARGE_BYTES)}, as VGG16's maps are written: {large_rates}.",
        rows,
        PAGE,
        on_cpu=True,
    )


if __name__ == "__main__":
    main()
