"""What the benchmarks of training and of inference run on: some photos of voc6_mini under the preset voc6_vgg16, with
ImageNet's VGG16, taken through the project's own stages up to stored targets.

The proposals are those of an untrained RPN, and fc6, fc7 are random: no time depends on what a network has learned,
except that of NMS.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.page import skip
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.manifest import write_manifest
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.artifacts.weights import save_parts
from pipeline.building.trunk import load_trunk
from pipeline.families.faster_rcnn.building.rpn import initial_rpn
from pipeline.params.reading import Params
from pipeline.presets.apply import preset_params
from pipeline.runtime.stage import Stage
from pipeline.runtime.torch_seeding import torch_generator
from pipeline.training.run import entries_of
from stages.anchor_targets import anchor_targets
from stages.backbone import backbone
from stages.dataset import dataset
from stages.frozen_features import frozen_features
from stages.proposal_targets import proposal_targets
from stages.proposals import proposals
from stages.resize import resize

ROOT = Path(__file__).resolve().parents[1]
SIDES = (300, 600)
"""Shorter sides of resized images; the longer one is at most 5 / 3 of it."""


@dataclass(frozen=True)
class Photos:
    """Artifacts of stages in folders of `data`, named as in the graph."""

    data: Path
    params: Params

    def images(self, split: str = "train") -> ResizedImages:
        """The resized images of a split."""
        return ResizedImages(self.data / "resize", split)

    def entries(self) -> dict[Entry, tuple[int, int]]:
        """The training entries, mirrors among them, with their (H, W)."""
        return entries_of(self.images(), self.params.base.mirror)

    def run(self, name: str, work: Callable[[Stage], None], **inputs: str | Path) -> None:
        """Run a stage in this process. An input named by a string is the folder of another stage."""
        out = self.data / name
        out.mkdir()
        paths = {option: self.data / value if isinstance(value, str) else value for option, value in inputs.items()}
        with contextlib.redirect_stderr(io.StringIO()):
            work(Stage(name, self.params, out, _Given(paths)))
        write_manifest(out, name)


class _Given(dict[str, Path | None]):
    """Inputs of a stage: one not given is None."""

    def __missing__(self, option: str) -> None:
        return None


def parser(about: str | None) -> argparse.ArgumentParser:
    """A benchmark's command line: where photos and weights lie, how long to measure."""
    own = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = ROOT.parent / "shared"
    own.add_argument("--photos", type=Path, default=_first(ROOT / "data/raw", shared / "data/voc6_mini"))
    own.add_argument("--weights", type=Path, default=_first(ROOT / "data/weights", shared / "weights"))
    own.add_argument("--sides", type=int, nargs="+", default=list(SIDES), help="shorter sides of resized images")
    own.add_argument("--runs", type=int, default=7, help="rounds that count")
    return own


def _first(own: Path, shared: Path) -> Path:
    return own if own.is_dir() and any(own.iterdir()) else shared


def given(name: str, arguments: argparse.Namespace) -> tuple[Path, Path]:
    """The tree of photos and the file of weights that the command line names; skips the benchmark without them."""
    photos, weights = arguments.photos.resolve(), arguments.weights.resolve()
    if not (photos / "ImageSets/Main/train.txt").is_file():
        skip(name, f"no VOC photos at {arguments.photos}; give --photos")
    found = sorted([*weights.glob("*.pth"), *weights.glob("*.safetensors")])
    if not found:
        skip(name, f"no VGG16 weights at {arguments.weights}; give --weights")
    return photos, found[0]


@contextlib.contextmanager
def prepared(
    name: str,
    arguments: argparse.Namespace,
    side: int,
    train: int,
    test: int = 1,
    *,
    targets: bool = True,
    **changes: Any,
) -> Iterator[Photos]:
    """Photos at a shorter side, with everything that step 2 trains on; skips the benchmark where there are none.

    Args:
        train, test: at most so many images of either split. targets: whether anything is to be trained on them.
        changes: of parameters, `section={name: value}`.
    """
    photos, weights = given(name, arguments)
    params = preset_params("voc6_vgg16")
    changes = {
        "backbone": {"frozen_stages": 2},  # as the paper, and the peers
        "resize": {"shorter_side": side, "longer_side": side * 5 // 3},
        **changes,
    }
    for section, values in changes.items():
        setattr(params, section, getattr(params, section).model_copy(update=values))
    torch.set_num_threads(params.base.threads)
    with tempfile.TemporaryDirectory() as folder:
        raw, data = Path(folder) / "raw", Path(folder) / "data"
        data.mkdir()
        own_weights = Path(folder) / "weights"
        own_weights.mkdir()
        (own_weights / weights.name).symlink_to(weights)
        link_some(photos, raw, {"train": train, "test": test})
        made = Photos(data, params)
        made.run("dataset", dataset, raw=raw)
        made.run("backbone", backbone, weights=own_weights)
        made.run("resize", resize, dataset="dataset", raw=raw)
        if targets:
            made.run("anchor_targets", anchor_targets, resize="resize")
            before = {"resize": "resize", "trunk": "backbone"}
            made.run("frozen_features", frozen_features, **before)
            before["frozen_features"] = "frozen_features"
            made.run("train_rpn_step1", untrained_rpn, backbone="backbone")
            made.run("proposals_step1", proposals, **before, rpn="train_rpn_step1")
            made.run("proposal_targets_step2", proposal_targets, resize="resize", proposals="proposals_step1")
        yield made


def link_some(photos: Path, raw: Path, counts: Mapping[str, int]) -> None:
    """A VOC tree of the first images of each split, in place of all."""
    (raw / "ImageSets/Main").mkdir(parents=True)
    for part in ("Annotations", "JPEGImages"):
        (raw / part).mkdir()
    for split, count in counts.items():
        lines = (photos / f"ImageSets/Main/{split}.txt").read_text(encoding="utf-8").split()[:count]
        (raw / f"ImageSets/Main/{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for line in lines:
            for part, suffix in (("Annotations", "xml"), ("JPEGImages", "jpg")):
                (raw / f"{part}/{line}.{suffix}").symlink_to(photos / f"{part}/{line}.{suffix}")


def untrained_rpn(stage: Stage) -> None:
    """A stage that writes an RPN drawn at random."""
    params, source = stage.params, stage.input("backbone")
    trunk = load_trunk(source, params.backbone)
    generator = torch_generator(params.base.seed, stage.name, "rpn")
    save_parts(stage.out, {"rpn": initial_rpn(source, trunk.layout, params.anchors, params.rpn, generator)})
