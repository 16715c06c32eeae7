"""The log file: what came before it was opened, and a disk that is full."""

from __future__ import annotations

import logging

import pytest

from acorl_sb.utils.errors import UserError
from acorl_sb.utils.logs import log_to, log_to_screen

logger = logging.getLogger("acorl_sb.test")


@pytest.fixture(autouse=True)
def handlers():
    root = logging.getLogger("acorl_sb")
    before = list(root.handlers), root.propagate, root.level
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers, root.propagate = before[:2]
    root.setLevel(before[2])


def test_lines_before_the_file_is_open_come_first_in_it(tmp_path, capsys):
    log_to_screen()
    logger.info("one")
    log_to_screen()
    logger.info("two")
    path = tmp_path / "deep" / "log.txt"
    assert not path.parent.exists()
    log_to(path)
    logger.info("three")
    assert [line.split()[-1] for line in path.read_text().splitlines()] == ["one", "two", "three"]
    assert capsys.readouterr().err.split() == ["one", "two", "three"]
    log_to(tmp_path / "other.txt")
    logger.info("four")
    assert path.read_text().count("\n") == 3
    assert (tmp_path / "other.txt").read_text().count("\n") == 1


def test_a_warning_is_told_from_what_is_no_warning(tmp_path, capsys):
    log_to(tmp_path / "log.txt")
    logger.info("all is well")
    logger.warning("%s is not", "this")
    for lines in (capsys.readouterr().err, (tmp_path / "log.txt").read_text()):
        first, second = lines.splitlines()
        assert "warning" not in first and second.endswith("warning: this is not")


def test_a_line_that_cannot_be_written_ends_the_run():
    log_to("/dev/full")
    with pytest.raises(UserError, match="/dev/full"):
        logger.info("lost")
    logging.getLogger("acorl_sb").handlers.pop().stream = None  # nothing left to flush
