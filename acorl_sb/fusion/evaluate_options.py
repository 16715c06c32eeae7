"""The keys of ``acorl evaluate``: its own, and those of ``fuse.py`` on fusion and judgement."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, create_model

from acorl_sb.fusion.fuse_options import FuseOptions
from acorl_sb.fusion.models import LABELS
from acorl_sb.fusion.systems import name_systems
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.names import check_name
from acorl_sb.utils.options import Fraction, Name, Options, Seconds, Several, Text

_SHARED = (
    *("speakers", "speaker_pattern", "fusion", "calibration", "prior", "l2", "criterion"),
    *("quality", "cohort_top", "points", "c_miss", "c_fa", "replicates", "level", "folds", "seed"),
    *("exhaustive", "report"),
)


class _Own(Options):
    yaml: ClassVar[Literal["allowed"]] = "allowed"
    positional: ClassVar[str] = "encoders"

    encoders: Annotated[Several[Text], Field(min_length=1)] = Field(
        description="member folders, SpeechBrain folders or hub ids, .onnx, .yaml, ge2e"
    )
    names: Several[Name] | None = Field(
        None, description="names of the encoders; null: what tells their paths apart"
    )
    trials: Text = Field(description="trial list that is reported")
    audio: Text | None = Field(
        None,
        description="with the trials' audio: a folder, a table (.csv, .json, .scp), a data folder "
        "of Kaldi's; null: their ids are paths",
    )
    enrolment: Text | None = Field(
        None, description="lines 'model utterance utterance ...'; the trials then name models"
    )
    dev_trials: Text | None = Field(
        None, description="development trials, that calibrate and fuse; null: cross-validation"
    )
    dev_audio: Text | None = Field(None, description="their audio; null: the same as audio")
    dev_enrolment: Text | None = Field(
        None, description="their models; null: the same as enrolment"
    )
    cohort: Text | None = Field(
        None, description="a table, or a folder speaker/[session/]file: adaptive S-norm with it"
    )
    top_k: Annotated[int, Field(ge=2)] | Fraction | None = Field(
        None, description="nearest cohort speakers that count; null: see docs/scoring.md"
    )
    allow_test_speakers: bool = Field(
        False, description="whether encoders and cohort may know speakers of the trials"
    )
    seconds: Seconds | None = Field(
        None, description="centre of each utterance that is embedded, s; null: all of it"
    )
    trust: bool = Field(
        False, description="build whatever the folders of encoders name, docs/trust.md"
    )
    groups: Several[Text] | None = Field(
        None, description="columns to report errors by, such as gender,age, as in acorl groups"
    )
    attributes: Several[Text] = Field(
        [], description="tables for it: CSV with a column speaker and one an attribute"
    )
    output_folder: Text = Field("results/evaluate", description="where everything is written")

    def check(self) -> None:
        FuseOptions.check(self)  # type: ignore[arg-type]
        encoder_names(self.encoders, self.names)
        for key in ("dev_audio", "dev_enrolment"):
            if getattr(self, key) and not self.dev_trials:
                raise UserError(f"the key {key!r} needs the key 'dev_trials'")
        if self.attributes and not self.groups:
            raise UserError("the key 'attributes' needs the key 'groups'")
        quality = self.quality  # type: ignore[attr-defined]
        if quality and (self.enrolment or self.dev_enrolment):
            raise UserError("the key 'quality' measures single utterances; leave out 'enrolment'")
        if "cohort" in quality and not self.cohort:
            raise UserError("the quality measure 'cohort' needs the key 'cohort'")
        if "duration" in quality and not self.speakers:  # type: ignore[attr-defined]
            raise UserError("the quality measure 'duration' needs manifests: the key 'speakers'")
        if "uncertainty" in quality:
            raise UserError(
                "the quality measure 'uncertainty' needs score files with standard deviations, "
                "which acorl evaluate does not write; use acorl fuse"
            )


def _as_in_fuse() -> dict[str, Any]:
    fields = FuseOptions.model_fields
    return {key: (fields[key].annotation, fields[key]) for key in _SHARED}


EvaluateOptions = create_model(
    "EvaluateOptions", __base__=_Own, __doc__="All keys of ``acorl evaluate``.", **_as_in_fuse()
)


def encoder_names(encoders: Sequence[str], names: Sequence[str] | None) -> list[str]:
    """A name for each encoder, its folder's and its row's.

    Raises
    ------
    UserError
        For encoders that are given twice, other names than encoders, and names that are taken or
        are none.

    Example
    -------
    >>> encoder_names(["results/run/members/first", "speechbrain/spkrec-ecapa-voxceleb"], None)
    ['first', 'spkrec-ecapa-voxceleb']
    """
    if names is None:
        made = [Path(path).stem for path in encoders]
        if len(set(made)) < len(made):
            made = [name.replace("/", "-") for name in name_systems(encoders)]
    elif len(names) != len(encoders):
        raise UserError(f"the key 'names' has {len(names)} entries for {len(encoders)} encoders")
    else:
        made = list(names)
    for name in made:
        check_name(name, "names")
        if made.count(name) > 1 or name in LABELS.values():
            raise UserError(f"the name {name!r} is taken; give other --names")
    return made
