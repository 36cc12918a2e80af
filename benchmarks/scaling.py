"""Does a stage's time grow with the images alone, and its memory not at all? python -m benchmarks.scaling [FOLDER]

Runs every stage of a small graph by hand at 1, 4 and 16 times the images, each in a process of its own, and tells the
seconds and bytes that one image more costs (so that start-up drops out), the peak memory, and the output's size.
Training stages run in proportion to the images. FOLDER keeps the projects; without one they go to a temporary folder.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.page import Row, write_section
from benchmarks.peak import ALLOWED_BYTES, ALLOWED_SHARE, peak_bytes
from benchmarks.sizes import PAGE, TRAINING_IMAGES, size_text
from benchmarks.small_project import small_project

SIZES = (24, 96, 384)
ITERATIONS = 24  # of every training, before those in proportion to the images: memory is full only after some batches
TRAINING = ("train_rpn_step1", "train_head_step2", "train_rpn_step3", "train_head_step4", "finetune_joint")


@dataclass(frozen=True)
class Run:
    """One stage at one size: `seconds` of its process, `peak` and `written` bytes, and `files` written."""

    seconds: float
    peak: int
    written: int
    files: int


def run_stages(root: Path, images: int) -> dict[str, Run]:
    """Every stage of a new project with `images` training and half as many test images, in the graph's order."""
    root.mkdir(parents=True)
    small_project(root, threads=1)  # two would wait for each other where others use the cores too
    path = root / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    params["dataset"]["shapes"].update(train=images, test=images // 2)
    params["proposals"].update(pre_nms=1000, post_nms=300)
    for stage in TRAINING:
        params[stage].update(iterations=ITERATIONS + images // 4, lr_drop_at=[ITERATIONS])
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    return {name: _run(root, name, stage["cmd"]) for name, stage in graph(root).items()}


def graph(root: Path) -> dict[str, dict]:
    """The stages of dvc.yaml."""
    return yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def needed_for(stages: dict[str, dict], wanted: Iterable[str]) -> list[str]:
    """The stages that `wanted` need, with these, in the graph's order."""
    needed = set(wanted)
    for name in reversed(stages):
        if name in needed:
            needed |= {own for own in stages if f"data/{own}" in stages[name].get("deps", ())}
    return [name for name in stages if name in needed]


def _run(root: Path, name: str, command: str) -> Run:
    began = time.perf_counter()
    peak = peak_bytes([sys.executable, *command.split()[1:]], root)
    seconds = time.perf_counter() - began
    written = [path.stat().st_size for path in (root / "data" / name).rglob("*") if path.is_file()]
    print(f"{name}: {seconds:.1f} s", flush=True)
    return Run(seconds, peak, sum(written), len(written))


def images_of(name: str, images: int) -> int:
    """How many images a stage sees where there are `images` to train on and half as many to test on."""
    if name in ("dataset", "resize"):
        return images + images // 2
    return images // 2 if name.startswith(("detect", "evaluate")) else images


def per_image(name: str, runs: list[dict[str, Run]], what: str, first: int, last: int) -> float:
    """What one image more costs between two of the sizes."""
    more = images_of(name, SIZES[last]) - images_of(name, SIZES[first])
    return (getattr(runs[last][name], what) - getattr(runs[first][name], what)) / more


def table(runs: list[dict[str, Run]]) -> str:
    """In Markdown, a row a stage."""
    lines = [
        "| stage | ms an image, 1x to 4x | 4x to 16x | bytes an image | files at 16x | peak MB at 1x | at 16x | "
        f"{' | '.join(TRAINING_IMAGES)} |",
        "|" + " --- |" * (7 + len(TRAINING_IMAGES)),
    ]
    for name in runs[0]:
        early, late = (1e3 * per_image(name, runs, "seconds", *pair) for pair in ((0, 1), (1, 2)))
        own_bytes, peaks = per_image(name, runs, "written", 1, 2), [run[name].peak >> 20 for run in runs]
        lines.append(
            f"| `{name}` | {early:.1f} | {late:.1f} | {own_bytes:,.0f} | {runs[-1][name].files} | {peaks[0]} | "
            f"{peaks[-1]} | " + " | ".join(_at(name, runs, count) for count in TRAINING_IMAGES.values()) + " |"
        )
    return "\n".join(lines)


def _at(name: str, runs: list[dict[str, Run]], images: int) -> str:
    """Time and bytes with so many training images, in a straight line from the largest run. A training stage sees as
    many iterations as its schedule says, whatever the data."""
    if name in TRAINING or name == "backbone":
        return ""
    more = images_of(name, images) - images_of(name, SIZES[-1])
    seconds = runs[-1][name].seconds + more * max(per_image(name, runs, "seconds", 0, 2), 0)
    return (
        f"{seconds / 60:.0f} min, {size_text(runs[-1][name].written + more * per_image(name, runs, 'written', 1, 2))}"
    )


def rows(runs: list[dict[str, Run]]) -> list[Row]:
    """The two bars: time grows in proportion at most, memory stays."""
    growth = {name: runs[2][name].seconds / runs[1][name].seconds / 4 for name in runs[0]}
    steepest = max(growth, key=lambda name: growth[name])
    grown = {name: runs[-1][name].peak - runs[0][name].peak for name in runs[0]}
    over = {name: more / max(ALLOWED_BYTES, ALLOWED_SHARE * runs[0][name].peak) for name, more in grown.items()}
    named = max(over, key=lambda name: over[name])
    return [
        Row(f"time at 16x over 4 times that at 4x, steepest: {steepest}", [growth[steepest]], bar=1.0, unit="x"),
        Row(f"memory over what is allowed, most grown: {named}", [over[named]], bar=1.0, unit="x"),
    ]


def measure(folder: Path) -> list[dict[str, Run]]:
    """All stages at all sizes."""
    return [run_stages(folder / str(images), images) for images in SIZES]


def main(folder: Path) -> None:
    runs = measure(folder)
    about = (
        f"Every stage of the default graph on {SIZES[0]}, {SIZES[1]} and {SIZES[2]} generated training images of\n"
        "192 x 192 and half as many test images, in one thread. What one image more costs, without start-up; training\n"
        "stages run 24 iterations of 2 images, and one more for every 4 images.\n\n" + table(runs)
    )
    write_section("scaling", "Scaling with the number of images", about, rows(runs), PAGE)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(Path(scratch))
