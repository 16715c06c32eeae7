"""The keys of ``acorl embed``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from acorl_sb.encoders.shipped import OPEN
from acorl_sb.utils.options import Options, Seconds, Text

Count = Annotated[int, Field(ge=1)]


class EmbedOptions(Options):
    """All keys of ``acorl embed``; docs/embeddings.md says more."""

    yaml: ClassVar[Literal["none"]] = "none"
    positional: ClassVar[str] = "inputs"

    inputs: Annotated[list[Text], Field(min_length=1)] = Field(
        description="audio files, folders, lists (.txt), tables (.csv, .json, wav.scp), "
        "Kaldi's data folders"
    )
    encoder: Text = Field(
        OPEN,
        description="open, the encoder of the package (docs/open.md), folder of a member or of "
        "SpeechBrain's, an id of the Hugging Face hub, a file .onnx, a YAML as in "
        "hparams/encoders, or ge2e",
    )
    output: Text = Field(description="file.npz, .safetensors, .scp or .ark, or a folder's name")
    seconds: Seconds | None = Field(
        None, description="embed the centre of that length, s; null: whole utterances"
    )
    vad: bool = Field(
        False, description="leave out what is no speech before the centre is taken; extra vad"
    )
    weights: Text | None = Field(
        None, description="state dict for a YAML whose network brings no weights"
    )
    revision: Text | None = Field(None, description="commit, tag or branch on the hub")
    trust: bool = Field(False, description="build whatever the encoder names, docs/trust.md")
    batch_size: Count = Field(32, description="most utterances in a batch")
    batch_seconds: Annotated[float, Field(gt=0)] = Field(
        120.0, description="most audio in a batch, s; a longer utterance is one alone"
    )
    shard_size: Count = Field(4096, description="utterances that a killed run loses at most")
    workers: Annotated[int, Field(ge=1, le=64)] | None = Field(
        None,
        description="threads that read audio and, on a CPU, embed it; null: torch's number of "
        "threads on a CPU, of cores beside a GPU, at most 8",
    )
