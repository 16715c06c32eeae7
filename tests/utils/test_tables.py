"""The one maker of Markdown tables."""

from __future__ import annotations

import re

import pytest

from acorl_sb.utils import tables


def parsed(text):
    """Cells of a Markdown table as a reader takes it: ``|`` parts cells unless escaped."""
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines()]


def test_every_cell_stays_one_cell():
    header, rule, row = parsed(tables.markdown(["a", "b|c"], [["x | y\nz", "1"]]))
    assert len(header) == len(rule) == len(row) == 2
    assert row[0].strip() == "x \\| y z"


def test_alignment_and_line_break_at_the_end():
    text = tables.markdown(["a", "b", "c"], [["1", "2", "3"]], align="lcr")
    assert text.splitlines()[1] == "|:---|:---:|---:|" and text.endswith("|\n")
    assert tables.markdown(["a"], []).splitlines() == ["| a |", "|---|"]


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError):
        tables.markdown(["a", "b"], [["1"]])


def test_figures_with_intervals():
    assert tables.with_interval(0.1234, (0.1, 0.2), 100, 1) == "12.3 [10.0, 20.0]"
    assert tables.with_interval(0.1234, None, 1, 2) == "0.12"
    assert tables.signed(0.01, (-0.02, 0.03), 100, 0) == "+1 [−2, +3]"
    assert tables.percent(None) == "" and tables.number(None) == "n/a"
