"""Which reader a folder looks made for, by the names in it; no file is opened."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from pipeline.params.dataset import DatasetParams

READERS = tuple(name for name in get_args(DatasetParams.model_fields["reader"].annotation) if name != "shapes")
# Presets whose reader is this one, to start from.
_PRESETS = {"voc": ("bccd_tiny", "voc6_vgg16", "voc07_vgg16"), "coco": ("tinycoco",), "kitti": ("kitti_tiny_vgg16",)}
_MOST_FOLDERS = 100


def guess_reader(root: Path) -> str | None:
    """The reader whose layout the folder has; None where it has none that is known."""
    if (root / "Annotations").is_dir() and (root / "JPEGImages").is_dir():
        return "voc"
    if any(root.glob("label_2")) or any(root.glob("*/label_2")):
        return "kitti"
    if any(root.glob("annotations/*.json")) or any(root.glob("instances_*.json")):
        return "coco"
    if any(root.glob("data.y*ml")) or ((root / "images").is_dir() and (root / "labels").is_dir()):
        return "yolo"
    if any(root.glob("*.csv")) or any(root.glob("*.parquet")):
        return "table"
    return None


def layout_hint(root: Path) -> str:
    """What the folder, or one in it, looks like and how to check it so; empty where it looks like nothing known."""
    folders = sorted(path for path in root.iterdir() if path.is_dir())[:_MOST_FOLDERS] if root.is_dir() else []
    for folder in (root, *folders):
        reader = guess_reader(folder)
        if reader:
            return f"{folder} looks made for reader {reader}: {_how_to(reader, folder)}"
    return ""


def choose_reader(root: Path) -> str:
    """How to choose a reader for the folder, in one line."""
    general = f"frcnn preset default dataset.reader=READER dataset.root=PATH, READER one of {', '.join(READERS)}"
    return layout_hint(root) or general


def _how_to(reader: str, folder: Path) -> str:
    presets = f"; or frcnn check-data {folder} --preset {' or '.join(_PRESETS[reader])}" if reader in _PRESETS else ""
    return f"frcnn preset default dataset.reader={reader} dataset.root={folder}, then frcnn check-data{presets}"
