"""``fusion_model.json`` as ``fuse.py`` writes it: its keys, checked before anything is fused."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveFloat, ValidationError

from acorl_sb.fusion.disagreement import Disagreement
from acorl_sb.fusion.validation import FusedSystem
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.reading import read_json, shown

_Prior = Annotated[float, Field(gt=0, lt=1)]
_Index = Annotated[int, Field(ge=0)]


class _Checked(BaseModel):
    model_config = ConfigDict(strict=True)  # numbers are numbers, not texts that look like some


class _BestSingle(_Checked):
    kind: Literal["best_single"]
    criterion: Literal["eer", "min_dcf"]
    p_target: _Prior
    c_miss: float
    c_fa: float
    index: _Index
    errors: list[FiniteFloat]


class _MeanZNorm(_Checked):
    kind: Literal["mean_znorm"]
    mean: list[FiniteFloat]
    std: list[PositiveFloat]


class _Logistic(_Checked):
    kind: Literal["logistic"]
    prior: _Prior
    l2: float
    l2_used: float
    separable: bool
    n_systems: _Index
    n_quality: _Index
    weights: list[FiniteFloat]
    bias: FiniteFloat


class _Linear(_Checked):
    kind: Literal["linear"]
    fusion: _Logistic


class _Pav(_Checked):
    kind: Literal["pav"]
    knots: Annotated[list[FiniteFloat], Field(min_length=1)]
    levels: list[FiniteFloat]


class Decision(_Checked):
    """Operating point (prior, costs) and the LLR from which on a trial is accepted."""

    p_target: _Prior
    c_miss: PositiveFloat
    c_fa: PositiveFloat
    llr_threshold: FiniteFloat


class FusionModel(_Checked):
    """A fitted fusion over ``systems``, in this order, and the decisions it was made for.

    ``cohort_top`` is that of the quality measure ``cohort``; None where it was fitted without the
    measure, and in files that do not say.
    """

    systems: Annotated[list[str], Field(min_length=1)]
    quality: list[str]
    quality_measures: list[Literal["duration", "magnitude", "cohort", "uncertainty"]]
    cohort_top: Annotated[int, Field(ge=1)] | None = None
    fusion: Annotated[_BestSingle | _MeanZNorm | _Logistic, Field(discriminator="kind")]
    calibration: Annotated[_Linear | _Pav, Field(discriminator="kind")] | None
    uncertainty: list[_Logistic] | None = None
    decisions: list[Decision]

    def fused_system(self) -> FusedSystem:
        """The fusion and calibration, ready to be applied to scores."""
        return FusedSystem.from_state(self.model_dump(include={"fusion", "calibration"}))

    def disagreement(self) -> Disagreement | None:
        """What gives each LLR its standard deviation, where the model was fitted with it."""
        if self.uncertainty is None:
            return None
        return Disagreement.from_state([fitted.model_dump() for fitted in self.uncertainty])

    def fault(self) -> str | None:
        """What does not fit together, in words."""
        fusion, calibration, systems = self.fusion, self.calibration, len(self.systems)
        if isinstance(fusion, _BestSingle):
            sizes, at = {len(fusion.errors)}, "fusion.errors"
            if fusion.index >= systems:
                return f"fusion.index: {fusion.index}, but there are {systems} systems"
        elif isinstance(fusion, _MeanZNorm):
            sizes, at = {len(fusion.mean), len(fusion.std)}, "fusion.mean and fusion.std"
        else:
            sizes, at = {fusion.n_systems}, "fusion.n_systems"
            if len(fusion.weights) != fusion.n_systems + fusion.n_quality:
                return "fusion.weights: one is needed for each system and quality column"
            if fusion.n_quality != len(self.quality):
                return "fusion.n_quality: not the number of quality columns"
        if sizes != {systems}:
            return f"{at}: one is needed for each of the {systems} systems"
        if self.uncertainty is not None:
            fault = _spread_fault(self.uncertainty, systems)
            if fault:
                return f"uncertainty: {fault}"
        if isinstance(calibration, _Linear) and len(calibration.fusion.weights) != 1:
            return "calibration.fusion.weights: one is needed"
        if isinstance(calibration, _Pav):
            knots, levels = calibration.knots, calibration.levels
            if len(knots) != len(levels) or sorted(set(knots)) != knots or sorted(levels) != levels:
                return "calibration: knots and levels must be as many, and rise"
        return None


class _SavedDisagreement(_Checked):
    calibrations: list[_Logistic]


def _spread_fault(spread: list[_Logistic], systems: int) -> str | None:
    if len(spread) != systems or len(spread) < 2:
        return f"one is needed for each of the {systems} systems, two at least"
    if any(len(fitted.weights) != 1 or fitted.n_systems != 1 for fitted in spread):
        return "one weight each is needed"
    return None


def read_disagreement(path: str | os.PathLike, systems: int) -> Disagreement:
    """Read the calibrations of ``systems`` members that ``save_run`` has written.

    Raises ``UserError`` as ``read_model`` does.
    """
    try:
        saved = _SavedDisagreement.model_validate(read_json(path, "calibrations of the members"))
        fault = _spread_fault(saved.calibrations, systems)
    except ValidationError as error:
        first = error.errors()[0]
        fault = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    if fault:
        raise UserError(f"{shown(path)}: no calibrations of the members ({fault}); save it again")
    return Disagreement.from_state([fitted.model_dump() for fitted in saved.calibrations])


def read_model(path: str | os.PathLike) -> FusionModel:
    """Read a model that ``fuse.py`` has written.

    Raises ``UserError`` for a file that cannot be read, and naming the key that is missing, of the
    wrong kind, not finite, or does not fit the others.
    """
    try:
        model = FusionModel.model_validate(read_json(path, "fusion model"))
        fault = model.fault()
    except ValidationError as error:
        first = error.errors()[0]
        fault = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    if fault:
        raise UserError(f"{shown(path)}: not a fusion model of fuse.py ({fault}); fit it again")
    return model
