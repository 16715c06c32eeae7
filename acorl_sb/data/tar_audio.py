"""Audio inside of tar shards: a name that says where in the shard it lies, and that stretch."""

from __future__ import annotations

import io
import os
import re
from typing import NamedTuple

_NAME = re.compile(r"(.+\.tar)#(\d+)\+(\d+)", re.DOTALL)


class TarMember(NamedTuple):
    """``size`` bytes from ``offset`` on of the file ``shard``, written ``shard.tar#512+32044``.

    Example
    -------
    >>> find_member("a/b.tar#512+32044")
    TarMember(shard='a/b.tar', offset=512, size=32044)
    >>> str(find_member("a/b.tar#512+32044")), find_member("a/b.wav")
    ('a/b.tar#512+32044', None)
    """

    shard: str
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.shard}#{self.offset}+{self.size}"

    def open(self) -> io.BufferedReader:
        """The stretch as a file of its own; ``OSError`` for a shard that cannot be opened."""
        return io.BufferedReader(_Stretch(self))


def find_member(path: str | os.PathLike) -> TarMember | None:
    """What a name in a manifest says of a shard; None where it is a file's."""
    found = _NAME.fullmatch(os.fspath(path))
    return found and TarMember(found[1], int(found[2]), int(found[3]))


def file_of(path: str | os.PathLike) -> str:
    """The file on the disk that holds the audio: the shard, or ``path`` itself."""
    member = find_member(path)
    return os.fspath(path) if member is None else member.shard


class _Stretch(io.RawIOBase):
    """Some bytes of a file, read by position."""

    def __init__(self, member: TarMember) -> None:
        self._first, self._size, self._at = member.offset, member.size, 0
        self._file = os.open(member.shard, os.O_RDONLY | getattr(os, "O_BINARY", 0))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer) -> int:
        wanted = max(0, min(len(buffer), self._size - self._at))
        os.lseek(self._file, self._first + self._at, os.SEEK_SET)
        data = os.read(self._file, wanted)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            os.close(self._file)
        super().close()
