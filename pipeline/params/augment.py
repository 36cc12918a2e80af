"""The block `augment` of params.yaml, which a dense family may have: random changes to training images."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainValidator, model_validator

from pipeline.params.reading import Params
from pipeline.params.section import Count, Fraction, Overlap, Positive, Section

SECTION = "augment"

_Level = Annotated[int, Field(ge=0, le=255)]


def _ascending(values: list[float]) -> list[float]:
    if values[0] > values[1]:
        raise ValueError("write the lower end first")
    return values


_Factor = Annotated[float, Field(ge=0, le=255)]
Factors = Annotated[list[_Factor], Field(min_length=2, max_length=2), AfterValidator(_ascending)]
"""The lower and the upper end of what is drawn evenly."""


def _rule(value: Any) -> str | float:
    if value in ("whole", "any"):
        return str(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ValueError("write whole, any, or a number above 0, up to 1")
    return float(value)


_Rule = Annotated[str | float, PlainValidator(_rule, json_schema_input_type=Literal["whole", "any"] | Overlap)]


class PhotometricParams(Section):
    """Changes of light and colour, each with `probability`; 0: never."""

    probability: Fraction
    brightness: Annotated[float, Field(ge=0, le=255)]
    contrast: Factors
    saturation: Factors
    hue: Annotated[float, Field(ge=0, le=180)]


class ExpandParams(Section):
    """The image on a larger canvas of one colour, with `probability`; 0: never."""

    probability: Fraction
    largest: Annotated[float, Field(ge=1, le=100)]
    colour: Annotated[list[_Level], Field(min_length=3, max_length=3)]


class CropParams(Section):
    """A part of the image in its place; `min_iou` of `whole` alone: never."""

    min_iou: Annotated[list[_Rule], Field(min_length=1)]
    side: Annotated[list[Overlap], Field(min_length=2, max_length=2), AfterValidator(_ascending)]
    ratio: Annotated[list[Positive], Field(min_length=2, max_length=2), AfterValidator(_ascending)]
    trials: Count

    @model_validator(mode="after")
    def _an_image_always_has_a_view(self) -> CropParams:
        if "whole" not in self.min_iou:
            raise ValueError("min_iou lacks whole, which an image without a gt box gets; add it")
        return self


class AugmentParams(Section):
    """How each training image is augmented in each epoch."""

    photometric: PhotometricParams
    expand: ExpandParams
    crop: CropParams
    flip: Fraction

    @property
    def draws(self) -> bool:
        """Whether anything is augmented."""
        crops = any(own != "whole" for own in self.crop.min_iou)
        return crops or self.photometric.probability > 0 or self.expand.probability > 0 or self.flip > 0


def augmentation(params: Params) -> AugmentParams | None:
    """What is drawn of training images; None where nothing is, or the stage has no such section."""
    own = params.sections().get(SECTION)
    return own if isinstance(own, AugmentParams) and own.draws else None
