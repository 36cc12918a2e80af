"""Where the time of an evaluate stage goes: python -m benchmarks.evaluate_time [--images 5000] [--per-image 100]

CPU seconds of each of its parts, on detections that are made up, without the start of the stage.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.coco_evaluation import made_up
from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.tables import box_columns, read_columns, write_table
from pipeline.metrics.coco_ap import coco_metrics
from pipeline.metrics.error_kinds import confusion_pairs, judge
from pipeline.metrics.rows import DetectionRows, best_of_images
from pipeline.metrics.voc_ap import voc_ap


def parts(images: int, per_image: int, classes: int) -> Iterator[tuple[str, float]]:
    """What each part does, and its CPU seconds."""
    found, truth = made_up(images, per_image, classes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detections.parquet"
        yield "write a table of all detections", seconds(lambda: write(path, found))
        yield "read it", seconds(lambda: read(path, images, per_image))
    yield "VOC AP", seconds(lambda: voc_ap(found, truth, classes + 1))
    yield "kinds of error", seconds(lambda: judge(found, truth))
    yield "confusion", seconds(lambda: confusion_pairs(found, truth, 0.5))
    yield "COCO AP and AR", seconds(lambda: coco_metrics(found, truth))


def write(path: Path, found: DetectionRows) -> None:
    """As the stage writes its matches."""
    ids = np.array([f"{image:06d}" for image in range(found.image.max() + 1)])
    columns = {"image_id": ids[found.image], "label": found.label, "score": found.score, **box_columns(found.boxes)}
    write_table(path, DETECTIONS, columns)


def read(path: Path, images: int, per_image: int) -> None:
    """As the stage reads the detections of its images."""
    rows = read_columns(path, DETECTIONS)
    index_of = {f"{image:06d}": image for image in range(images)}
    image = np.array([index_of[image_id] for image_id in rows["image_id"].tolist()], np.int64)
    best_of_images(image, rows["score"], per_image)


def seconds(act: Callable[[], object]) -> float:
    """CPU seconds of a call, those of its threads included."""
    started = time.process_time()
    act()
    return time.process_time() - started


def main() -> None:
    """Print a line for each part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--per-image", type=int, default=100, help="detections")
    parser.add_argument("--classes", type=int, default=20)
    arguments = parser.parse_args()
    total = 0.0
    for what, took in parts(arguments.images, arguments.per_image, arguments.classes):
        print(f"{what:32} {took:6.2f} s", flush=True)
        total += took
    print(f"{'all':32} {total:6.2f} s")


if __name__ == "__main__":
    main()
