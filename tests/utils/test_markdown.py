"""Names in Markdown: what a renderer shows is what was given."""

from __future__ import annotations

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acorl_sb.report.page import Items, Page, Section, Text, as_markdown
from acorl_sb.utils.markdown import code, escape
from acorl_sb.utils.tables import markdown

HOSTILE = [
    *("a|b", "`x`", "a\nb", "<img src=x onerror=alert(1)>", "**b**", "_b_", "[a](javascript:x)"),
    *("![a](x)", "&lt;b&gt;", "\\|", "~~a~~", "# a", "- a", "1. a", "> a", "+ a", "a\r\n| b |"),
]
PLAIN = [
    *("-0.10 [-0.20, +0.30]", "score_mean", "VoxCeleb1-O", "a + b", "minDCF(0.01)", "12 %"),
    *("3.5", "–", "−1", "a & b", "x"),
]


def cells(line):
    """The cells of a table's line, as CommonMark's escapes tell them."""
    inner = line.strip()[1:-1]
    parts = re.split(r"(?<!\\)(?:\\\\)*\|", inner)
    return [re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", part.strip()) for part in parts]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_table_keeps_its_cells_whatever_their_text(name):
    shown = " ".join(name.split())
    head, rule, row = markdown(["system", name], [[name, "1.00 [0.90, 1.10]"]]).splitlines()
    assert cells(head) == ["system", shown]
    assert cells(row) == [shown, "1.00 [0.90, 1.10]"]
    assert rule.count("---") == 2


@pytest.mark.parametrize("text", PLAIN)
def test_plain_figures_and_names_are_left_as_they_are(text):
    assert escape(text) == text


@given(st.text(max_size=30))
def test_no_mark_is_left_open(text):
    made = escape(text)
    assert "\n" not in made and "\r" not in made
    bare = re.sub(r"\\[!-/:-@\[-`{-~]", "x", made)  # what is escaped is a letter like others
    assert not re.search(r"[`|<*~\\]", bare)
    assert not re.search(r"&[#A-Za-z]", bare) and unescape(bare) == bare
    assert not re.match(r"(#+|[>+=-]|\d+[.)])(\s|$)", bare)


@pytest.mark.parametrize("text", ["a", "a `b` c", "``", "x\ny", "`"])
def test_a_code_span_holds_any_backticks(text):
    made = code(text)
    fence = re.match("`+", made)[0]
    inner = made[len(fence) : -len(fence)]
    assert made.endswith(fence) and inner.strip(" ") == " ".join(text.split())
    assert fence not in re.findall("`+", inner)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_pages_markdown_shows_names_as_they_are(name):
    blocks = [Items([name]), Text(name, strong=name), Text(name, look="code")]
    made = as_markdown(Page(name, [Section(name, "x", blocks)]), "figures")
    title, section, item, text, command = made.rstrip("\n").split("\n\n")
    shown = escape(name)
    assert (title, section, item) == (f"# {shown}", f"## {shown}", f"- {shown}")
    assert (text, command) == (f"**{shown}** {shown}", code(name))
