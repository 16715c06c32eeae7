"""The notebook of the documents runs from its first cell to its last."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = nbformat.read(ROOT / "docs" / "first_ensemble.ipynb", as_version=4)


def test_it_is_kept_without_outputs():
    nbformat.validate(NOTEBOOK)
    for cell in NOTEBOOK.cells:
        assert not cell.get("outputs") and not cell.get("execution_count"), cell["source"]


def test_it_runs_and_makes_a_report(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = copy.deepcopy(NOTEBOOK)
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    run = tmp_path / "first_ensemble"
    table = (run / "results.md").read_text(encoding="utf-8")
    assert all(f"| {name} |" in table for name in ("first-tuned", "second-tuned", "score-logistic"))
    assert "<svg" in (run / "report" / "report.html").read_text(encoding="utf-8")
    shown = "".join(o.get("text", "") for cell in notebook.cells for o in cell.get("outputs", ()))
    assert "Decision(llr=" in shown and table.splitlines()[0] in shown
