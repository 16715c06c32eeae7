"""What the results in an output folder of ``fuse.py`` were made from."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
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
_OF_THE_RESULTS = ("results.json", "results.md", "fusion_model.json")
_OF_THE_PAGE = ("report.html", "curves.json")
_FUSED = ("fused.txt", "fused_dev.txt", "fused_test.txt")
WRITTEN = (RECORD, *_FUSED, *_OF_THE_RESULTS, *_OF_THE_PAGE)
"""The files in an output folder of ``fuse.py``, beside ``figures/``."""
_HOW_IT_IS_SHOWN = {"output_folder", "report", "groups", "attributes"}


def record_of(options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The options that decide the results, for ``inputs.json`` in the output folder.

    The same command may overwrite its own results. Raises ``UserError`` for a folder that holds
    those of other inputs or settings, for the folder of the run that is fused, and for an input
    that they would overwrite.
    """
    run = options.get("run_folder")
    if run and os.path.realpath(run) == os.path.realpath(folder):
        raise UserError(
            f"{folder}: is the run's own folder; name another folder with --output_folder"
        )
    keep_inputs(options, (folder / name for name in WRITTEN))
    wanted = {
        key: _from(folder, _absolute(value)) if key in _PATHS else value
        for key, value in sorted(options.items())
        if key not in _HOW_IT_IS_SHOWN
    }
    results = [*folder.glob("fused*.txt"), folder / "results.json", folder / "fusion_model.json"]
    if any(path.exists() for path in results):
        try:
            before = _from(folder, json.loads((folder / RECORD).read_text(encoding="utf-8")))
            changed = [key for key in wanted if before.get(key) != wanted[key]]
        except (OSError, ValueError, AttributeError):
            changed = ["what they were made from is not known"]
        if changed:
            raise UserError(
                f"{folder}: holds results of other inputs or settings ({changed[0]}); name another "
                "folder with --output_folder"
            )
    return wanted


def keep_inputs(options: dict[str, Any], written: Iterable[Path]) -> None:
    """Raise ``UserError`` where a file that would be ``written`` is one of the inputs."""
    files = {os.path.realpath(path) for path in written}
    for key in sorted(_PATHS | {"attributes"}):
        for path in _texts(options.get(key)):
            if os.path.realpath(path) in files:
                raise UserError(
                    f"{path}: the results would overwrite this file, which is an input (the key "
                    f"{key!r}); name another folder with --output_folder"
                )


def remove_old_page(folder: Path, results: dict[str, Any]) -> None:
    """Take away the page of a run of the same command that had other ``results``, and its figures.

    Where the results are those that the folder holds, the page shows them and stays.
    """

    def told(made: dict[str, Any]) -> dict[str, Any]:  # not when, nor what evaluate adds
        return {k: v for k, v in made.items() if k not in ("made", "warnings", "groups")}

    try:
        before = told(json.loads((folder / "results.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return  # a page is none of this command's
    except (OSError, ValueError, AttributeError):
        before = {}
    if before == json.loads(json.dumps(told(results))):
        return
    page = folder / "report.html"
    text = page.read_text(encoding="utf-8", errors="replace") if page.is_file() else ""
    figures = [f"figures/{key}.svg" for key in re.findall(r'data-figure="([\w-]+)"', text)]
    for name in (*figures, *_OF_THE_PAGE):
        (folder / name).unlink(missing_ok=True)


def _texts(value: Any) -> Iterator[str]:
    """Every text, however deep in lists and mappings."""
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _absolute(value: Any) -> Any:
    """Paths, however deep in lists and mappings, made absolute."""
    return _mapped(os.path.abspath, value)


def _from(folder: Path, value: Any) -> Any:
    """Absolute paths within the output folder as paths from there: the folder may be moved."""
    within = os.path.join(os.path.abspath(folder), "")
    return _mapped(
        lambda text: f"./{text[len(within) :]}" if text.startswith(within) else text, value
    )


def _mapped(change: Callable[[str], str], value: Any) -> Any:
    """Every text changed, however deep in lists and mappings."""
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _mapped(change, inner) for key, inner in value.items()}
    return [_mapped(change, inner) for inner in value] if isinstance(value, list) else value
