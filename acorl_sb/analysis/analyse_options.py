"""The keys of ``acorl analyse``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from acorl_sb.utils.errors import UserError
from acorl_sb.utils.options import Options, Text


class AnalyseOptions(Options):
    """All keys of ``acorl analyse``; docs/analysis.md says more."""

    run_folder: Text | None = Field(None, description="output folder of train.py; must be given")
    output_folder: Text | None = Field(None, description="null: <run_folder>/analysis")
    part: Literal["dev", "test"] = Field("test", description="which utterances and trials")
    members: list[Text] | None = Field(
        None, description="names; null: the members of the run's ensemble, every pair of them"
    )
    seed: int = Field(0, ge=0, le=2**32 - 1, description="of folds, probes and what is drawn")
    baseline_run: Text | None = Field(
        None, description="run on the same corpus whose members were trained independently"
    )
    reference_members: Annotated[list[Text], Field(min_length=2, max_length=2)] | None = Field(
        None, description="two names; null: the first two"
    )
    folds: int = Field(5, ge=2, description="of speakers, for probes and canonical correlations")
    probe_steps: int = Field(600, ge=1, description="batches that an MLP probe is trained for")
    max_utterances: int = Field(3000, ge=8, description="more are sampled down to these")
    attributes: dict[Text, Text] | None = Field(
        {}, description="beside the manifest's own, e.g. {age: path/to/spk2age}"
    )
    trials: int = Field(200, ge=2, description="trials of the attribution, half of them target")
    crop_seconds: float = Field(2.0, ge=0.1, lt=1000, description="centre of each side, s")
    steps: int = Field(
        16, ge=1, le=100_000, description="points of the integral; doubled where not complete"
    )
    deletion_trials: int = Field(100, ge=2, description="trials of the deletion curves")
    occlusion_trials: int = Field(20, ge=2, description="trials of the occlusion maps")
    neighbourhood: Annotated[
        list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2)
    ] = Field([5, 3], description="frames and bands averaged before two maps are compared")
    trust: bool = Field(
        False, description="build whatever the folders of encoders name, docs/trust.md"
    )
    report: Text | None = Field(
        None, description="a report.html of fuse.py that shall link to the analysis"
    )

    def check(self) -> None:
        if self.run_folder is None:
            raise UserError("say which run to look at: --run_folder <output folder of train.py>")
