"""Which column of a table is what: the names that this project writes, and those that other tools write for them.

Names are compared without case, spaces and punctuation. One that is there exactly as this project writes it is always
that column.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from pipeline.datasets.file_names import printable
from pipeline.datasets.records import XYWH, XYXY, BoxFormat

FLAGS = ("difficult", "iscrowd", "ignore")
SIDES = ("image_width", "image_height")
SCORE = "score"

_WORDS = {
    "file": "file filename filepath path image imagename imagepath imagefile imagefilename img imgname imgpath fname",
    "split": "split set subset datasplit partition",
    # Names before what may be their numbers, as in COCO's category and category_name.
    "class": "classname labelname categoryname objectname class label category cls objectclass",
    "difficult": "difficult isdifficult",
    "iscrowd": "iscrowd crowd",
    "ignore": "ignore",
    "image_width": "imagewidth imgwidth imwidth",
    "image_height": "imageheight imgheight imheight",
    "score": "score scores confidence conf probability prob",
}
# Ways to name corners, the first that is there whole: what x1 is depends on whether there is an x0.
_CORNERS = (
    "x1 y1 x2 y2",
    "xmin ymin xmax ymax",
    "x0 y0 x1 y1",
    "left top right bottom",
    "xtl ytl xbr ybr",
    "startx starty endx endy",
    "bboxx1 bboxy1 bboxx2 bboxy2",
    "bboxxmin bboxymin bboxxmax bboxymax",
    "boxx1 boxy1 boxx2 boxy2",
)
_FIRST_CORNERS = ("x y", "xmin ymin", "left top", "xtl ytl", "bboxx bboxy", "boxx boxy", "x1 y1")
# Where a table has two of them, the later is the image's: width and height beside w and h, or beside bbox_width.
_BOX_SIDES = ("bboxwidth bboxheight", "bboxw bboxh", "boxwidth boxheight", "boxw boxh", "w h", "width height")
_OPEN_SIDES = ("width", "height")  # of the box or of the image


class Roles(NamedTuple):
    """What the columns of a table are.

    Attributes:
        columns: role -> name of the column as it stands; without those that are not there.
        form: how the boxes are written; None where the columns of none are there.
        open_sides: whether the columns of the image's sides are called width and height, so that beside corners they
            may as well be the box's: their numbers show it.
    """

    columns: dict[str, str]
    form: BoxFormat | None
    open_sides: bool = False

    def without_sides(self) -> Roles:
        """The same without the image's sides."""
        return Roles({role: name for role, name in self.columns.items() if role not in SIDES}, self.form)

    def renamed(self) -> list[str]:
        """Which columns are read under another name, such as "filename as file"."""
        return [f"{printable(name.strip())} as {role}" for role, name in self.columns.items() if name.strip() != role]


def roles_of(names: Sequence[str], wanted: BoxFormat) -> Roles:
    """The roles of columns by their names.

    Args:
        names: of all columns.
        wanted: how the boxes are written where the names leave it open.
    """
    plain: dict[str, str] = {}
    for name in names:
        plain.setdefault(re.sub(r"[\W_]+", "", name).lower(), name)
    columns: dict[str, str] = {}
    for role, words in _WORDS.items():
        found = role if role in names else next((plain[word] for word in words.split() if word in plain), None)
        if found is not None:
            columns[role] = found
    form = None
    for own in (wanted, XYWH if wanted is XYXY else XYXY):
        boxes = _corners(names, plain) if own is XYXY else _sides(names, plain)
        if boxes is not None:
            columns.update(zip(own.names, boxes, strict=True))
            form = own
            break
    # TensorFlow's tables have the image's sides as width and height. Beside columns of this project's own names, which
    # it documents, such columns are another's.
    free = {*_OPEN_SIDES} <= {*plain} and not {plain[word] for word in _OPEN_SIDES} & {*columns.values()}
    if not free or form is None or {*SIDES} & {*columns} or all(name.strip() == role for role, name in columns.items()):
        return Roles(columns, form)
    columns.update(zip(SIDES, (plain[word] for word in _OPEN_SIDES), strict=True))
    return Roles(columns, form, open_sides=True)


def _corners(names: Sequence[str], plain: dict[str, str]) -> list[str] | None:
    if set(XYXY.names) <= set(names) and not {"x0", "y0"} <= set(plain):
        return [*XYXY.names]
    sets = [words.split() for words in _CORNERS]
    if {"x0", "y0"} <= set(plain):
        sets = sets[1:]
    return next(([plain[word] for word in words] for words in sets if set(words) <= set(plain)), None)


def _sides(names: Sequence[str], plain: dict[str, str]) -> list[str] | None:
    if set(XYWH.names) <= set(names) and not {"w", "h"} <= set(plain):
        return [*XYWH.names]
    if _corners(names, plain) is not None:  # whose width and height are the image's
        return None
    corner = next((words.split() for words in _FIRST_CORNERS if set(words.split()) <= set(plain)), None)
    sides = next((words.split() for words in _BOX_SIDES if set(words.split()) <= set(plain)), None)
    return None if corner is None or sides is None else [plain[word] for word in (*corner, *sides)]
