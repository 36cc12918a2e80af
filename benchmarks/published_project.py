"""The scratch project of `benchmarks.published`: its params.yaml, its graph, and the images that it reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from pipeline.artifacts.atomic import write_text
from pipeline.families.registry import DEFAULT, family_of
from pipeline.graphs.composing import composed
from pipeline.params.file import check_params
from pipeline.presets.defaults import default_text
from pipeline.presets.overlay import set_parameter
from pipeline.runtime.errors import InputError
from pipeline.runtime.yaml_files import EditedYaml, parse_yaml

ROOT = Path(__file__).resolve().parents[1]
NUMBERS = 90
"""COCO's largest category number; there are 80 categories."""

ANNOTATIONS = "annotations/instances_{split}2017.json"
STAGES = {"dataset": "dataset", "backbone": "backbone", "resize": "resize", "detect_joint": "detect"}
STAGES |= {"evaluate_joint": "evaluate"}
"""Of the default graph, and what they are called in the project. The network is data/backbone, which nothing trains."""

COMMON: dict[str, Any] = {
    "base.precision": "float32",
    "base.mirror": False,
    "dataset.reader": "coco",
    "dataset.coco.train": [ANNOTATIONS.format(split="train")],
    "dataset.coco.test": [ANNOTATIONS.format(split="val")],
    "dataset.coco.images": "{name}",
    "dataset.findings.image_without_annotation": "keep",
    "backbone.name": "resnet50",
    "backbone.weights": "random",
    "backbone.size_divisible": 32,
    "backbone.neck.name": "fpn",
    "init.detector": "file",
    "resize.shorter_side": 800,
    "resize.longer_side": 1333,
    "anchors.placement": "torchvision",
    "anchors.base_size": 32,
    "anchors.scales": [1.0],
    "anchors.ratios": [0.5, 1.0, 2.0],
    "rpn.channels": 256,
    "roi_head.pool": "roi_align",
    "roi_head.output_size": 7,
    "roi_head.samples": 2,
    "roi_head.aligned": False,
    "roi_head.hidden": 1024,
    "roi_head.dropout": 0.0,
    "detect.cut_first": True,
    "detect.pre_nms": 1000,
    "detect.proposal_nms_iou": 0.7,
    "detect.proposals": 1000,
    "detect.recall_ranks": 1000,
    "detect.min_size": 0.001,
    "detect.score_threshold": 0.05,
    "detect.nms_iou": 0.5,
    "detect.per_image": 100,
    "evaluate.score_threshold": 0.05,
    "evaluate.per_image": 100,
}
"""What both detectors of torchvision's are, by our parameters."""

OF_V1: dict[str, Any] = {"backbone.norm_epsilon": 0.0}
OF_V2: dict[str, Any] = {"backbone.neck.norm": "batch", "rpn.depth": 2, "roi_head.kind": "convs"}


def settings_of(is_v2: bool) -> str:
    """The text of params.yaml for torchvision's fasterrcnn_resnet50_fpn, or its v2."""
    edited = EditedYaml(default_text(family_of(DEFAULT)), "benchmarks.published")
    for key, value in {**COMMON, **(OF_V2 if is_v2 else OF_V1)}.items():
        set_parameter(edited.content, key, value)
    text = edited.text()
    check_params(parse_yaml(text, "benchmarks.published"), "benchmarks.published")
    return text


def graph() -> str:
    """The text of dvc.yaml: the stages of the default graph from data set to evaluation, without training.

    DVC notices what has changed, but keeps no copy of what stages write, which is gigabytes.
    """
    stages: dict[str, Any] = yaml.safe_load(composed(ROOT, DEFAULT))["stages"]
    made = {
        name: _stage(stages[old], {f"data/{o}": f"data/{n}" for o, n in STAGES.items()}) for old, name in STAGES.items()
    }
    locks = sorted({dep for stage in made.values() for dep in stage["deps"] if dep.startswith("data/code/")})
    code = {**stages["code"], "outs": [{lock: {"cache": False}} for lock in locks]}
    return yaml.safe_dump({"stages": {"code": code, **made}}, sort_keys=False)


def _stage(stage: dict[str, Any], places: dict[str, str]) -> dict[str, Any]:
    """A stage of the default graph in other places; the joint network's is data/backbone."""
    places = {**places, "data/finetune_joint": "data/backbone"}

    def moved(path: str) -> str:
        folder = "/".join(path.split("/")[:2])
        return places.get(folder, folder) + path[len(folder) :]

    outs = sorted({moved(path) for key in ("outs", "metrics") for path in stage.get(key, [])})
    return {
        "cmd": " ".join(moved(word) if word.startswith("data/") else word for word in stage["cmd"].split()),
        "deps": sorted({moved(path) for path in stage["deps"]}),
        "params": stage["params"],
        "outs": [{path: {"cache": False}} for path in outs],
    }


def link_images(coco: Path, folder: Path) -> None:
    """Link the images of val2017 into a folder, with its annotations and a blank image to train on, which a data set
    needs.

    torchvision's detectors number their classes as COCO does, up to 90, of which ten stand for no category. Here they
    do, so that the data set's classes are the detectors'. They have no gt box, and so no part in AP.

    Raises:
        InputError: `coco` lacks one of them, or the annotations are damaged.
    """
    annotations = coco / ANNOTATIONS.format(split="val")
    images = next((place for place in (coco / "val2017", coco / "images/val2017") if place.is_dir()), None)
    if images is None or not annotations.is_file():
        missing = annotations if images else coco / "val2017"
        raise InputError(
            f"--coco {coco}: has no {missing.relative_to(coco)}; give the folder that holds COCO's val2017"
        )
    try:
        own = json.loads(annotations.read_text(encoding="utf-8"))
        named = {category["id"]: category for category in own["categories"]}
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{annotations}: is no instances file of COCO's ({error}); fetch it again") from error
    categories = [named.get(number, {"id": number, "name": f"none {number}"}) for number in range(1, NUMBERS + 1)]
    for name in ("val2017", "train2017", "annotations"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for image in images.iterdir():
        _link(image, folder / "val2017" / image.name)
    content = {**own, "categories": categories}
    write_text(folder / ANNOTATIONS.format(split="val"), json.dumps(content) + "\n")
    blank = {"id": 1, "file_name": "blank.png", "width": 640, "height": 480}
    box = {"id": 1, "image_id": 1, "category_id": categories[0]["id"], "bbox": [0, 0, 640, 480], "area": 307200}
    content = {"images": [blank], "annotations": [{**box, "iscrowd": 0}], "categories": categories}
    write_text(folder / ANNOTATIONS.format(split="train"), json.dumps(content) + "\n")
    cv2.imwrite(str(folder / "train2017/blank.png"), np.full((480, 640, 3), 128, np.uint8))


def _link(target: Path, place: Path) -> None:
    if place.is_symlink() and place.readlink() == target:
        return
    place.unlink(missing_ok=True)
    place.symlink_to(target)
