"""Export a member to ONNX: waves in, embeddings out, any number and length of both.

    acorl export MEMBER_FOLDER --onnx model.onnx

MEMBER_FOLDER is a member's folder, or any that SpeechBrain's ``EncoderClassifier.from_hparams``
reads. The graph takes ``waves`` (B, T) float32 and gives ``embeddings`` (B, D), compared with the
encoder's before the file is kept.
"""

from __future__ import annotations

import sys
from typing import ClassVar, Literal

from pydantic import Field

from acorl_sb.encoders.member_folder import load_member
from acorl_sb.encoders.onnx import export_onnx
from acorl_sb.utils.errors import run_cli
from acorl_sb.utils.options import Options, Text, read


class ExportOptions(Options):
    """All keys of ``acorl export``."""

    yaml: ClassVar[Literal["none"]] = "none"
    positional: ClassVar[str] = "member"

    member: Text = Field(description="folder of a member")
    onnx: Text = Field(description="file to write")
    trust: bool = Field(False, description="build whatever the folder names, docs/trust.md")


def main(argv: list[str] | None = None) -> int:
    """Run the command; ``argv`` is what follows its name, None: the process's own."""
    options = read(ExportOptions, sys.argv[1:] if argv is None else argv, __doc__).hparams
    worst = export_onnx(load_member(options["member"], options["trust"]), options["onnx"])
    print(f"{options['onnx']}: equal to the encoder within {worst:.1e}")
    return 0


if __name__ == "__main__":
    run_cli(main)
