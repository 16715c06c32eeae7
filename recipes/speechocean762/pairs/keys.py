"""The keys of a study's YAML, and of its candidates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, create_model

from acorl_sb.training.member_options import Objective, Seed, Speeds
from acorl_sb.training.train_options import TrainOptions
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.hparams import untagged
from acorl_sb.utils.option_kinds import ABSENT, hint
from acorl_sb.utils.options import Name, Options, Seconds, Text, validate


class ConditionKeys(Options):
    """An entry of ``conditions``."""

    seconds: Seconds | None = Field(description="centre of each utterance, s; null: whole")
    snr: float = Field(ABSENT, ge=-100, le=100, description="of noise from noise_folder, dB")


class PriorKeys(Options):
    """An entry of ``references``; see those of train.py."""

    folder: Text = Field(ABSENT, description="a member's folder")
    source: Text = Field(ABSENT, description="such a folder, or an id of the Hugging Face hub")
    encoder: dict[str, Any] = Field(ABSENT, description="keys of an encoder")
    weights: Text | None = Field(ABSENT, description="with encoder: file of a state dict")


class StudyOptions(Options):
    """All keys of study.py; other keys of a YAML are pieces that its candidates share."""

    lazy: ClassVar[tuple[str, ...]] = ("candidates", "common", "conditions", "references")

    output_folder: Text = Field(description="where everything is written")
    base: Text = Field(description="YAML of train.py that all jobs start from, beside the study's")
    data_folder: Text = Field(description="where speechocean762 lies")
    more_training: dict[Text, Text | None] = Field(
        ABSENT, description="{librispeech: folder}: corpora whose training speakers train too"
    )
    noise_folder: Text | None = Field(None, description="noises for the noisy conditions")
    jobs: int = Field(1, ge=1, le=1000, description="trainings side by side, one thread each")
    common: dict[str, Any] = Field({}, description="keys of the base that the study changes")
    conditions: Annotated[dict[Text, ConditionKeys], Field(min_length=1)] = Field(
        description="what finished members are tried on; candidates are judged by the first"
    )
    references: dict[Name, PriorKeys] = Field(
        {}, description="pretrained encoders to build pairs on"
    )
    screening_seeds: list[Seed] = Field(description="seeds of all candidates")
    seeds: Annotated[list[Seed], Field(min_length=1)] = Field(
        description="seeds of the chosen candidates"
    )
    chosen: list[Text] = Field(description="candidates that are compared on the test trials")
    other_speeds: Speeds = Field(ABSENT, description="speeds that candidates share")
    candidates: Annotated[dict[Text, dict[str, Any]], Field(min_length=1)] = Field(
        description="ways to get a second member"
    )


class CandidateKeys(Options):
    """What a candidate may say beside keys of the base."""

    objective: Objective = Field(ABSENT, description="of the second member")
    encoder: dict[str, Any] = Field(ABSENT, description="of the second member")
    strengths: list[Annotated[float, Field(ge=0)]] = Field(
        ABSENT, description="a candidate for each weight of the objective's complementarity loss"
    )
    start: Text = Field(ABSENT, description="member whose weights training goes on from")
    reference: Text = Field(ABSENT, description="the other member of the pair")
    seed: Seed = Field(ABSENT, description="tells apart members of one study seed")
    member: Text = Field(ABSENT, description="candidate whose second member is borrowed")
    against: Text | list[Text] = Field(ABSENT, description="candidates it is compared with")


# Every key of train.py, none of them needed.
_Changes = create_model(
    "Changes",
    __base__=Options,
    **{
        key: (Annotated[(field.annotation, *field.metadata, None)], ABSENT)
        for key, field in TrainOptions.model_fields.items()
    },
)


def check_changes(where: str, tree: Mapping[str, Any], base: Iterable[str], own: Any) -> None:
    """Refuse keys that neither ``own``, a declaration, nor the base YAML has, and wrong values."""
    keys = {key: untagged(value) for key, value in tree.items()}
    of_base = {key: keys.pop(key) for key in list(keys) if key not in own.model_fields}
    for key in of_base:
        if key not in set(base):
            near = hint(key, [*base, *own.model_fields])
            raise UserError(f"{where}: the key {key!r} is not in the base YAML{near}")
    declared = {key: value for key, value in of_base.items() if key in TrainOptions.model_fields}
    for declaration, values in ((own, keys), (_Changes, declared)):
        try:
            validate(declaration, values)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
