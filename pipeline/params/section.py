"""What every block of params.yaml has in common, and the kinds of number that occur in them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
Overlap = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
ImagesAtOnce = Annotated[int, Field(gt=0, le=64)]
"""Of one size, so many of a chunk at most, which has up to 64 images (`pipeline.artifacts.shards`)."""
Names = Annotated[list[str], Field(min_length=1)]
Quadruple = Annotated[list[float], Field(min_length=4, max_length=4)]


def _not_zero(value: int) -> int:
    if value == 0:
        raise ValueError("0 would keep no proposals, -1 keeps all")
    return value


PreNms = Annotated[int, Field(ge=-1), AfterValidator(_not_zero)]


class Section(BaseModel):
    """A block of params.yaml; every key must be known and present."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    renamed: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Keys of earlier versions, and what they are called now: older params.yaml and bundles have them."""

    @model_validator(mode="before")
    @classmethod
    def _take_earlier_names(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        # Given under both names the earlier one is left, and refused as unknown.
        now = {key: name for key, name in cls.renamed.items() if name not in content}
        return {now.get(key, key): value for key, value in content.items()}
