"""Pictures of a recording and of a decision: what is drawn is where the numbers say."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from acorl_sb.report.voice_figures import llr_scale, waveform


@pytest.mark.parametrize(("llr", "threshold"), [(3.0, 2.0), (-30.0, 2.0), (1.0, -12.5), (2.0, 2.0)])
def test_the_llr_and_the_threshold_stand_at_their_values(llr, threshold):
    picture = llr_scale(llr, threshold)
    (axes,) = picture.figure.axes
    line, mark = axes.lines
    assert line.get_xdata()[0] == threshold and mark.get_xdata()[0] == llr
    low, high = axes.get_xlim()
    assert low < min(llr, threshold) and max(llr, threshold) < high
    assert ("accepted" in picture.description) == (llr >= threshold)


def test_stretches_of_speech_are_marked_where_they_are():
    wave = np.sin(np.arange(32000)).astype(np.float32)
    spans = [(1600, 8000), (16000, 24000)]
    (axes,) = waveform(wave, 16000, spans).figure.axes
    marked = [
        (p.get_x(), p.get_x() + p.get_width()) for p in axes.patches if isinstance(p, Rectangle)
    ]
    np.testing.assert_allclose(marked, np.array(spans) / 16000)


@pytest.mark.parametrize("samples", [1600, 16001])
def test_without_stretches_the_level_is_drawn(samples):
    wave = np.full(samples, 0.1, np.float32)
    wave[samples // 2 :] = 0.01
    picture = waveform(wave, 16000, None, key="mine")
    level = picture.figure.axes[1].lines[0].get_ydata()
    assert level[0] == pytest.approx(-20, abs=0.01) and level[-1] == pytest.approx(-40, abs=0.01)
    assert picture.svg.count('id="mine-') > 2
