"""The keys of ``acorl verify``, ``enrol``, ``identify`` and ``speakers``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from acorl_sb.utils.errors import UserError
from acorl_sb.utils.options import DeviceName, Fraction, Options, Several, Text

VERIFIER_KEYS = ("p_target", "c_miss", "c_fa", "device", "vad")
"""The keys that are arguments of ``Verifier``, beside run_folder and trust."""

_Cost = Annotated[float, Field(gt=0)]


class FormatKey(Options):
    """How the result is printed."""

    yaml: ClassVar[Literal["none"]] = "none"

    format: Literal["text", "json"] = Field("text", description="what is printed")


class RunKeys(Options):
    """Of a command that embeds recordings with a run's members."""

    yaml: ClassVar[Literal["none"]] = "none"

    run_folder: Text | None = Field(
        None,
        description="output folder of train.py; null: the encoder of the package, docs/open.md",
    )
    p_target: Fraction = Field(0.05, description="prior of a target, for the threshold")
    c_miss: _Cost = Field(1.0, description="cost of a miss, for the threshold")
    c_fa: _Cost = Field(1.0, description="cost of a false alarm, for the threshold")
    device: DeviceName = Field("cpu", description="where to compute, such as cpu or cuda:0")
    vad: bool = Field(False, description="leave out what is no speech; needs silero-vad")
    trust: bool = Field(False, description="build whatever the run names, docs/trust.md")


class VerifierKeys(RunKeys, FormatKey):
    """Of a command that does so and prints what it found."""


class VerifyOptions(VerifierKeys):
    """All keys of ``acorl verify``."""

    positional: ClassVar[tuple[str, ...]] = ("first", "second")

    first: Text = Field(description="a recording, or with store the name of a speaker")
    second: Text = Field(description="a recording")
    store: Text | None = Field(None, description="file of enrolled speakers, or milvus:...")
    uncertainty: bool = Field(
        False, description="give the LLR a standard deviation: how much the members disagree"
    )


class EnrolOptions(VerifierKeys):
    """All keys of ``acorl enrol``."""

    positional: ClassVar[tuple[str, ...]] = ("store", "name", "files")

    store: Text = Field(description="file of enrolled speakers, or milvus:...; made if not there")
    name: Text = Field(description="the speaker's name")
    files: Several[Text] = Field(description="one recording of the speaker, or several")
    replace: bool = Field(False, description="let go what is enrolled by that name")

    def check(self) -> None:
        twice = {file for file in self.files if self.files.count(file) > 1}
        if twice:
            raise UserError(f"the command line: {min(twice)} is given twice; name each file once")


class IdentifyOptions(VerifierKeys):
    """All keys of ``acorl identify``."""

    positional: ClassVar[tuple[str, ...]] = ("store", "file")

    store: Text = Field(description="file of enrolled speakers, or milvus:...")
    file: Text = Field(description="a recording")
    top: Annotated[int, Field(ge=1)] = Field(10, description="how many speakers to list at most")


class SpeakersOptions(FormatKey):
    """All keys of ``acorl speakers``."""

    positional: ClassVar[tuple[str, ...]] = ("store",)

    store: Text = Field(description="file of enrolled speakers, or milvus:...")
    delete: Several[Text] | None = Field(None, description="names of speakers to forget for good")
