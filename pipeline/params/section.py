"""What every block of params.yaml has in common, and the kinds of number that occur in them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1)]
Overlap = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
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
