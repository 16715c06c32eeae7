"""Files are whole or absent; bad input ends in one sentence."""

from __future__ import annotations

import io
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from acorl_sb.utils import errors, files


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("disk gone")
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_json_refuses_what_is_not_json(tmp_path):
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "a.json", {"eer": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_user_error_is_one_sentence_and_exit_code_2(capsys):
    def main():
        raise errors.UserError("trials.txt line 3: unknown utterance 'x'")

    with pytest.raises(SystemExit) as stop:
        errors.run_cli(main)
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: trials.txt line 3: unknown utterance 'x'\n"


@pytest.mark.parametrize("write", ["text", "torch"])
def test_a_full_disk_is_a_user_error_that_names_the_file(tmp_path, write):
    path = tmp_path / "a.pt"
    path.write_text("old")
    # Whatever the temporary name is, the bytes go where there is no room.
    with pytest.raises(errors.UserError, match=r"a\.pt"), files.atomic_path(path) as temporary:
        temporary.symlink_to("/dev/full")
        if write == "text":
            temporary.write_text("new")
        else:
            torch.save({"a": torch.zeros(100)}, temporary)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path, capsys):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "a", "/proc/none/a", tmp_path / ("x" * 300)):
        with pytest.raises(SystemExit) as stop:
            errors.run_cli(lambda path=path: Path(path).write_text("x"))
        assert stop.value.code == 2
        line = capsys.readouterr().err
        assert line.startswith("error: ") and line.count("\n") == 1 and str(path) in line


def test_sigterm_ends_a_command_as_an_interrupt_does(capsys):
    said = []
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        with pytest.raises(SystemExit) as stop:
            errors.run_cli(lambda number=number: os.kill(os.getpid(), number) or time.sleep(5))
        assert stop.value.code == code
        said.append(capsys.readouterr().err)
    assert said[0] == said[1] != ""


@pytest.fixture(autouse=True)
def signals():
    """What ``run_cli`` sets for the process that it ends."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)
    before = {number: signal.getsignal(number) for number in numbers}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background of a shell
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_bug_keeps_its_traceback():
    def main():
        raise KeyError("bug")

    with pytest.raises(KeyError):
        errors.run_cli(main)


@pytest.mark.parametrize("kind", ["folder", "fifo", "link to a fifo"])
def test_what_is_no_regular_file_is_not_replaced(tmp_path, kind):
    path = tmp_path / "a.txt"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        os.mkfifo(tmp_path / "fifo")
        path.symlink_to("fifo")
    before = sorted((p.name, p.lstat().st_mode) for p in tmp_path.iterdir())
    with pytest.raises(errors.UserError, match=r"a\.txt"), files.atomic_path(path):
        raise AssertionError("nothing is written")
    assert sorted((p.name, p.lstat().st_mode) for p in tmp_path.iterdir()) == before


def test_a_link_to_a_file_is_replaced(tmp_path):
    (tmp_path / "old").write_text("old")
    (tmp_path / "a.txt").symlink_to("old")
    files.write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_text_with_a_name_that_is_not_utf8_is_refused(tmp_path):
    files.write_text(tmp_path / "a.json", "old")
    with pytest.raises(errors.UserError, match=r"a\.json: .*x\\udcff\.wav"):
        files.write_json(tmp_path / "a.json", {"file": "deep/x\udcff.wav"})
    assert (tmp_path / "a.json").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_what_a_terminal_cannot_print_is_an_escape(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii"))
    with pytest.raises(SystemExit) as stop:
        errors.run_cli(lambda: print("ann\udcff \u00e9"))
    assert stop.value.code == 0 and written.getvalue() == b"ann\\udcff \\xe9\n"
