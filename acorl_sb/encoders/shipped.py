"""The encoder that the package brings, ``models/open``; its README.md there is the model card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.member_folder import load_reference
from acorl_sb.encoders.trusted import read_yaml
from acorl_sb.utils.errors import UserError

OPEN = "open"
SHIPPED = Path(__file__).resolve().parents[1] / "models" / OPEN
SHIPPED_WEIGHTS = "embedding_model.safetensors"


def load_shipped(folder: Path = SHIPPED) -> SpeakerEncoder:
    """The encoder, in eval mode, of float32 made from the float16 of its file.

    Raises ``UserError`` for a file that is missing or has another hash than ``model.json`` says.
    """
    spec = {
        "encoder": read_yaml(folder / "hyperparams.yaml"),
        "weights": folder / SHIPPED_WEIGHTS,
        "sha256": read_shipped(folder)["sha256"],
    }
    return load_reference(spec, str(folder / "hyperparams.yaml"), trust=False)


def read_shipped(folder: Path = SHIPPED) -> dict[str, Any]:
    """``model.json``: ``sha256`` of the weights, ``fusion``, ``score_seconds``, ``calibrated_on``.

    Raises ``UserError`` where it is missing or not whole.
    """
    path = folder / "model.json"
    try:
        model = json.loads(path.read_text(encoding="utf-8"))
        missing = {"sha256", "fusion", "score_seconds", "calibrated_on"} - model.keys()
    except (OSError, ValueError, AttributeError):
        raise UserError(f"{path}: missing or not readable; install the package again") from None
    if missing:
        raise UserError(f"{path}: it has no {min(missing)}; install the package again")
    return model
