"""Bundles of dense families: a trunk and a head.

A family's part `bundle` is `BUNDLE = dense_bundle(detect_dense)`, of its module `detect_dense`.

Shapes: C classes, background included.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, cast

from pydantic import create_model

from pipeline.building.trunk import new_trunk
from pipeline.bundle.contract import BundleParams, FamilyBundle, Parts
from pipeline.dense.building import new_head
from pipeline.dense.contract import DetectPart, detect_part
from pipeline.dense.head import DenseHead
from pipeline.dense.network import DenseDetector
from pipeline.families.registry import part_of
from pipeline.nn.backbones.trunk import Trunk
from pipeline.params.reading import Params


def dense_bundle(module: ModuleType) -> FamilyBundle:
    """The bundles of a dense family.

    Detection reads the sections of its stage. A key of a section that training reads as well must be as in training.

    Args:
        module: the family's `detect_dense`.
    """
    part = detect_part(module)
    own = {name: model for name, model in part.SECTIONS.items() if name not in BundleParams.model_fields}
    fields: dict[str, Any] = {name: (model, ...) for name, model in own.items()}

    def new_parts(params: BundleParams, num_classes: int) -> Parts:
        trunk = new_trunk(params.backbone)
        return {"trunk": trunk, "head": new_head(part, trunk.layout, num_classes, as_params(params))}

    def network(parts: Parts, params: BundleParams) -> DenseDetector:
        return DenseDetector(*typed(parts), part, as_params(params))

    return FamilyBundle(
        params=create_model("DenseParams", __base__=BundleParams, **fields),
        new_parts=new_parts,
        network=network,
        trained_with={name: tuple(model.model_fields) for name, model in own.items()},
    )


def dense_part(family: str) -> DetectPart:
    """A dense family's `detect_dense`."""
    return detect_part(part_of(family, "detect_dense"))


def typed(parts: Parts) -> tuple[Trunk, DenseHead]:
    """The trunk and the head."""
    return cast(Trunk, parts["trunk"]), cast(DenseHead, parts["head"])


def as_params(params: BundleParams) -> Params:
    """The sections of a bundle as those of params.yaml."""
    return Params({name: getattr(params, name) for name in type(params).model_fields})
