"""The report of a run of ``train.py``: the page of a fusion, with the curves of its training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acorl_sb import report
from acorl_sb.fusion.run_results import read_run_results
from acorl_sb.report.analysis_page import link_from
from acorl_sb.report.curves import read_training


def write_run_report(folder: str | Path, command: Sequence[str]) -> dict[str, Any]:
    """Write ``report.html`` into a finished run's folder; an analysis that is there is linked.

    Arguments
    ---------
    folder : path
        Output folder of ``train.py``.
    command : sequence of str
        The command line, for the page.

    Returns
    -------
    dict
        What the page shows, see ``acorl_sb.fusion.run_results.read_run_results``.

    Raises
    ------
    UserError
        For a folder that is no finished run, and for files of it that are damaged.
    """
    folder = Path(folder)
    results, curves = read_run_results(folder, command)
    title = f"Run {folder.resolve().name}"
    page = report.write_folder(folder, results, curves, read_training(folder), title)
    analysis = folder / "analysis" / "analysis.html"
    if analysis.is_file():
        link_from(page, analysis)
    return results
