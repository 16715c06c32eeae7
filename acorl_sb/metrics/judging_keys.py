"""The YAML keys by which scores are judged, for every command that judges some."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from acorl_sb.utils.errors import UserError
from acorl_sb.utils.options import Fraction, Several

CostPoints = Annotated[
    Several[Fraction], Field(min_length=1, description="priors of the cost points")
]
MissCost = Annotated[float, Field(gt=0, description="cost of a miss")]
FalseAlarmCost = Annotated[float, Field(gt=0, description="cost of a false alarm")]
Replicates = Annotated[
    int,
    Field(ge=0, le=1_000_000, description="bootstrap draws of speakers; 0 for no intervals"),
]
Level = Annotated[Fraction, Field(description="level of the intervals")]


def check_replicates(replicates: int) -> None:
    """``UserError`` for so few bootstrap draws that they make no interval."""
    if 0 < replicates < 20:
        raise UserError("an interval needs at least 20 replicates; 0 switches intervals off")
