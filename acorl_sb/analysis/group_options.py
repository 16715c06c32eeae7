"""The keys of ``acorl groups``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from acorl_sb.metrics.judging_keys import (
    CostPoints,
    FalseAlarmCost,
    Level,
    MissCost,
    Replicates,
    check_replicates,
)
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.options import Fraction, Options, Several, Text


class GroupOptions(Options):
    """All keys of ``acorl groups``; docs/groups.md says more."""

    yaml: ClassVar[Literal["allowed"]] = "allowed"
    positional: ClassVar[str] = "test"

    test: Several[Text] | None = Field(None, description="score file of the trials to report on")
    dev: Text | None = Field(
        None, description="development score file: calibration and threshold come from it"
    )
    run_folder: Text | None = Field(
        None, description="or an output folder of train.py: its scores and manifests"
    )
    system: Text | None = Field(
        None, description="of the run: a folder of its scores/; null: its logistic fusion"
    )
    trials: Text | None = Field(None, description="trial list with the labels of the test trials")
    dev_trials: Text | None = Field(None, description="the same of the development trials")
    groups: Annotated[Several[Text], Field(min_length=1)] = Field(
        description="columns to group by, such as gender or gender,age; gender+age: combinations"
    )
    attributes: Several[Text] = Field(
        [], description="further tables: CSV with a column speaker and one an attribute"
    )
    speakers: Several[Text] = Field(
        [], description="manifests (.csv) or 'utterance speaker' lists; manifests have attributes"
    )
    speaker_pattern: Text | None = Field(
        None, description="or a regular expression that finds the speaker in an utterance id"
    )
    bands: dict[Text, Annotated[list[float], Field(min_length=1)]] = Field(
        {}, description="lower ends of the bands of numbers; by default {age: [13, 18, 60]}"
    )
    llr: bool = Field(
        False, description="the scores are log-likelihood ratios already: not calibrated again"
    )
    calibrate_by: Text | None = Field(
        None, description="a column: each of its groups is calibrated apart; needs dev"
    )
    prior: Fraction = Field(0.05, description="effective prior of the calibration")
    threshold: float | None = Field(
        None, description="of FMR and FNMR; null: EER threshold of dev, or of the trials themselves"
    )
    points: CostPoints = Field([0.01, 0.05])
    c_miss: MissCost = 1.0
    c_fa: FalseAlarmCost = 1.0
    replicates: Replicates = 1000
    level: Level = 0.95
    least_speakers: int = Field(5, ge=5, description="groups of fewer are not measured")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="of the bootstrap")
    output_folder: Text | None = Field(
        None,
        description="where everything is written; null: groups in run_folder, or results/groups",
    )

    def check(self) -> None:
        if (self.run_folder is None) == (not self.test):
            raise UserError("give either a score file or --run_folder, and not both")
        if self.test and len(self.test) > 1:
            raise UserError(f"one score file is looked at, not {len(self.test)}; fuse them first")
        check_replicates(self.replicates)
        if self.run_folder and self.dev:
            raise UserError("--run_folder brings its own development scores; leave --dev out")
        if self.calibrate_by and self.llr:
            raise UserError("--llr says that scores are calibrated: leave --calibrate_by out")
        if self.calibrate_by and not (self.dev or self.run_folder):
            raise UserError("--calibrate_by needs development scores: --dev")


def output_folder(options: dict[str, Any]) -> Path:
    """Where a run of ``acorl groups`` writes."""
    if options["output_folder"] is not None:
        return Path(options["output_folder"])
    return Path(options["run_folder"] or "results") / "groups"


def columns(groups: list[str]) -> list[str]:
    """The columns of ``groups``, each entry one or several parted by commas; each once."""
    found = [name.strip() for entry in groups for name in entry.split(",") if name.strip()]
    if not found:
        raise UserError("--groups names no column")
    return list(dict.fromkeys(found))


def as_settings(options: dict[str, Any], threshold: float, llrs: bool) -> dict[str, Any]:
    """The arguments of ``GroupSettings``."""
    keys = ("points", "c_miss", "c_fa", "replicates", "level", "seed", "least_speakers")
    return {"threshold": threshold, "llrs": llrs, **{key: options[key] for key in keys}}
