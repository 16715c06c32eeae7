"""Pictures of an analysis hold the numbers as they were measured."""

from __future__ import annotations

import pytest

from acorl_sb.analysis.compare import compare_embeddings
from acorl_sb.report.analysis_figures import spectra
from tests.analysis.pairs import SPEAKERS, noise


@pytest.fixture(scope="module")
def independent():
    found = compare_embeddings(noise(16, 1), noise(16, 3), SPEAKERS, probe_steps=1)
    return {"pairs": [{"name": "first + second", "embeddings": found}]}


def test_spectra_are_drawn_in_the_order_of_the_training_folds(independent):
    """Correlations of independent members are noise: in that order they neither fall nor rise."""
    whole, within = spectra(independent)
    found = independent["pairs"][0]["embeddings"]
    for picture, one in ((whole, found), (within, found["within_speaker"])):
        (line,) = picture.figure.axes[0].lines[:1]
        drawn = list(line.get_ydata())
        assert drawn == one["canonical_spectrum"]
        assert list(line.get_xdata()) == list(range(1, 17))
        assert drawn != sorted(drawn, reverse=True)
