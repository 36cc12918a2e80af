"""How a family bundles its networks: `BUNDLE` in its part `bundle`, a `FamilyBundle`.

Shared code writes, verifies and reads the two files of a bundle, resizes photos, sets threads and precision, and brings
boxes back to the original image. A family says which parameters its detection reads, what its weights are weights of,
and how they detect.

Shapes: B images; H, W image height, width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from torch import Tensor, nn

from pipeline.artifacts.weights import State
from pipeline.families.registry import declared, family_of
from pipeline.nn.postprocess import DetectedBoxes
from pipeline.params.backbone import BackboneParams
from pipeline.params.file import sections_of
from pipeline.params.resize import ResizeParams
from pipeline.params.section import Count, Section
from pipeline.runtime.errors import InputError

Parts = Mapping[str, nn.Module]
"""The parts of a network by the names that they have in its weights; `trunk` is one of them, a `Trunk`."""


class Computation(Section):
    """The keys of section `base` that change results in the last bits."""

    threads: Count
    precision: Literal["float32", "tf32", "bf16"]


class BundleParams(Section):
    """The sections of params.yaml that detection reads, under their names there; a family's class adds its own."""

    base: Computation
    backbone: BackboneParams
    resize: ResizeParams

    if TYPE_CHECKING:  # the family's sections

        def __getattr__(self, name: str) -> Any: ...

    def own_sections(self) -> dict[str, Section]:
        """The sections that the family added."""
        return {name: getattr(self, name) for name in type(self).model_fields if name not in BundleParams.model_fields}


class DetectingNetwork(Protocol):
    """A network for detection."""

    def __call__(
        self, images: Tensor, sizes: Sequence[tuple[int, int]], scales: Sequence[tuple[float, float]]
    ) -> list[DetectedBoxes]:
        """Detections of each of B images, in pixels of the resized image.

        Args:
            images: (B, 3, H, W) uint8 RGB. sizes: (H, W) of each, the rest is padding.
            scales: (x, y) resized pixels per original pixel of each.
        """
        ...


@dataclass(frozen=True)
class FamilyBundle:
    """How a family's networks are bundled and run.

    Attributes:
        params: which sections of params.yaml detection reads.
        new_parts: from these and C, the number of classes, background included, to the parts without weights.
        network: from the parts with their weights, in evaluation mode and on their device, and the parameters, to what
            detects.
        trained_with: of each section the keys that must be as in training and that no weight's shape gives away; the
            backbone's and the resizing are known.
        num_classes: from the states of the parts to C; None where they do not tell.
    """

    params: type[BundleParams]
    new_parts: Callable[[Any, int], Parts]
    network: Callable[[Parts, Any], DetectingNetwork]
    trained_with: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    num_classes: Callable[[Mapping[str, State]], int | None] = lambda states: None


def family_bundle(name: str) -> FamilyBundle:
    """A family's `BUNDLE`.

    Raises:
        InputError: there is no such family, its networks cannot be bundled, or it asks for sections that it does not
            have.
    """
    bundle: FamilyBundle | None = declared(name, "bundle", "BUNDLE")
    family, path = family_of(name), f"pipeline/families/{name}/bundle.py"
    if bundle is None:
        raise InputError(f"{family.title}: its networks cannot be bundled; write {path}, see docs/families.md")
    unknown = sorted(bundle.params.model_fields.keys() - sections_of(family).keys())
    if unknown:
        raise InputError(f"{path}: BUNDLE asks for section {unknown[0]!r}, which the family does not have; correct it")
    return bundle
