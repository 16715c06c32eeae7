"""The page of a run, as ``train.py`` ends with it and ``acorl report`` writes it again."""

from __future__ import annotations

import pytest

from acorl_sb.cli.report import main
from acorl_sb.utils.errors import UserError
from tests import folders
from tests.commands import checksums


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return folders.scored_run(tmp_path_factory.mktemp("run") / "mine")


def test_the_page_has_table_curves_calibration_and_training(run, capsys):
    assert main([str(run)]) == 0
    said = capsys.readouterr().out
    page = (run / "report.html").read_text()
    for name in ("first", "second", "embedding-concatenation", "score-mean", "score-logistic"):
        assert f"| {name} |" in said and f">{name}<" in page
    figures = {path.stem for path in (run / "figures").iterdir()}
    assert {"det", "bayes-score-logistic", "training-dev-eer", "histogram-first"} <= figures
    assert all(f'id="figure-{key}"' in page for key in figures)
    assert f"Run {run.name}" in page


def test_written_again_it_keeps_the_link_to_an_analysis(run):
    (run / "analysis").mkdir()
    (run / "analysis" / "analysis.html").write_text("<main></main>")
    main(["--run_folder", str(run)])
    assert 'href="analysis/analysis.html"' in (run / "report.html").read_text()


def test_a_folder_that_is_no_run_is_refused_and_stays_as_it_is(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "results.json").write_text("{}")
    before = checksums(tmp_path)
    for name in ("nowhere", "empty", "other"):
        with pytest.raises(UserError, match=name):
            main([str(tmp_path / name)])
    assert {k: v for k, v in checksums(tmp_path).items() if not k.endswith(".lock")} == before
