"""What a family's stages ask of a data set: its part `check_data` has a `FamilyChecks` as `CHECKS`. Without one, what
all trainings ask is asked, and box sizes are compared with the anchors, or with the levels where there are none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.families.registry import declared
from pipeline.params.reading import Params
from pipeline.preflight.collecting import Checked
from pipeline.preflight.size_check import SizeCheckMaker

MapsOfView = Callable[[int, int], int]
"""From H and W of a view, px, to the bytes of its maps."""


def all_images(checked: Checked, params: Params, stage: str) -> int:
    """How many images of train there are; a stage trains on all of them."""
    return checked.images["train"]


def nothing(checked: Checked, params: Params) -> None:
    """Requires nothing."""


def no_maps(params: Params) -> dict[str, MapsOfView]:
    """Stores none."""
    return {}


@dataclass(frozen=True)
class FamilyChecks:
    """Requirements checked before anything runs, by the code of the stages themselves; without torch.

    Attributes:
        prepares: the family's stages that go through the data set before anything is trained.
        training_images: how many images a stage of training would train on, by its name; raises an InputError where it
            would refuse them.
        trainable: raises an InputError where no training would run, whatever the number of images.
        maps: what each stage that stores maps of the training views stores of one, by its name: from H and W to bytes.
        sizes: makes what compares box sizes; None for the anchors, or the levels where there are none.
    """

    prepares: tuple[str, ...] = ()
    training_images: Callable[[Checked, Params, str], int] = all_images
    trainable: Callable[[Checked, Params], None] = nothing
    maps: Callable[[Params], Mapping[str, MapsOfView]] = no_maps
    sizes: SizeCheckMaker | None = None


def family_checks(params: Params) -> FamilyChecks:
    """The requirements of the family of params.yaml.

    Raises:
        InputError: its part `check_data` has no `CHECKS`.
    """
    own: FamilyChecks | None = declared(params.family, "check_data", "CHECKS")
    return own or FamilyChecks()
