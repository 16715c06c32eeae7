"""Tar shards, as webdataset writes and reads them: few large files in place of many small ones.

``*.tar`` in the folder itself, and speakers are then held out of them; or in its folders ``train``
and, if there, ``dev`` and ``test``. A sample is an audio file, ``.wav`` or ``.flac``, and a file of
the same name up to its first dot: ``.json`` with ``speaker`` and, if known, ``session`` and
``gender``, else ``.cls`` with the speaker's name. Without either, the speaker is the first folder
of the name, and the session what follows. Nothing is unpacked: a manifest says where in its shard
each utterance lies, so that any one can be read alone.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

from acorl_sb.corpora.corpus_type import Corpus
from acorl_sb.corpora.listing import require_folder
from acorl_sb.corpora.stretches import Row, stretches
from acorl_sb.data.manifest import Utterance
from acorl_sb.data.tar_audio import TarMember
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.reading import shown

NAME = "shards"
_AUDIO, _TEXT = ("wav", "flac"), ("json", "cls")
_SPLITS = ("train", "dev", "test")
_LONGEST = 1 << 20  # bytes of a .json or .cls


def collect(data_folder: Path | None) -> Corpus:
    """The utterances of the folder's shards, or of those in ``train``, ``dev`` and ``test``."""
    root = require_folder(data_folder, "a folder of shards, *.tar,")
    if any(root.glob("*.tar")):
        return Corpus(train=read_shards(root))
    found = {name: root / name for name in _SPLITS if any((root / name).glob("*.tar"))}
    if "train" not in found:
        raise UserError(f"{root}: neither *.tar nor train/*.tar is there; shards end in .tar")
    return Corpus(**{name: read_shards(folder) for name, folder in found.items()})


def read_shards(folder: Path) -> list[Utterance]:
    """The utterances of the shards in a folder, shard by shard.

    Arguments
    ---------
    folder : Path

    Returns
    -------
    list of Utterance
        The ``wav`` of each is a name as ``acorl_sb.data.tar_audio.TarMember`` has it.

    Raises
    ------
    UserError
        For a shard that is damaged or compressed, a sample without a speaker, other audio than WAV
        and FLAC, and for what ``stretches`` refuses.
    """
    rows: list[Row] = []
    for path in sorted(folder.glob("*.tar")):
        rows += _rows(path.absolute())
    return stretches(rows)


def _rows(path: Path) -> list[Row]:
    audio: dict[str, TarMember] = {}
    known: dict[str, dict[str, Any]] = {}
    try:
        with tarfile.open(path, "r:") as shard:
            for member in shard:
                key, suffix = _parts(member.name)
                where = f"{shown(path)}: {shown(member.name)}"
                if not member.isfile() or not suffix:
                    continue  # folders, links and what has no extension are no samples
                if member.issparse():
                    raise UserError(f"{where}: a sparse file; write the shard without --sparse")
                if suffix in _AUDIO:
                    if key in audio:
                        raise UserError(f"{where}: a second audio file of {key!r}")
                    audio[key] = TarMember(str(path), member.offset_data, member.size)
                elif suffix in _TEXT:
                    file = shard.extractfile(member)
                    data = file.read(_LONGEST) if file else b""
                    known.setdefault(key, {}).update(_known(data, suffix, where))
    except (tarfile.TarError, EOFError) as error:
        raise UserError(
            f"{shown(path)}: no whole tar file without compression ({error}); write it again"
        ) from None
    if not audio:
        raise UserError(f"{shown(path)}: no .wav or .flac in this shard")
    return [_row(key, member, known.get(key, {}), path) for key, member in audio.items()]


def _parts(name: str) -> tuple[str, str]:
    """Key and extension: as webdataset, what stands before and after the last part's first dot."""
    folder, slash, last = name.removeprefix("./").rpartition("/")
    stem, _, suffix = last.partition(".")
    return f"{folder}{slash}{stem}", suffix.lower()


def _known(data: bytes, suffix: str, where: str) -> dict[str, Any]:
    try:
        text = data.decode("utf-8-sig")
        if suffix == "cls":
            return {"speaker": text.strip()}
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not readable ({error})") from None
    if not isinstance(found, dict):
        raise UserError(f"{where}: expected an object with the key speaker")
    return found


def _row(key: str, member: TarMember, known: dict[str, Any], path: Path) -> Row:
    where = f"{shown(path)}: {shown(key)}"
    folder, *session = key.split("/")[:-1] or [""]
    speaker = known.get("speaker", folder)
    if not isinstance(speaker, str | int) or not str(speaker).strip():
        raise UserError(f"{where}: no speaker; add a .json with the key speaker, or a .cls")
    gender = str(known.get("gender") or "").lower()
    if gender not in ("", "m", "f"):
        raise UserError(f"{where}: the gender must be m, f or nothing, not {gender!r}")
    who = (str(speaker).strip(), str(known.get("session") or "/".join(session)), gender)
    return Row("_".join(key.split()), str(member), where, *who)
