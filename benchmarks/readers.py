"""Peak memory of the readers at 20,000 and at 80,000 images of 5 boxes each: python -m benchmarks.readers [NAME ...]

Every reader and the tables that the dataset stage writes, in a process of its own a size. Pixels are not looked at, and
image files are empty. Annotations tell sizes where the format has them, else every image is said to be of one size.
`source` is the size of the files that are read, `tables` that of the two tables in memory (Arrow), not on disk.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pipeline.datasets.base import Split

IMAGES = (20_000, 80_000)
BOXES = 5
WIDTH, HEIGHT = 640, 480
CLASSES = ("car", "dog", "cat")
SPLITS: dict[Split, Sequence[str]] = {"train": ["train"], "test": ["test"]}
Box = tuple[str, int, int, int, int]


def _image_names(images: int) -> Iterator[tuple[str, str]]:
    """Split and name of each image, one in five of the test."""
    return (("test" if index % 5 == 0 else "train", f"{index:08d}") for index in range(images))


def _boxes(name: str) -> list[Box]:
    rng = random.Random(name)
    corners = ((rng.randrange(500), rng.randrange(400)) for _ in range(BOXES))
    return [(rng.choice(CLASSES), x, y, x + rng.randrange(9, 140), y + rng.randrange(9, 80)) for x, y in corners]


def _touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _plant_voc(root: Path, images: int) -> None:
    listed: dict[str, list[str]] = {"train": [], "test": []}
    for split, name in _image_names(images):
        listed[split].append(name)
        _touch(root / f"JPEGImages/{name}.jpg")
        objects = "".join(
            f"<object><name>{label}</name><difficult>0</difficult><bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin>"
            f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for label, x1, y1, x2, y2 in _boxes(name)
        )
        size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
        _write(root / f"Annotations/{name}.xml", f"<annotation>{size}{objects}</annotation>")
    for split, names in listed.items():
        _write(root / f"ImageSets/Main/{split}.txt", "\n".join(names) + "\n")


def _plant_coco(root: Path, images: int) -> None:
    for chosen in SPLITS:
        content: dict[str, list[dict[str, object]]] = {
            "images": [],
            "annotations": [],
            "categories": [{"id": index, "name": name} for index, name in enumerate(CLASSES, 1)],
        }
        for number, (split, name) in enumerate(_image_names(images)):
            if split != chosen:
                continue
            _touch(root / f"{split}/{name}.jpg")
            own = {"id": number, "file_name": f"{name}.jpg", "width": WIDTH, "height": HEIGHT}
            content["images"].append(own)
            for label, x1, y1, x2, y2 in _boxes(name):
                at = len(content["annotations"])
                box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
                category = CLASSES.index(label) + 1
                content["annotations"].append({"id": at, "image_id": number, "category_id": category, **box})
        _write(root / f"{chosen}.json", json.dumps(content))


def _plant_kitti(root: Path, images: int) -> None:
    listed: dict[str, list[str]] = {"train": [], "test": []}
    for split, name in _image_names(images):
        listed[split].append(name)
        _touch(root / f"training/image_2/{name}.png")
        lines = [f"{label} 0 0 0 {x1} {y1} {x2} {y2} 0 0 0 0 0 0 0" for label, x1, y1, x2, y2 in _boxes(name)]
        _write(root / f"training/label_2/{name}.txt", "\n".join(lines) + "\n")
    for split, names in listed.items():
        _write(root / f"{split}.txt", "\n".join(names) + "\n")


def _plant_yolo(root: Path, images: int) -> None:
    for split, name in _image_names(images):
        _touch(root / f"images/{split}/{name}.jpg")
        lines = [
            f"{CLASSES.index(label)} {(x1 + x2) / 2 / WIDTH:.6f} {(y1 + y2) / 2 / HEIGHT:.6f} "
            f"{(x2 - x1) / WIDTH:.6f} {(y2 - y1) / HEIGHT:.6f}"
            for label, x1, y1, x2, y2 in _boxes(name)
        ]
        _write(root / f"labels/{split}/{name}.txt", "\n".join(lines) + "\n")
    _write(root / "names.txt", "\n".join(CLASSES) + "\n")


def _plant_table(root: Path, images: int) -> None:
    lines = ["file,split,class,x1,y1,x2,y2,image_width,image_height"]
    for split, name in _image_names(images):
        _touch(root / f"images/{name}.jpg")
        lines += [
            f"images/{name}.jpg,{split},{label},{x1},{y1},{x2},{y2},{WIDTH},{HEIGHT}"
            for label, x1, y1, x2, y2 in _boxes(name)
        ]
    _write(root / "boxes.csv", "\n".join(lines) + "\n")


PLANTED: Mapping[str, Callable[[Path, int], None]] = {
    "voc": _plant_voc,
    "coco": _plant_coco,
    "kitti": _plant_kitti,
    "yolo": _plant_yolo,
    "table": _plant_table,
}
_TELL_NO_SIZE = ("kitti", "yolo")


def read(kind: str, root: Path, out: Path) -> None:
    """Read a planted data set and write its tables, as the dataset stage does; print figures as JSON."""
    from pipeline.artifacts.dataset_tables import DATASET_BOXES, DATASET_IMAGES
    from pipeline.artifacts.tables import TableWriter, box_columns
    from pipeline.datasets import coco, kitti, table, voc, yolo
    from pipeline.datasets.validation import validate
    from pipeline.presets.apply import preset_params

    policy = preset_params("default").dataset.findings
    before, started = _peak(), time.perf_counter()
    match kind:
        case "voc":
            raw = voc.read_voc(root, SPLITS, None)
        case "coco":
            raw = coco.read_coco(root, {split: [f"{split}.json"] for split in SPLITS}, "{name}", None)
        case "kitti":
            raw = kitti.read_kitti(root, SPLITS, "training", None, {})
        case "yolo":
            raw = yolo.read_yolo(root, {split: [f"images/{split}"] for split in SPLITS}, "names.txt")
        case _:
            raw = table.read_table(root, SPLITS, "boxes.csv", "xyxy", None)
    dataset = validate(raw, policy, (lambda _: (WIDTH, HEIGHT)) if kind in _TELL_NO_SIZE else None)
    with (
        TableWriter(out / "images.parquet", DATASET_IMAGES) as images,
        TableWriter(out / "boxes.parquet", DATASET_BOXES) as boxes,
    ):
        for image in dataset.images:
            row = {name: getattr(image, name) for name in ("image_id", "split", "file", "width", "height")}
            images.write(row)
            flags = {"label": image.labels, "difficult": image.difficult, "iscrowd": image.iscrowd}
            boxes.write({"image_id": image.image_id, **box_columns(image.boxes), **flags})
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "before": before, "peak": _peak()}))


def _peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


def _source(kind: str, root: Path) -> int:
    suffixes = (".xml", ".json", ".txt", ".csv")
    return sum(path.stat().st_size for path in root.rglob("*") if path.suffix in suffixes)


def measure(kind: str, images: int) -> dict[str, float]:
    """Figures of one reader at one size, in MB and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        root, out = Path(folder) / "raw", Path(folder) / "out"
        root.mkdir()
        out.mkdir()
        PLANTED[kind](root, images)
        command = [sys.executable, "-m", "benchmarks.readers", "--read", kind, str(root), str(out)]
        figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        tables = sum(pq.read_table(path).nbytes for path in sorted(out.glob("*.parquet")))
        return {
            "seconds": figures["seconds"],
            "peak": figures["peak"] / 2**20,
            "source": _source(kind, root) / 2**20,
            "tables": tables / 2**20,
        }


def main(kinds: list[str]) -> None:
    """Print a row a reader and size, and what four times the images add."""
    print("reader  images  seconds  peak MB  source MB  tables MB")
    for kind in kinds or list(PLANTED):
        figures = [measure(kind, images) for images in IMAGES]
        for images, row in zip(IMAGES, figures, strict=True):
            numbers = "".join(f"{row[name]:10.1f}" for name in ("seconds", "peak", "source", "tables"))
            print(f"{kind:6}{images:8}{numbers}", flush=True)
        grown = {name: figures[1][name] - figures[0][name] for name in figures[0]}
        allowed = 64 + grown["tables"]
        print(f"{kind:6} peak +{grown['peak']:.1f} MB, allowed 64 + tables {grown['tables']:.1f} = {allowed:.1f} MB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        read(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    else:
        main(sys.argv[1:])
