"""Reading large tables of white-space separated fields: fast, and exact about the bad line.

pandas' ``read_csv`` was looked at: it splits lines faster, but reads a line with a field too few as
one with an empty field; ``numpy.loadtxt`` holds every id as text of the longest one's size.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from acorl_sb.data.columns import Column, Ids, split_columns
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.reading import open_input, shown

_BLOCK_BYTES = 1 << 20  # small enough for a processor's cache
_LONGEST_LINE = 64 << 20  # bytes; what is longer is no table
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Block:
    """Some whole lines of a file, with the number of the first (from 1)."""

    def __init__(self, path: str, first_line: int, data: bytes) -> None:
        self.path, self.first_line, self.data = path, first_line, data

    def lines(self) -> Iterator[tuple[int, list[bytes]]]:
        """(line number, fields) of every line that is not blank."""
        for number, line in enumerate(self.data.split(b"\n"), self.first_line):
            if fields := line.split():
                yield number, fields

    def columns(self, count: int, check: Callable[[list[bytes]], str | None]) -> list[Column]:
        """The fields, column by column; blank lines are passed over.

        ``check`` says what is wrong with the fields of one line, or None; it is asked only when a
        line has not ``count`` fields, to word the error.
        """
        columns = split_columns(self.data, count)
        return self.blame(check) if columns is None else columns

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


def id_names(ids: Ids, path: str) -> list[str]:
    """All ids by number. Raises ``UserError`` for one that is not UTF-8."""
    try:
        return ids.names()
    except UnicodeDecodeError as error:
        field = error.object[: error.start].rsplit(b"\n")[-1]
        field += error.object[error.start :].split(b"\n")[0]
        raise UserError(f"{path}: {field!r} is not UTF-8 text") from None


def some(items: Iterable[object], limit: int = 3) -> str:
    """The first few of ``items`` for a message, quoted: ``'a', 'b', 'c' and 2 more``."""
    items = list(items)
    text = ", ".join(f"'{item}'" for item in items[:limit])
    return text if len(items) <= limit else f"{text} and {len(items) - limit} more"
