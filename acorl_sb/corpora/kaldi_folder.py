"""A data folder of Kaldi's: ``wav.scp utt2spk [segments] [spk2gender]``.

The folder itself holds them, and speakers are then held out of it; or its folders ``train`` and,
if there, ``dev`` and ``test`` do. A file name in ``wav.scp`` is relative to the working folder,
else to the table's, else to the one above that. A command in ``wav.scp`` (``sph2pipe ... |``) is
refused, since it would run: write the audio to files first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from acorl_sb.corpora.corpus_type import Corpus
from acorl_sb.corpora.listing import require_folder
from acorl_sb.corpora.stretches import Row, located, stretches
from acorl_sb.data.manifest import Utterance
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.reading import read_lines

NAME = "kaldi"
WAV, SPEAKERS, SEGMENTS, GENDERS = "wav.scp", "utt2spk", "segments", "spk2gender"
_SPLITS = ("train", "dev", "test")


def collect(data_folder: Path | None) -> Corpus:
    """The utterances of the folder, or of its folders ``train``, ``dev`` and ``test``."""
    root = require_folder(data_folder, f"Kaldi's {WAV} and {SPEAKERS}")
    if (root / WAV).is_file():
        return Corpus(train=read_data_folder(root))
    found = {name: root / name for name in _SPLITS if (root / name / WAV).is_file()}
    if "train" not in found:
        raise UserError(f"{root}: neither {WAV} nor train/{WAV} is there")
    return Corpus(**{name: read_data_folder(folder) for name, folder in found.items()})


def read_data_folder(folder: Path, speakers: bool = True) -> list[Utterance]:
    """The utterances of one data folder, by ``segments`` where that is there.

    Arguments
    ---------
    folder : with ``wav.scp``
    speakers : whether ``utt2spk`` must be there and have every utterance

    Returns
    -------
    list of Utterance, in the table's order

    Raises
    ------
    UserError
        Naming file and line, for a table that is missing, damaged or contradicts another, for a
        command in place of a file, and for what ``stretches`` refuses.
    """
    speaker = read_table(folder / SPEAKERS) if speakers or (folder / SPEAKERS).is_file() else {}
    gender = read_table(folder / GENDERS) if (folder / GENDERS).is_file() else {}
    rows = _segments(folder) if (folder / SEGMENTS).is_file() else read_scp(folder / WAV)
    made = []
    for row in rows:
        if speakers and row.id not in speaker:
            raise UserError(f"{folder / SPEAKERS}: no speaker for {row.id}, {row.where}")
        spk = speaker.get(row.id, ("", ""))[0]
        made.append(row._replace(speaker=spk, gender=gender.get(spk, ("", ""))[0]))
    return stretches(made)


def read_scp(path: Path) -> list[Row]:
    """The files of a ``wav.scp``, each an utterance."""
    made = []
    for name, (value, where) in read_table(path).items():
        if value.endswith("|") or value.startswith("|") or value == "-":
            raise UserError(
                f"{where}: a command or a stream, {value[:60]!r}, is not run; write the audio to "
                "files and name these"
            )
        made.append(Row(name, located(value, path.parent, path.parent.parent), where))
    return made


def read_table(path: Path) -> dict[str, tuple[str, str]]:
    """Key -> (value, where it stands) of a table with ``key value`` on each line."""
    table: dict[str, tuple[str, str]] = {}
    for number, line in enumerate(read_lines(path, "Kaldi table"), 1):
        where = f"{path} line {number}"
        key, value, *_ = [*line.split(maxsplit=1), "", ""]
        if not value:
            raise UserError(f"{where}: expected a key and a value, got {line[:60]!r}")
        if key in table:
            raise UserError(f"{where}: {key!r} is already at {table[key][1]}")
        table[key] = (value.strip(), where)
    if not table:
        raise UserError(f"{path}: the file is empty")
    return table


def _segments(folder: Path) -> Iterator[Row]:
    """Lines ``utterance recording start end``, in seconds; an end of -1 is the recording's."""
    recordings = {row.id: row for row in read_scp(folder / WAV)}
    for name, (value, where) in read_table(folder / SEGMENTS).items():
        fields = value.split()
        try:
            recording, start, end = fields[0], *map(float, fields[1:])
            if not math.isfinite(start + end):
                raise ValueError
        except ValueError:
            raise UserError(
                f"{where}: 'utterance recording start end' in seconds expected, got {value[:60]!r}"
            ) from None
        if recording not in recordings:
            raise UserError(f"{where}: the recording {recording!r} is not in {folder / WAV}")
        path = recordings[recording].path
        yield Row(name, path, where, start=start, end=None if end == -1 else end)
