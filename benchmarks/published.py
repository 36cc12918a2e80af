"""Do torchvision's published detectors reach their published AP through our stages?

    python -m benchmarks.published --coco COCO                      # all, which torchvision downloads
    python -m benchmarks.published --coco COCO --detectors fcos ssd300
    python -m benchmarks.published --coco COCO --weights FILE       # the detector in FILE
    python -m benchmarks.published --coco FEW_IMAGES --random       # does it run? random weights, nothing is compared

COCO is a folder with `annotations/instances_val2017.json` and the images in `val2017` (or `images/val2017`). In a
scratch project (`--work`, by default .dvc/tmp/published) DVC runs our stages: dataset, resize to 800 by 1333, backbone
with `init.detector`, detect, evaluate. What is finished is not repeated when the script is started again, and a detect
that was cut short resumes. One line per detector; the exit status is 1 where an AP is further than .1 from the
published one. A detector takes 16 GB in the scratch project, and on a CPU hours.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.guarded_run import run_module
from benchmarks.published_models import DETECTORS
from benchmarks.published_project import ROOT, graph, link_images, settings_of
from pipeline.artifacts.atomic import write_text
from pipeline.building.published import published_detector
from pipeline.presets.links import link
from pipeline.runtime.errors import InputError
from pipeline.runtime.stopping import Stopped, handle_signals

IMAGES, TOLERANCE = 5000, 0.1
"""Of val2017, and how many points of AP may lie between ours and the published figure."""

FIRST_NAMES = ("fasterrcnn", "retinanet")
"""Whose published files have names of an older torchvision."""


def detector_of(file: Path) -> str:
    """Which of `DETECTORS` a file of weights is.

    Raises:
        InputError: it is none.
    """
    try:
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        found = published_detector(state, file.name)
    except InputError:
        raise
    except Exception as error:  # torch raises whatever its zip and pickle readers do
        raise InputError(f"{file}: is not a weights file ({str(error).splitlines()[0][:100]})") from error
    titles = {f"torchvision's {own.builder.__name__}": name for name, own in DETECTORS.items()}
    if found is None or found.needs.title not in titles:
        names = ", ".join(own.builder.__name__ for own in DETECTORS.values())
        raise InputError(f"{file}: holds none of torchvision's detectors that are known here; give one of {names}")
    return titles[found.needs.title]


def downloaded(name: str) -> Path:
    """The file of the published weights, fetched into torch's own folder where it is not there.

    Raises:
        InputError: it cannot be fetched.
    """
    weights = DETECTORS[name].weights
    try:
        weights.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:
        why = str(error).splitlines()[0]
        raise InputError(f"{weights.url}: cannot be fetched ({why}); fetch it elsewhere and give --weights") from error
    return Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]


def random_weights(name: str, folder: Path) -> Path:
    """A file of random weights, with class scores spread so far that some count as detections."""
    file = folder / f"random-{name}.pth"
    if not file.exists():
        torch.manual_seed(0)
        model = DETECTORS[name].builder(weights=None, weights_backbone=None)
        state = dict(model.state_dict())
        for layer in DETECTORS[name].scores:
            state[layer].mul_(100)
        folder.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".partial")
        torch.save(with_first_names(state) if name in FIRST_NAMES else state, temporary)
        temporary.rename(file)
    return file


def with_first_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As in published files that are older than torchvision's present names of FPN, RPN and RetinaNet's heads."""
    changes: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
        (r"(backbone\.fpn\.\w+_blocks\.\d+)\.0\.", r"\1."),
        (r"rpn\.head\.conv\.0\.0\.", "rpn.head.conv."),
        (r"(head\.\w+\.conv)\.(\d+)\.0\.", lambda found: f"{found[1]}.{2 * int(found[2])}."),
    ]
    renamed = dict(state)
    for pattern, name in changes:
        renamed = {re.sub(pattern, name, old): value for old, value in renamed.items()}
    return {old: value for old, value in renamed.items() if not old.endswith("num_batches_tracked")}


def evaluated(name: str, weights: Path, coco: Path, work: Path) -> dict[str, float]:
    """The metrics of a detector on the images of `coco`, by the stages in a project in `work`.

    Raises:
        InputError: a stage has failed; it has said why.
    """
    work.mkdir(parents=True, exist_ok=True)

    def dvc(*words: str) -> None:
        run_module("dvc", words, cwd=work, code=ROOT)

    published = DETECTORS[name]
    params = settings_of(published)
    if not (work / ".dvc").is_dir():
        dvc("init", "--no-scm", "--quiet")
    write_text(work / "params.yaml", params)
    write_text(work / "dvc.yaml", graph(published))
    link_images(coco, work / "images")
    for key, target in (("dataset.root", work / "images"), ("init.detector", weights), ("backbone.weights", None)):
        link(work, key, target)
    dvc("repro")
    metrics: dict[str, float] = json.loads(
        (work / f"data/evaluate_{published.network}/metrics.json").read_text(encoding="utf-8")
    )
    return metrics


def verdict(name: str, metrics: dict[str, float], is_random: bool) -> tuple[str, bool]:
    """A line on a detector's AP, and whether nothing speaks against it."""
    own, title = 100 * metrics["AP"], DETECTORS[name].builder.__name__
    count = int(metrics["images"])
    if is_random:
        return f"{title}: random weights, AP {own:.2f} on {count:,} images, not compared", True
    if count != IMAGES:
        return (
            f"{title}: AP {own:.2f} on {count:,} images; the published one is of {IMAGES:,}, give all of val2017",
            False,
        )
    off = own - DETECTORS[name].ap
    fits = round(abs(off), 6) <= TOLERANCE  # 46.6 and 46.7 are not a tenth apart in binary
    judged = f"within {TOLERANCE:g}" if fits else f"further than {TOLERANCE:g}"
    return f"{title}: AP {own:.2f}, published {DETECTORS[name].ap:.1f}, off by {off:+.2f}: {judged}", fits


def run(arguments: argparse.Namespace) -> bool:
    """Evaluate and print; whether all fits.

    Raises:
        InputError: images or weights are missing, or a stage has failed.
    """
    work = arguments.work.resolve()
    if arguments.weights is not None:
        given = arguments.weights.resolve()
        if not given.is_file():
            raise InputError(f"--weights {arguments.weights}: no such file")
        files = {detector_of(given): given}
    elif arguments.random:
        files = {name: random_weights(name, work) for name in arguments.detectors}
    else:
        files = {name: downloaded(name) for name in arguments.detectors}
    fits = True
    for name, file in files.items():
        metrics = evaluated(name, file, arguments.coco.resolve(), work / name)
        line, own = verdict(name, metrics, arguments.random)
        print(line, flush=True)
        fits &= own
    return fits


def parser() -> argparse.ArgumentParser:
    """The command line."""
    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own.add_argument("--coco", type=Path, required=True, help="folder with annotations and val2017")
    which = own.add_mutually_exclusive_group()
    which.add_argument("--weights", type=Path, help="a file of one; default: downloaded by torchvision")
    which.add_argument("--random", action="store_true", help="random weights: does it run?")
    own.add_argument("--detectors", nargs="+", choices=list(DETECTORS), default=list(DETECTORS), help="default: all")
    own.add_argument("--work", type=Path, default=ROOT / ".dvc" / "tmp" / "published", help="the scratch projects")
    return own


def main() -> None:
    handle_signals()
    try:
        fits = run(parser().parse_args())
    except InputError as error:
        sys.exit(f"published: {error}")
    except Stopped as stopped:
        print(f"published: {stopped}; the next start resumes", file=sys.stderr)
        sys.exit(stopped.status)
    sys.exit(0 if fits else 1)


if __name__ == "__main__":
    main()
