"""Files that are either whole or absent: written to a temporary name, then renamed.

The package atomicwrites did the same and is no longer maintained.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from acorl_sb.utils.errors import UserError, cannot_write
from acorl_sb.utils.reading import shown

BLANK = " \t\n'\""  # a shell or a YAML may leave quotes round nothing
_BOUNDS = re.compile(r"[\s\"']")  # of a file name in a text


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; rename it to ``path`` on success.

    The parent folder is made. If the body raises, the temporary file is removed and an existing
    ``path`` stays as it was. The temporary name keeps the suffix, since writers such as
    ``numpy.savez`` and ``soundfile.write`` look at it.

    Raises ``UserError`` where the disk is full or ``path`` cannot be written for another reason,
    and, before anything is written, where a folder, a device or the like is at ``path``.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    with cannot_write(path):
        if path.exists() and not path.is_file():
            raise UserError(f"{shown(path)}: there, and no regular file; name another output")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):  # there may be no such folder
                temporary.unlink()


def output_path(folder: object) -> Path:
    """The path of a folder to write into, which need not exist yet; nothing is made.

    Raises ``UserError`` for what is no path, a blank one, and one that leads to or through a file.
    """
    text = str(folder) if isinstance(folder, str | os.PathLike) else ""
    if not text.strip(BLANK) or "\0" in text:
        raise UserError(f"the output folder must be the path of a folder, not {folder!r}")
    path = Path(text)
    for part in (path, *path.parents):
        if os.path.lexists(part) and not part.is_dir():
            raise UserError(f"output folder {path}: {part} is not a folder; name another one")
    return path


def require_utf8(path: str | os.PathLike) -> None:
    """``UserError`` for a file name that no text file could hold."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        raise UserError(
            f"{shown(path)}: the file name is not UTF-8; rename the file (convmv does it for many)"
        ) from None


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path`` whole or not at all.

    Raises ``UserError`` for what ``atomic_path`` refuses and for a file name in ``text`` that is
    not UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        before, after = text[: error.start], text[error.start :]
        name = _BOUNDS.split(before)[-1] + _BOUNDS.split(after, maxsplit=1)[0]
        raise UserError(
            f"{shown(path)}: would hold the name {shown(name)}, which is not UTF-8; rename what is "
            "called so"
        ) from None
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write ``value`` as indented JSON to ``path`` whole or not at all.

    Raises ``ValueError`` for NaN or infinity, which are not JSON.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
