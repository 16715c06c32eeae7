"""The store in Milvus Lite: it keeps, finds, forgets and refuses what the default one does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from acorl_sb.store import open_store, store_exists
from acorl_sb.store.store_model import StoreModel
from acorl_sb.utils.errors import UserError
from tests import commands
from tests.store.enrolling import enrol, model, vector

COUNT = 60


@pytest.fixture()
def path(tmp_path):
    return f"milvus:{tmp_path}/speakers.db"


@pytest.fixture()
def store(path):
    opened = open_store(path, model(), create=True)
    for number in range(COUNT):
        enrol(opened, number)
    yield opened
    opened.close()


def in_files(path, data: bytes) -> bool:
    """Whether some file of the store holds these bytes."""
    return any(
        data in open(os.path.join(folder, name), "rb").read()
        for folder, _, names in os.walk(path.removeprefix("milvus:"))
        for name in names
    )


@pytest.mark.parametrize("top", [None, 1, 10, 100])
def test_it_finds_what_the_default_store_finds(store, top):
    with_file = open_store(None, model(), create=True)
    for number in range(COUNT):
        enrol(with_file, number)
    query = np.random.default_rng(5).standard_normal(8)
    found, expected = store.search(query, top), with_file.search(query, top)
    assert [name for name, _ in found] == [name for name, _ in expected]
    np.testing.assert_allclose([p for _, p in found], [p for _, p in expected], rtol=1e-12)
    with_file.close()


def test_what_is_enrolled_is_kept_with_how_it_was(path, store):
    store.enrol('O"Brien \\ Ren\u00e9', vector(70), 2, 1.5)
    before = store.speakers()
    store.close()
    again = open_store(path, model())
    assert again.speakers() == before and len(again) == COUNT + 1
    assert 'O"Brien \\ Rene\u0301' in again and "nobody" not in again
    np.testing.assert_array_equal(again.vector("speaker 7"), vector(7))
    (seventh,) = [row for row in again.speakers() if row.name == "speaker 7"]
    assert (seventh.utterances, seventh.seconds, seventh.model) == (8, 3.5, model().hash)
    assert [row.name for row in before] == sorted(row.name for row in before)
    again.close()


def test_enrolling_anew_is_said_and_the_old_vector_gone(path, store):
    with pytest.raises(UserError, match="'speaker 1'"):
        store.enrol("speaker 1", vector(70))
    np.testing.assert_array_equal(store.vector("speaker 1"), vector(1))
    store.enrol("speaker 1", vector(70), replace=True)
    np.testing.assert_array_equal(store.vector("speaker 1"), vector(70))
    assert len(store) == COUNT
    assert in_files(path, vector(2).tobytes()) != in_files(path, vector(1).tobytes())


def test_what_is_deleted_is_in_no_file(path, store):
    store.enrol("a very rare name", vector(80))
    store.close()  # into the files that Milvus Lite keeps
    assert in_files(path, b"rare name") and in_files(path, vector(5).tobytes())
    opened = open_store(path, model())
    with pytest.raises(UserError, match="nobody"):
        opened.delete(["speaker 5", "nobody"])
    assert len(opened) == COUNT + 1
    opened.delete(["a very rare name", "speaker 5"])
    assert not in_files(path, b"rare name") and not in_files(path, vector(80).tobytes())
    opened.close()
    opened = open_store(path, model())
    assert not in_files(path, b"rare name") and not in_files(path, vector(5).tobytes())
    assert len(opened) == COUNT - 1 and "speaker 5" not in opened
    query = vector(5).astype(float)
    assert "speaker 5" not in dict(opened.search(query, COUNT))
    opened.delete([row.name for row in opened.speakers()])
    assert len(opened) == 0 and opened.search(np.ones(8)) == opened.search(np.ones(8), 3) == []
    opened.close()


def test_killed_while_enrolling_all_or_nothing_of_each_is_there(path):
    with subprocess.Popen(
        [sys.executable, "-m", "tests.store.enrolling", path],
        cwd=commands.ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stdout:
            said = int(line)
            if said >= 90:
                with pytest.raises(UserError, match="milvus:"):  # it is in use
                    open_store(path, model())
                process.send_signal(signal.SIGKILL)
                break
    store = open_store(path, model())
    rows = {row.name: row for row in store.speakers()}
    assert len(rows) > said
    for number in range(len(rows)):
        row = rows[f"speaker {number}"]
        assert (row.utterances, row.seconds) == (number + 1, 0.5 * number)
        np.testing.assert_array_equal(store.vector(row.name), vector(number))
    store.close()


@pytest.mark.parametrize("weights", ["1", None], ids=["weights", "front end"])
def test_a_store_of_another_model_is_refused(path, store, weights):
    store.close()
    other = model(weights or "0")
    if weights is None:
        other = StoreModel(other.names, other.dims, other.weights, vector(11))
    for create in (False, True):
        with pytest.raises(UserError, match="milvus:"):
            open_store(path, other, create)
    opened = open_store(path)  # which lists and deletes
    assert len(opened) == COUNT
    opened.close()


def test_what_is_no_store_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "file.db").write_text("SQLite")
    (tmp_path / "folder.db").mkdir()
    for name in ("file.db", "folder.db", "none.db", "no_suffix", "gone/x.db"):
        place = f"milvus:{tmp_path}/{name}"
        creates = (False, True) if name != "none.db" else (False,)
        for create in creates:
            with pytest.raises(UserError, match=name):
                open_store(place, model(), create)
            with pytest.raises(UserError, match=name):
                store_exists(place, create)
    assert (tmp_path / "file.db").read_text() == "SQLite"
    assert sorted(os.listdir(tmp_path)) == ["file.db", "folder.db"]
    assert not os.listdir(tmp_path / "folder.db")


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "milvus_lite", None)
    with pytest.raises(UserError, match="milvus"):
        open_store(f"milvus:{tmp_path}/new.db", model(), create=True)
    assert not os.listdir(tmp_path)
