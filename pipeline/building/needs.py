"""Which parameters the weights of a torchvision detector require."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.params.backbone import PRETRAINED
from pipeline.runtime.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.params.backbone import BackboneParams


@dataclass(frozen=True)
class Needs:
    """The parameters that a detector's weights require.

    Attributes:
        title: what the detector is called.
        backbone: keys of section `backbone`, dotted, that are checked when its trunk is loaded.
        others: keys of other sections.
        per_location: anchors of a location, `anchors.ratios` times `anchors.scales`; 0 where the detector has none.
    """

    title: str
    backbone: Mapping[str, str | int]
    others: Mapping[str, str | int]
    per_location: int

    def of_heads(self) -> str:
        """The parameters that the heads require, in words."""
        keys = ", ".join(f"{key} {value}" for key, value in self.others.items())
        return f"{keys} and {self.per_location} anchors a location" if self.per_location else keys


def backbone_of(state: Mapping[str, Tensor]) -> str:
    """The name of the ResNet whose weights are under our names; "another network" where it is none here."""

    def blocks(stage: int) -> int:
        return len({name.split(".")[3] for name in state if name.startswith(f"trunk.layers.layer{stage}.")})

    bottleneck = "trunk.layers.layer1.0.conv3.weight" in state
    names = {(False, 2): "resnet18", (False, 6): "resnet34", (True, 6): "resnet50", (True, 23): "resnet101"}
    return names.get((bottleneck, blocks(3)), "another network")


def check_needs(needs: Needs, params: BackboneParams, source: str) -> None:
    """Check that params.yaml has the trunk of a torchvision detector.

    Raises:
        InputError: it has another; the parameters to set are named. Or no parameters describe it.
    """
    if needs.backbone["name"] not in PRETRAINED:
        raise InputError(
            f"{source}: its backbone is none of {', '.join(PRETRAINED)}; give init.detector=PATH a detector on one "
            "of them"
        )
    wrong = [f"backbone.{key} {value}" for key, value in needs.backbone.items() if _value(params, key) != value]
    if wrong:
        raise InputError(f"{source}: this is {needs.title}: set {', '.join(wrong)}; its heads need {needs.of_heads()}")


def _value(params: BackboneParams, key: str) -> object:
    value: object = params
    for name in key.split("."):
        value = getattr(value, name)
    return value
