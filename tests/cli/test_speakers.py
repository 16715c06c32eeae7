"""``acorl speakers --delete``: what is deleted is said to be, and nothing else."""

from __future__ import annotations

import json
import sqlite3

import pytest

from acorl_sb.cli import speakers
from acorl_sb.store import open_store
from acorl_sb.utils.errors import UserError
from tests.store.enrolling import stored


@pytest.fixture()
def path(tmp_path):
    """A store of three speakers."""
    return stored(tmp_path / "speakers.db", 3)


def test_a_deletion_on_a_full_disk_is_no_refusal(path, monkeypatch, capsys):
    def full(name):
        store = open_store(name)
        store._connection.set_authorizer(
            lambda action, *about: sqlite3.SQLITE_DENY * (action == sqlite3.SQLITE_ATTACH)
        )
        return store

    monkeypatch.setattr(speakers, "open_store", full)
    assert speakers.main([str(path), "--delete", "speaker 1", "--format", "json"]) == 0
    said = capsys.readouterr()
    left = [row["name"] for row in json.loads(said.out)["speakers"]]
    assert left == ["speaker 0", "speaker 2"]
    assert said.err.count("\n") == 1 and "speakers.db" in said.err


def test_a_refused_deletion_leaves_the_file_as_it_was(path):
    with sqlite3.connect(path) as other:
        other.execute("UPDATE speakers SET utterances = 'many' WHERE name = 'speaker 2'")
    other.close()
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"speakers\.db"):
        speakers.main([str(path), "--delete", "speaker 1"])
    assert path.read_bytes() == before
