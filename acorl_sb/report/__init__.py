"""Pages and pictures that a person looks at: each page one HTML file that needs nothing else."""

from __future__ import annotations

import os
from typing import Any

from acorl_sb.report.fusion_page import fusion_page
from acorl_sb.report.page import as_html
from acorl_sb.report.style import Picture, write_pictures
from acorl_sb.utils import files

__all__ = ["Picture", "fusion_page", "write_pictures", "write_report"]


def write_report(
    path: str | os.PathLike,
    results: dict[str, Any],
    curves: dict[str, Any],
    training: dict[str, list[dict[str, Any]]] | None = None,
) -> list[Picture]:
    """Write ``fusion_page`` of the same arguments, whole or not at all; return its pictures."""
    page = fusion_page(results, curves, training)
    files.write_text(path, as_html(page))
    return page.pictures
