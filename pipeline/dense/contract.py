"""What a dense family supplies: three modules, one for each stage of that name, and a head.

Each is a part of the stages in stages/ of the same name (`Stage.part`), with the models of the sections of params.yaml
that it reads in `SECTIONS`. All else is common.

Shapes: B images; N locations of an image (`pipeline.geometry.points`); F fg locations; C classes, background included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, cast

from pipeline.runtime.family_part import check_part

if TYPE_CHECKING:
    from types import ModuleType

    from torch import Tensor

    from pipeline.dense.assignment import Assignment, Truth
    from pipeline.dense.head import DenseHead, Outputs
    from pipeline.dense.targets import BatchTargets
    from pipeline.geometry.layout import MapLayout
    from pipeline.geometry.points import Grid, Locations
    from pipeline.nn.postprocess import DetectedBoxes
    from pipeline.params.reading import Params
    from pipeline.params.section import Section


class Part(Protocol):
    """What every part has in common."""

    __name__: str
    SECTIONS: Mapping[str, type[Section]]


class Assign(Protocol):
    """`assign` of a part."""

    def __call__(self, truth: Truth, grid: Grid, size: tuple[int, int], params: Params) -> Assignment:
        """The targets of each location of an image of (H, W) `size`."""


class TargetsPart(Part, Protocol):
    """`dense_targets.py`: needs no torch."""

    def locations(self, trunk: MapLayout, params: Params) -> Locations:
        """Where the head predicts, given the levels that it gets: those of the trunk, or of a neck."""

    assign: Assign


class TrainPart(Part, Protocol):
    """`train_dense.py`. Where images are drawn it has `assign` too, that of `TargetsPart`."""

    assign: Assign

    def build_head(self, trunk: MapLayout, num_classes: int, params: Params) -> DenseHead:
        """A head on the trunk's maps, for C classes; its weights are drawn or loaded later."""

    def losses(self, head: DenseHead, outputs: Outputs, targets: BatchTargets, params: Params) -> Mapping[str, Tensor]:
        """Scalars by name, float32; training minimises their sum, and the names are columns of history.csv.

        What is drawn comes from `targets.generator`. Names are the same each time.

        Args:
            head: for what it keeps besides weights, such as a running normaliser.
            outputs: of the head, (B, N, ...) each, N of the padded images (`targets.grid`). Locations in the padding
                have label -1.
        """


def remark(part: TrainPart, history: Sequence[Mapping[str, float]], params: Params) -> str | None:
    """What the family's train_dense says of the rows of a training that has ended, by its function `remark(history,
    params)`; None where it has none, or nothing to say."""
    own: Callable[[Sequence[Mapping[str, float]], Params], str | None] | None = getattr(part, "remark", None)
    return own(history, params) if own else None


class DetectPart(Part, Protocol):
    """`detect_dense.py`. The network of a bundle is made by it, too."""

    def build_head(self, trunk: MapLayout, num_classes: int, params: Params) -> DenseHead:
        """As in `TrainPart`; the same function."""

    def class_scores(self, outputs: Outputs) -> Tensor:
        """Of (B, N, ...) outputs, or of (N, ...), the (..., N, C - 1) score, 0..1, of each class but the background."""

    def decode(self, outputs: Outputs, grid: Grid, size: tuple[int, int], params: Params) -> DetectedBoxes:
        """The detections of one image of (H, W) `size`, of (N, ...) outputs: clipped to it, in resized pixels, by
        falling score, no more than are wanted. The sides and the grid's cells may be symbols of a trace."""


def images_at_once(params: Params, part: DetectPart) -> int:
    """How many images of one size the family's network takes at once, by the `images_at_once` of a section of its
    detect_dense; 1 where none has it."""
    sections = params.sections()
    return max((getattr(sections.get(name), "images_at_once", 1) for name in part.SECTIONS), default=1)


def targets_part(part: ModuleType | None) -> TargetsPart:
    """The family's dense_targets module.

    Raises:
        InputError: it lacks a function.
    """
    return cast(TargetsPart, _checked(part, "locations", "assign"))


def train_part(part: ModuleType | None) -> TrainPart:
    """The family's train_dense module.

    Raises:
        InputError: it lacks a function.
    """
    return cast(TrainPart, _checked(part, "build_head", "losses"))


def detect_part(part: ModuleType | None) -> DetectPart:
    """The family's detect_dense module.

    Raises:
        InputError: it lacks a function.
    """
    return cast(DetectPart, _checked(part, "build_head", "class_scores", "decode"))


def _checked(part: ModuleType | None, *names: str) -> ModuleType:
    assert part is not None
    check_part(part, *names)
    return part
