"""Projects of photos in several sizes, landscape and portrait, more than a chunk of them in train and in test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.conftest import TINY
from tests.families.family_project import write_family_project

SIZES = [(60, 80), (80, 60), (120, 160), (60, 80), (70, 70), (60, 81)]
"""Height, width; the third is resized to the size of the first, by half the factor."""
COUNT = 66
"""Of train, and of test; a chunk has 16."""
SCHEDULE = {"iterations": 2, "images_per_iteration": 2, "lr_drop_at": [], "warmup_iterations": 0}
FOUR_STEPS: dict[str, Any] = {
    "resize": {"shorter_side": 48, "longer_side": 80, "extra_sides": [32]},
    "anchors": {"scales": [1.0, 2.0]},
    "anchor_targets": {"allowed_border": None},
    "rpn": {"channels": 32},
    "proposals": {"pre_nms": 60, "post_nms": 20, "min_size": 12.0},
    "roi_head": {"hidden": 32},
    "features": {"dtype": "float32", "keep_frozen_stages": True},
    "detect": {"pre_nms": 60, "proposals": 20, "recall_ranks": 30, "min_size": 12.0, "score_threshold": 0.0},
    **dict.fromkeys(("train_rpn_step1", "train_head_step2"), SCHEDULE),
}
"""Of the default graph up to step 2, with two scales."""
MIXED: dict[str, Any] = {
    "base": {"threads": 1, "precision": "float32"},
    "dataset": {"reader": "table"},
    "backbone": {"weights": "random"},
    "evaluate": {"score_threshold": 0.0},
}


def write_mixed_project(root: Path, family: str, changes: dict[str, Any]) -> Path:
    """A project of a family, its table of images in data/raw; parameters are those of `MIXED`, and `changes`."""
    write_family_project(root, family, {"solver": TINY["solver"]}, MIXED, changes)
    rng = np.random.default_rng(0)
    lines = ["file,split,class,x1,y1,x2,y2"]
    for split in ("train", "test"):
        for place in range(COUNT):
            height, width = SIZES[place % len(SIZES)]
            file = f"{split}_{place:02d}.png"
            cv2.imwrite(str(root / "data/raw" / file), rng.integers(0, 255, (height, width, 3), np.uint8))
            lines.append(f"{file},{split},car,{width // 4},{height // 4},{3 * width // 4},{3 * height // 4}")
    (root / "data/raw/boxes.csv").write_text("\n".join(lines) + "\n")
    return root
