"""The keys of ``acorl score``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

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
from acorl_sb.utils.option_kinds import ABSENT
from acorl_sb.utils.options import Fraction, Name, Options, Seconds, Text, built

CONCATENATION = "concatenation"
Sources = dict[Name, Text] | None
if TYPE_CHECKING:
    Backends = dict[str, Any]
    Normalisation = Any
else:  # types made at run time, which a type checker cannot follow
    Backends = dict[Name, built("!new: of a back end", lambda v: v is not None)]
    Normalisation = built("!new: of a normalisation, or null", lambda v: v is None or callable(v))


class ScoreOptions(Options):
    """All keys of ``acorl score``; docs/scoring.md says more."""

    lazy: ClassVar[tuple[str, ...]] = ("backends",)

    output_folder: Text = Field("results/score", description="where everything is written")
    run_folder: Text | None = Field(
        None, description="output folder of train.py: its members, trials, manifests and speakers"
    )
    part: Literal["dev", "test"] = Field("test", description="which trials of the run")
    systems: Sources = Field(
        {},
        description="{name: embeddings (folder, .npz, .safetensors, .scp, .ark), or an encoder's "
        "folder}",
    )
    concatenate: bool = Field(
        False, description="one more system: the unit-length embeddings of all, side by side"
    )
    manifest: Text | None = Field(None, description="CSV of the trials' audio; an encoder needs it")
    seconds: Seconds | None = Field(
        None, description="an encoder embeds the centre of that length, s; null: whole utterances"
    )
    trust: bool = Field(
        False, description="build whatever the folders of encoders name, docs/trust.md"
    )
    trials: Text | None = Field(None, description="trial list")
    protocol: Text | None = Field(
        None, description="VoxCeleb1-O, VoxCeleb1-E or VoxCeleb1-H: what trials must then be"
    )
    duplicate_trials: Literal["error", "keep"] = Field(
        "error", description="what happens with a trial that is listed twice"
    )
    enrolment: Text | None = Field(
        None, description="lines 'model utterance utterance ...'; trials then name models"
    )
    speakers: Text | None = Field(
        None, description="manifest or 'utterance speaker' lines, for intervals"
    )
    speaker_pattern: Text | None = Field(
        None, description="or a regular expression that finds the speaker in an id"
    )
    training: Sources = Field({}, description="{name: embeddings of the training set}, by system")
    training_manifest: Text | None = Field(
        None, description="CSV of the training set: its audio, for encoders, and its speakers"
    )
    training_speakers: Text | None = Field(
        None, description="manifest or 'utterance speaker' lines; null: training_manifest"
    )
    cohort: Sources = Field({}, description="the same for the cohort; empty: the training set")
    cohort_manifest: Text | None = Field(None, description="CSV of the cohort")
    cohort_speakers: Text | None = Field(None, description="its speakers")
    cohort_size: Annotated[int, Field(ge=2)] | None = Field(
        None, description="cohort speakers, drawn by seed; null: all"
    )
    allow_test_speakers: bool = Field(
        False, description="whether training set and cohort may hold speakers of the trials"
    )
    backends: Annotated[Backends, Field(min_length=1)] = Field(
        description="named back ends; each is scored with every normalisation"
    )
    normalisations: Annotated[dict[Name, Normalisation], Field(min_length=1)] = Field(
        {"none": None}, description="named normalisations; null: the raw scores"
    )
    points: CostPoints = Field([0.01, 0.05])
    c_miss: MissCost = 1.0
    c_fa: FalseAlarmCost = 1.0
    replicates: Replicates = 1000
    level: Level = 0.95
    seed: int = Field(0, ge=0, le=2**32 - 1, description="of bootstrap draws and cohort")
    score_form: Literal["speechbrain", "wespeaker", "kaldi"] | None = Field(
        None, description="of the score files; null: speechbrain, or kaldi without labels"
    )
    memory: int = Field(ABSENT, ge=1, description="bytes that a block of cohort scores may take")
    top_k: Annotated[int, Field(ge=2)] | Fraction | None = Field(
        ABSENT,
        description="cohort members nearest to each side that adaptive S-norm looks at: how many, "
        "or which fraction of the cohort; null: 300, or half of a cohort under 600",
    )

    def check(self) -> None:
        if CONCATENATION in (self.systems or {}):
            raise UserError(f"systems: a system cannot be called {CONCATENATION!r}")
        if len(set(self.points)) < len(self.points):
            raise UserError(f"the key 'points' must list each prior once, not {self.points}")
        check_replicates(self.replicates)


KEYS: list[Any] = [key for key in ScoreOptions.model_fields if key not in ("memory", "top_k")]
