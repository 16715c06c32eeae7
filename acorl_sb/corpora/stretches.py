"""Utterances that are stretches of recordings, as tables of files list them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from acorl_sb.corpora.listing import read_headers
from acorl_sb.data.audio import SAMPLE_RATE, SHORTEST
from acorl_sb.data.manifest import Utterance, check_id
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import require_utf8
from acorl_sb.utils.reading import shown

OVERSHOOT = 0.5
"""Seconds that a stretch may end after its recording, as in Kaldi; it is cut off there."""


class Row(NamedTuple):
    """One line of a table; ``start`` and ``end`` in seconds, ``end`` None: the file's end.

    ``where`` names the line in messages.
    """

    id: str
    path: str
    where: str
    speaker: str = ""
    session: str = ""
    gender: str = ""
    start: float = 0.0
    end: float | None = None
    attributes: Mapping[str, str] | None = None


def stretches(rows: Iterable[Row]) -> list[Utterance]:
    """The utterances of a table's rows, in order, after a look at every recording.

    Raises ``UserError``, naming the row, for an ID that is empty, has white space or is given
    twice, and for a stretch that is empty, too short or beyond its recording; and for a recording
    that ``read_header`` refuses.
    """
    rows = list(rows)
    lines: dict[str, str] = {}
    for row in rows:
        require_utf8(row.path)
        check_id(row.id, row.where)
        if row.id in lines:
            raise UserError(f"{row.where}: the ID {row.id!r} is already at {lines[row.id]}")
        lines[row.id] = row.where
    paths = list(dict.fromkeys(row.path for row in rows))
    headers = dict(zip(paths, read_headers(paths), strict=True))
    made = []
    for row in rows:
        header = headers[row.path]
        seconds = header.frames / header.rate
        end = seconds if row.end is None else row.end
        if not (0 <= row.start < end <= seconds + OVERSHOOT and row.start < seconds):
            raise UserError(
                f"{row.where}: {row.start:g} to {end:g} s is no stretch of {shown(row.path)}, "
                f"which lasts {seconds:.3f} s"
            )
        start = round(row.start * SAMPLE_RATE)
        stop = header.length(SAMPLE_RATE)
        stop = stop if row.end is None else min(stop, round(end * SAMPLE_RATE))
        if stop - start < SHORTEST * SAMPLE_RATE:
            raise UserError(
                f"{row.where}: {(stop - start) / SAMPLE_RATE:.3f} s of {shown(row.path)} are too "
                f"little to tell a speaker by, {SHORTEST} s are the least; take the line out"
            )
        duration = (stop - start) / SAMPLE_RATE
        who = (row.speaker, row.session, row.gender)
        made.append(Utterance(row.id, duration, row.path, start, stop, *who, row.attributes or {}))
    return made


def located(path: str, *folders: Path) -> str:
    """A file that a table names: as it stands, else in the first of ``folders`` that has it."""
    if not os.path.isabs(path):
        for place in ("", *folders):
            if os.path.exists(found := os.path.join(place, path)):
                return os.path.abspath(found)
    return os.path.abspath(os.path.join(*folders[:1], path))
