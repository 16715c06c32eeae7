"""A comparison's tables and its picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from acorl_sb.utils.files import atomic_path
from acorl_sb.utils.tables import markdown
from images.results import FUSIONS, number, percent


def comparison_tables(results: Mapping[str, Any]) -> str:
    """The comparison as Markdown: fusion, difference to the reference, members."""
    reference = results["reference"]
    rows = {(r["method"], r["k"], r["fusion"]): r for r in results["ensembles"]}
    methods = list(dict.fromkeys(r["method"] for r in results["ensembles"]))
    sizes = sorted({r["k"] for r in results["ensembles"]})
    parts = [
        f"{len(results['seeds'])} seeds, {results['test_images']} test images; "
        "[95 % interval over images and seeds]."
    ]
    for fusion in FUSIONS:
        head = f"Accuracy in %, {fusion} fused, K members"
        parts.append(
            markdown(
                [head, *map(str, sizes)],
                [
                    [name, *(percent(rows[name, k, fusion]["accuracy"]) for k in sizes)]
                    for name in methods
                ],
            )
        )
        head = f"Accuracy − `{reference}`'s, percentage points, paired, {fusion} fused"
        parts.append(
            markdown(
                [head, *map(str, sizes[1:])],
                [
                    [
                        name,
                        *(
                            percent(rows[name, k, fusion]["minus_reference"]["accuracy"], sign=True)
                            for k in sizes[1:]
                        ),
                    ]
                    for name in methods
                    if name != reference
                ],
            )
        )
    last = sizes[-1]
    parts.append(
        markdown(
            [f"K = {last}", "fused", "top-5, %", "NLL, nats", "calibration error, %"],
            [
                [name, fusion, percent(r["top5"]), number(r["nll"]), percent(r["ece"])]
                for fusion in FUSIONS
                for name in methods
                for r in [rows[name, last, fusion]]
            ],
        )
    )
    members = {(m["method"], m["k"]): m for m in results["members"]}
    alike = list(members[methods[0], 2]["similarity"])
    parts.append(
        markdown(
            [
                "members",
                "weight",
                *(f"accuracy of no. {k} alone, %" for k in sizes[1:]),
                *(f"{key.replace('_', ' ')}, K = 2" for key in alike),
                "seconds, no. 2",
            ],
            [
                [
                    name,
                    "" if results["strengths"][name] is None else f"{results['strengths'][name]:g}",
                    *(f"{100 * members[name, k]['accuracy'][0]:.1f}" for k in sizes[1:]),
                    *(f"{members[name, 2]['similarity'][key]:.2f}" for key in alike),
                    f"{members[name, 2]['seconds']:.1f}",
                ]
                for name in methods
            ],
        )
    )
    if results["selection"]:
        parts.append(_selection_table(results["selection"]))
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _selection_table(rows: Sequence[Mapping[str, Any]]) -> str:
    strengths = sorted({row["strength"] for row in rows if row["strength"] is not None})
    nll = {(r["method"], r["strength"]): sum(r["dev_nll"]) / len(r["dev_nll"]) for r in rows}
    without = "no push"
    body = []
    for name in dict.fromkeys(row["method"] for row in rows):
        cells = [nll.get((name, strength)) for strength in [None, *strengths]]
        body.append([name, *("" if cell is None else f"{cell:.3f}" for cell in cells)])
    head = "Development NLL of the pair, nats, by push"
    return markdown([head, without, *(f"{strength:g}" for strength in strengths)], body)


def draw_comparison(results: Mapping[str, Any], path: str | Path) -> None:
    """Accuracy by K, and its paired difference to the reference, for both fusions."""
    from matplotlib.figure import Figure

    rows = results["ensembles"]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    others = [name for name in methods if name != results["reference"]]
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    axes = figure.subplots(2, len(FUSIONS), sharex=True, sharey="row")
    for column, fusion in enumerate(FUSIONS):
        above, below = axes[:, column]
        for place, name in enumerate(methods):
            mine = [r for r in rows if r["method"] == name and r["fusion"] == fusion]
            style = {"color": f"C{place}", "marker": "o", "markersize": 4, "label": name}
            is_reference = name == results["reference"]
            above.plot(
                [r["k"] for r in mine],
                [100 * r["accuracy"][0] for r in mine],
                linewidth=2.5 if is_reference else 1.2,
                zorder=3 if is_reference else 2,
                **style,
            )
            apart = [r for r in mine if "minus_reference" in r]
            if apart:
                value, low, high = zip(
                    *(r["minus_reference"]["accuracy"] for r in apart), strict=True
                )
                shift = 0.12 * (others.index(name) - (len(others) - 1) / 2)
                below.errorbar(
                    [r["k"] + shift for r in apart],
                    [100 * v for v in value],
                    [[100 * (v - a) for v, a in zip(value, low, strict=True)],
                     [100 * (b - v) for v, b in zip(value, high, strict=True)]],
                    linestyle="none", **style,
                )  # fmt: skip
        below.axhline(0, color=f"C{methods.index(results['reference'])}", linewidth=2)
        above.set_title(f"{fusion} fused")
        below.set_xlabel("members in the ensemble")
        below.set_xticks(sorted({row["k"] for row in rows}))
    axes[0, 0].set_ylabel("accuracy, %")
    axes[1, 0].set_ylabel(f"accuracy − {results['reference']}, points")
    axes[0, 0].legend(fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100)
