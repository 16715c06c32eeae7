"""What is known of speakers: columns of manifests, or of tables with one row a speaker."""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from acorl_sb.data.lines import some
from acorl_sb.data.manifest import REQUIRED, Utterance, read_manifest
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.reading import read_text, shown

_SPEAKER = ("speaker", "spk_id")
_BAND = re.compile(r"(?P<below>below )?(?P<number>-?[0-9.]+(e[-+]?[0-9]+)?)( to .*| or more)?")
BANDS = {"age": [13.0, 18.0, 60.0]}  # lower ends, years: children, teenagers, adults, the old


class Attributes:
    """Attribute -> speaker -> value; values are texts, empty ones are left out.

    Arguments
    ---------
    names : sequence of str
        Columns that are known at all, whether or not any speaker has a value.
    of : mapping attribute -> mapping speaker -> value

    Example
    -------
    >>> known = Attributes(["gender", "age"], {"gender": {"ann": "f"}, "age": {"ann": "9"}})
    >>> known.groups("gender+age", ["ann", "bob"])
    ['f, below 13', '']
    """

    def __init__(self, names: Sequence[str], of: Mapping[str, Mapping[str, str]]) -> None:
        self.names, self.of = list(names), of

    def groups(
        self, name: str, speakers: Sequence[str], bands: Mapping[str, Sequence[float]] | None = None
    ) -> list[str]:
        """The group of each speaker; empty where unknown.

        ``name`` is a column, or several joined by ``+``: every combination is then a group.
        ``bands`` has the lower ends of the bands that numbers are put into, by column; by default
        those of ``BANDS``.

        Raises ``UserError`` for a column that is missing, or has numbers beside other values where
        bands are asked for.
        """
        for key, wanted in (("groups", name.split("+")), ("bands", bands or {})):
            for column in wanted:
                if column not in self.names:
                    raise UserError(
                        f"{key}: there is no column {column!r}; "
                        f"known are {', '.join(self.names) or 'none'}"
                    )
        columns = []
        for column in name.split("+"):
            values = self.of.get(column, {})
            edges = {**BANDS, **(bands or {})}.get(column)
            if edges and (column in (bands or {}) or _all_numbers(values)):
                values = {s: band(v, edges, column) for s, v in values.items()}
            columns.append([values.get(speaker, "") for speaker in speakers])
        return [", ".join(row) if all(row) else "" for row in zip(*columns, strict=True)]


def read_attributes(
    paths: Sequence[str | Path], heard: Sequence[tuple[str, Utterance]] = ()
) -> Attributes:
    """Attributes from manifests, and from CSV files with a column ``speaker`` (or ``spk_id``).

    A manifest's columns beyond the required ones are attributes; where a speaker's utterances
    differ in one, such as the session, it is none. ``heard`` has further utterances, each with the
    name of its speaker, that count as a manifest does.

    Raises ``UserError`` for a file of another form, and files that contradict each other.
    """
    names: dict[str, None] = {}
    of: dict[str, dict[str, str]] = {}
    torn: set[str] = set()
    tables = [(shown(path), *_rows(path)) for path in paths]
    if heard:
        has = {n for _, u in heard for n in ("gender", *u.attributes) if u.attribute(n)}
        columns = sorted(has)
        said = [(speaker, {n: u.attribute(n) for n in columns}) for speaker, u in heard]
        tables.append(("the table of the audio", said, columns))
    for where, rows, columns in tables:
        found: dict[str, dict[str, str]] = {column: {} for column in columns}
        for speaker, row in rows:
            for column in columns:
                value = row.get(column) or ""
                if value and found[column].setdefault(speaker, value) != value:
                    torn.add(column)
        for column in columns:
            if column in torn:
                continue
            names[column] = None
            known = of.setdefault(column, {})
            for speaker, value in found[column].items():
                if known.setdefault(speaker, value) != value:
                    raise UserError(
                        f"{where}: {column} of the speaker {speaker!r} is {value!r} here and "
                        f"{known[speaker]!r} in another file"
                    )
    return Attributes([name for name in names if name not in torn], of)


def band(value: str, edges: Sequence[float], column: str) -> str:
    """The band of a number by its lower ends: ``below 13``, ``13 to 18``, ``60 or more``."""
    try:
        number = float(value)
        if not math.isfinite(number):
            raise ValueError
    except ValueError:
        raise UserError(
            f"groups: bands of {column} need numbers, not {value!r}; leave the bands out"
        ) from None
    ends = sorted(edges)
    above = sum(number >= end for end in ends)
    if above == 0:
        return f"below {ends[0]:g}"
    return (
        f"{ends[-1]:g} or more" if above == len(ends) else f"{ends[above - 1]:g} to {ends[above]:g}"
    )


def group_order(name: str) -> list[tuple[float, int, str]]:
    """By which groups are sorted: bands of numbers by the numbers, all else after them, as text.

    >>> sorted(["60 or more", "m", "below 13", "9", "13 to 60"], key=group_order)
    ['9', 'below 13', '13 to 60', '60 or more', 'm']
    """
    keys = []
    for part in name.split(", "):
        found = _BAND.fullmatch(part)
        number = float(found["number"]) if found else math.inf
        keys.append((number, 0 if found and found["below"] else 1, part))
    return keys


def _all_numbers(values: Mapping[str, str]) -> bool:
    return bool(values) and all(v.replace(".", "", 1).isdecimal() for v in values.values())


def _rows(path: str | Path) -> tuple[list[tuple[str, dict[str, str]]], list[str]]:
    """(speaker, row) of every line, and the columns that are attributes."""
    text = read_text(path, "table of speakers")
    try:
        table = csv.DictReader(io.StringIO(text, newline=""))
        header = [name for name in table.fieldnames or () if name]
        if set(REQUIRED) <= set(header):
            columns = [name for name in header if name not in REQUIRED]
            known = read_manifest(path)
            return [(u.spk_id, {n: u.attribute(n) for n in columns}) for u in known], columns
        key = next((name for name in _SPEAKER if name in header), None)
        if key is None:
            raise UserError(
                f"{shown(path)} line 1: a manifest, or a column 'speaker' and one for each "
                f"attribute is expected; the header is {some(header)}"
            )
        rows: list[tuple[str, dict[str, str]]] = []
        for row in table:
            if not row[key] or None in row or None in row.values():
                raise UserError(
                    f"{shown(path)} line {table.line_num}: a speaker and a value for each other "
                    f"column expected, {len(table.fieldnames or ())} in all"
                )
            rows.append((row[key], {k: v for k, v in row.items() if k}))
    except csv.Error as error:
        raise UserError(f"{shown(path)}: not a CSV file ({error})") from None
    columns = [name for name in header if name not in _SPEAKER]
    twice = [speaker for speaker, n in Counter(s for s, _ in rows).items() if n > 1]
    if twice:
        raise UserError(f"{shown(path)}: speakers are listed twice: {some(twice)}")
    return rows, columns
