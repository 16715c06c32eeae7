"""Manifests: one CSV row per utterance, in the form that SpeechBrain's data sets read."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import atomic_path
from acorl_sb.utils.reading import read_text, shown

FIELDS = ("ID", "duration", "wav", "start", "stop", "spk_id", "session", "gender")
REQUIRED = FIELDS[:6]
UNLABELLED = "unlabelled"
"""A further column: not empty where training must not look at the speaker."""

# Python reads 1_0 as ten, and figures of any length and script; other programs do not.
_DIGITS = re.compile(r"[-+.0-9A-Za-z]{1,30}")


@dataclass(frozen=True, slots=True)
class Utterance:
    """A stretch of speech of one speaker.

    ``duration`` is in seconds; ``start`` and ``stop`` count samples at 16 kHz, whatever the rate of
    the file (``acorl_sb.data.audio.read_audio`` takes them as they are). ``session`` and
    ``gender`` (``m`` or ``f``) are empty where unknown; sessions are only compared within one
    speaker. ``attributes`` are further columns, such as age, language or accent, as texts.
    """

    id: str
    duration: float
    wav: str
    start: int
    stop: int
    spk_id: str
    session: str = ""
    gender: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)

    def attribute(self, name: str) -> str:
        """Session, gender or a further column by its name; empty where unknown."""
        if name in ("session", "gender"):
            return str(getattr(self, name))
        return self.attributes.get(name, "")


def write_manifest(path: str | os.PathLike, utterances: Iterable[Utterance]) -> None:
    """Write a manifest CSV, whole or not at all; further columns are those that any utterance has.

    Raises ``UserError`` for an ID that is empty, given twice, or holds white space (trial lists are
    separated by white space).
    """
    utterances = list(utterances)
    more = sorted({name for u in utterances for name in u.attributes})
    seen: set[str] = set()
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*FIELDS, *more])
        for u in utterances:
            check_id(u.id, f"{path}: utterance {u.wav}")
            if u.id in seen:
                raise UserError(
                    f"{path}: the ID {u.id!r} is given twice, the second time for {u.wav}"
                )
            seen.add(u.id)
            known = (u.id, f"{u.duration:.5f}", u.wav, u.start, u.stop)
            writer.writerow(
                [
                    *known,
                    u.spk_id,
                    u.session,
                    u.gender,
                    *(u.attributes.get(name, "") for name in more),
                ]
            )


def read_manifest(path: str | os.PathLike) -> list[Utterance]:
    """Read a manifest CSV; the columns session and gender may be absent, others are ``attributes``.

    Raises ``UserError`` naming file and line for a missing file or column, an empty manifest, an
    ID that is empty, holds white space or occurs twice, an empty speaker or file name, and figures
    that are not numbers or make no sense.
    """
    text = io.StringIO(read_text(path, "manifest"), newline="")
    try:
        return _read_rows(path, csv.DictReader(text))
    except csv.Error as error:
        raise UserError(f"{shown(path)}: not a CSV file ({error})") from None


def _read_rows(path: str | os.PathLike, rows: csv.DictReader) -> list[Utterance]:
    missing = [name for name in REQUIRED if name not in (rows.fieldnames or ())]
    if missing:
        raise UserError(
            f"{path} line 1: the column {', '.join(missing)} is missing; "
            f"the header must be {','.join(FIELDS)}"
        )
    utterances: list[Utterance] = []
    line_of: dict[str, int] = {}
    for row in rows:
        where = f"{path} line {rows.line_num}"
        if any(row[name] is None for name in REQUIRED):
            raise UserError(f"{where}: fewer values than columns")
        check_id(row["ID"], where)
        if row["ID"] in line_of:
            raise UserError(
                f"{where}: the ID {row['ID']!r} is already on line {line_of[row['ID']]}"
            )
        line_of[row["ID"]] = rows.line_num
        utterances.append(_utterance(row, where))
    if not utterances:
        raise UserError(f"{path}: the manifest has no utterances")
    return utterances


def _utterance(row: dict[str, str | None], where: str) -> Utterance:
    try:
        numbers = [row[key] or "" for key in ("duration", "start", "stop")]
        if not all(_DIGITS.fullmatch(text) for text in numbers):
            raise ValueError
        duration, start, stop = float(numbers[0]), int(numbers[1]), int(numbers[2])
    except ValueError:
        raise UserError(
            f"{where}: duration, start and stop must be numbers (seconds, samples, samples), "
            f"got {row['duration']!r}, {row['start']!r}, {row['stop']!r}"
        ) from None
    if not (0 < duration < float("inf") and 0 <= start < stop):
        raise UserError(
            f"{where}: duration must be positive and start < stop, "
            f"got duration {duration}, start {start}, stop {stop}"
        )
    if not row["spk_id"] or not row["wav"]:
        raise UserError(f"{where}: spk_id and wav must not be empty")
    return Utterance(
        row["ID"] or "",
        duration,
        row["wav"],
        start,
        stop,
        row["spk_id"],
        row.get("session") or "",
        row.get("gender") or "",
        {name: value for name, value in row.items() if name and name not in FIELDS and value},
    )


def check_id(name: str, where: str) -> None:
    """``UserError``, beginning with ``where``, for an ID that is empty or holds white space."""
    if not name or name.split() != [name]:
        raise UserError(f"{where}: an ID must be one word without white space, got {name!r}")
