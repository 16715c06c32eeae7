"""Columns of a block against ``bytes.split``, ``float`` and a dictionary."""

from __future__ import annotations

import itertools
import random
import string

import numpy as np
import pytest

from acorl_sb.data.columns import Ids, split_columns

BLANKS = [b" ", b"\t", b"  ", b" \t ", b"\x0b", b"\f"]


def block(rows, rng):
    """Lines of these fields, parted in any way that ``bytes.split`` takes, with blank lines."""
    lines = []
    for fields in rows:
        line = rng.choice([b"", b" "])
        line += b"".join(field + rng.choice(BLANKS) for field in fields)
        lines += [line.rstrip() if rng.random() < 0.5 else line]
        lines += [b" "] * (rng.random() < 0.1)
    return rng.choice([b"\n", b"\r\n"]).join(lines) + b"\n"


@pytest.mark.parametrize("seed", range(5))
def test_fields_are_those_of_split_and_numbers_those_of_a_dictionary(seed):
    rng = random.Random(seed)
    letters = [bytes([n]) for n in range(1, 256) if not bytes([n]).isspace()]
    # Names that differ in one byte, at any place of the words that are hashed; two beyond them.
    longest = [b"x" * 700, b"x" * 699 + b"y"]
    stem = b"".join(rng.choices(letters, k=40))
    names = [stem[:n] for n in range(1, 41)] + [stem[:n] + b"#" + stem[n + 1 :] for n in range(40)]
    names += longest
    ids, known = Ids(), {}
    for _ in range(3):
        rows = [(rng.choice(names), rng.choice([b"0", b"1"]), rng.choice(names)) for _ in range(90)]
        columns = split_columns(block(rows, rng), 3)
        assert [column.fields() for column in columns] == [list(c) for c in zip(*rows, strict=True)]
        for column, fields in zip(
            (columns[0], columns[2]), list(zip(*rows, strict=True))[::2], strict=True
        ):
            expected = [known.setdefault(field, len(known)) for field in fields]
            assert ids.number(column).tolist() == expected
        assert columns[1].flags({b"0": False, b"1": True}).tolist() == [r[1] == b"1" for r in rows]
        assert columns[0].flags({b"0": False, b"1": True}) is None


def test_tens_of_thousands_of_ids_keep_their_numbers():
    names = [b"id%d" % (n * 7919) for n in range(30_000)]
    column = split_columns(b"\n".join(names) + b"\n", 1)[0]
    ids = Ids()
    assert np.array_equal(ids.number(column), np.arange(30_000))
    assert np.array_equal(ids.number(column), np.arange(30_000))
    assert ids.names() == [name.decode() for name in names]


@pytest.mark.parametrize("seed", range(3))
def test_ids_that_differ_in_a_few_columns_have_different_hashes(seed, monkeypatch):
    factors = 1 + 2 * np.random.default_rng(seed).integers(1 << 62, size=66, dtype=np.uint64)
    monkeypatch.setattr("acorl_sb.data.columns._FACTORS", factors)
    letters = string.ascii_letters + string.digits
    # At the end of a word of eight bytes, and in the middle and at the end of the next.
    places = itertools.product(letters[:12], letters, letters)
    names = ["spk0000{}utt{}000{}".format(*place).encode() for place in places]
    column = split_columns(b"\n".join(names) + b"\n", 1)[0]
    assert len(np.unique(column.hashes())) == len(names)


@pytest.mark.parametrize("text", [b"a b\nc\n", b"a\nb c\n", b"a b c\nd\n", b"a b\n\nc d e\n"])
def test_another_number_of_fields_is_seen_though_the_sum_fits(text):
    assert split_columns(text, 2) is None


def test_blank_lines_alone_are_no_lines():
    assert [len(column) for column in split_columns(b" \n\r\n\t\n", 3)] == [0, 0, 0]


def test_numbers_are_those_of_float():
    rng = np.random.default_rng(0)
    values = [*rng.normal(size=200), *10.0 ** rng.uniform(-300, 300, 200), 0.1, -0.0, 5e-324, 1e23]
    texts = [repr(float(value)).encode() for value in values]
    texts += [b"+1", b"1.", b".5", b"1E5", b"-1e-7", b"0" * 70 + b"1.25"]
    for some in (texts, texts[:-1]):  # with one that is longer than others are read, and without
        found = split_columns(b"\n".join(some) + b"\n", 1)[0].numbers()
        assert np.array_equal(found, [float(text) for text in some])


@pytest.mark.parametrize(
    "text", [b"x", b"1_0", b"0x10", b"nan", b"-inf", b"1e999", b"1,5", b"--1", b"1" * 80 + b"_1"]
)
def test_what_is_no_plain_finite_number_is_refused(text):
    assert split_columns(b"1.5\n" + text + b"\n", 1)[0].numbers() is None
