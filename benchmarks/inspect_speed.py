"""How long does `frcnn inspect` take on a large run? Text and picture of each kind of stage, in fresh processes.

    python -m benchmarks.inspect_speed [--images 5000] [--proposals 300]

Writes artifacts of so many training images with their mirrors, and of as many test images, into a temporary folder:
with the defaults 3 million rows of proposals and as many of proposal targets. Images and maps are small, as one of each
is read, whatever their number. Prints the seconds of each call, the interpreter's start and imports among them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pipeline.artifacts.anchor_targets import ANCHOR_IMAGES, FG_ANCHORS
from pipeline.artifacts.chunks import ChunkedWork
from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.maps import MapWriter
from pipeline.artifacts.matches import MATCHES
from pipeline.artifacts.proposal_targets import PROPOSAL_TARGETS
from pipeline.artifacts.proposals import PROPOSALS
from pipeline.artifacts.resized_tables import RESIZED_BOXES, RESIZED_IMAGES
from pipeline.artifacts.shards import ShardWriter
from pipeline.artifacts.tables import TableWriter, box_columns, write_table
from pipeline.families.registry import DEFAULT, family_of
from pipeline.presets.defaults import default_text

_ROOT = Path(__file__).resolve().parents[1]
_WIDTH, _HEIGHT, _STRIDE, _PER_LOCATION = 128, 96, 8, 12
_CELLS = (_HEIGHT // _STRIDE, _WIDTH // _STRIDE)
_ANCHORS = _CELLS[0] * _CELLS[1] * _PER_LOCATION
_GT, _DETECTIONS = 6, 40
_CORNERS = [[8, 8], [48, 8], [88, 8], [8, 48], [48, 48], [88, 48]]
_BOXES = np.array([[x, y, x + 32, y + 32] for x, y in _CORNERS], np.float32)
_STAGES = (
    "resize",
    "anchor_targets",
    "features",
    "proposals_step3",
    "proposal_targets_step4",
    "detect_step4",
    "evaluate_step4",
)


def write_run(root: Path, images: int, proposals: int) -> None:
    """The folders of data/ that the stages need, with the project's dvc.yaml and default parameters."""
    shutil.copyfile(_ROOT / "dvc.yaml", root / "dvc.yaml")
    (root / "params.yaml").write_text(default_text(family_of(DEFAULT)), encoding="utf-8")
    data = root / "data"
    train, test = ([f"{split}_{i:06d}" for i in range(images)] for split in ("train", "test"))
    for stage in _STAGES:
        (data / stage).mkdir(parents=True)
    _write_resize(data / "resize", sorted([*train, *test]))
    _write_anchor_targets(data / "anchor_targets", train)
    both = (False, True)
    _write_maps(data / "features", "maps", train, both, (32, *_CELLS))
    _write_maps(data / "proposals_step3", "objectness", train, both, _CELLS)
    _write_proposals(data / "proposals_step3/proposals.parquet", train, both, proposals)
    _write_proposal_targets(data / "proposal_targets_step4", train, proposals)
    _write_maps(data / "detect_step4", "objectness", test, (False,), _CELLS)
    _write_proposals(data / "detect_step4/proposals.parquet", test, (False,), proposals)
    _write_detections(data, test)


def _draw(count: int, seed: int = 0) -> np.ndarray:
    """(N, 4) boxes in the image."""
    draw = np.random.default_rng(seed)
    corners = draw.uniform(0, (_WIDTH - 40, _HEIGHT - 40), (count, 2))
    return np.concatenate([corners, corners + draw.uniform(8, 40, (count, 2))], axis=1).astype(np.float32)


def _write_resize(folder: Path, ids: list[str]) -> None:
    (folder / "classes.json").write_text(json.dumps(["background", "one", "two"]))
    pixels = np.random.default_rng(0).integers(0, 255, (_HEIGHT, _WIDTH, 3), dtype=np.uint8)
    size = {"width": _WIDTH, "height": _HEIGHT, "original_width": _WIDTH, "original_height": _HEIGHT}
    with (
        TableWriter(folder / "images.parquet", RESIZED_IMAGES) as images,
        TableWriter(folder / "boxes.parquet", RESIZED_BOXES) as boxes,
        ShardWriter(folder, "pixels") as shards,
    ):
        for image_id in ids:
            own = {
                "image_id": image_id,
                "view": 0,
                "split": image_id.split("_")[0],
                **size,
                "scale_x": 1.0,
                "scale_y": 1.0,
            }
            images.write({**own, "shard": shards.add({image_id: pixels})})
            flags = {"label": 1, "difficult": False, "iscrowd": False}
            boxes.write({"image_id": image_id, "view": 0, **box_columns(_BOXES[:_GT]), **flags})


def _write_anchor_targets(folder: Path, ids: list[str]) -> None:
    """The bg of all locations, and no fg anchors that would have to fit: a table of them all the same."""
    bits = np.packbits(np.ones(_ANCHORS, bool))
    deltas = dict.fromkeys(("dx", "dy", "dw", "dh"), 0.0)
    with (
        TableWriter(folder / "images.parquet", ANCHOR_IMAGES) as images,
        TableWriter(folder / "fg_anchors.parquet", FG_ANCHORS) as table,
        ShardWriter(folder, "bg") as shards,
    ):
        for place, image_id in enumerate(ids):
            for mirrored in (False, True):
                if place % 2 == 0:  # the image that is drawn stands between such
                    own = {"anchor": np.arange(100), "matched_gt": 0, "max_iou": 0.7, **deltas}
                    table.write({"image_id": image_id, "view": int(mirrored), **own})
            shard = shards.add({Entry(image_id, int(mirrored)).name: bits for mirrored in (False, True)})
            size = {"anchors": _ANCHORS, "feature_height": _CELLS[0], "feature_width": _CELLS[1], "gt_boxes": _GT}
            for view in (0, 1):
                images.write({"image_id": image_id, "view": view, "shard": shard, **size})


def _write_maps(folder: Path, prefix: str, ids: list[str], seen: tuple[bool, ...], shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).random(shape).astype(np.float16)
    with ChunkedWork(folder, ids) as work:
        writer = MapWriter(work, prefix)
        for image_id in work.through(ids):
            writer.add({Entry(image_id, int(mirrored)): [values] for mirrored in seen}, (_HEIGHT, _WIDTH))


def _write_proposals(path: Path, ids: list[str], seen: tuple[bool, ...], count: int) -> None:
    own = {"rank": np.arange(count), "score": np.linspace(0.99, 0.1, count)}
    with TableWriter(path, PROPOSALS) as table:
        for place, image_id in enumerate(ids):
            for mirrored in seen:
                table.write({"image_id": image_id, "view": int(mirrored), **own, **box_columns(_draw(count, place))})


def _write_proposal_targets(folder: Path, ids: list[str], count: int) -> None:
    content = {"classes": ["background", "one", "two"], "mean": [[0.0] * 4] * 3, "std": [[0.1, 0.1, 0.2, 0.2]] * 3}
    (folder / "normalisation.json").write_text(json.dumps(content))
    label = np.where(np.arange(count) % 4 == 0, 1, 0)
    own = {"rank": np.arange(count), "max_iou": np.linspace(0.9, 0, count), "matched_gt": 0, "label": label}
    with TableWriter(folder / "proposal_targets.parquet", PROPOSAL_TARGETS) as table:
        for place, image_id in enumerate(ids):
            deltas = np.random.default_rng(place).normal(size=(count, 4)).astype(np.float32)
            columns = {name: deltas[:, i] for i, name in enumerate(("dx", "dy", "dw", "dh"))}
            for mirrored in (False, True):
                entry = {"image_id": image_id, "view": int(mirrored)}
                table.write({**entry, **own, **columns, **box_columns(_draw(count, place))})


def _write_detections(data: Path, ids: list[str]) -> None:
    score = np.linspace(0.99, 0.06, _DETECTIONS).astype(np.float32)
    boxes = _draw(_DETECTIONS)
    with TableWriter(data / "detect_step4/detections.parquet", DETECTIONS) as table:
        for image_id in ids:
            table.write({"image_id": image_id, "label": 1, "score": score, **box_columns(boxes)})
    found = [
        {"image_id": place + 1, "category_id": 1, "bbox": [1.0, 2.0, 30.0, 40.0], "score": round(float(value), 6)}
        for place in range(len(ids))
        for value in score
    ]
    (data / "detect_step4/detections.json").write_text(json.dumps(found))
    rows = len(ids) * _DETECTIONS
    kinds = np.array(["correct", "background", "badly_placed", "duplicate", "wrong_class"])
    columns = {
        "image_id": np.repeat(ids, _DETECTIONS),
        "kind": np.resize(kinds, rows),
        "label": np.ones(rows, np.int16),
        "score": np.tile(score, len(ids)),
        "gt_label": np.ones(rows, np.int16),
        "gt": np.zeros(rows, np.int32),
        "iou": np.full(rows, 0.6, np.float32),
        **box_columns(np.tile(boxes, (len(ids), 1))),
    }
    write_table(data / "evaluate_step4/matches.parquet", MATCHES, columns)


def _seconds(root: Path, *arguments: str) -> float:
    start = time.perf_counter()
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "inspect", *arguments]
    subprocess.run(command, cwd=root, env={"PYTHONPATH": str(_ROOT)}, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--proposals", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        start = time.perf_counter()
        write_run(root, options.images, options.proposals)
        print(f"{options.images} images written in {time.perf_counter() - start:.0f} s")
        print(f"{'stage':24}{'text':>8}{'picture':>9}   seconds")
        place = options.images // 2 + 1 - options.images // 2 % 2
        for stage in _STAGES:
            image = f"{'test' if stage.startswith(('detect', 'evaluate')) else 'train'}_{place:06d}"
            if stage.startswith(("features", "proposal")):
                image += ".mirrored"
            text, picture = _seconds(root, stage), _seconds(root, stage, "--image", image)
            print(f"{stage:24}{text:8.2f}{picture:9.2f}", flush=True)
        print(f"{'evaluate, worst images':24}{_seconds(root, 'evaluate_step4', '--first', '10'):8.2f}")


if __name__ == "__main__":
    main()
