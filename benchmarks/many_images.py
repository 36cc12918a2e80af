"""Do the data stages go through 20,000 images in bounded memory and linear time? python -m benchmarks.many_images

Every stage that goes image by image, those of the dense families too, at three sizes of a generated data set, each in a
process of its own and in one thread. Trainings are as short as they can be, as nothing here depends on what they learn.
Times are CPU seconds, which other work on the machine changes little. The straight line through the two larger sizes
gives COCO's. `--sizes` sets the numbers of training images; a quarter as many are for tests.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.page import Row, write_section
from benchmarks.peak import ALLOWED_BYTES, ALLOWED_SHARE, used_by
from benchmarks.scaling import TRAINING, graph, needed_for
from benchmarks.sizes import PAGE, size_text
from benchmarks.small_project import small_project
from pipeline.families.registry import family_of
from pipeline.presets.defaults import default_text

SIZES = (1_250, 5_000, 20_000)
COCO = 118_287
ITERATIONS = 8
LAST = ("proposal_targets_step4", "evaluate_step2")
DENSE = ("retinanet", "fcos", "ssd")
NOT_MEASURED = ("backbone", "frozen_features", *TRAINING)


@dataclass(frozen=True)
class Run:
    """One stage at one size: CPU `seconds` and `peak` bytes of its process, and bytes `written`."""

    seconds: float
    peak: int
    written: int


def run_stages(root: Path, images: int) -> dict[str, Run]:
    """Every measured stage of a new project with `images` training images."""
    root.mkdir(parents=True)
    small_project(root, threads=1)
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    params["dataset"]["shapes"].update(train=images, test=images // 4)
    params["proposals"].update(pre_nms=1000, post_nms=300)
    for stage in TRAINING:
        params[stage].update(iterations=ITERATIONS, lr_drop_at=[ITERATIONS - 1])
    _write(root, params)
    stages = graph(root)
    runs = {name: _run(root, name, stages[name]["cmd"]) for name in needed_for(stages, LAST)}
    shared = {section: params[section] for section in ("base", "dataset", "resize")}
    for family in DENSE:
        _write(root, {**yaml.safe_load(default_text(family_of(family))), **shared})
        name = f"{family}_targets"
        own = yaml.safe_load((root / "graphs" / f"{family}.yaml").read_text(encoding="utf-8"))["stages"]
        runs[name] = _run(root, name, own[name]["cmd"])
    return {name: run for name, run in runs.items() if name not in NOT_MEASURED}


def _write(root: Path, params: dict[str, Any]) -> None:
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def _run(root: Path, name: str, command: str) -> Run:
    words = command.split()[1:]
    if "--code" in words:  # nothing that a lock guards is kept
        at = words.index("--code")
        del words[at : at + 2]
    usage = used_by([sys.executable, *words], root)
    written = sum(path.stat().st_size for path in (root / "data" / name).rglob("*") if path.is_file())
    print(f"{name}: {usage.cpu_seconds:.1f} s, {usage.peak >> 20} MB", flush=True)
    return Run(usage.cpu_seconds, usage.peak, written)


def images_of(name: str, training: int) -> int:
    """How many images a stage goes through where there are `training` to train on and a quarter as many to test on."""
    if name in ("dataset", "resize"):
        return training + training // 4
    return training // 4 if name.startswith(("detect", "evaluate")) else training


def table(sizes: tuple[int, ...], runs: list[dict[str, Run]]) -> str:
    """In Markdown, one row per stage."""
    lines = [
        "| stage | "
        + " | ".join(f"CPU s at {size:,}" for size in sizes)
        + " | "
        + " | ".join(f"peak MB at {size:,}" for size in sizes)
        + " | ms per image | COCO train2017 |",
        "|" + " --- |" * (2 * len(sizes) + 3),
    ]
    for name in runs[0]:
        slope = per_image(name, sizes, runs)
        more = images_of(name, COCO) - images_of(name, sizes[-1])
        seconds = runs[-1][name].seconds + more * slope
        written = runs[-1][name].written * images_of(name, COCO) / images_of(name, sizes[-1])
        lines.append(
            f"| `{name}` | "
            + " | ".join(f"{run[name].seconds:.1f}" for run in runs)
            + " | "
            + " | ".join(f"{run[name].peak / 1e6:.0f}" for run in runs)
            + f" | {1e3 * slope:.1f} | {seconds / 60:.0f} min, {size_text(written)} |"
        )
    return "\n".join(lines)


def per_image(name: str, sizes: tuple[int, ...], runs: list[dict[str, Run]]) -> float:
    """CPU seconds of one image more, between the two larger sizes."""
    more = images_of(name, sizes[-1]) - images_of(name, sizes[-2])
    return (runs[-1][name].seconds - runs[-2][name].seconds) / more


def rows(sizes: tuple[int, ...], runs: list[dict[str, Run]]) -> list[Row]:
    """Time grows in proportion at most; memory by no more than what is allowed, whatever the images."""
    share = sizes[-1] / sizes[-2]
    growth = {name: runs[-1][name].seconds / runs[-2][name].seconds / share for name in runs[0]}
    steepest = max(growth, key=lambda name: growth[name])
    over = {
        name: (runs[-1][name].peak - run.peak) / max(ALLOWED_BYTES, ALLOWED_SHARE * run.peak)
        for name, run in runs[0].items()
    }
    named = max(over, key=lambda name: over[name])
    return [
        Row(
            f"time over {share:g} times that at {sizes[-2]:,}, steepest: {steepest}",
            [growth[steepest]],
            bar=1,
            unit="x",
        ),
        Row(f"memory over what is allowed, most grown: {named}", [over[named]], bar=1, unit="x"),
    ]


def main() -> None:
    """Measure, and write the section of docs/scaling.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="training images, smallest first")
    parser.add_argument("--no-page", action="store_true", help="print, and write no section")
    arguments = parser.parse_args()
    sizes = tuple(arguments.sizes)
    runs = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            print(f"== {size} images", flush=True)
            runs.append(run_stages(Path(folder) / "project", size))
    counts = ", ".join(f"{size:,}" for size in sizes)
    about = (
        f"Every stage that goes image by image, on {counts} generated training images of 192 x 192 and a\n"
        "quarter as many test images, in one thread: CPU seconds of the whole stage, its start included, peak memory,\n"
        "and what the line through the two larger sizes gives for COCO's 118,287. `dataset` draws the images, too.\n\n"
    ) + table(sizes, runs)
    if arguments.no_page:
        print(about, *(row.cells() for row in rows(sizes, runs)), sep="\n")
    else:
        write_section("many_images", "Twenty thousand images", about, rows(sizes, runs), PAGE)


if __name__ == "__main__":
    main()
