"""A run of family points on the three images of tests/views/scene.py, its tables written by hand: no training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from pipeline.artifacts.chunks import ChunkedWork
from pipeline.artifacts.dense_targets import DenseTargetWriter, StoredAssignment
from pipeline.artifacts.detections import DetectionWriter
from pipeline.artifacts.history import write_csv
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.maps import MapWriter
from pipeline.geometry.points import Grid
from tests.families.points_project import write_project
from tests.views.scene import DETECTIONS, HEIGHT, WIDTH, write_scene

STRIDES = (8, 16, 32)
CELLS = ((8, 12), (4, 6), (2, 3))
GRID = Grid(STRIDES, CELLS, (1, 1, 1))
# Of image "a" (96 x 64 px, gt boxes 8, 8, 40, 40 and 56, 16, 88, 56): level, y, x of fg locations, and their gt box.
FG = [((0, 2, 2), 0), ((0, 2, 3), 0), ((0, 3, 2), 0), ((1, 1, 4), 1), ((1, 2, 4), 1)]
IGNORED = [(0, 0, 5), (0, 0, 6)]


def write_dense_scene(root: Path) -> Path:
    """Write the project folder; the family has to be visible. Folders of Faster R-CNN's stages lie in data/ too, as
    after a change of the preset."""
    write_project(root, {})
    data = root / "data"
    other = write_scene(root.parent / f"{root.name}_faster_rcnn")
    shutil.copytree(other / "data", data, dirs_exist_ok=True)
    with ChunkedWork(data / "points_targets", ["a", "c"]) as work:
        writer = DenseTargetWriter(work)
        for image_id in work.through(work.missing):
            fg = FG if image_id == "a" else []
            assigned = {Entry(image_id, view): _assignment(fg, turned=bool(view)) for view in (0, 1)}
            writer.add(assigned, 2 if image_id == "a" else 0)
    with ChunkedWork(data / "detect_points", ["t"]) as work:
        detections, maps = DetectionWriter(work, ["t"]), MapWriter(work, "scores", len(STRIDES))
        for image_id in work.through(work.missing):
            boxes = np.array([box for box, _, _ in DETECTIONS], np.float32) * 2
            labels, scores = (np.array([row[place] for row in DETECTIONS]) for place in (1, 2))
            detections.add(image_id, boxes, labels, scores.astype(np.float32))
            maps.add({Entry(image_id): [score_map(level) for level in range(3)]}, (HEIGHT, WIDTH))
        detections.write_coco(data / "detect_points")
    shutil.copytree(data / "evaluate_step4", data / "evaluate_points")  # of the same detections
    figures = {"mAP50": 0.5, "mAP50_11point": 0.5, "AP": 0.25, "AP75": 0.125, "AR100": 0.375, "centre_error": 0.0625}
    own = {"class_AP50": {"ellipse": 0.25, "triangle": 0.75}, "errors": {"correct": 1, "missed": 1}}
    (data / "evaluate_points/metrics.json").write_text(json.dumps({**figures, **own}))
    curve = [{"class": name, "recall": x, "precision": 1 - x} for name in own["class_AP50"] for x in (0.0, 0.5, 1.0)]
    write_csv(data / "evaluate_points/pr_curves.csv", curve)
    pairs = [{"actual": "ellipse", "predicted": "ellipse"}, {"actual": "triangle", "predicted": "background"}]
    write_csv(data / "evaluate_points/confusion.csv", pairs)
    rows = [(2, 3.0), (4, 1.5)]
    (data / "train_points").mkdir()
    parts = [{"iteration": i, "lr": 0.1, "loss": x, "points_class": x / 2, "points_box": x / 2} for i, x in rows]
    write_csv(data / "train_points/history.csv", parts)
    return root


def score_map(level: int) -> np.ndarray:
    """(Fh, Fw) float16, 0..1."""
    y, x = np.mgrid[: CELLS[level][0], : CELLS[level][1]]
    return (((3 * x + 5 * y + level) % 7) / 7).astype(np.float16)


def _assignment(rows: list[tuple[tuple[int, int, int], int]], *, turned: bool) -> StoredAssignment:
    def index(level: int, y: int, x: int) -> int:
        column = CELLS[level][1] - 1 - x if turned else x
        starts = np.cumsum((0, *GRID.counts))
        return int(starts[level] + y * CELLS[level][1] + column)

    own = sorted((index(*place), gt) for place, gt in rows)
    ignored = np.zeros(len(GRID), bool)
    ignored[[index(*place) for place in IGNORED]] = True
    return StoredAssignment(
        np.array([location for location, _ in own], np.int64),
        np.array([gt + 1 for _, gt in own], np.int64),
        np.array([gt for _, gt in own], np.int64),
        np.linspace(0.5, 1.0, len(own), dtype=np.float32),
        np.packbits(ignored),
        GRID,
    )
