"""Valid files, spoiled: cut, overwritten, doubled, and seeded with what parsers stumble over."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

PIECES = [
    *(b"", b"\0", b"\xff", b"\xef\xbb\xbf", b"\n", b"\r\n", b"\r", b" ", b"\t", b",", b'"', b"#"),
    *(b"nan", b"inf", b"-1", b"1_0", b"1e999", b"9" * 30, b"null", b"[]", b"{}", b"[" * 2000),
    *(b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\x80", b"../..", b"/dev/zero"),
    *(b"0", b"1", b"target", b"\xc3\x28", "\u0661".encode(), b"!apply:", b"&a [*a]", b"a" * 5000),
]


class Edit(NamedTuple):
    """At ``place`` (of 0 to 1) ``gone`` bytes (of 0 to 1 of 64) become the piece."""

    place: float
    gone: float
    piece: bytes
    cut: bool = False
    """Everything after the piece is lost."""


def spoil(data: bytes, edits: Sequence[Edit]) -> bytes:
    """Make the edits one after the other."""
    for edit in edits:
        start = int(edit.place * (len(data) + 1))
        stop = len(data) if edit.cut else start + int(64 * edit.gone**3)
        data = data[:start] + edit.piece + data[stop:]
    return data


def draw(rng: random.Random) -> list[Edit]:
    """One to four edits; one in five cuts the file off."""
    return [
        Edit(
            rng.random(),
            rng.random(),
            rng.choice([*PIECES, rng.randbytes(1), rng.randbytes(4)]),
            rng.random() < 0.2,
        )
        for _ in range(rng.randint(1, 4))
    ]
