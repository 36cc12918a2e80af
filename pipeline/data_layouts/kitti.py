"""KITTI: a folder with image_2 and label_2, and lists of image names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.data_layouts.folders import files_in, folders_in
from pipeline.data_layouts.layout import Layout, Miss, by_split


def kitti_layouts(root: Path) -> Iterator[Layout | Miss]:
    """KITTI's layouts that the root may have."""
    for folder in folders_in(root):
        if os.path.isdir(root / folder / "label_2") and os.path.isdir(root / folder / "image_2"):
            lists = {name[:-4] for place in ("", "ImageSets") for name in files_in(root / place, ".txt")}
            splits = by_split(lists)
            settings = {"folder": folder, "classes": None}
            if "train" in splits:
                own = {split: names[:1] for split, names in splits.items()}
                yield Layout("kitti", "KITTI with lists of images", own, settings)
            else:
                yield Layout("kitti", "KITTI without lists of splits", {"train": ["./"]}, settings)
