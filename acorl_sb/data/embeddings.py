"""Embedding files: our own folder, ``.npz``, ``.safetensors``, and Kaldi's ark and scp."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from acorl_sb.data.embedding_files import files_of, import_kaldiio, write_blocks
from acorl_sb.data.kaldi import read_vectors
from acorl_sb.data.lines import some
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.reading import open_input, read_lines

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".m4a", ".mp3")


@dataclass(frozen=True)
class Embeddings:
    """One vector per utterance: ``vectors`` float32 (M, D), row m belongs to ``ids[m]``."""

    ids: list[str]
    vectors: np.ndarray

    def index(self, ids: Sequence[str], what: str = "the embeddings") -> np.ndarray:
        """Rows (N,), int64, of N ``ids``.

        An id that is not found as it stands is looked up with an audio suffix (``.wav`` ...) taken
        off, or, where the embeddings carry one, put on: trial lists often name the file where
        manifests name the utterance.

        Raises ``UserError`` naming the first few unknown ids.
        """
        exact = {name: row for row, name in enumerate(self.ids)}
        rows = [exact.get(name, -1) for name in ids]
        if -1 in rows:
            bare = {_bare(name): row for name, row in exact.items()}
            if len(bare) == len(exact):
                pairs = zip(rows, ids, strict=True)
                rows = [bare.get(_bare(name), -1) if row < 0 else row for row, name in pairs]
        unknown = [name for name, row in zip(ids, rows, strict=True) if row < 0]
        if unknown:
            raise UserError(f"{what}: {len(unknown)} ids have no embedding: {some(unknown)}")
        return np.array(rows, dtype=np.int64)

    def held(self, other: Embeddings, ids: Iterable[str]) -> list[str]:
        """Those of ``ids`` that are in both under the same id, as the same utterance.

        That is: the vectors differ by less than a thousandth of their length, as those of one
        utterance do that is embedded on another device or in another batch.
        """
        mine, others = ({name: row for row, name in enumerate(e.ids)} for e in (self, other))
        shared = [name for name in ids if name in mine and name in others]
        if not shared or self.vectors.shape[1] != other.vectors.shape[1]:
            return []
        a = self.vectors[[mine[name] for name in shared]]
        b = other.vectors[[others[name] for name in shared]]
        near = np.linalg.norm(a - b, axis=1) <= 1e-3 * np.linalg.norm(b, axis=1)
        return [shared[row] for row in np.flatnonzero(near)]


def read_embeddings(path: str | os.PathLike) -> Embeddings:
    """Read embeddings; the path tells the format.

    - a folder with ``embeddings.npy`` (M, D) and ``ids.txt`` (one id a line): our own
    - ``.npz`` with arrays ``ids`` (M,) and ``embeddings`` (M, D), or with one vector per id
    - ``.safetensors`` with the tensor ``embeddings`` (M, D) and their ids as a JSON list, ``ids``,
      in its metadata, or with one vector per id
    - ``.scp`` or ``.ark`` of Kaldi (needs the package ``kaldiio``)

    Raises ``UserError`` for a missing or damaged file, a duplicate id (the first few are listed),
    vectors of unequal size, and values that are not finite.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such embeddings")
    if path.is_dir():
        ids, vectors = _read_folder(path)
    elif path.suffix == ".npz":
        ids, vectors = _read_npz(path)
    elif path.suffix == ".safetensors":
        ids, vectors = _read_safetensors(path)
    elif path.suffix in (".scp", ".ark"):
        ids, vectors = _read_kaldi(path)
    else:
        raise UserError(f"{path}: embeddings are a folder, .npz, .safetensors, .scp or .ark")
    return _checked(path, ids, vectors)


def write_embeddings(path: str | os.PathLike, embeddings: Embeddings) -> None:
    """Write embeddings; the path tells the format as in ``read_embeddings``.

    A path without suffix is our own folder. Writing ``x.scp`` writes ``x.ark`` beside it.
    """
    found = _checked(Path(path), embeddings.ids, embeddings.vectors)
    write_blocks(path, found.ids, found.vectors.shape[1], [found.vectors])


def concatenate(members: Sequence[Embeddings]) -> Embeddings:
    """Embedding-level fusion: the members' unit-length vectors side by side, (M, sum of D).

    They are divided by sqrt(K), so that a row has unit length and the cosine of two rows is the
    mean of the members' cosines; a back end such as PLDA can weigh members otherwise. A vector of
    zeros stays so. Ids and their order are those of the first member; the others may be in another
    order.
    """
    parts = []
    for number, member in enumerate(members, 1):
        rows = member.index(members[0].ids, f"member {number}")
        vectors = member.vectors[rows].astype(np.float64)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        parts.append(vectors / np.where(norms > 0, norms, 1.0))
    joined = np.concatenate(parts, axis=1) / math.sqrt(len(members))
    return Embeddings(list(members[0].ids), joined.astype(np.float32))


# ------------------------------------------------------------------------------------------------


def _bare(name: str) -> str:
    path = PurePosixPath(name)
    return name[: -len(path.suffix)] if path.suffix.lower() in AUDIO_SUFFIXES else name


def _read_folder(path: Path) -> tuple[list[str], Any]:
    vectors, ids = files_of(path)
    for file in (vectors, ids):
        if not file.exists():
            raise UserError(f"{path}: the folder has no {file.name}, so it holds no embeddings")
    return read_lines(ids, "list of ids"), _load(vectors)


def _read_npz(path: Path) -> tuple[list[str], np.ndarray]:
    arrays = _load(path)
    if not isinstance(arrays, dict):
        raise UserError(f"{path}: one array, not an archive of ids and embeddings")
    if not {"ids", "embeddings"} <= set(arrays):
        return _stack(path, arrays.items())
    ids = arrays["ids"]
    if ids.ndim != 1 or ids.dtype.kind not in "USiu":
        raise UserError(f"{path}: ids must be texts (M,), not {ids.dtype} of shape {ids.shape}")
    try:
        names = np.char.decode(ids, "utf-8") if ids.dtype.kind == "S" else ids.astype(str)
        return names.tolist(), arrays["embeddings"]
    except (ValueError, SystemError) as error:  # the latter from characters that there are not
        raise UserError(f"{path}: ids that are no text ({error})") from None


def _load(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """The array of a ``.npy`` or all arrays of a ``.npz``; never objects, which could run code."""
    with open_input(path, "embeddings") as file:
        try:
            loaded = np.load(file, allow_pickle=False)
            return loaded if isinstance(loaded, np.ndarray) else dict(loaded)
        except Exception as error:  # numpy and zipfile raise whatever their parsers stumble over
            raise UserError(f"{path}: not readable as a numpy file ({error})") from None


def _read_safetensors(path: Path) -> tuple[list[str], Any]:
    with open_input(path, "embeddings"):
        pass
    try:
        with safe_open(path, "np") as file:
            metadata, names = file.metadata() or {}, list(file.keys())
            if names != ["embeddings"] or "ids" not in metadata:
                return _stack(path, ((name, file.get_tensor(name)) for name in names))
            ids, vectors = json.loads(metadata["ids"]), file.get_tensor("embeddings")
    except (SafetensorError, ValueError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: not readable as safetensors ({reason})") from None
    if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
        raise UserError(f"{path}: the ids in its metadata must be a JSON list of texts")
    return ids, vectors


def _read_kaldi(path: Path) -> tuple[list[str], np.ndarray]:
    import_kaldiio(path)
    try:
        return _stack(path, read_vectors(path))
    except UserError:
        raise
    except Exception as error:  # kaldiio raises whatever its parser stumbles over
        raise UserError(f"{path}: not readable as Kaldi vectors ({error!r})") from None


def _stack(path: Path, items: Iterable[tuple[str, np.ndarray]]) -> tuple[list[str], np.ndarray]:
    ids, rows = [], []
    for name, vector in items:
        ids.append(name)
        rows.append(np.asarray(vector))
        if rows[-1].ndim != 1 or rows[-1].shape != rows[0].shape:
            raise UserError(
                f"{path}: '{name}' has shape {rows[-1].shape}; one vector per id is expected, "
                f"all of one size ('{ids[0]}' has {rows[0].shape})"
            )
    return ids, np.stack(rows) if rows else np.zeros((0, 0))


def _checked(path: Path, ids: list[str], vectors: np.ndarray) -> Embeddings:
    if not isinstance(vectors, np.ndarray) or vectors.dtype.kind not in "fiu":
        raise UserError(f"{path}: embeddings must be one array of numbers (M, D)")
    if vectors.ndim != 2 or not vectors.size:
        raise UserError(f"{path}: embeddings must be (M, D), not of shape {vectors.shape}")
    with np.errstate(over="ignore"):  # becomes infinity, which is named below
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if len(ids) != len(vectors):
        raise UserError(f"{path}: {len(ids)} ids, but {len(vectors)} embeddings")
    if len(set(ids)) != len(ids):
        twice = [name for name, times in Counter(ids).items() if times > 1]
        raise UserError(f"{path}: ids that occur more than once: {some(twice)}")
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if bad.size:
        names = some(ids[row] for row in bad)
        raise UserError(f"{path}: embeddings that are not finite: {names}")
    return Embeddings(ids, vectors)
