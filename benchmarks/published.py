"""Do torchvision's published detectors reach their published AP through our stages?

    python -m benchmarks.published --coco COCO                      # v1 and v2, which torchvision downloads
    python -m benchmarks.published --coco COCO --weights FILE       # of v1 or v2, whichever the file is
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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.models import detection

from benchmarks.guarded_run import run_module
from benchmarks.published_project import ROOT, graph, link_images, settings_of
from pipeline.artifacts.atomic import write_text
from pipeline.presets.links import link
from pipeline.runtime.errors import InputError
from pipeline.runtime.stopping import Stopped, handle_signals

IMAGES, TOLERANCE = 5000, 0.1
"""Of val2017, and how many points of AP may lie between ours and the published figure."""

V1, V2 = "v1", "v2"


@dataclass(frozen=True)
class Published:
    """A detector of torchvision's: what builds it, its weights, its AP on val2017 in points."""

    builder: Any
    weights: Any
    ap: float


DETECTORS = {
    V1: Published(detection.fasterrcnn_resnet50_fpn, detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1, 37.0),
    V2: Published(detection.fasterrcnn_resnet50_fpn_v2, detection.FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1, 46.7),
}


def version_of(file: Path) -> str:
    """Which detector a file of weights is: that of v2 alone has norms in its FPN.

    Raises:
        InputError: it is neither.
    """
    try:
        names = torch.load(file, map_location="cpu", weights_only=True, mmap=True).keys()
    except Exception as error:  # torch raises whatever its zip and pickle readers do
        raise InputError(f"{file}: is not a weights file ({str(error).splitlines()[0][:100]})") from error
    if "roi_heads.box_predictor.cls_score.weight" not in names:
        raise InputError(f"{file}: holds no Faster R-CNN of torchvision's; give a fasterrcnn_resnet50_fpn")
    return V2 if "backbone.fpn.inner_blocks.0.1.weight" in names else V1


def downloaded(version: str) -> Path:
    """The file of the published weights, fetched into torch's own folder where it is not there.

    Raises:
        InputError: it cannot be fetched.
    """
    weights = DETECTORS[version].weights
    try:
        weights.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:
        why = str(error).splitlines()[0]
        raise InputError(f"{weights.url}: cannot be fetched ({why}); fetch it elsewhere and give --weights") from error
    return Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]


def random_weights(version: str, folder: Path) -> Path:
    """A file of random weights, with class scores spread so far that some count as detections."""
    file = folder / f"random-{version}.pth"
    if not file.exists():
        torch.manual_seed(0)
        model = DETECTORS[version].builder(weights=None, weights_backbone=None)
        model.roi_heads.box_predictor.cls_score.weight.data.mul_(100)
        folder.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".partial")
        state = dict(model.state_dict())
        torch.save(with_first_names(state) if version == V1 else state, temporary)
        temporary.rename(file)
    return file


def with_first_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As in the published file of v1, which is older than torchvision's present names of FPN and RPN."""
    changes = ((r"(backbone\.fpn\.\w+\.\d+)\.0\.", r"\1."), (r"rpn\.head\.conv\.0\.0\.", "rpn.head.conv."))
    renamed = dict(state)
    for pattern, name in changes:
        renamed = {re.sub(pattern, name, old): value for old, value in renamed.items()}
    return {old: value for old, value in renamed.items() if not old.endswith("num_batches_tracked")}


def evaluated(version: str, weights: Path, coco: Path, work: Path) -> dict[str, float]:
    """The metrics of a detector on the images of `coco`, by the stages in a project in `work`.

    Raises:
        InputError: a stage has failed; it has said why.
    """
    work.mkdir(parents=True, exist_ok=True)

    def dvc(*words: str) -> None:
        run_module("dvc", words, cwd=work, code=ROOT)

    params = settings_of(version == V2)
    if not (work / ".dvc").is_dir():
        dvc("init", "--no-scm", "--quiet")
    write_text(work / "params.yaml", params)
    write_text(work / "dvc.yaml", graph())
    link_images(coco, work / "images")
    for key, target in (("dataset.root", work / "images"), ("init.detector", weights), ("backbone.weights", None)):
        link(work, key, target)
    dvc("repro")
    metrics: dict[str, float] = json.loads((work / "data/evaluate/metrics.json").read_text(encoding="utf-8"))
    return metrics


def verdict(version: str, metrics: dict[str, float], is_random: bool) -> tuple[str, bool]:
    """A line on a detector's AP, and whether nothing speaks against it."""
    own, name = 100 * metrics["AP"], f"{version}, {DETECTORS[version].builder.__name__}"
    count = int(metrics["images"])
    if is_random:
        return f"{name}: random weights, AP {own:.2f} on {count:,} images, not compared", True
    if count != IMAGES:
        return (
            f"{name}: AP {own:.2f} on {count:,} images; the published one is of {IMAGES:,}, give all of val2017",
            False,
        )
    off = own - DETECTORS[version].ap
    fits = round(abs(off), 6) <= TOLERANCE  # 46.6 and 46.7 are not a tenth apart in binary
    judged = f"within {TOLERANCE:g}" if fits else f"further than {TOLERANCE:g}"
    return f"{name}: AP {own:.2f}, published {DETECTORS[version].ap:.1f}, off by {off:+.2f}: {judged}", fits


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
        files = {version_of(given): given}
    elif arguments.random:
        files = {version: random_weights(version, work) for version in arguments.versions}
    else:
        files = {version: downloaded(version) for version in arguments.versions}
    fits = True
    for version, file in files.items():
        metrics = evaluated(version, file, arguments.coco.resolve(), work / version)
        line, own = verdict(version, metrics, arguments.random)
        print(line, flush=True)
        fits &= own
    return fits


def parser() -> argparse.ArgumentParser:
    """The command line."""
    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own.add_argument("--coco", type=Path, required=True, help="folder with annotations and val2017")
    which = own.add_mutually_exclusive_group()
    which.add_argument("--weights", type=Path, help="a file of v1 or v2; default: both, downloaded by torchvision")
    which.add_argument("--random", action="store_true", help="random weights: does it run?")
    own.add_argument("--versions", nargs="+", choices=list(DETECTORS), default=list(DETECTORS))
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
