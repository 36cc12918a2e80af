"""The head that params.yaml describes, fresh or with the weights that a stage left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts.weights import load_part, restore
from pipeline.building.memory_format import channels_last

if TYPE_CHECKING:
    import torch

    from pipeline.dense.contract import DetectPart, TrainPart
    from pipeline.dense.head import DenseHead
    from pipeline.geometry.layout import MapLayout
    from pipeline.params.reading import Params


def fresh_head(
    part: TrainPart, layout: MapLayout, num_classes: int, params: Params, generator: torch.Generator
) -> DenseHead:
    """A head for C classes with fresh weights, drawn from the generator."""
    head = part.build_head(layout, num_classes, params)
    head.initialise(generator)
    return head


def load_head(folder: Path, part: DetectPart, layout: MapLayout, num_classes: int, params: Params) -> DenseHead:
    """The head that a stage left in `folder`, in evaluation mode.

    Raises:
        InputError: it is of other classes or parameters, or damaged.
    """
    head = part.build_head(layout, num_classes, params)
    restore(head, load_part(folder, "head"), folder)
    return channels_last(head)
