"""Whether a preparation is still valid: its settings, its data and its files, by their digests."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from acorl_sb.corpora.listing import walk
from acorl_sb.utils.errors import UserError

logger = logging.getLogger(__name__)


def earlier_preparation(record: Path, settings: dict, paths: Iterable[Path]) -> dict | None:
    """The record of an earlier, still valid preparation."""
    try:
        old = json.loads(record.read_text(encoding="utf-8"))
        valid = (
            old["settings"] == settings
            and old["files"] == {path.name: file_digest(path) for path in paths}
            and old["data"] == data_fingerprints(settings, record.parent)
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not valid:
        logger.info("%s: settings, data or files have changed, preparing again", record.parent)
        return None
    logger.info("%s: already prepared", record.parent)
    return old


def recorded_files(record: Path) -> dict[str, str]:
    """Digests of the files of an earlier preparation, as it has recorded them; empty for none."""
    try:
        return dict(json.loads(record.read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def refuse_changes(record: Path, member: str, settings: dict, files: dict[str, str]) -> None:
    """UserError when new files would differ from those that ``member`` was trained on."""
    written = recorded_files(record)
    changed = [name for name, digest in written.items() if files.get(name) != digest]
    if not changed:
        return
    old = json.loads(record.read_text(encoding="utf-8"))
    before = old["settings"]
    keys = [key for key in settings if before.get(key) != settings[key]]
    if keys:
        cause = f"{keys[0]} was {before.get(keys[0])} and is {settings[keys[0]]}"
    else:
        # Older records have the folders alone, so a file that they do not tell of is named too.
        sources, now = _sources(settings), data_fingerprints(settings, record.parent)
        then = dict(zip(sources, old.get("data", ()), strict=False))
        other = [str(s) for s, found in zip(sources, now, strict=True) if then.get(s) != found]
        cause = f"{' and '.join(other) or settings['data_folder']} has changed"
    raise UserError(
        f"{record.parent}: {', '.join(changed)} would no longer be what the member {member!r} was "
        f"trained on, since {cause}; undo that or name another output_folder"
    )


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def data_fingerprints(settings: dict, save_folder: Path) -> list[str | None]:
    """A digest of all that a preparation reads: the folders, the corpus first, None for no folder;
    then the files that the corpus's own options name, such as trial lists."""
    return [_fingerprint(source, save_folder) for source in _sources(settings)]


def _sources(settings: dict) -> list[str | None]:
    folders = [settings["data_folder"], *settings["more_training"].values()]
    return [*folders, *settings.get("more_unlabelled", {}).values(), *_files(settings["options"])]


def _files(option: Any) -> list[str]:
    """Every file that an option names, in the order in which they stand there."""
    if isinstance(option, dict):
        option = list(option.values())
    if isinstance(option, list):
        return [file for part in option for file in _files(part)]
    return [option] if isinstance(option, str) and os.path.isfile(option) else []


def _fingerprint(folder: str | os.PathLike | None, save_folder: Path) -> str | None:
    """A digest of every file's name, size and time of change below ``folder``, or of one file.

    What lies in ``save_folder`` does not count: it may be inside.
    """
    if folder is None:
        return None
    own = str(save_folder.resolve())
    digest = hashlib.sha256()
    if os.path.isfile(folder):  # a table of recordings
        return file_digest(Path(folder))
    for parent, folders, files in walk(folder):
        folders[:] = [n for n in folders if os.path.abspath(os.path.join(parent, n)) != own]
        digest.update(os.path.relpath(parent, folder).encode("utf-8", "surrogateescape"))
        for name in files:
            status = _status(os.path.join(parent, name))
            entry = f"\0{name}\0{status.st_size}\0{status.st_mtime_ns}"
            digest.update(entry.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _status(path: str) -> os.stat_result:
    """Size and time of change of a file, or of a hidden link that leads nowhere."""
    try:
        return os.stat(path)
    except OSError:
        return os.lstat(path)
