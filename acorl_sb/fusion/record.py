"""What the results in an output folder of ``fuse.py`` were made from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from acorl_sb.fusion.fuse_options import EMBEDDING_KEYS
from acorl_sb.utils.errors import UserError

RECORD = "inputs.json"
_PATHS = {
    *("systems", "run_folder", "apply", "dev", "test", "scores", "speakers", "cohorts"),
    *("dev_trials", "test_trials", "trials", *EMBEDDING_KEYS.values()),
    *("audio", "dev_audio", "cohort", "enrolment", "dev_enrolment"),
}
_HOW_IT_IS_SHOWN = {"output_folder", "report", "groups", "attributes"}


def record_of(options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The options that decide the results, for ``inputs.json`` in the output folder.

    The same command may overwrite its own results. Raises ``UserError`` for a folder that holds
    those of other inputs or settings.
    """
    wanted = {
        key: _absolute(value) if key in _PATHS else value
        for key, value in sorted(options.items())
        if key not in _HOW_IT_IS_SHOWN
    }
    results = [*folder.glob("fused*.txt"), folder / "results.json", folder / "fusion_model.json"]
    if any(path.exists() for path in results):
        try:
            before = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            changed = [key for key in wanted if before.get(key) != wanted[key]]
        except (OSError, ValueError, AttributeError):
            changed = ["what they were made from is not known"]
        if changed:
            raise UserError(
                f"{folder}: holds results of other inputs or settings ({changed[0]}); name another "
                "folder with --output_folder"
            )
    return wanted


def _absolute(value: Any) -> Any:
    """Paths, however deep in lists and mappings, made absolute."""
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if isinstance(value, str):
        return os.path.abspath(value)
    if isinstance(value, dict):
        return {key: _absolute(inner) for key, inner in value.items()}
    return [_absolute(inner) for inner in value] if isinstance(value, list) else value
