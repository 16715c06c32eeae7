"""The folder beside an output in which finished shards wait, with the plan that they follow."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import atomic_path, write_json
from acorl_sb.utils.locks import HOLDER, LOCK
from acorl_sb.utils.reading import read_json, shown

PLAN = "plan.json"
_IN_EVERY_PLAN = {"encoder", "utterances", "shard_size"}
# What a killed process leaves of a file that it was writing, as ``atomic_path`` names it.
_UNFINISHED = re.compile(r"\.(plan|\d{6,}|\.lock_holder)\.[0-9a-f]{8}\.(json|npy|txt)")


def require_own(folder: Path) -> None:
    """``UserError`` for a folder that is there and has no plan, unless nothing else is in it."""
    if not folder.is_dir():
        return  # whoever locks it says what is wrong
    if os.path.lexists(folder / PLAN):
        _read_plan(folder)
    elif others := sorted(n for n in os.listdir(folder) if not _of_any_run(n)):
        raise UserError(
            f"{shown(folder)}: holds {shown(others[0])} and no {PLAN}, so no earlier run has made "
            "it; finished parts would wait there, so move it away or name another output"
        )


def agree(folder: Path, wanted: dict[str, Any]) -> None:
    """Note the plan, or hold it against the one of the shards that are there."""
    require_own(folder)
    if not begun(folder):
        write_json(folder / PLAN, wanted)
        return
    before = _read_plan(folder)
    changed = [key for key in wanted if before.get(key) != wanted[key]]
    if changed:
        raise UserError(
            f"{shown(folder)}: begun with other {', '.join(changed)}; remove that folder to begin "
            "anew, or name another output"
        )


def begun(folder: Path) -> bool:
    """Whether a finished shard is there."""
    return any(folder.glob("[0-9]*.npy"))


def shard_path(folder: Path, number: int) -> Path:
    """The file of a shard."""
    return folder / f"{number:06d}.npy"


def read_shard(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """A finished shard (M, D); ``UserError`` for what this command did not write."""
    try:
        found = np.load(path)
    except (OSError, ValueError, EOFError):
        found = None
    if not isinstance(found, np.ndarray) or (found.shape, found.dtype) != (shape, np.float32):
        raise UserError(f"{shown(path)}: a damaged part of an earlier run; remove it")
    return found


def write_shard(path: Path, vectors: np.ndarray) -> None:
    """Write a shard (M, D) whole or not at all."""
    with atomic_path(path) as temporary:
        np.save(temporary, vectors)


def remove_parts(folder: Path, count: int) -> None:
    """Remove ``count`` shards and the plan; whatever else lies there stays."""
    for k in range(count):
        shard_path(folder, k).unlink(missing_ok=True)
    (folder / PLAN).unlink(missing_ok=True)
    for name in os.listdir(folder):
        if _UNFINISHED.fullmatch(name):
            (folder / name).unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove the folder once its lock is let go, unless something lies in it."""
    with contextlib.suppress(OSError):
        if os.listdir(folder) in ([LOCK], []):
            (folder / LOCK).unlink(missing_ok=True)
            folder.rmdir()


def _of_any_run(name: str) -> bool:
    return name in (LOCK, HOLDER) or bool(_UNFINISHED.fullmatch(name))


def _read_plan(folder: Path) -> dict[str, Any]:
    path = folder / PLAN
    try:
        found = read_json(path, "plan of a killed run")
    except UserError as error:
        raise UserError(
            f"{error}; move the folder {shown(folder)} away to begin anew, or name another output"
        ) from None
    if not found.keys() >= _IN_EVERY_PLAN:
        raise UserError(
            f"{shown(path)}: not the plan of an earlier run; move the folder away or name another "
            "output"
        )
    return found
