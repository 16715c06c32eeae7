"""Opening what a user names: regular files only, text that is UTF-8, JSON that is an object."""

from __future__ import annotations

import json
import os
import stat
from typing import Any, BinaryIO

from acorl_sb.utils.errors import UserError


def shown(path: str | os.PathLike) -> str:
    """A path for a message: what cannot be printed, such as a line break, as an escape."""
    text = os.fspath(path)
    return text if text.isprintable() else repr(text)[1:-1]


def require_regular(path: str | os.PathLike, what: str = "file") -> None:
    """Refuse what would be waited for or has no end, such as a FIFO, a socket or a device.

    Raises ``UserError`` for what is there but no regular file, ``OSError`` for what is not there.
    """
    if "\0" in os.fspath(path):
        raise UserError(f"{shown(path)}: a file name cannot hold a NUL character")
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise UserError(f"{shown(path)}: not a regular file, so no {what}; name another")


def open_input(path: str | os.PathLike, what: str = "file") -> BinaryIO:
    """A regular file, open for reading bytes; ``what`` it should be is for the message.

    Raises ``UserError`` for one that is missing, unreadable or no regular file.
    """
    try:
        require_regular(path, what)
        return open(path, "rb")
    except FileNotFoundError:
        raise UserError(f"{shown(path)}: no such {what}") from None
    except OSError as error:
        raise UserError(f"{shown(path)}: the {what} cannot be read ({error.strerror})") from None


def read_text(path: str | os.PathLike, what: str = "file") -> str:
    """A whole text file in UTF-8, with or without a byte order mark.

    Raises ``UserError`` for what ``open_input`` refuses, other encodings and NUL bytes.
    """
    with open_input(path, what) as file:
        data = file.read()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(
            f"{shown(path)} line {line}: not text in UTF-8; save the {what} in UTF-8"
        ) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise UserError(f"{shown(path)} line {line}: a NUL byte, so this is no text in UTF-8")
    return text


def read_lines(path: str | os.PathLike, what: str = "file") -> list[str]:
    """The lines of a text file, as ``read_text``; they end in ``\\n`` or ``\\r\\n`` alone."""
    lines = read_text(path, what).replace("\r\n", "\n").split("\n")
    return lines if lines[-1] else lines[:-1]


def read_json(path: str | os.PathLike, what: str = "file") -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises ``UserError`` for what ``read_text`` refuses and for anything else than an object.
    """
    try:
        value = json.loads(read_text(path, what))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{shown(path)}: the {what} is not readable as JSON ({error})") from None
    if not isinstance(value, dict):
        raise UserError(f"{shown(path)}: the {what} must be a JSON object of keys and values")
    return value
