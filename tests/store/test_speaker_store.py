"""The store of enrolled speakers: what it keeps, finds, forgets and refuses."""

from __future__ import annotations

import datetime
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

from acorl_sb.store import open_store
from acorl_sb.store.speaker_store import StoreWarning
from acorl_sb.store.store_model import StoreModel, join
from acorl_sb.utils.errors import UserError
from tests import commands
from tests.store.enrolling import COUNT, enrol, model, stored, vector


@pytest.fixture(scope="module")
def folder():
    """Where waiting for the disk takes no time; a killed process loses nothing there either."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as made:
        yield Path(made)


@pytest.fixture(scope="module")
def forty(folder):
    """The file of a store of forty speakers, to be copied."""
    return stored(folder / "forty.db", 40)


@pytest.fixture()
def path(folder):
    with tempfile.TemporaryDirectory(dir=folder) as made:
        yield Path(made) / "speakers.db"


@pytest.fixture()
def store(path, forty):
    shutil.copy(forty, path)
    opened = open_store(path, model())
    yield opened
    opened.close()


def by_hand(query, numbers):
    """Names and products, largest first, one product at a time."""
    pairs = [(f"speaker {n}", float(np.dot(vector(n).astype(float), query))) for n in numbers]
    return sorted(pairs, key=lambda pair: -pair[1])


# --- Kept and found ------------------------------------------------------------------------------


@pytest.mark.parametrize("top", [None, 1, 5, 100])
def test_the_largest_products_are_found_with_their_values(store, top):
    query = np.random.default_rng(5).standard_normal(8)
    found, expected = store.search(query, top), by_hand(query, range(40))[:top]
    assert [name for name, _ in found] == [name for name, _ in expected]
    np.testing.assert_allclose([p for _, p in found], [p for _, p in expected], rtol=1e-12)


def test_equal_products_are_in_the_order_of_their_names(path):
    opened = open_store(path, model(), create=True)
    for number in range(30):
        enrol(opened, number)
    for number in reversed(range(90)):  # more than are asked for, the first name last
        opened.enrol(f"twin {number:02}", vector(7))
    query = vector(7).astype(float)
    found = opened.search(query, 9)
    assert [name for name, _ in found] == ["speaker 7", *(f"twin {n:02}" for n in range(8))]
    assert len({product for _, product in found}) == 1
    opened.close()


def test_what_is_enrolled_is_kept_with_how_it_was(path, store):
    before = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=5)
    store.close()
    again = open_store(path, model())
    assert len(again) == 40 and "speaker 7" in again and "speaker 40" not in again
    np.testing.assert_array_equal(again.vector("speaker 7"), vector(7))
    (seventh,) = [row for row in again.speakers() if row.name == "speaker 7"]
    assert (seventh.utterances, seventh.seconds, seventh.model) == (8, 3.5, model().hash)
    assert before < datetime.datetime.fromisoformat(seventh.enrolled) < before.now(before.tzinfo)
    assert [row.name for row in again.speakers()] == sorted(f"speaker {n}" for n in range(40))


@pytest.mark.parametrize("searched_before", [False, True])
def test_changes_are_searched_at_once(path, store, searched_before):
    """Own ones, and those of another process."""
    query = vector(99).astype(float)
    if searched_before:
        store.search(query, 1)
    store.enrol("own", vector(99))
    assert store.search(query, 1)[0][0] == "own"
    store.enrol("own", vector(3), replace=True)
    store.delete(["speaker 3", "speaker 39"])
    other = open_store(path, model())
    other.enrol("other", vector(99))
    assert store.search(query, 1)[0] == pytest.approx(("other", 2.0))
    other.delete("other")
    expected = dict(by_hand(query, [n for n in range(40) if n not in (3, 39)]))
    expected["own"] = by_hand(query, [3])[0][1]
    assert dict(store.search(query)) == pytest.approx(expected)


def test_threads_share_a_store(store):
    def work(first):
        for number in range(first, first + 20):
            enrol(store, number)
            store.search(vector(number).astype(float), 1)

    threads = [threading.Thread(target=work, args=(100 * k,)) for k in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store) == 40 + 4 * 20
    query = vector(110).astype(float)
    assert store.search(query, 1)[0] == pytest.approx(("speaker 110", 2.0))


def test_names_are_the_same_however_their_accents_are_coded(store):
    store.enrol("Ren\u00e9", vector(50))
    assert "Rene\u0301" in store
    with pytest.raises(UserError):
        store.enrol("Rene\u0301", vector(51))


# --- Explicit, real, as a whole ------------------------------------------------------------------


def test_enrolling_anew_is_said(store):
    with pytest.raises(UserError):
        store.enrol("speaker 1", vector(70))
    np.testing.assert_array_equal(store.vector("speaker 1"), vector(1))
    store.enrol("speaker 1", vector(70), replace=True)
    np.testing.assert_array_equal(store.vector("speaker 1"), vector(70))
    assert len(store) == 40


def test_what_is_deleted_or_replaced_is_in_the_file_no_more(path, store):
    assert all(vector(n).tobytes() in path.read_bytes() for n in (5, 6, 7))
    store.delete(["speaker 5"])
    store.enrol("speaker 6", vector(60), replace=True)
    data = path.read_bytes()
    assert vector(5).tobytes() not in data and vector(6).tobytes() not in data
    assert b"speaker 5" not in data and vector(7).tobytes() in data
    store.delete([row.name for row in store.speakers()])
    assert len(store) == 0 and store.search(np.ones(8)) == []
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA freelist_count").fetchone() == (0,)
    assert os.listdir(path.parent) == [path.name]


def no_vacuum(action, *about):
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK


def test_a_deletion_whose_file_cannot_be_written_anew_is_one(path, store):
    store._connection.set_authorizer(no_vacuum)  # which a full disk does as well
    with pytest.warns(StoreWarning, match=r"speakers\.db"):
        store.delete(["speaker 5"])
    store._connection.set_authorizer(None)
    assert "speaker 5" not in store and len(store.search(vector(5))) == 39
    data = path.read_bytes()
    assert b"speaker 5" not in data and vector(5).tobytes() not in data


@pytest.mark.parametrize("damage", ["utterances = 'many'", "vector = zeroblob(32)", "vector = 'x'"])
def test_nothing_is_deleted_from_a_damaged_store(path, store, damage):
    with sqlite3.connect(path) as other:
        other.execute(f"UPDATE speakers SET {damage} WHERE name = 'speaker 9'")
    other.close()
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"speakers\.db"):
        store.delete(["speaker 1"])
    assert "speaker 1" in store and path.read_bytes() == before


def test_nothing_is_deleted_where_a_name_is_not_there(store):
    with pytest.raises(UserError):
        store.delete(["speaker 1", "nobody"])
    assert len(store) == 40


def test_killed_while_enrolling_all_or_nothing_of_each_is_there(path):
    """SIGKILL, again and again, until a thousand are enrolled."""
    kills = 0
    for wanted in (3, 150, 400, 401, 700, COUNT - 1):
        with subprocess.Popen(
            [sys.executable, "-m", "tests.store.enrolling", path],
            cwd=commands.ROOT,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            said = -1
            for line in process.stdout:
                said = int(line)
                if said >= wanted and wanted < COUNT - 1:
                    process.send_signal(signal.SIGKILL)
                    kills += 1
                    break
        store = open_store(path, model())
        with sqlite3.connect(path) as check:
            assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = {row.name: row for row in store.speakers()}
        assert len(rows) > said  # what was said to be enrolled is
        for number in range(len(rows)):
            row = rows[f"speaker {number}"]
            assert (row.utterances, row.seconds) == (number + 1, 0.5 * number)
            np.testing.assert_array_equal(store.vector(row.name), vector(number))
        store.close()
    assert len(rows) == COUNT and kills == 5


# --- Refused -------------------------------------------------------------------------------------


def other_front_end() -> StoreModel:
    return StoreModel(model().names, model().dims, model().weights, vector(11))


@pytest.mark.parametrize("other", [model("1"), other_front_end()], ids=["weights", "front end"])
def test_a_store_of_another_model_is_refused(path, store, other):
    before = path.read_bytes()
    for create in (False, True):
        with pytest.raises(UserError):
            open_store(path, other, create)
    assert path.read_bytes() == before
    assert len(open_store(path)) == 40  # which lists and deletes


def test_the_last_digits_of_another_machine_are_no_other_model(path, store):
    probe = join(model().split(vector(-1) + 1e-4 * vector(12)))
    open_store(path, StoreModel(model().names, model().dims, model().weights, probe))


@pytest.mark.parametrize("name", ["", " ", " a", "a\nb", "a" * 201, None, 3])
def test_what_cannot_be_a_name(store, name):
    with pytest.raises(UserError):
        store.enrol(name, vector(0))


@pytest.mark.parametrize("wrong", [np.ones(8), np.ones(7), np.full(8, np.nan)])
def test_what_is_no_vector_of_the_model(store, wrong):
    with pytest.raises(ValueError):
        store.enrol("new", wrong)
    assert "new" not in store


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbled(path):
    data = bytearray(path.read_bytes())
    data[4096:] = bytes(255 - b for b in data[4096:])
    path.write_bytes(data)


def other_database(path):
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE speakers (name)")


def changed(statement):
    def damage(path):
        with sqlite3.connect(path) as connection:
            connection.execute(statement)
        connection.close()

    return damage


DAMAGE = {
    "cut off": cut,
    "garbled": garbled,
    "text": lambda path: path.write_text("a list of names\n"),
    "empty": lambda path: path.write_bytes(b""),
    "another database": other_database,
    "a later version": changed("PRAGMA user_version = 2"),
    "a trigger": changed(
        "CREATE TRIGGER t AFTER INSERT ON speakers BEGIN DELETE FROM speakers; END"
    ),
    "no model": changed("DELETE FROM model"),
    "model of no JSON": changed("UPDATE model SET members = '['"),
    "half a probe": changed("UPDATE model SET probe = substr(probe, 1, 8)"),
    "short vector": changed("UPDATE speakers SET vector = substr(vector, 1, 8) WHERE rowid = 3"),
    "vector of zeros": changed("UPDATE speakers SET vector = zeroblob(32) WHERE rowid = 3"),
    "vector of NaN": changed("UPDATE speakers SET vector = x'" + "0000c07f" * 8 + "'"),
    "text for a number": changed("UPDATE speakers SET utterances = 'many' WHERE rowid = 3"),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "not there": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_store_is_refused_and_left_as_it_is(path, store, damage):
    store.close()
    damage(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(UserError):
        opened = open_store(path, model())
        opened.search(np.ones(8), 3)
        opened.speakers()
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_store_whose_making_was_interrupted_is_made(path):
    path.touch()
    assert len(open_store(path, model(), create=True)) == 0


def test_a_copy_is_a_store(path, store):
    store.close()
    shutil.copy(path, path.with_name("copy.db"))
    assert len(open_store(path.with_name("copy.db"), model())) == 40
