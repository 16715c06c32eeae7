"""A table of one's own recordings, CSV or JSON.

Columns: ``wav`` and, to train, ``speaker``; if wanted ``id`` (else the file's path without
extension), ``start`` and ``end`` (seconds), ``session``, ``gender`` (``m`` or ``f``) and ``split``
(``train``, ``dev`` or ``test``). Other columns are attributes, such as age or accent. ``ID``,
``spk_id`` and ``stop`` are SpeechBrain's names: with ``stop``, ``start`` and ``stop`` count samples
at 16 kHz. A file name is relative to the working folder, else to the table's. JSON is a list of
objects, or an object of them by ID.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from acorl_sb.corpora.corpus_type import Corpus
from acorl_sb.corpora.stretches import Row, located, stretches
from acorl_sb.data.audio import SAMPLE_RATE
from acorl_sb.data.manifest import Utterance
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.option_kinds import hint
from acorl_sb.utils.reading import read_text, shown

NAME = "manifest"
COLUMNS = ("id", "wav", "speaker", "start", "end", "session", "gender", "split")
_SPEECHBRAIN = {"ID": "id", "spk_id": "speaker"}
_OTHERS = ("stop", "duration")
_SPLITS = ("train", "dev", "test")
_GENDERS = {"": "", "m": "m", "f": "f", "male": "m", "female": "f"}


def collect(data_folder: Path | None) -> Corpus:
    """The utterances of a table, by its column ``split``; without one, all train."""
    if data_folder is None:
        raise UserError("the corpus manifest needs a CSV or JSON file; name it with data_folder")
    found: dict[str, list[Utterance]] = {name: [] for name in _SPLITS}
    for utterance, split in _read(data_folder, speakers=True):
        found[split].append(utterance)
    return Corpus(**found)


def read_table_of_audio(path: Path, speakers: bool = False) -> list[Utterance]:
    """The utterances of a table, in its order; ``speakers``: whether each must have one."""
    return [utterance for utterance, _ in _read(path, speakers)]


def _read(path: Path, speakers: bool) -> list[tuple[Utterance, str]]:
    rows, splits = [], []
    for where, entry in _entries(path):
        row, split = _row(path, where, entry)
        if speakers and not row.speaker:
            raise UserError(f"{where}: there is no speaker")
        rows.append(row)
        splits.append(split)
    if not rows:
        raise UserError(f"{shown(path)}: the table has no rows")
    return list(zip(stretches(rows), splits, strict=True))


def _entries(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """(where it stands, column -> text) of every row."""
    text = read_text(path, "table of recordings")
    if path.suffix.lower() == ".json":
        yield from _json_entries(path, text)
        return
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        for row in reader:
            where = f"{shown(path)} line {reader.line_num}"
            if None in row or None in row.values():
                raise UserError(f"{where}: as many values as columns are expected")
            yield where, row
    except csv.Error as error:
        raise UserError(f"{shown(path)}: not a CSV file ({error})") from None


def _json_entries(path: Path, text: str) -> Iterator[tuple[str, dict[str, str]]]:
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{shown(path)}: not readable as JSON ({error})") from None
    entries: Any = None
    if isinstance(loaded, list):
        entries = ((f"entry {number}", entry) for number, entry in enumerate(loaded, 1))
    elif isinstance(loaded, dict):
        entries = (
            (f"entry {name!r}", {"id": name, **entry} if isinstance(entry, dict) else entry)
            for name, entry in loaded.items()
        )
    for name, entry in entries or [("", None)]:
        scalars = isinstance(entry, dict) and all(
            isinstance(value, str | int | float | None) for value in entry.values()
        )
        if not scalars:
            raise UserError(
                f"{shown(path)} {name}: a JSON list of objects with texts and numbers is expected, "
                "or an object of them by ID"
            )
        yield (
            f"{shown(path)} {name}",
            {key: "" if value is None else str(value) for key, value in entry.items()},
        )


def _row(path: Path, where: str, entry: dict[str, str]) -> tuple[Row, str]:
    """A row of the table, and its split."""
    for name, ours in _SPEECHBRAIN.items():
        if entry.get(name) and entry.get(ours) not in (None, "", entry[name]):
            raise UserError(f"{where}: {name} and {ours} mean the same and differ; keep one")
    entry = {key: (value or "").strip() for key, value in entry.items()}
    entry |= {ours: entry[name] for name, ours in _SPEECHBRAIN.items() if entry.get(name)}
    for key in entry.keys() - {*COLUMNS, *_OTHERS, *_SPEECHBRAIN}:
        if meant := hint(key, COLUMNS):  # any other column is the user's own
            raise UserError(f"{where}: the column {key!r} is not known{meant}")
    if not entry.get("wav"):
        raise UserError(f"{where}: there is no wav; the columns are {', '.join(COLUMNS)}")
    split, gender = entry.get("split") or "train", entry.get("gender", "").lower()
    if split not in _SPLITS:
        raise UserError(f"{where}: the split must be one of {', '.join(_SPLITS)}, not {split!r}")
    if gender not in _GENDERS:
        raise UserError(f"{where}: the gender must be m, f or nothing, not {gender!r}")
    if entry.get("end") and entry.get("stop"):
        raise UserError(f"{where}: either end (in seconds) or stop (in samples), not both")
    unit = SAMPLE_RATE if entry.get("stop") else 1
    start = _number(where, entry, "start") or 0.0
    end = _number(where, entry, "stop" if entry.get("stop") else "end")
    name = entry.get("id") or "_".join(os.path.splitext(entry["wav"])[0].split())
    who = (entry.get("speaker", ""), entry.get("session", ""), _GENDERS[gender])
    end = None if end is None else end / unit
    audio = located(entry["wav"], path.parent)
    known = {*COLUMNS, *_OTHERS}
    own = {key: value for key, value in entry.items() if key and key not in known and value}
    return Row(name, audio, where, *who, start / unit, end, own), split


def _number(where: str, entry: dict[str, str], key: str) -> float | None:
    text = entry.get(key)
    try:
        number = float(text) if text else None
    except ValueError:
        number = math.nan
    if number is not None and not math.isfinite(number):
        raise UserError(f"{where}: {key} must be a number, not {text!r}")
    return number
