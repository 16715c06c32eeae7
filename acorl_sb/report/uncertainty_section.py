"""The section of a fusion report on uncertainty; nothing is computed here."""

from __future__ import annotations

from typing import Any

from acorl_sb.report.page import Pictures, Section, Table, Text
from acorl_sb.report.plots import Series, line_plot, look, styled
from acorl_sb.report.style import Picture
from acorl_sb.utils.tables import Row, percent, signed

ORDERS = {
    "std": "largest standard deviation first",
    "probability": "likeliest error first",
    "distance": "nearest to the threshold first (no uncertainty)",
}


def uncertainty_section(found: dict[str, Any]) -> Section:
    """Curve and tables of ``acorl_sb.fusion.disagreement.judge_std``."""
    return Section(
        "Uncertainty",
        "uncertainty",
        [
            Text(
                "The standard deviation of the members' own LLRs stands beside every fused LLR. "
                "Trials that are left unanswered, the most doubtful first, take errors away; "
                "distance to the threshold needs no standard deviation and is the baseline."
            ),
            Pictures([_curve(found)]),
            Table("EER of the answered trials", *selective_table(found)),
            Text(
                f"Decisions at the LLR {found['threshold']:.3f}. Predicted: a Gaussian error of "
                "that standard deviation round the LLR; a calibrated one predicts the error rate."
            ),
            Table("Errors by standard deviation", *bin_table(found)),
        ],
    )


def selective_table(found: dict[str, Any]) -> tuple[Row, list[Row]]:
    """EER with all trials answered and without the most doubtful, for every order."""
    share = found["answered"]
    header = ["unanswered first", f"EER % of {100 * share:g} % answered", "relative change %"]
    rows = [["nothing: all are answered", percent(found["eer"]), ""]]
    for name, row in found["rejecting"].items():
        change = "" if row["change"] is None else signed(row["change"], None, 100, 1)
        rows.append([ORDERS[name], percent(row["eer"]), change])
    return header, rows


def bin_table(found: dict[str, Any]) -> tuple[Row, list[Row]]:
    """Observed and predicted error rates in bins of equally many trials."""
    header = ["mean standard deviation", "trials", "target trials", "errors %", "predicted %"]
    return header, [
        [
            f"{row['std']:.3f}",
            f"{row['trials']:,}",
            f"{row['targets']:,}",
            percent(row["error"]),
            percent(row["predicted"]),
        ]
        for row in found["bins"]
    ]


@styled
def _curve(found: dict[str, Any]) -> Picture:
    series = []
    for place, (name, values) in enumerate(found["curves"].items()):
        points = zip(found["shares"], values, strict=True)
        known = [(100 * share, 100 * value) for share, value in points if value is not None]
        if known:
            series.append(Series(ORDERS[name], *zip(*known, strict=True), look(place)))
    figure, axis = line_plot(series)
    axis.set(xlabel="trials answered, %", ylabel="EER, %", xlim=(100, 100 * found["shares"][0]))
    axis.set_ylim(bottom=0)
    said = "; ".join(
        f"{ORDERS[name]}: {percent(row['eer'])} percent" for name, row in found["rejecting"].items()
    )
    return Picture(
        "selective", "EER against the share of trials answered",
        f"Equal error rate of the answered trials, {percent(found['eer'])} percent of all; "
        f"with {100 * found['answered']:g} percent answered: {said}.",
        figure,
    )  # fmt: skip
