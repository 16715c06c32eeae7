"""Names, ids and paths as they are in Markdown, whatever characters they hold."""

from __future__ import annotations

import re

_SPECIAL = re.compile(
    r"[\\`|<*~]"  # code, cells, HTML, emphasis
    r"|(?<!\w)_|_(?!\w)"  # emphasis, but not inside of a word
    r"|\](?=[(\[:])"  # the end of a link's text, but not of an interval
    r"|&(?=[#A-Za-z])"  # character references
)
_LEADING = re.compile(r"(?:[#>+=-]+|\d+(?=[.)]))(?=[.)]?(?:\s|$))")


def escape(text: object) -> str:
    """``text`` for a table's cell or a line of Markdown: shown as it is, on one line.

    Control characters and line breaks become spaces. What would begin a heading, a list or a
    quotation is escaped where it leads.

    >>> escape("a|b <i> -0.1 [-0.2, 0.0]")
    'a\\\\|b \\\\<i> -0.1 [-0.2, 0.0]'
    """
    text = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    text = _SPECIAL.sub(lambda found: "\\" + found[0], text)
    leading = _LEADING.match(text)
    if leading:
        at = leading.end() if leading[0].isdigit() else 0
        text = f"{text[:at]}\\{text[at:]}"
    return text


def code(text: object) -> str:
    """``text`` as a code span, fenced by more backticks than it holds in a row."""
    text = " ".join(str(text).split())
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"
