"""Utterances from whatever names audio: files, folders, lists and tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from acorl_sb.corpora import kaldi_folder, manifest_table
from acorl_sb.corpora.listing import audio_files, is_audio, require_folder
from acorl_sb.corpora.stretches import Row, located, stretches
from acorl_sb.data.manifest import Utterance
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.reading import read_lines, shown

LISTS = (".txt", ".lst", ".list")


def read_inputs(inputs: Sequence[str]) -> list[Utterance]:
    """The utterances of everything that a command line names, in its order.

    Arguments
    ---------
    inputs : each of them

        - an audio file; its ID is the path as given, without extension
        - a folder; IDs are paths below it, without extension
        - a Kaldi data folder (it holds ``wav.scp``), or a ``.scp`` file of that form
        - a table, ``.csv`` or ``.json``, see ``acorl_sb.corpora.manifest_table``
        - a list of audio files, one a line, ``.txt``, ``.lst`` or ``.list``

    Returns
    -------
    list of Utterance

    Raises
    ------
    UserError
        For an input that is missing or none of these, an ID that occurs twice, and whatever is
        wrong with a table or an audio file.
    """
    found: list[Utterance] = []
    files: list[Row] = []
    for name in inputs:
        path = Path(name)
        suffix = path.suffix.lower()
        if not path.exists():
            raise UserError(f"{shown(name)}: there is no such file or folder")
        if path.is_dir() and not (path / kaldi_folder.WAV).is_file():
            root = require_folder(path, "a folder of audio files")
            below = [_row(f, str(f.relative_to(root))) for f in audio_files(root)]
            if not below:
                raise UserError(f"{shown(name)}: no file with an audio extension in it or below")
            files += below
        elif is_audio(path):
            files.append(_row(path, name))
        elif suffix in LISTS:
            files += _listed(path)
        else:
            found += _whole(files) + _table(path, suffix)
            files = []
    found += _whole(files)
    seen: dict[str, str] = {}
    for u in found:
        if u.id in seen:
            raise UserError(
                f"the ID {u.id!r} is given twice: {shown(seen[u.id])} and {shown(u.wav)}"
            )
        seen[u.id] = u.wav
    return found


def _table(path: Path, suffix: str) -> list[Utterance]:
    if path.is_dir():
        return kaldi_folder.read_data_folder(path, speakers=False)
    if suffix == ".scp":
        return stretches(kaldi_folder.read_scp(path))
    if suffix in (".csv", ".json"):
        return manifest_table.read_table_of_audio(path)
    raise UserError(
        f"{shown(path)}: neither audio nor a folder, nor a table (.csv, .json, .scp) or list "
        f"({', '.join(LISTS)}) of audio"
    )


def _listed(path: Path) -> list[Row]:
    lines = [line.strip() for line in read_lines(path, "list of audio files")]
    if not any(lines):
        raise UserError(f"{shown(path)}: the list names no file")
    return [_row(located(line, path.parent), line) for line in lines if line]


def _row(path: str | Path, name: str) -> Row:
    bare = "_".join(os.path.splitext(name)[0].split())
    return Row(bare, os.path.abspath(path), shown(name))


def _whole(rows: list[Row]) -> list[Utterance]:
    return stretches(rows) if rows else []
