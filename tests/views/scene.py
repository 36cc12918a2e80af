"""A run of three images of flat colours, every number chosen by hand or computed from such, for pictures to compare."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import yaml

from pipeline.artifacts.anchor_targets import ANCHOR_IMAGES, FG_ANCHORS
from pipeline.artifacts.chunks import ChunkedWork
from pipeline.artifacts.dataset_tables import DATASET_BOXES, DATASET_IMAGES
from pipeline.artifacts.detections import DETECTIONS as DETECTION_ROWS
from pipeline.artifacts.findings_table import FINDINGS
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.maps import MapWriter
from pipeline.artifacts.matches import MATCHES
from pipeline.artifacts.proposal_targets import PROPOSAL_TARGETS
from pipeline.artifacts.proposals import PROPOSALS as PROPOSAL_ROWS
from pipeline.artifacts.resized_tables import RESIZED_BOXES, RESIZED_IMAGES
from pipeline.artifacts.shards import ShardWriter
from pipeline.artifacts.tables import TableWriter, box_columns, delta_columns, write_table
from pipeline.geometry.anchors import grid_anchors, grid_centres, grid_shapes
from pipeline.metrics.error_kinds import judge
from pipeline.metrics.rows import DetectionRows, GtRows, pair_iou
from tests.defaults import default_content
from tests.layouts import one_level

ROOT = Path(__file__).parents[2]
WIDTH, HEIGHT, STRIDE = 96, 64, 8
CLASSES = ["background", "ellipse", "triangle"]
SPLITS = {"a": "train", "c": "train", "t": "test"}
# x1, y1, x2, y2 in the resized image, label, difficult, iscrowd.
GT = {
    "a": [(8, 8, 40, 40, 1, False, False), (56, 16, 88, 56, 2, False, False), (42, 2, 54, 12, 1, True, False)],
    "c": [(0, 48, 24, 64, -1, False, False), (60, 8, 76, 24, 2, False, True)],
    "t": [(8, 8, 40, 40, 1, False, False), (56, 16, 88, 56, 2, False, False), (10, 46, 26, 62, 1, False, False)],
}
PROPOSALS = np.array(
    [(10, 10, 40, 42), (54, 20, 90, 58), (0, 0, 20, 20), (30, 30, 60, 60), (8, 4, 44, 36), (70, 0, 96, 30)], np.float32
)
# Of the image "t", in the resized image: box, label, score; one of each kind that there can be.
DETECTIONS = [
    ((9, 9, 41, 40), 1, 0.95),  # correct
    ((6, 8, 40, 42), 1, 0.9),  # duplicate
    ((56, 18, 88, 57), 1, 0.8),  # wrong_class
    ((16, 50, 40, 62), 1, 0.7),  # badly_placed
    ((70, 0, 90, 12), 2, 0.6),  # background
    ((60, 20, 88, 56), 2, 0.2),  # correct, of a low score
]
DELTA_STD = (0.1, 0.1, 0.2, 0.2)
ANCHORS = {"base_size": 16, "ratios": [0.5, 1.0, 2.0], "scales": [1.0, 2.0]}


def write_scene(root: Path) -> Path:
    """Write the project folder: dvc.yaml, params.yaml, and the folders of data/ but the trainings'."""
    data = root / "data"
    (data / "raw").mkdir(parents=True)
    shutil.copyfile(ROOT / "dvc.yaml", root / "dvc.yaml")
    params = default_content()
    params["anchors"] = ANCHORS
    params["backbone"]["name"] = "tiny"
    params["roi_head"].update(pool="roi_align", output_size=7)
    params["detect"]["proposals"] = 4
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    _write_images(data)
    _write_anchor_targets(data)
    _write_proposals(data)
    _write_proposal_targets(data)
    _write_features(data)
    _write_detections(data)
    return root


def gt_boxes(image_id: str, mirrored: bool = False) -> np.ndarray:
    """The trainable ones, (G, 4), as the entry sees them."""
    rows = [row[:4] for row in GT[image_id] if row[4] > 0 and not row[5] and not row[6]]
    boxes = np.array(rows, np.float32).reshape(-1, 4)
    return turned(boxes) if mirrored else boxes


def turned(boxes: np.ndarray) -> np.ndarray:
    return np.stack([WIDTH - boxes[:, 2], boxes[:, 1], WIDTH - boxes[:, 0], boxes[:, 3]], axis=1)


def encoded(boxes: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(N, 4) deltas from boxes to targets, not normalised."""
    size, target_size = boxes[:, 2:] - boxes[:, :2], targets[:, 2:] - targets[:, :2]
    move = (targets[:, :2] + target_size / 2 - boxes[:, :2] - size / 2) / size
    return np.concatenate([move, np.log(target_size / size)], axis=1)


def _pixels(image_id: str) -> np.ndarray:
    pixels = np.full((HEIGHT, WIDTH, 3), (120, 130, 110), np.uint8)
    for index, (x1, y1, x2, y2, *_) in enumerate(GT[image_id]):
        pixels[y1:y2, x1:x2] = ((200, 90, 60), (60, 110, 200), (190, 190, 80))[index]
    return pixels


def _write_images(data: Path) -> None:
    (data / "dataset/images").mkdir(parents=True)
    (data / "resize").mkdir()
    for folder, scale, schema in (("dataset", 2, DATASET_BOXES), ("resize", 1, RESIZED_BOXES)):
        (data / folder / "classes.json").write_text(json.dumps(CLASSES))
        with TableWriter(data / folder / "boxes.parquet", schema) as table:
            for image_id, rows in GT.items():
                boxes = np.array([row[:4] for row in rows]) * scale
                flags = {name: [row[place] for row in rows] for place, name in ((4, "label"), (5, "difficult"))}
                iscrowd = [row[6] for row in rows]
                table.write({"image_id": image_id, "view": 0, **box_columns(boxes), **flags, "iscrowd": iscrowd})
    empty = {name: [] for name in FINDINGS.names}
    write_table(data / "dataset/findings.parquet", FINDINGS, empty)
    (data / "dataset/metrics.json").write_text(json.dumps({"findings": {}}))
    with (
        TableWriter(data / "dataset/images.parquet", DATASET_IMAGES) as originals,
        TableWriter(data / "resize/images.parquet", RESIZED_IMAGES) as resized,
        ShardWriter(data / "resize", "pixels") as shards,
    ):
        for image_id, split in SPLITS.items():
            original = cv2.resize(_pixels(image_id), (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_NEAREST)
            file = f"dataset/images/{image_id}.png"
            cv2.imwrite(str(data / file), original[:, :, ::-1])
            own = {"image_id": image_id, "view": 0, "split": split}
            originals.write({**own, "file": file, "width": 2 * WIDTH, "height": 2 * HEIGHT})
            size = {"width": WIDTH, "height": HEIGHT, "original_width": 2 * WIDTH, "original_height": 2 * HEIGHT}
            shard = shards.add({image_id: _pixels(image_id)})
            resized.write({**own, **size, "scale_x": 0.5, "scale_y": 0.5, "shard": shard})


def anchors() -> np.ndarray:
    shapes = grid_shapes(ANCHORS["base_size"], ANCHORS["ratios"], ANCHORS["scales"])
    return grid_anchors(grid_centres([(HEIGHT // STRIDE, WIDTH // STRIDE)], 0, one_level(STRIDE)), shapes)


def _write_anchor_targets(data: Path) -> None:
    folder = data / "anchor_targets"
    folder.mkdir()
    every = anchors()
    usable = (every[:, :2] >= 0).all(axis=1) & (every[:, 2:] <= (WIDTH, HEIGHT)).all(axis=1)
    with (
        TableWriter(folder / "images.parquet", ANCHOR_IMAGES) as images,
        TableWriter(folder / "fg_anchors.parquet", FG_ANCHORS) as table,
        ShardWriter(folder, "bg") as shards,
    ):
        for image_id in ("a", "c"):
            bits = {}
            for mirrored in (False, True):
                gt = gt_boxes(image_id, mirrored)
                iou = pair_iou(every[:, None], gt) if len(gt) else np.zeros((len(every), 1))
                best = iou.max(axis=1)
                fg = np.flatnonzero(usable & (best >= 0.5))
                bits[Entry(image_id, int(mirrored)).name] = np.packbits(usable & (best < 0.3))
                matched = iou[fg].argmax(axis=1)
                deltas = encoded(every[fg], gt[matched]) if len(fg) else np.zeros((0, 4))
                own = {"anchor": fg, "matched_gt": matched, "max_iou": best[fg], **delta_columns(deltas)}
                table.write({"image_id": image_id, "view": int(mirrored), **own})
            size = {"anchors": len(every), "feature_height": HEIGHT // STRIDE, "feature_width": WIDTH // STRIDE}
            shard, count = shards.add(bits), len(gt_boxes(image_id))
            for view in (0, 1):
                images.write({"image_id": image_id, "view": view, "shard": shard, **size, "gt_boxes": count})


def _objectness() -> np.ndarray:
    y, x = np.mgrid[: HEIGHT // STRIDE, : WIDTH // STRIDE]
    return (((3 * x + 5 * y) % 11) / 10).astype(np.float16)


def _proposal_rows(image_id: str, mirrored: bool) -> dict[str, object]:
    boxes = turned(PROPOSALS) if mirrored else PROPOSALS
    own = {"rank": np.arange(len(boxes)), "score": np.linspace(0.95, 0.45, len(boxes)), **box_columns(boxes)}
    return {"image_id": image_id, "view": int(mirrored), **own}


def _write_proposals(data: Path) -> None:
    """Those of step 3 have maps of the plain images alone, those of step 1 are as of a file."""
    for stage in ("proposals_step1", "proposals_step3"):
        (data / stage).mkdir()
        with TableWriter(data / stage / "proposals.parquet", PROPOSAL_ROWS) as table:
            for image_id in ("a", "c"):
                for mirrored in (False, True):
                    table.write(_proposal_rows(image_id, mirrored))
    with ChunkedWork(data / "proposals_step3", ["a", "c"]) as work:
        maps = MapWriter(work, "objectness")
        for image_id in work.through(work.missing):
            maps.add({Entry(image_id): [_objectness()]}, (HEIGHT, WIDTH))


def _write_proposal_targets(data: Path) -> None:
    for stage in ("proposal_targets_step2", "proposal_targets_step4"):
        (data / stage).mkdir()
        content = {"classes": CLASSES, "mean": [[0.0] * 4] * 3, "std": [list(DELTA_STD)] * 3}
        (data / stage / "normalisation.json").write_text(json.dumps(content))
        with TableWriter(data / stage / "proposal_targets.parquet", PROPOSAL_TARGETS) as table:
            for mirrored in (False, True):
                gt = gt_boxes("a", mirrored)
                boxes = np.concatenate([turned(PROPOSALS) if mirrored else PROPOSALS, gt])
                iou = pair_iou(boxes[:, None], gt)
                matched, best = iou.argmax(axis=1), iou.max(axis=1)
                label = np.where(best >= 0.5, matched + 1, np.where(best < 0.05, -1, 0))
                deltas = np.where(label[:, None] > 0, encoded(boxes, gt[matched]) / DELTA_STD, 0)
                rank = [*range(len(PROPOSALS)), *([-1] * len(gt))]
                own = {"rank": rank, **box_columns(boxes), "max_iou": best, "matched_gt": matched, "label": label}
                table.write({"image_id": "a", "view": int(mirrored), **own, **delta_columns(deltas)})


def feature_map() -> np.ndarray:
    channel, y, x = np.mgrid[:16, : HEIGHT // STRIDE, : WIDTH // STRIDE]
    return (((channel * x + 3 * y) % (channel + 2)) * (channel + 1) / 20).astype(np.float16)


def _write_features(data: Path) -> None:
    (data / "features").mkdir()
    with ChunkedWork(data / "features", ["a", "c"]) as work:
        maps = MapWriter(work, "maps")
        for image_id in work.through(work.missing):
            both = {Entry(image_id): [feature_map()], Entry(image_id, 1): [feature_map()[:, :, ::-1]]}
            maps.add(both, (HEIGHT, WIDTH))


def _write_detections(data: Path) -> None:
    folder, evaluate = data / "detect_step4", data / "evaluate_step4"
    folder.mkdir()
    evaluate.mkdir()
    boxes = np.array([box for box, _, _ in DETECTIONS], np.float32) * 2
    label, score = np.array([row[1] for row in DETECTIONS]), np.array([row[2] for row in DETECTIONS], np.float32)
    with TableWriter(folder / "detections.parquet", DETECTION_ROWS) as table:
        table.write({"image_id": "t", "label": label, "score": score, **box_columns(boxes)})
    with TableWriter(folder / "proposals.parquet", PROPOSAL_ROWS) as table:
        table.write(_proposal_rows("t", False))
    with ChunkedWork(folder, ["t"]) as work:
        maps = MapWriter(work, "objectness")
        for image_id in work.through(work.missing):
            maps.add({Entry(image_id): [_objectness()]}, (HEIGHT, WIDTH))
    gt = np.array([row[:4] for row in GT["t"]], np.float32) * 2
    flags = [np.array([row[place] for row in GT["t"]]) for place in (4, 5, 6)]
    truth = GtRows(np.zeros(len(gt), np.int64), flags[0], gt, flags[1], flags[2])
    found = judge(DetectionRows(np.zeros(len(label), np.int64), label, score, boxes), truth)
    missed = np.flatnonzero(found.finder < 0)
    columns = {
        "image_id": ["t"] * (len(label) + len(missed)),
        "kind": [*found.kind, *(["missed"] * len(missed))],
        "label": [*label, *([0] * len(missed))],
        "score": [*score, *([0.0] * len(missed))],
        "gt_label": [*(flags[0][g] if g >= 0 else 0 for g in found.gt), *flags[0][missed]],
        "gt": [*found.gt, *missed],
        "iou": [*found.iou, *([0.0] * len(missed))],
        **box_columns(np.concatenate([boxes, gt[missed]])),
    }
    write_table(evaluate / "matches.parquet", MATCHES, columns)
