"""Where the images lie that are to be divided, in data without lists: what `train` of the reader would have to say."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.datasets.file_names import is_junk, printable
from pipeline.datasets.table_form import has_split, is_table_name
from pipeline.params.dataset import CocoData, KittiData, TableData, ToolData, VocData, YoloData
from pipeline.runtime.errors import InputError

WHOLE = "./"
"""What `train` says to take all images that there are."""
_SHARES = "{val: .1, test: .2}"
REMEDY = f"or divide the images of train: set dataset.split to {_SHARES}"
"""What else to do about data that lack the splits which the reader was given."""


def remedy_as_option(line: str) -> str:
    """A line with the option of a command that takes `--set` in place of the parameter to set."""
    return line.replace(REMEDY, f"or divide the images of train: --set 'dataset.split={_SHARES}'")


_USUAL = {
    VocData: ("voc", {"train", "trainval"}),  # in the root, or in VOC2007 and others
    CocoData: ("coco", {"annotations/instances_train2017.json"}),
    KittiData: ("kitti", {"train"}),
    YoloData: ("yolo", {"images/train"}),
    TableData: ("table", {"train"}),
}  # of each reader, its name and the lists of the defaults and the presets


def places_to_divide(root: Path, own: VocData | CocoData | KittiData | YoloData | TableData | ToolData) -> list[str]:
    """`own.train` where the data have one of these; all images where they have no lists and `own.train` is the usual.

    Raises:
        InputError: the data have none, and they are not the usual: who named them meant some images, not all.
    """
    places = _places(root, own)
    if places == own.train or isinstance(own, ToolData):
        return places
    reader, usual = _USUAL[type(own)]
    names = {name.rpartition("/")[2] for name in own.train} if reader == "voc" else {*own.train}
    if not names <= usual:
        named = ", ".join(map(printable, own.train[:4]))
        raise InputError(
            f"{root}: has nothing called {named}, as dataset.{reader}.train says; correct it, or set it to "
            f"[{', '.join(places)}] to divide all images"
        )
    return places


def _places(root: Path, own: VocData | CocoData | KittiData | YoloData | TableData | ToolData) -> list[str]:
    """`own.train` where the data have one of these, else all images."""
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
            found = [path for path in found if not path.name.startswith(".") and not is_junk(path.name)]
            if len(found) == 1:
                return [found[0].relative_to(root).as_posix()]
        case YoloData() if not any(os.path.exists(root / name) for name in own.train):
            return ["images"] if os.path.isdir(root / "images") else [WHOLE]
        case TableData() if not any(map(is_table_name, own.train)) and not has_split(root / own.file):
            return [WHOLE]
        case _:
            pass
    return own.train
