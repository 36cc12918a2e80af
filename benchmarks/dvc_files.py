"""What DVC needs for many small files against the same bytes in shards: python -m benchmarks.dvc_files

10,000 files of 16 KiB, and 157 shards of 64 of them. Timed are `dvc add` (hash, and copy into the cache), `dvc status`
of what has not changed, and `dvc checkout` of a folder that is gone, by each type of link.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.page import Row, write_section
from benchmarks.sizes import PAGE

FILES, BYTES, PER_SHARD = 10_000, 16 << 10, 64
LINKS = ("copy", "hardlink", "symlink")
LAYOUTS = {"shards": PER_SHARD, "small files": 1}
Times = dict[str, float]


def plant(folder: Path, per_file: int) -> None:
    """The same bytes in FILES / `per_file` files."""
    folder.mkdir(parents=True)
    draw = random.Random(0)
    for index in range(0, FILES, per_file):
        count = min(per_file, FILES - index)
        (folder / f"{index:06d}").write_bytes(b"".join(draw.randbytes(BYTES) for _ in range(count)))


def dvc(root: Path, *arguments: str) -> float:
    """Seconds of a DVC command."""
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=root, env=environment, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - began


def measure(root: Path, per_file: int) -> Times:
    """Add, ask, and check out by each type of link, in a repository of its own."""
    root.mkdir()
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    dvc(root, "init", "--quiet")
    plant(root / "data", per_file)
    times = {"add": dvc(root, "add", "data"), "status": dvc(root, "status")}
    for link in LINKS:
        dvc(root, "config", "cache.type", link)
        shutil.rmtree(root / "data")
        times[f"checkout by {link}"] = dvc(root, "checkout")
    return times


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
                measured[name].append(measure(root, per_file))
                shutil.rmtree(root)
    rows = [
        Row(
            what,
            *([times[what] for times in measured[name]] for name in LAYOUTS),  # type: ignore[arg-type]
            unit="s",
        )
        for what in measured["shards"][0]
    ]
    seconds = min(times["add"] for times in measured["shards"]) - start
    rate = FILES * BYTES / 2**20 / max(seconds, 1e-3)
    per_file_cost = (min(times["add"] for times in measured["small files"]) - start - seconds) / FILES
    write_section(
        "dvc_files",
        "Many files against shards, in DVC",
        f"{FILES:,} files of {BYTES >> 10} KiB (peer), and the same bytes in {-(-FILES // PER_SHARD)} shards (ours).\n"
        f"DVC's own start, {start:.1f} s, is part of every time. Without it, shards are hashed and copied into the\n"
        f"cache at {rate:.0f} MB/s, and every file more costs {per_file_cost * 1e3:.2f} ms.",
        rows,
        PAGE,
        on_cpu=True,
    )


if __name__ == "__main__":
    main()
