"""A trained detector that training starts from: one trained here, a bundle, or one of torchvision's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts.weights import State, restore, select_part
from pipeline.building.needs import check_needs
from pipeline.building.pretrained import read_state
from pipeline.building.published import published_detector
from pipeline.datasets.class_names import BACKGROUND
from pipeline.datasets.coco_numbers import COCO_NAMES
from pipeline.runtime.errors import InputError

if TYPE_CHECKING:
    from pipeline.nn.backbones.trunk import Trunk
    from pipeline.params.backbone import BackboneParams

BUNDLE_SETTINGS = "bundle.json"
"""The file of a bundle that names its classes; it may lie beside the weights."""

_OUTPUTS = ("cls_score.", "bbox_pred.", "delta_")
_OPTION = "init.detector"


@dataclass(frozen=True)
class InitialDetector:
    """What a detector has besides its trunk.

    Attributes:
        title: what it is called in a log.
        parts: of a Faster R-CNN its `rpn`, `classifier`, the layers of its RoI head that do not depend on its classes,
            and where these are known `head`, the whole RoI head; of another detector its `head`.
        classes: the names of the head's classes, the background first; None where nothing says them.
        notes: further lines for a log.
    """

    title: str
    parts: dict[str, State]
    classes: list[str] | None = None
    notes: list[str] = field(default_factory=list)


def load_detector(trunk: Trunk, params: BackboneParams, folder: Path, names: Sequence[str] | None) -> InitialDetector:
    """Load the trunk of the trained detector in a linked folder, and return the rest of it.

    Args:
        folder: data/initial_detector: a weights file, and the bundle.json beside it where it is a bundle's.
        names: `init.classes`, without the background; None: those that the file says.

    Raises:
        InputError: the folder holds no detector, or not all parts of one, or its trunk is another network, or `names`
            are not as many as its classes.
    """
    files = sorted(path for path in Path(folder).iterdir() if not path.name.startswith("."))
    weights = [path for path in files if path.name != BUNDLE_SETTINGS]
    if len(weights) != 1:
        raise InputError(
            f"{folder}: holds {len(weights)} files where one weights file is needed; give {_OPTION}=PATH to frcnn "
            "preset"
        )
    state, source = read_state(weights[0], _OPTION), weights[0].name
    title, notes, rows = f"the detector {source}", [], None
    published = published_detector(state, source)
    if published is not None:
        check_needs(published.needs, params, source)
        state, rows, title = published.state, published.rows, f"{source}, {published.needs.title}"
        notes.append(f"its heads need {published.needs.of_heads()}")
    parts = _parts(trunk, state, source)
    if "rpn" in parts:
        if "delta_mean" not in parts["head"]:
            raise InputError(f"{source}: weight 'head.delta_mean' is missing; use weights of a whole detector")
        rows = len(parts["head"]["delta_mean"])
    said = _said_by_bundle(folder, rows)
    if said is None and published is not None and rows == len(COCO_NAMES):
        said = list(COCO_NAMES)
    classes = _classes(names, said, rows, source)
    if classes is None and "rpn" in parts:
        del parts["head"]
    return InitialDetector(title, parts, classes, notes)


def _parts(trunk: Trunk, state: State, source: str) -> dict[str, State]:
    """The parts besides the trunk, which is loaded."""
    parts = {part: select_part(state, part) for part in ("trunk", "rpn", "head")}
    # Another family's head may have layers of these names too, as SSD's convolutions; a RoI head has its deltas' mean.
    of_rois = bool(parts["rpn"]) or "delta_mean" in parts["head"]
    needed = ("trunk", "rpn", "head") if of_rois else ("trunk", "head")
    missing = [part for part in needed if not parts[part]]
    if missing:
        raise InputError(
            f"{source}: holds no weights of the {' and '.join(missing)}; give {_OPTION}=PATH to frcnn preset, a "
            "bundle, the model.safetensors of a stage that trained a whole detector, or a detector of torchvision's"
        )
    restore(trunk, parts.pop("trunk"), source)
    found = {part: own for part, own in parts.items() if own}
    if of_rois:
        # Copies, as no tensor may be twice in a file.
        hidden = {name: value.clone() for name, value in parts["head"].items() if not name.startswith(_OUTPUTS)}
        found["classifier"] = hidden
    return found


def _said_by_bundle(folder: Path, rows: int | None) -> list[str] | None:
    """The classes that the bundle.json beside the weights names, the background first; as many as rows, if known."""
    path = folder / BUNDLE_SETTINGS
    if not path.is_file():
        return None
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["classes"]
        if not all(isinstance(name, str) for name in names) or len(names) != (rows or len(names)):
            raise ValueError(f"names {len(names)} classes, the weights have {rows}")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path}: does not say the classes of the weights beside it ({error}); link the whole bundle "
            f"again with {_OPTION}=PATH"
        ) from error
    return list(names)


def _classes(names: Sequence[str] | None, said: list[str] | None, rows: int | None, source: str) -> list[str] | None:
    if names is None:
        return said
    rows = rows or (len(said) if said else None)
    if rows is not None and len(names) != rows - 1:
        raise InputError(
            f"parameter init.classes: names {len(names)} classes, {source} has {rows - 1} beside the background; name "
            "each in its order, or set init.classes null"
        )
    return [BACKGROUND, *names]
