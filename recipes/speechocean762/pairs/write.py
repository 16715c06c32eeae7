"""The files of a study: its rows, its page of tables, its pictures."""

from __future__ import annotations

from acorl_sb.utils.files import write_json, write_text
from pairs import plots, tables
from pairs.results import Results


def write_study(results: Results) -> None:
    """Write ``study.json``, ``study.md`` and the pictures; nothing while there are no rows."""
    if not results.rows:
        return
    write_json(results.folder / "study.json", results.rows)
    write_text(results.folder / "study.md", tables.page(results))
    plots.write(results)
