"""One writer at a time in an output folder."""

from __future__ import annotations

import os

import pytest

from acorl_sb.utils.errors import UserError
from acorl_sb.utils.locks import HOLDER, locked


def test_a_held_folder_is_refused_and_a_released_one_is_not(tmp_path):
    folder = tmp_path / "deep" / "out"
    with locked(folder) as held:
        assert held == folder
        (folder / "result").touch()
        with pytest.raises(UserError, match=rf"\b{os.getpid()}\b"), locked(folder):
            pass
        assert (folder / HOLDER).exists(), "the second one took the first one's note away"
    assert not (folder / HOLDER).exists()
    with locked(folder):
        pass
    assert (folder / "result").exists()


def test_a_lock_ends_with_its_block_however_that_ends(tmp_path):
    with pytest.raises(KeyboardInterrupt), locked(tmp_path):
        raise KeyboardInterrupt
    with locked(tmp_path):
        pass


def test_a_folder_that_nothing_came_of_is_gone_and_an_older_one_stays(tmp_path):
    (tmp_path / "old").mkdir()
    for name in ("new", "old"):
        with locked(tmp_path / name):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("folder", ["", " ", '""', "''", "a\0b", None, 3, ["x"]])
def test_what_is_no_folder_is_refused(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError), locked(folder):
        pass
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in ("file", "file/out"):
        with pytest.raises(UserError), locked(tmp_path / folder):
            pass
    assert (tmp_path / "file").read_text() == "mine"
