"""Reading large tables of white-space separated fields: fast, and exact about the bad line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from acorl_sb.utils.errors import UserError
from acorl_sb.utils.reading import open_input, shown

_BLOCK_BYTES = 1 << 20  # small enough for a processor's cache
_LONGEST_LINE = 64 << 20  # bytes; what is longer is no table
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_END = b"\0"  # end-of-line mark among the fields


class Block:
    """Some whole lines of a file, with the number of the first (from 1)."""

    def __init__(self, path: str, first_line: int, data: bytes) -> None:
        self.path, self.first_line, self.data = path, first_line, data

    def lines(self) -> Iterator[tuple[int, list[bytes]]]:
        """(line number, fields) of every line that is not blank."""
        for number, line in enumerate(self.data.split(b"\n"), self.first_line):
            if fields := line.split():
                yield number, fields

    def columns(self, count: int, check: Callable[[list[bytes]], str | None]) -> list[list[bytes]]:
        """The fields, column by column; blank lines are passed over.

        ``check`` says what is wrong with the fields of one line, or None; it is asked only when a
        line has not ``count`` fields, to word the error.
        """
        # All lines are split in one go. The mark after each line must then stand at every
        # (count + 1)-th place, which is so exactly when every line has ``count`` fields.
        tokens = self.data.replace(b"\n", b" \0 ").split()
        if not _marks_fit(tokens, count):
            kept = [fields for _, fields in self.lines()]
            tokens = [token for fields in kept for token in (*fields, _END)]
            if not _marks_fit(tokens, count):
                self.blame(check)
        return [tokens[place :: count + 1] for place in range(count)]

    def blame(self, check: Callable[[list[bytes]], str | None]) -> NoReturn:
        """Raise ``UserError`` for the first line that ``check`` finds fault with."""
        for number, fields in self.lines():
            if fault := check(fields):
                raise UserError(f"{self.path} line {number}: {fault}")
        raise AssertionError("a block was refused, but none of its lines")


def read_blocks(path: str | os.PathLike) -> Iterator[Block]:
    """The file in blocks of whole lines, each ending in a newline.

    A byte order mark of UTF-8 is passed over. Raises ``UserError`` when the file is missing,
    unreadable, no regular file, or holds no line, a NUL byte or a line of more than 64 MB.
    """
    name, first_line, rest = shown(path), 1, b""
    with open_input(path) as file:
        if file.read(len(_BYTE_ORDER_MARK)) != _BYTE_ORDER_MARK:
            file.seek(0)
        while data := file.read(_BLOCK_BYTES):
            if b"\0" in data:
                raise UserError(f"{name}: holds a NUL byte, so it is no text file in UTF-8")
            data = rest + data
            cut = data.rfind(b"\n") + 1
            rest, data = data[cut:], data[:cut]
            if data:
                yield Block(name, first_line, data)
                first_line += data.count(b"\n")
            if len(rest) > _LONGEST_LINE:
                raise UserError(f"{name} line {first_line}: a line of more than 64 MB is no table")
    if rest:
        yield Block(name, first_line, rest + b"\n")
    elif first_line == 1:
        raise UserError(f"{name}: the file is empty")


@dataclass(frozen=True)
class LineForm:
    """A form that the lines of a file have: how many fields, and where a label is among them.

    Arguments
    ---------
    fields : int
    label : int
        Column of the label, from 0; -1 for none.
    words : dict or None
        What the label may be, and what that means; None for no label.
    example : str
        A line, for messages.
    """

    fields: int
    label: int
    words: dict[bytes, bool] | None
    example: str

    def fault(self, fields: list[bytes]) -> str | None:
        """What is wrong with a line's fields, in words; None where they fit."""
        if len(fields) != self.fields:
            return f"{self.fields} fields expected ({self.example}), found {len(fields)}"
        if self.words is not None and fields[self.label] not in self.words:
            found = fields[self.label].decode(errors="replace")
            allowed = " or ".join(f"'{word.decode()}'" for word in self.words)
            return f"the label must be {allowed} ({self.example}), not '{found}'"
        return None


def decode(field: bytes, where: str) -> str:
    """A field as text. Raises ``UserError``, beginning with ``where``, for one not in UTF-8."""
    try:
        return field.decode()
    except UnicodeDecodeError:
        raise UserError(f"{where}: {field!r} is not UTF-8 text") from None


class Ids:
    """Gives every distinct id its number, from 0 on; the same file always gives the same numbers.

    A dictionary would look at three far-apart places of memory for each of tens of millions of
    fields. Here a field is known by its 64-bit hash alone, looked up in one small sorted array;
    that two of a million ids share their hash has a chance below 1e-7.
    """

    def __init__(self) -> None:
        self._names: list[bytes] = []
        self._hashes = np.zeros(0, np.int64)  # ascending
        self._numbers = np.zeros(0, np.int64)  # number of the id with that hash

    def number(self, names: Sequence[bytes]) -> np.ndarray:
        """int64 (N,) numbers of the ids."""
        hashes = np.fromiter(map(hash, names), np.int64, len(names))
        place = np.searchsorted(self._hashes, hashes)
        known = place < len(self._hashes)
        known[known] = self._hashes[place[known]] == hashes[known]
        if not known.all():
            self._add(names, hashes, np.flatnonzero(~known))
            place = np.searchsorted(self._hashes, hashes)
        return self._numbers[place]

    def _add(self, names: Sequence[bytes], hashes: np.ndarray, unknown: np.ndarray) -> None:
        fresh, first = np.unique(hashes[unknown], return_index=True)
        order = np.argsort(first)  # of first appearance, which does not vary as hashes do
        numbers = np.empty_like(order)
        numbers[order] = np.arange(len(order)) + len(self._names)
        self._names.extend(names[index] for index in unknown[first[order]].tolist())
        place = np.searchsorted(self._hashes, fresh)
        self._hashes = np.insert(self._hashes, place, fresh)
        self._numbers = np.insert(self._numbers, place, numbers)

    def names(self, path: str) -> list[str]:
        """All ids by number. Raises ``UserError`` for one that is not UTF-8."""
        return [decode(name, path) for name in self._names]


def some(items: Iterable[object], limit: int = 3) -> str:
    """The first few of ``items`` for a message, quoted: ``'a', 'b', 'c' and 2 more``."""
    items = list(items)
    text = ", ".join(f"'{item}'" for item in items[:limit])
    return text if len(items) <= limit else f"{text} and {len(items) - limit} more"


def _marks_fit(tokens: list[bytes], count: int) -> bool:
    lines, over = divmod(len(tokens), count + 1)
    return not over and tokens[count :: count + 1].count(_END) == lines
