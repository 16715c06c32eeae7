"""Markdown tables, and figures with their intervals as text: the one maker that all tables share.

The package tabulate pads cells to the widest of their column, so that one figure changes every line
of a file, and escapes nothing but ``|``.

>>> print(markdown(["system", "EER %"], [["first", with_interval(0.0821, (0.066, 0.099), 100, 2)]]))
| system | EER % |
|---|---|
| first | 8.21 [6.60, 9.90] |
<BLANKLINE>
"""

from __future__ import annotations

from collections.abc import Sequence

from acorl_sb.utils.markdown import escape

Row = Sequence[str]

EER_NOTE = (
    "EER: where the step curves of miss and false-alarm rate cross, linearly interpolated, as most "
    "toolkits report it."
)

_RULES = {"": "---", "l": ":---", "r": "---:", "c": ":---:"}


def markdown(header: Row, rows: Sequence[Row], align: str = "") -> str:
    """A Markdown table, one line a row, ending in a line break.

    ``align`` has one of ``l``, ``r`` and ``c`` (left, right, centre) a column; empty: the
    reader's own. What a cell holds is shown as it is (:func:`acorl_sb.utils.markdown.escape`).
    Raises ``ValueError`` for a row that is shorter or longer than the header.
    """
    rule = "|".join(_RULES[side] for side in align or [""] * len(header))
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"a row has {len(row)} cells, the header {len(header)}: {row}")
    first, *others = ("| " + " | ".join(map(escape, line)) + " |\n" for line in (header, *rows))
    return first + f"|{rule}|\n" + "".join(others)


def percent(value: float | None, digits: int = 2) -> str:
    """A fraction as percent without the sign; empty where there is none."""
    return "" if value is None else f"{100 * value:.{digits}f}"


def number(value: float | None, digits: int = 2) -> str:
    """A figure that may be missing."""
    return "n/a" if value is None else f"{value:.{digits}f}".replace("-", "−")


def with_interval(value: float, interval: Sequence[float] | None, scale: float, digits: int) -> str:
    """``1.23 [1.01, 1.46]``, or the figure alone."""
    text = f"{scale * value:.{digits}f}"
    if interval is None:
        return text
    low, high = (scale * v for v in interval)
    return f"{text} [{low:.{digits}f}, {high:.{digits}f}]"


def signed(value: float, interval: Sequence[float] | None, scale: float, digits: int) -> str:
    """``−0.23 [−0.40, −0.05]``, all with their signs, minus signs true ones."""
    text = f"{scale * value:+.{digits}f}"
    if interval is not None:
        low, high = (scale * v for v in interval)
        text += f" [{low:+.{digits}f}, {high:+.{digits}f}]"
    return text.replace("-", "−")
