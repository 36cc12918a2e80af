"""The head that params.yaml describes, fresh or with the weights that a stage wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts.weights import load_part, restore
from pipeline.building.memory_format import channels_last
from pipeline.dense.checks import check_head
from pipeline.dense.level_checks import levels_told

if TYPE_CHECKING:
    import torch

    from pipeline.artifacts.weights import State
    from pipeline.dense.contract import DetectPart, TrainPart
    from pipeline.dense.head import DenseHead
    from pipeline.geometry.layout import MapLayout
    from pipeline.params.reading import Params


def new_head(part: TrainPart | DetectPart, layout: MapLayout, num_classes: int, params: Params) -> DenseHead:
    """A head for C classes without weights.

    Raises:
        InputError: it is none, or cannot be trained repeatably.
    """
    with levels_told(part.__name__):
        head = part.build_head(layout, num_classes, params)
    check_head(head, part.__name__)
    head.num_classes = num_classes
    return head


def fresh_head(
    part: TrainPart, layout: MapLayout, num_classes: int, params: Params, generator: torch.Generator
) -> DenseHead:
    """A head for C classes with fresh weights, drawn from the generator."""
    head = new_head(part, layout, num_classes, params)
    head.initialise(generator)
    return head


def load_head(folder: Path, part: DetectPart, layout: MapLayout, num_classes: int, params: Params) -> DenseHead:
    """The head that a stage wrote to `folder`, in evaluation mode.

    Raises:
        InputError: it is of other classes or parameters, or damaged.
    """
    head = new_head(part, layout, num_classes, params)
    restore(head, with_training_state(head, load_part(folder, "head")), folder)
    return channels_last(head)


def with_training_state(head: DenseHead, state: State) -> State:
    """The weights, with the head's own fresh values for those that may be missing."""
    own = head.state_dict()
    return {**{name: own[name] for name in head.training_state}, **state}
