"""What `benchmarks.equal_time` compares: a preset with changes, and the data and weights that it reads."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.dense_peer import PEERS
from benchmarks.our_run import ROOT, Scratch
from benchmarks.page import processor, skip
from benchmarks.photos import link_some
from benchmarks.pieces import digest
from pipeline.families.family import Family
from pipeline.families.registry import family_of
from pipeline.params.reading import Params
from pipeline.presets.apply import chosen_params
from pipeline.presets.settings import leaves
from pipeline.runtime.errors import InputError

SHARED = ROOT.parent / "shared"
PHOTOS = {"voc6": "data/voc6_mini", "kitti": "data/kitti_tiny", "tinycoco": "data/tinycoco", "bccd": "data/bccd"}
"""By a preset's name up to the first `_`, in the folder beside the project."""

WEIGHTS = {
    "vgg16": "weights/vgg16_features_torchvision.pth",
    "resnet18": "weights/others/resnet18_tv_bn.safetensors",
    "resnet50": "weights/others/resnet50_msra_caffe.safetensors",
}
"""By backbone, in the same folder."""

_STRIDE = "backbone.stride_in_1x1="

FEW = 8
"""Images of either split in a dry run."""

_DRY_SHAPES = (f"dataset.shapes.train={FEW}", f"dataset.shapes.test={FEW}", "backbone.pretrain.iterations=4")


@dataclass(frozen=True)
class Task:
    """What is compared.

    Attributes:
        preset, settings: as `frcnn preset` takes them, without paths and seed. params: what they give.
        photos, weights: what the preset is to read; None: nothing.
        dry: whether only the way through is tried.
    """

    preset: str
    settings: tuple[str, ...]
    params: Params = field(repr=False)
    photos: Path | None = None
    weights: Path | None = None
    dry: bool = False

    @property
    def is_torchvisions(self) -> bool:
        """Whether the peers are torchvision's own network, not one with our trunk and anchors."""
        return self.params.family in PEERS or self.params.backbone.name.startswith("resnet")

    @property
    def family(self) -> Family:
        """The preset's."""
        return family_of(self.params.family)

    @property
    def digest(self) -> str:
        """Of all that figures depend on but the seed and the commit."""
        parameters = {key: value for key, value in leaves(self.params).items() if key != "base.seed"}
        paths = [path and path.name for path in (self.photos, self.weights)]
        return digest({"preset": self.preset, "params": parameters, "paths": paths, "dry": self.dry, "on": processor()})

    def scratch(self, folder: Path, seed: int) -> Scratch:
        """A copy of the project in `folder` with everything set, not made yet."""
        photos = _few(self.photos, folder) if self.photos is not None and self.dry else self.photos
        paths = {"dataset.root": photos, "backbone.weights": self.weights}
        given = [f"{key}={path}" for key, path in paths.items() if path is not None]
        return Scratch(
            folder / f"{self.preset}-seed{seed}",
            self.preset,
            (*self.settings, *given, f"base.seed={seed}"),
            self.family,
        )


def task_of(arguments: argparse.Namespace) -> Task:
    """What the command line asks for; skips the benchmark where photos or weights are absent.

    Raises:
        InputError: no such preset or setting, or one that cannot be compared.
    """
    name, dry = arguments.preset, arguments.dry_run
    settings = tuple(arguments.set)
    params = chosen_params(ROOT, name, settings)
    if params.family not in ("faster_rcnn", *PEERS):
        raise InputError(f"--preset {name}: is of family {params.family}, which has no peer here; choose another")
    if dry:
        settings = (*settings, *_dry(family_of(params.family)))
        params = chosen_params(ROOT, name, settings)
    photos = weights = None
    if params.dataset.reader != "shapes":
        photos = _source(arguments.photos, PHOTOS.get(name.partition("_")[0]), "--photos")
    elif dry:
        settings = (*settings, *_DRY_SHAPES)
        params = chosen_params(ROOT, name, settings)
    if params.backbone.weights == "file":
        weights = _source(arguments.weights, WEIGHTS.get(params.backbone.name), "--weights")
        if weights.is_dir():
            files = sorted([*weights.glob("*.pth"), *weights.glob("*.safetensors")])
            weights = files[0] if files else skip("equal_time", f"no weights in {weights}; give --weights")
        if _of_caffe(weights) and not any(setting.startswith(_STRIDE) for setting in settings):
            settings = (*settings, f"{_STRIDE}true")
            params = chosen_params(ROOT, name, settings)
    return Task(name, settings, params, photos, weights, dry)


def _dry(family: Family) -> list[str]:
    changes = (f"{stage}.{change}" for stage in family.training for change in ("iterations=4", "lr_drop_at=[3]"))
    return ["solver.log_every=2", *changes]


def _of_caffe(weights: Path) -> bool:
    """Whether a file's name says that its ResNet has its stride of 2 in the 1x1: the weights themselves cannot."""
    return "msra" in weights.name or "caffe" in weights.name


def _source(given: Path | None, known: str | None, option: str) -> Path:
    """A path that is given, or the one of the folder beside the project."""
    path = given or (SHARED / known if known else None)
    if path is None or not path.exists():
        skip("equal_time", f"nothing at {path}; give {option}" if path else f"give {option}")
    return path.resolve()


def _few(photos: Path, folder: Path) -> Path:
    """Copies of the first photos of a VOC tree; other trees as they are."""
    if not all((photos / f"ImageSets/Main/{split}.txt").is_file() for split in ("train", "test")):
        return photos
    few = folder / "photos"
    if not few.exists():
        with tempfile.TemporaryDirectory() as linked:
            link_some(photos, Path(linked) / "tree", {"train": FEW, "test": FEW})
            shutil.copytree(Path(linked) / "tree", few)
    return few
