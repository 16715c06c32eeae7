"""Files are whole or absent; bad input ends in one sentence."""

from __future__ import annotations

import pytest

from acorl_sb import errors, files


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("disk gone")
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_json_refuses_what_is_not_json(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "a.json", {"eer": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_user_error_is_one_sentence_and_exit_code_2(capsys):
    def main():
        raise errors.UserError("trials.txt line 3: unknown utterance 'x'")

    with pytest.raises(SystemExit) as stop:
        errors.run_cli(main)
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: trials.txt line 3: unknown utterance 'x'\n"


def test_a_bug_keeps_its_traceback():
    def main():
        raise KeyError("bug")

    with pytest.raises(KeyError):
        errors.run_cli(main)
