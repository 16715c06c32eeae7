"""Kaldi's vectors, read without what its files could run: commands in tables, pickles in archives.

A line of an ``.scp`` may be a command (``id cat x.ark |``), and kaldiio unpickles what an archive
marks as a pickle. Neither belongs to embeddings.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from acorl_sb.utils.errors import UserError
from acorl_sb.utils.reading import open_input, read_lines


def read_vectors(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Pairs (id, vector of shape (D,)) of an ``.scp`` or ``.ark``; needs the package kaldiio.

    Raises ``UserError`` for a line that names no file, an archive that holds anything else than
    vectors of floats, and one that is cut off.
    """
    return _read_scp(path) if path.suffix == ".scp" else _read_ark(path)


def _read_ark(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    from kaldiio.matio import read_token

    with open_input(path, "Kaldi archive") as file:
        while (name := read_token(file)) is not None:
            yield name, _read_vector(path, file)


def _read_scp(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The vectors that a table ``id archive:offset`` points at, in archives that are files."""
    with contextlib.ExitStack() as stack:
        archives: dict[str, BinaryIO] = {}
        for number, line in enumerate(read_lines(path, "Kaldi table"), 1):
            name, _, place = line.strip().partition(" ")
            archive, _, offset = place.strip().rpartition(":")
            if not (archive and offset.isascii() and offset.isdigit() and len(offset) < 19):
                archive, offset = place.strip(), "0"
            if not archive:
                raise UserError(f"{path} line {number}: 'id archive:offset' expected, got {line!r}")
            if archive not in archives:
                file = open_input(archive, f"archive of {path} line {number}")
                archives[archive] = stack.enter_context(file)
            archives[archive].seek(int(offset))
            yield name, _read_vector(path, archives[archive])


def _read_vector(path: Path, file: BinaryIO) -> np.ndarray:
    """The next vector of an archive.

    kaldiio would also unpickle, decode audio, and start the commands of a table: none is needed.
    """
    from kaldiio.matio import read_kaldi

    start = file.tell()
    head = file.read(10)  # of a binary vector: \0BFV or \0BDV, " \4", its size in four bytes
    file.seek(start)
    binary = head.startswith((b"\0BFV", b"\0BDV"))
    if not binary and head.strip()[:1] != b"[":
        raise UserError(f"{path}: something else than a vector of floats at byte {start}")
    vector = read_kaldi(file)
    if binary and len(vector) != int.from_bytes(head[6:], "little"):
        raise UserError(f"{path}: cut off in the vector at byte {start}; copy the file again")
    return vector
