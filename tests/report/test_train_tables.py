"""The table of ``train.py``: every figure with its interval, and what it was measured on."""

from __future__ import annotations

from acorl_sb.report.train_tables import table


def results(names):
    figures = {"eer": 0.0834, "min_dcf": {"0.01": 0.5, "0.05": 0.25}}
    rows = [
        {
            "name": name,
            "test": figures,
            "dev": figures,
            "intervals": {"eer": [0.07, 0.1], "min_dcf(0.01)": [0.4, 0.6]},
            "against_best": {"eer": {"change": -0.01, "interval": [-0.02, 0.003]}} if n else None,
            "parameters": 540_000,
            "train_seconds": 61.2,
            "real_time_factor": 0.00251,
        }
        for n, name in enumerate(names)
    ]
    return {
        "cost_points": [{"p_target": p, "c_miss": 1, "c_fa": 1} for p in (0.01, 0.05)],
        "best_member": names[0],
        "trials": {part: {"target": 4, "nontarget": 38, "speakers": 9} for part in ("dev", "test")},
        "intervals": {"level": 0.95, "replicates": 1000, "method": "by drawing speakers."},
        "systems": rows,
    }


def test_figures_are_in_percent_with_intervals_and_paired_differences():
    text = table(results(["m", "n"]))
    cells = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    assert cells[2][1:5] == ["m", "8.34 [7.00, 10.00]", "", "0.500 [0.400, 0.600]"]
    assert cells[3][1:4] == ["n", "8.34 [7.00, 10.00]", "−1.00 [−2.00, +0.30]"]
    assert cells[2][5:9] == ["0.250", "8.34", "0.54 M", "61"]


def test_counts_of_trials_and_speakers_stand_below():
    text = table(results(["m", "n"]))
    for count in ("42", "4 ", "38", "9 speakers"):
        assert text.splitlines()[-1].count(count) == 2


def test_a_single_system_has_nothing_to_be_compared_with():
    assert "minus" not in table(results(["m"]))
