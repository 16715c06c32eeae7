"""Kaldi's vectors, read without what its files could run: commands in scripts, pickles in archives.

A line of an ``.scp`` may be a command (``id cat x.ark |``), and kaldiio unpickles what an archive
marks as a pickle. Neither belongs to embeddings.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from acorl_sb.errors import UserError


def read_vectors(path: Path) -> Iterator[tuple[str, Any]]:
    """Pairs (id, array) of an ``.scp`` or ``.ark``; needs the package kaldiio.

    Raises ``UserError`` for a line that is no file, and an archive that holds a pickle.
    """
    if path.suffix == ".scp":
        yield from _of_script(path)
        return
    from kaldiio.matio import read_token

    with open(path, "rb") as file:
        while (name := read_token(file)) is not None:
            yield name, _array(file, path)


def _of_script(path: Path) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        name, _, place = line.strip().partition(" ")
        place = place.strip()
        if not place or "|" in (place[0], place[-1]) or place == "-":
            raise UserError(
                f"{path} line {number}: 'id file:offset' is expected; a command is not run"
            )
        archive, _, offset = place.rpartition(":")
        if not offset.isdigit():
            archive, offset = place, "0"
        with open(archive, "rb") as file:
            file.seek(int(offset))
            yield name, _array(file, Path(archive))


def _array(file: BinaryIO, path: Path) -> Any:
    from kaldiio.matio import read_kaldi

    start = file.tell()
    if file.read(3) == b"PKL":
        raise UserError(f"{path}: it holds a pickle, which can run code; write Kaldi vectors")
    file.seek(start)
    return read_kaldi(file)
