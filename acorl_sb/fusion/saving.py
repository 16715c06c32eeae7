"""Fitted fusions as JSON, and back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from acorl_sb import files
from acorl_sb.errors import UserError
from acorl_sb.fusion.logistic import LogisticFusion
from acorl_sb.fusion.simple import BestSingle, MeanZNorm

MODELS: dict[str, type] = {m.kind: m for m in (BestSingle, MeanZNorm, LogisticFusion)}


def from_state(state: dict[str, Any]) -> BestSingle | MeanZNorm | LogisticFusion:
    """Rebuild whichever model a ``state()`` describes, by its ``kind``."""
    kind = state.get("kind")
    if kind not in MODELS:
        raise UserError(f"unknown fusion '{kind}'; known are {', '.join(MODELS)}")
    return MODELS[kind].from_state(state)


def save(path: str | os.PathLike, model: BestSingle | MeanZNorm | LogisticFusion) -> None:
    """Write a fitted model as JSON."""
    files.write_json(path, model.state())


def load(path: str | os.PathLike) -> BestSingle | MeanZNorm | LogisticFusion:
    """Read a model written by ``save``.

    Raises:
        UserError: the file is missing or is no fusion model.
    """
    try:
        return from_state(json.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"{path}: cannot read the fusion model ({error.strerror})") from error
    except (ValueError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: not a fusion model ({error})") from error
