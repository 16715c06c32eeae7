"""The training log: what a resumed run keeps of it."""

from __future__ import annotations

import json

from acorl_sb.training.epoch_log import log_epoch


def test_damaged_lines_and_those_of_a_repeated_epoch_are_left_out(tmp_path):
    log = tmp_path / "train_log.jsonl"
    log.write_text('{"epoch": 1}\n{"epo\n[1]\n{"epoch": "2"}\n{"epoch": 3}\n{"epoch": 4}\n')
    lines = log_epoch("a", {"epoch": 3, "loss": 1.0}, log)
    assert lines == [{"epoch": 1}, {"epoch": 3, "loss": 1.0}]
    assert [json.loads(line) for line in log.read_text().splitlines()] == lines
