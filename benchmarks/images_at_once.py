"""What do several images at once gain? python -m benchmarks.images_at_once [--sides 600] [--images 16] [--runs 3]

The stages features, proposals and detect of VGG16 and detect_retinanet of ResNet-50 on photos, with 1, 4 and 16 images
at once in turn: milliseconds of CPU per image of the whole stage, in one process. Photos have several sizes, so groups
may be smaller than allowed: the mean is in the table. RPN and heads are random, and so is RetinaNet's trunk.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch

from benchmarks.photos import Photos, parser, prepared, untrained_rpn
from pipeline.artifacts.classes import read_classes
from pipeline.artifacts.manifest import write_manifest
from pipeline.artifacts.resized_images import ResizedImages, held_out_images
from pipeline.artifacts.shards import images_per_shard
from pipeline.artifacts.weights import save_parts
from pipeline.building.layout import map_layout
from pipeline.dense.building import fresh_head
from pipeline.dense.contract import train_part
from pipeline.families.faster_rcnn.building.roi_head import new_head
from pipeline.feeding.at_once import groups_of_one_size
from pipeline.params.reading import Params
from pipeline.presets.apply import preset_params
from pipeline.runtime.family_part import family_part
from pipeline.runtime.stage import Stage
from pipeline.runtime.torch_seeding import torch_generator
from stages.backbone import backbone
from stages.detect import detect
from stages.detect_dense import detect_dense
from stages.features import features
from stages.proposals import proposals

AT_ONCE = (1, 4, 16)
STAGES = ("features", "proposals_step1", "detect_step2", "detect_retinanet")
_FAMILY = "retinanet"


@dataclass(frozen=True)
class Measured:
    """A stage that is measured.

    Attributes:
        section: of params.yaml that has its `images_at_once`. inputs: option to folder of `Photos.data`.
    """

    name: str
    section: str
    work: Callable[[Stage], None]
    inputs: dict[str, str]
    part: ModuleType | None = None

    def images(self, made: Photos) -> ResizedImages:
        """The images that it goes through."""
        resized = made.data / "resize"
        return held_out_images(resized) if self.name.startswith("detect") else ResizedImages(resized, "train")

    def run(self, made: Photos, at_once: int) -> Path:
        """Run it anew; its folder."""
        own = getattr(made.params, self.section).model_copy(update={"images_at_once": at_once})
        sections = {**made.params.sections(), self.section: own}
        del sections["init"]  # with which a detect stage runs the detector that training starts from
        params = Params(sections, made.params.family)
        out = made.data / self.name
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        optional = dict.fromkeys(("frozen_features", "features", "rpn_trunk", "dataset", "raw", "external"))
        paths = {option: made.data / folder for option, folder in self.inputs.items()}
        with contextlib.redirect_stderr(io.StringIO()):
            self.work(Stage(self.name, params, out, {**optional, **paths}, part=self.part))
        return out

    def group_size(self, made: Photos, at_once: int) -> float:
        """Images of a group, on average."""
        images = self.images(made)
        ids, size = [info.image_id for info in images], images_per_shard(len(images))
        chunks = [ids[start : start + size] for start in range(0, len(ids), size)]
        return len(ids) / len(list(groups_of_one_size(images, chunks, at_once)))


def of_vgg16(made: Photos) -> list[Measured]:
    """The stages of Faster R-CNN that are measured, with RPN and head drawn at random."""
    made.run("train_rpn_step1", untrained_rpn, backbone="backbone")
    params, classes = made.params, len(read_classes(made.data / "resize"))
    head = new_head(map_layout(params.backbone), classes, params.roi_head, params.backbone)
    generator = torch_generator(params.base.seed, "images_at_once", "head")
    head.initialise_hidden(generator)
    head.initialise_outputs(generator)
    _write(made.data / "head", head)
    shared = {"resize": "resize", "trunk": "backbone"}
    return [
        Measured("features", "features", features, shared),
        Measured("proposals_step1", "proposals", proposals, {**shared, "rpn": "train_rpn_step1"}),
        Measured("detect_step2", "detect", detect, {**shared, "rpn": "train_rpn_step1", "head": "head"}),
    ]


def of_retinanet(photos: Photos, name: str) -> tuple[Photos, Measured]:
    """RetinaNet's detection on the same photos, on the ResNet of that name, all weights drawn at random."""
    params = preset_params(f"coco_{_FAMILY}_resnet50")
    params.base, params.resize = photos.params.base, photos.params.resize
    params.backbone = params.backbone.model_copy(update={"weights": "random", "name": name})
    folder = photos.data / f"train_{_FAMILY}"
    folder.mkdir()
    weights: dict[str, Path | None] = dict.fromkeys(("weights", "initial"))
    with contextlib.redirect_stderr(io.StringIO()):
        backbone(Stage("backbone", params, folder, weights))
    write_manifest(folder, folder.name)
    generator = torch_generator(params.base.seed, "images_at_once", "head")
    part = train_part(family_part(_FAMILY, "train_dense"))
    classes = len(read_classes(photos.data / "resize"))
    head = fresh_head(part, map_layout(params.backbone), classes, params, generator)
    _write(photos.data / f"{_FAMILY}_head", head)
    inputs = {"resize": "resize", "trunk": folder.name, "head": f"{_FAMILY}_head"}
    name, detecting = f"detect_{_FAMILY}", family_part(_FAMILY, "detect_dense")
    return Photos(photos.data, params), Measured(name, name, detect_dense, inputs, detecting)


def _write(folder: Path, head: torch.nn.Module) -> None:
    folder.mkdir()
    save_parts(folder, {"head": head})
    write_manifest(folder, folder.name)


def cpu_ms(made: Photos, stage: Measured, at_once: int) -> float:
    """Milliseconds of CPU of all threads per image."""
    began = time.process_time()
    stage.run(made, at_once)
    return (time.process_time() - began) * 1e3 / len(stage.images(made))


def main() -> None:
    """Print the table."""
    own = parser(__doc__)
    own.set_defaults(sides=[600], runs=3)
    own.add_argument("--images", type=int, default=16, help="photos of train, and of test")
    own.add_argument("--at-once", type=int, nargs="+", default=list(AT_ONCE))
    own.add_argument("--stages", nargs="+", default=list(STAGES), choices=STAGES)
    given: argparse.Namespace = own.parse_args()
    for side in given.sides:
        print(f"shorter side {side}, CPU ms per image, median of {given.runs}; in brackets images of a group")
        with prepared("images_at_once", given, side, given.images, given.images, targets=False) as made:
            stages = [(made, stage) for stage in of_vgg16(made)] + [of_retinanet(made, "resnet50")]
            for photos, stage in [(photos, stage) for photos, stage in stages if stage.name in given.stages]:
                times: dict[int, list[float]] = {count: [] for count in given.at_once}
                for _ in range(given.runs):
                    for count in given.at_once:
                        times[count].append(cpu_ms(photos, stage, count))
                shown = [
                    f"{count}: {statistics.median(own):.0f} ({stage.group_size(photos, count):.1f})"
                    for count, own in times.items()
                ]
                print(f"{stage.name}: {', '.join(shown)}", flush=True)
    print(f"{torch.get_num_threads()} threads, load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
