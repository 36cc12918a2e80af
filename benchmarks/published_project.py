"""The scratch project of `benchmarks.published`: its params.yaml, its graph, and the images that it reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from benchmarks.published_models import COMMON, Published
from pipeline.artifacts.atomic import write_text
from pipeline.families.registry import family_of
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


def settings_of(published: Published) -> str:
    """The text of params.yaml for a detector of torchvision's.

    Raises:
        InputError: the settings are none of its family's.
    """
    edited = EditedYaml(default_text(family_of(published.family)), "benchmarks.published")
    for key, value in {**COMMON, **published.settings}.items():
        set_parameter(edited.content, key, value)
    text = edited.text()
    check_params(parse_yaml(text, "benchmarks.published"), "benchmarks.published")
    return text


def graph(published: Published) -> str:
    """The text of dvc.yaml: the stages of the family's graph from data set to evaluation, without training.

    DVC notices what has changed, but keeps no copy of what stages write, which is gigabytes.
    """
    stages: dict[str, Any] = yaml.safe_load(composed(ROOT, published.family))["stages"]
    wanted = ("dataset", "backbone", "resize", f"detect_{published.network}", f"evaluate_{published.network}")
    made = {name: _without_cache(stages[name]) for name in wanted}
    locks = sorted({dep for stage in made.values() for dep in stage["deps"] if dep.startswith("data/code/")})
    code = {**stages["code"], "outs": [{lock: {"cache": False}} for lock in locks]}
    return yaml.safe_dump({"stages": {"code": code, **made}}, sort_keys=False)


def _without_cache(stage: dict[str, Any]) -> dict[str, Any]:
    outs = sorted(path for key in ("outs", "metrics") for path in stage.get(key, []))
    kept = {key: stage[key] for key in ("cmd", "deps", "params")}
    return {**kept, "outs": [{path: {"cache": False}} for path in outs]}


def link_images(coco: Path, folder: Path) -> None:
    """Link the images of val2017 into a folder, with its annotations and a blank image to train on, which a data set
    needs.

    torchvision's detectors number their classes as COCO does, up to 90; ten numbers stand for no category. Here each
    number is a class, so that the data set's classes are the detectors'. AP does not count classes without gt boxes.

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
        raise InputError(f"{annotations}: is not an instances file of COCO's ({error}); fetch it again") from error
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
