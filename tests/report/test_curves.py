"""Training logs, and DET curves that a reader cannot tell apart."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import norm

from acorl_sb.fusion.curve_points import det_curve
from acorl_sb.report import curves
from acorl_sb.utils.errors import UserError
from tests.fusion.test_curve_points import scored


def test_curves_coincide_within_the_breadth_of_a_line():
    scores, labels = scored()
    rng = np.random.default_rng(1)
    made = {
        "one": det_curve(scores, labels),
        "same": det_curve(3 * scores + 1, labels),
        "other": det_curve(scores + rng.standard_normal(len(scores)), labels),
        "near": det_curve(scores + 1e-4 * rng.standard_normal(len(scores)), labels),
        "empty": {"p_fa": [], "p_miss": []},
    }
    assert curves.coinciding(made) == [["one", "same", "near"]]
    # Gaussian scores a distance d apart: the curve is x + y = -d, so the gap is known.
    rate = np.linspace(0.01, 0.9, 50)
    lines = {
        d: {"p_fa": norm.cdf(-norm.ppf(rate) - d), "p_miss": rate} for d in (2.0, 2.02, 2.1, 2.12)
    }
    assert curves.coinciding(lines, 0.03) == [[2.0, 2.02], [2.1, 2.12]]


def test_training_logs(tmp_path):
    folder = tmp_path / "members" / "ecapa"
    folder.mkdir(parents=True)
    (folder / "train_log.jsonl").write_text('{"epoch": 1, "dev_eer": 0.2}\n\n{"epoch": 2}\n')
    (tmp_path / "members" / "foreign").mkdir()
    made = curves.read_training(tmp_path)
    assert made == {"ecapa": [{"epoch": 1.0, "dev_eer": 0.2}, {"epoch": 2.0}]}
    # The log decides nothing: what is damaged in it is left out.
    (folder / "train_log.jsonl").write_text(
        '{"epoch": 1}\n{"loss": 1}\n{"epoch": 3, "loss": "x"}\n'
    )
    assert curves.read_training(tmp_path) == {"ecapa": [{"epoch": 1.0}]}
    with pytest.raises(UserError):
        curves.read_training(tmp_path / "none")


def test_epochs_of_a_member_that_goes_on_from_another_follow_that_ones(tmp_path):
    def member(name: str, start: object, epochs: int) -> None:
        folder = tmp_path / "members" / name
        folder.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps({"epoch": e, "dev_eer": 0.1}) for e in range(1, epochs + 1)]
        (folder / "train_log.jsonl").write_text("\n".join(lines))
        (folder / "member.json").write_text(json.dumps({"settings": {"member": {"start": start}}}))

    def epochs(name: str) -> list[float]:
        return [e["epoch"] for e in curves.read_training(tmp_path)[name]]

    member("tuned", "plain", 2)  # read before the one it goes on from
    member("plain", None, 3)
    member("again", "tuned", 1)
    member("elsewhere", "another/folder", 2)
    member("odd", ["plain"], 1)
    assert (epochs("plain"), epochs("tuned"), epochs("again")) == ([1, 2, 3], [4, 5], [6])
    assert epochs("elsewhere") == [1, 2]
    member("plain", "again", 3)  # no run makes a circle; a damaged folder may
    assert epochs("elsewhere") == [1, 2] and len(epochs("plain")) == 3
    (tmp_path / "members" / "plain" / "member.json").write_text("[]")
    with pytest.raises(UserError, match=r"plain.member\.json"):
        curves.read_training(tmp_path)
