"""Writing embeddings block by block: a table of a million rows needs the memory of one block."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from acorl_sb.utils.errors import UserError, cannot_write
from acorl_sb.utils.files import atomic_path, write_text

SUFFIXES = ("", ".npz", ".safetensors", ".scp", ".ark")
"""What a path of embeddings may end in; none is our own folder."""

_IN_FOLDER = ("embeddings.npy", "ids.txt")
_WRITTEN = ".written"


def files_of(folder: Path) -> list[Path]:
    """Where a folder's vectors (``embeddings.npy``) and ids (``ids.txt``) are, or would be.

    A write is done once both are in the folder ``.written`` there, by one renaming; they are then
    moved up one after the other, and each counts wherever it is at the time.
    """
    return [
        new if (new := folder / _WRITTEN / name).exists() else folder / name for name in _IN_FOLDER
    ]


def check_form(path: str | os.PathLike) -> None:
    """Refuse a path whose ending is no form of embeddings, and Kaldi's without the package."""
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise UserError(
            f"{path}: embeddings are a folder (a name without suffix), .npz, .safetensors, .scp "
            "or .ark"
        )
    if path.suffix in (".scp", ".ark"):
        import_kaldiio(path)


def check_output(path: str | os.PathLike) -> None:
    """Refuse what ``check_form`` refuses, and a path whose files are there already."""
    check_form(path)
    path = Path(path)
    files = files_of(path)[1:] if path.is_dir() or not path.suffix else [path]
    if path.suffix == ".scp":
        files.append(path.with_suffix(".ark"))
    for file in files:
        if file.exists():
            raise UserError(f"{file}: is there already; remove it, or name another output")


def write_blocks(
    path: str | os.PathLike, ids: Sequence[str], dim: int, blocks: Iterable[np.ndarray]
) -> None:
    """Write embeddings whole or not at all; the path tells the form as for ``write_embeddings``.

    Until that is done an earlier file or folder stays as it was; of Kaldi's two files the table
    goes before its archive is replaced.

    Arguments
    ---------
    path : file, or a folder where it has no suffix
    ids : M ids, in the order of the rows
    dim : D
    blocks : float32 arrays (m, D), M rows in all; asked for one after another

    Raises
    ------
    UserError
        For another suffix, for Kaldi's without the package kaldiio, for an id with white space in
        Kaldi's, and where the path cannot be written.
    """
    check_form(path)
    path, ids = Path(path), list(ids)
    blocks = _counted(blocks, len(ids), dim)
    if path.suffix == ".npz":
        with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            with archive.open("ids.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.array(ids), allow_pickle=False)
            with archive.open("embeddings.npy", "w", force_zip64=True) as file:
                _write_npy(file, (len(ids), dim), blocks)
    elif path.suffix == ".safetensors":
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            _write_safetensors(file, ids, dim, blocks)
    elif path.suffix in (".scp", ".ark"):
        _write_kaldi(path, ids, blocks)
    else:
        _write_folder(path, ids, dim, blocks)


def import_kaldiio(path: Path):
    """The package; ``UserError`` naming the file that needs it where it is not installed."""
    try:
        import kaldiio
    except ImportError:
        raise UserError(
            f"{path}: Kaldi files need the package kaldiio (pip install kaldiio)"
        ) from None
    return kaldiio


def _counted(blocks: Iterable[np.ndarray], rows: int, dim: int) -> Iterator[np.ndarray]:
    """The blocks as little-endian float32; ValueError unless they hold ``rows`` in all."""
    seen = 0
    for block in blocks:
        if block.ndim != 2 or block.shape[1] != dim:
            raise ValueError(f"a block of shape {block.shape} among embeddings of size {dim}")
        seen += len(block)
        yield np.ascontiguousarray(block, dtype="<f4")
    if seen != rows:
        raise ValueError(f"{seen} embeddings for {rows} ids")


def _write_folder(path: Path, ids: list[str], dim: int, blocks: Iterator[np.ndarray]) -> None:
    with cannot_write(path):
        path.mkdir(parents=True, exist_ok=True)
        _move_up(path)  # what an earlier call wrote before it was stopped
        with tempfile.TemporaryDirectory(prefix=".", dir=path, ignore_cleanup_errors=True) as made:
            both = Path(made, "both")
            both.mkdir()
            with open(both / _IN_FOLDER[0], "wb") as file:
                _write_npy(file, (len(ids), dim), blocks)
            text = "".join(f"{name}\n" for name in ids)
            (both / _IN_FOLDER[1]).write_text(text, encoding="utf-8")
            os.replace(both, path / _WRITTEN)
        _move_up(path)


def _move_up(folder: Path) -> None:
    """Move what is in ``.written``, if anything, to where it belongs."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder / _WRITTEN):
            os.replace(folder / _WRITTEN / name, folder / name)
        os.rmdir(folder / _WRITTEN)


def _write_npy(file: IO[bytes], shape: tuple[int, int], blocks: Iterator[np.ndarray]) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    for block in blocks:
        file.write(block.tobytes())


def _write_safetensors(
    file: IO[bytes], ids: list[str], dim: int, blocks: Iterator[np.ndarray]
) -> None:
    """One tensor ``embeddings`` (M, D); its ids are a JSON list in the file's metadata.

    The package itself only writes what is in memory as a whole. The form: the length of a JSON
    header (8 bytes), the header, the values.
    """
    tensor = {"dtype": "F32", "shape": [len(ids), dim], "data_offsets": [0, 4 * len(ids) * dim]}
    metadata = {"ids": json.dumps(ids, ensure_ascii=False)}
    text = json.dumps({"__metadata__": metadata, "embeddings": tensor}, ensure_ascii=False)
    header = text.encode()
    header += b" " * (-len(header) % 8)  # values begin at a multiple of 8
    file.write(struct.pack("<Q", len(header)) + header)
    for block in blocks:
        file.write(block.tobytes())


def _write_kaldi(path: Path, ids: list[str], blocks: Iterator[np.ndarray]) -> None:
    kaldiio = import_kaldiio(path)
    for name in ids:
        if name.split() != [name]:
            raise UserError(f"{path}: Kaldi's ids have no white space in them, as {name!r} has")
    ark, place = path.with_suffix(".ark"), 0
    with atomic_path(ark) as temporary:
        table = temporary.with_suffix(".scp.tmp")
        try:
            for block in blocks:
                rows = dict(zip(ids[place : place + len(block)], block, strict=True))
                kaldiio.save_ark(str(temporary), rows, scp=str(table), append=place > 0)
                place += len(block)
            lines = table.read_text(encoding="utf-8").splitlines()
            if path.suffix == ".scp":
                path.unlink(missing_ok=True)  # it would give the new archive's rows the old ids
        finally:
            table.unlink(missing_ok=True)
    if path.suffix == ".scp":
        # The table was made for the temporary name: keep id and offset, put in the true name.
        parts = (line.rsplit(":", 1) for line in lines)
        made = (f"{head.split(' ', 1)[0]} {ark.resolve()}:{offset}\n" for head, offset in parts)
        write_text(path, "".join(made))
