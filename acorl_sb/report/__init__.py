"""Pages and pictures that a person looks at: each page one HTML file that needs nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from acorl_sb.report.fusion_page import fusion_page
from acorl_sb.report.page import as_html
from acorl_sb.report.style import Picture, write_pictures
from acorl_sb.utils import files

__all__ = ["Picture", "fusion_page", "write_folder", "write_pictures", "write_report"]


def write_report(
    path: str | os.PathLike,
    results: dict[str, Any],
    curves: dict[str, Any],
    training: dict[str, list[dict[str, Any]]] | None = None,
    title: str | None = None,
) -> list[Picture]:
    """Write ``fusion_page`` of the same arguments, whole or not at all; return its pictures."""
    page = fusion_page(results, curves, training, title)
    files.write_text(path, as_html(page))
    return page.pictures


def write_folder(
    folder: str | os.PathLike,
    results: dict[str, Any],
    curves: dict[str, Any],
    training: dict[str, list[dict[str, Any]]] | None = None,
    title: str | None = None,
) -> Path:
    """Write ``report.html``, its pictures, and the points they are drawn from, ``curves.json``.

    Arguments
    ---------
    folder : path
        Where they go; the pictures into ``figures`` there.
    results, curves, training, title
        See ``fusion_page``.

    Returns
    -------
    Path
        Of the page.
    """
    folder = Path(folder)
    files.write_text(folder / "curves.json", json.dumps(curves, allow_nan=False))
    pictures = write_report(folder / "report.html", results, curves, training, title)
    write_pictures(folder / "figures", pictures)
    return folder / "report.html"
