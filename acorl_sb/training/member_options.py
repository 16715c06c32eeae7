"""The keys of ``members`` and ``references``: which encoders a run trains and which it is given."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from torch import nn

from acorl_sb.training.pair_loss import DLoss
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.hparams import untagged
from acorl_sb.utils.option_kinds import ABSENT
from acorl_sb.utils.options import Name, Options, Seconds, Text, built, validate

REFERENCE_SOURCES = (
    "folder",
    "source",
    "encoder",
)  # see acorl_sb.encoders.member_folder.load_reference

View = Literal["crop", "clean", "unaugmented", "utterance"]
Speeds = Annotated[
    list[Annotated[float, Field(ge=0.5, le=2)]],
    Field(min_length=1),
    BeforeValidator(lambda v: list(v) if isinstance(v, tuple) else v),
]
Balance = Annotated[
    dict[Text, Annotated[float, Field(ge=0, le=1)]], Field(min_length=1, max_length=1)
]
Augment = built("!new: of a module, or null", lambda v: v is None or isinstance(v, nn.Module))
Objective = built("!name: of an objective, or null", lambda v: v is None or callable(v))
Schedule = built("!new: of a schedule that is called with optimizer and step", callable)
PairLoss = built("!new: of a DLoss, or null", lambda v: v is None or isinstance(v, DLoss))
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Averaged = Annotated[int, Field(ge=2, le=1000)]
PerClass = Annotated[int, Field(ge=2, le=1000)]
Epochs = Annotated[int, Field(ge=1, le=1_000_000)]
EpochSteps = Annotated[int, Field(ge=1, le=100_000_000)]
# The names that the fusions of a run have in its table.
_FUSIONS = ("embedding-concatenation", "score-mean", "score-logistic", "concatenation")


class OwnTraining(Options):
    """What one member may have for itself; see the keys of the same names in ``TrainingKeys``."""

    crop_seconds: Seconds = Field(ABSENT, description="of this member")
    speeds: Speeds = Field(ABSENT, description="of this member")
    balance: Balance | None = Field(ABSENT, description="of this member")
    augment: Augment = Field(ABSENT, description="of this member")
    view: View = Field(ABSENT, description="of this member")
    objective_per_class: PerClass | None = Field(ABSENT, description="of this member")
    objective_within: Text | None = Field(ABSENT, description="of this member")
    pair_loss: PairLoss = Field(ABSENT, description="of this member")
    average_checkpoints: Averaged | None = Field(ABSENT, description="of this member")
    epochs: Epochs = Field(ABSENT, description="of this member")
    epoch_steps: EpochSteps = Field(ABSENT, description="of this member")
    lr_schedule: Schedule = Field(ABSENT, description="of this member")


class Member(Options):
    """An entry of ``members``."""

    name: Name = Field(description="its folder's and its row's name")
    encoder: dict[str, Any] = Field(description="keys as in hparams/encoders/*.yaml")
    objective: Objective = Field(
        None, description="what makes it complement the frozen ones; null: plain training"
    )
    seed: Seed = Field(ABSENT, description="by default 1000 times the run's, plus its position")
    start: Text | None = Field(
        None, description="goes on from: an earlier member, whose place it takes, or a folder"
    )
    training: OwnTraining | None = Field(None, description="settings of its own")


class Reference(Options):
    """An entry of ``references``: one of folder, source and encoder says what it is."""

    name: Name = Field(description="its folder's and its row's name")
    folder: Text = Field(ABSENT, description="a member's folder, ours or SpeechBrain's")
    source: Text = Field(ABSENT, description="such a folder, or an id of the Hugging Face hub")
    encoder: dict[str, Any] = Field(ABSENT, description="keys as in hparams/encoders/*.yaml")
    weights: Text | None = Field(None, description="with encoder: file of a state dict")
    revision: Text | None = Field(None, description="with source: commit, tag or branch")
    sha256: Text | None = Field(None, description="hash that the weights must have")
    trust: bool = Field(False, description="build whatever the folder names, docs/trust.md")


class Lists(Options):
    """The encoders of a run."""

    references: list[Reference] | None = Field(
        [], description="encoders that you own, frozen from the start"
    )
    members: Annotated[list[Member], Field(min_length=1)] = Field(
        description="encoders to train, in this order"
    )

    def check(self) -> None:
        taken = set(_FUSIONS)
        for kind, entries in (("references", self.references or []), ("members", self.members)):
            for i, entry in enumerate(entries):
                if entry.name.casefold() in taken:  # some disks do not tell a from A
                    raise UserError(f"{kind}[{i}]: the name {entry.name!r} is taken")
                taken.add(entry.name.casefold())
        names, begun = [member.name for member in self.members], set()
        frozen = len(self.references or [])
        for i, member in enumerate(self.members):
            start = member.start if member.start in names else None
            if start in begun or start in names[i:]:
                raise UserError(
                    f"members[{i}]: it cannot go on from {start!r}, which "
                    + ("another one does" if start in begun else "is not trained before it")
                )
            if start is not None:  # whose place it takes
                begun.add(start)
                frozen -= 1
            if member.objective is not None and not frozen:
                raise UserError(
                    f"members[{i}] has an objective but no reference to complement; set it to null"
                )
            frozen += 1
        for i, reference in enumerate(self.references or []):
            given = [key for key in REFERENCE_SOURCES if getattr(reference, key) is not ABSENT]
            if len(given) != 1:
                sources = ", ".join(REFERENCE_SOURCES)
                raise UserError(
                    f"references[{i}]: one of the keys {sources} is needed, not {len(given)}"
                )


def check_specs(members: Any, references: Any) -> None:
    """Refuse ``members`` or ``references`` of a resolved YAML that make no sense."""
    lists = {"members": untagged(members), "references": untagged(references)}
    validate(Lists, lists, built=True).check()
