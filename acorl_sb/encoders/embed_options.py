"""The keys of ``acorl embed``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

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
        description="folder of a member or of SpeechBrain's, an id of the Hugging Face hub, or a "
        "YAML such as encoders/ge2e.yaml"
    )
    output: Text = Field(description="file.npz, .safetensors, .scp or .ark, or a folder's name")
    seconds: Seconds | None = Field(
        None, description="embed the centre of that length, s; null: whole utterances"
    )
    weights: Text | None = Field(
        None, description="state dict for a YAML whose network brings no weights"
    )
    revision: Text | None = Field(None, description="commit, tag or branch on the hub")
    trust: bool = Field(False, description="build whatever the encoder names, docs/trust.md")
    batch_size: Count = Field(32, description="most utterances in a batch")
    batch_seconds: Annotated[float, Field(gt=0)] = Field(
        320.0, description="most audio in a batch, s; a longer utterance is one alone"
    )
    shard_size: Count = Field(4096, description="utterances that a killed run loses at most")
    workers: Annotated[int, Field(ge=1, le=64)] = Field(2, description="threads that read audio")
