"""Columns of a block of lines without a Python object a field: places, hashes, numbers, words."""

from __future__ import annotations

import numpy as np

_SPARE = 64  # zero bytes behind the text, so that whole words can be read from its last field
_LONGEST = 512  # bytes of a field that are hashed word by word; longer ones one by one
_WIDEST = 64  # bytes of a number that are read together
# A field's hash multiplies by other odd numbers in each process: no file can be made to collide.
_FACTORS = 1 + 2 * np.random.default_rng().integers(1 << 62, size=66, dtype=np.uint64)
_KEPT = np.array([(1 << (8 * n)) - 1 for n in range(9)], np.uint64)  # mask of n bytes of a word
_MIX, _AGAIN = np.uint64(32), np.uint64(0xD6E8FEB86659FD93)


class Column:
    """One field of every line of a block: where each begins and how long it is.

    Arguments
    ---------
    text : uint8 (T,)
        The block, with ``_SPARE`` more bytes of zero.
    starts, lengths : int64 (N,)
    """

    def __init__(self, text: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> None:
        self.text, self.starts, self.lengths = text, starts, lengths

    def __len__(self) -> int:
        return len(self.starts)

    def fields(self, rows: np.ndarray | None = None) -> list[bytes]:
        """The fields of the lines ``rows``, all if None."""
        starts, lengths = self.starts, self.lengths
        if rows is not None:
            starts, lengths = starts[rows], lengths[rows]
        text, ends = self.text.data, (starts + lengths).tolist()
        return [bytes(text[a:b]) for a, b in zip(starts.tolist(), ends, strict=True)]

    def hashes(self) -> np.ndarray:
        """uint64 (N,): equal for equal fields, and all but surely unequal for others; never 0."""
        words = np.ndarray((len(self.text) - 7,), "<u8", self.text, strides=(1,))
        found = self.lengths.astype(np.uint64) * _FACTORS[0]
        rows: np.ndarray | slice = slice(None)
        longest = int(self.lengths.max(initial=0))
        for word in range(-(-min(longest, _LONGEST) // 8)):
            left = self.lengths - 8 * word  # bytes from this word on
            if not (left > 0).all():
                rows = np.flatnonzero(left > 0)
            mixed = words[self.starts[rows] + 8 * word]
            mixed &= _KEPT.take(np.minimum(left[rows], 8))
            mixed ^= found[rows]
            mixed *= _FACTORS[word + 1]
            mixed ^= mixed >> _MIX
            # One round carries the last letters of a word to a few bits only, which letters of the
            # next word can undo: numbers in columns of ids would then share hashes.
            mixed *= _FACTORS[0]
            mixed ^= mixed >> _MIX
            mixed *= _AGAIN
            found[rows] = mixed
        if longest > _LONGEST:
            rows = np.flatnonzero(self.lengths > _LONGEST)
            found[rows] = np.array([hash(field) for field in self.fields(rows)]).view(np.uint64)
        found[found == 0] = 1
        return found

    def strings(self, width: int) -> np.ndarray:
        """The first ``width`` bytes of each field, at most ``_SPARE``: S<width> (N,)."""
        views = np.ndarray((len(self.text) - width + 1,), f"S{width}", self.text, strides=(1,))
        picked = views[self.starts]
        letters = picked.view(np.uint8).reshape(len(picked), width)
        letters *= np.arange(width) < self.lengths[:, None]  # not what stands behind the field
        return picked

    def flags(self, words: dict[bytes, bool]) -> np.ndarray | None:
        """bool (N,): what ``words`` says of each field; None where one is none of them."""
        fields = self.strings(1 + max(map(len, words)))
        true = np.zeros(len(fields), bool)
        known = np.zeros(len(fields), bool)
        for word, value in words.items():
            same = fields == word
            known |= same
            if value:
                true |= same
        return true if known.all() else None

    def numbers(self) -> np.ndarray | None:
        """float64 (N,), as Python's ``float`` reads the fields; None where one is no number.

        Only plain, finite numbers: an underscore among digits, which Python passes over, is none.
        """
        longest = int(self.lengths.max(initial=1))
        fields = np.array(self.fields()) if longest > _WIDEST else self.strings(longest)
        if (np.ascontiguousarray(fields).view(np.uint8) == ord("_")).any():
            return None
        try:
            values = fields.astype(np.float64)
        except ValueError:
            return None
        return values if np.isfinite(values).all() else None


def split_columns(data: bytes, count: int) -> list[Column] | None:
    """The ``count`` columns of whole lines, or None where a line has another number of fields.

    Fields are parted by what ``bytes.split`` takes for white space; blank lines are passed over.
    ``data`` ends in a newline.
    """
    text = np.frombuffer(data + bytes(_SPARE), np.uint8)
    blank = text[: len(data)] == 32
    blank |= (text[: len(data)] - np.uint8(9)) < 5  # tab, newline, form feeds, carriage return
    edges = np.flatnonzero(blank[1:] != blank[:-1]) + 1
    if not blank[0]:
        edges = np.concatenate([[0], edges])
    starts, ends = edges[::2], edges[1::2]
    newlines = np.flatnonzero(text[: len(data)] == 10)
    lines = len(newlines)
    regular = len(starts) == count * lines
    regular = regular and bool((ends[count - 1 :: count] <= newlines).all())
    if not (regular and (starts[count::count] > newlines[:-1]).all()):
        fields = np.diff(np.searchsorted(starts, newlines), prepend=0)  # of each line
        if not ((fields == count) | (fields == 0)).all():
            return None
    lengths = ends - starts
    return [Column(text, starts[n::count], lengths[n::count]) for n in range(count)]


class Ids:
    """Gives every distinct id its number, from 0 on; the same file always gives the same numbers.

    A dictionary would make a Python object of each of tens of millions of fields. Here a field is
    known by its 64-bit hash alone, looked up in one table for a whole column at a time; that two
    of a million ids share their hash has a chance below 1e-7.
    """

    def __init__(self) -> None:
        self._names: list[bytes] = []
        self._hashes = np.zeros(0, np.uint64)  # by number
        self._grow(1 << 12)

    def number(self, column: Column) -> np.ndarray:
        """int64 (N,) numbers of the ids."""
        hashes = column.hashes()
        found = self._find(hashes)
        unknown = np.flatnonzero(found < 0)
        if len(unknown):
            self._add(column, hashes[unknown], unknown)
            found[unknown] = self._find(hashes[unknown])
        return found

    def names(self) -> list[str]:
        """All ids by number. Raises ``UnicodeDecodeError`` for one that is not UTF-8."""
        # No id holds a newline, so all can be decoded in one go.
        return b"\n".join(self._names).decode().split("\n") if self._names else []

    def _find(self, hashes: np.ndarray) -> np.ndarray:
        """int64 (N,) numbers, -1 where there is none yet."""
        place = (hashes >> self._shift).astype(np.int64)
        found, held = self._numbers.take(place), self._keys.take(place)
        # Another id in its place: it stands in one of the next, up to an empty one.
        rows = np.flatnonzero((held != hashes) & (held != 0))
        while len(rows):
            place[rows] = (place[rows] + 1) % len(self._keys)
            held = self._keys.take(place[rows])
            found[rows] = self._numbers.take(place[rows])
            rows = rows[(held != hashes[rows]) & (held != 0)]
        return found

    def _add(self, column: Column, hashes: np.ndarray, lines: np.ndarray) -> None:
        fresh, first = np.unique(hashes, return_index=True)
        order = np.argsort(first)  # of first appearance, which does not vary as hashes do
        self._names += column.fields(lines[first[order]])
        old = len(self._hashes)
        self._hashes = np.concatenate([self._hashes, fresh[order]])
        if 4 * len(self._hashes) > len(self._keys):
            self._grow(8 * len(self._hashes))
        else:
            self._put(np.arange(old, len(self._hashes)))

    def _grow(self, least: int) -> None:
        bits = max(12, (least - 1).bit_length())
        self._shift = np.uint64(64 - bits)
        self._keys = np.zeros(1 << bits, np.uint64)  # 0: empty
        self._numbers = np.full(1 << bits, -1, np.int64)
        self._put(np.arange(len(self._hashes)))

    def _put(self, numbers: np.ndarray) -> None:
        """Give each number the first empty place from its own on."""
        place = (self._hashes[numbers] >> self._shift).astype(np.int64)
        while len(numbers):
            free = self._keys.take(place) == 0
            self._numbers[place[free]] = numbers[free]  # of several the last stays
            won = free & (self._numbers.take(place) == numbers)
            self._keys[place[won]] = self._hashes[numbers[won]]
            place, numbers = (place[~won] + 1) % len(self._keys), numbers[~won]
