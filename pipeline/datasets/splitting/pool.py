"""Where the images lie that are to be divided, in data without lists: what `train` of the reader would have to say."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.datasets.table_form import has_split, is_table_name
from pipeline.params.dataset import CocoData, KittiData, TableData, ToolData, VocData, YoloData

WHOLE = "./"
"""What `train` says to take all images that there are."""
REMEDY = "or divide the images of train: dataset.split={val: .1, test: .2}"
"""What else to do about data that lack the splits which the reader was given."""


def places_to_divide(root: Path, own: VocData | CocoData | KittiData | YoloData | TableData | ToolData) -> list[str]:
    """`own.train` where the data have one of these; all images where they have no lists at all."""
    match own:
        case VocData() if not any(name.endswith("/") for name in own.train) and not os.path.isdir(root / own.lists):
            trees = {name.rpartition("/")[0] for name in own.train}
            if not any(os.path.isdir(root / tree / own.lists) for tree in trees):
                return [f"{tree}/" if tree else WHOLE for tree in sorted(trees)]
        case KittiData() if not any(
            os.path.isfile(root / place / f"{name}.txt") for name in own.train for place in ("", "ImageSets")
        ):
            return [WHOLE]
        case CocoData() if not any(os.path.isfile(root / name) for name in own.train):
            found = [*root.glob("annotations/*.json"), *root.glob("*.json")]
            if len(found) == 1:
                return [found[0].relative_to(root).as_posix()]
        case YoloData() if not any(os.path.exists(root / name) for name in own.train):
            return ["images"] if os.path.isdir(root / "images") else [WHOLE]
        case TableData() if not any(map(is_table_name, own.train)) and not has_split(root / own.file):
            return [WHOLE]
        case _:
            pass
    return own.train
