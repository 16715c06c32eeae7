"""The Markdown of a study."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from acorl_sb.bootstrap import Measure
from pairs.compare import Difference

if TYPE_CHECKING:
    from pairs.results import Results

EER = Measure("eer")
DCF = Measure("min_dcf", 0.01)


def page(results: Results) -> str:
    """All tables, as far as there is something to say."""
    parts = [
        "## Chosen pairs, test trials",
        chosen_table(results),
        "## How different their members are, and what they cost",
        likeness_table(results),
        "## In noise and on short speech: EER % of the fusion, test trials",
        conditions_table(results),
        "## All candidates, development trials",
        screening_table(results),
    ]
    return "\n\n".join(parts) + "\n"


def chosen_table(results: Results) -> str:
    """Members, fusion, and the paired difference from the reference."""
    head = (
        *("pair", "seeds", "first EER %", "second EER %", "fused EER %", "minDCF(0.01)"),
        *("EER % minus reference's", "sd over seeds", "relative", "minDCF minus reference's"),
    )
    lines = []
    for name in results.chosen:
        rows = results.of(name, results.seeds)
        if not rows:
            continue
        eer = results.against(name, results.main, EER)
        dcf = results.against(name, results.main, DCF)
        lines.append(
            [
                name,
                len(rows),
                *(percent(rows, "test", key) for key in ("first", "second", "fused")),
                f"{mean(rows, 'test', 'fused_min_dcf'):.3f}",
                points(eer),
                "" if eer is None else f"{100 * eer.spread:.2f}",
                relative(eer),
                "" if dcf is None else f"{dcf.change:+.3f} [{dcf.low:+.3f}, {dcf.high:+.3f}]",
            ]
        )
    return markdown(head, lines)


def likeness_table(results: Results) -> str:
    head = (
        *("pair", "score correlation, target", "non-target", "CKA", "R² of a fresh probe"),
        *("errors in common", "second's parameters", "its training, s"),
    )
    lines = []
    for name in results.chosen:
        rows = results.of(name, results.seeds)
        if rows:
            lines.append(
                [
                    name,
                    f"{mean(rows, 'test', 'correlation_target'):.3f}",
                    f"{mean(rows, 'test', 'correlation_nontarget'):.3f}",
                    f"{mean(rows, 'test', 'cka'):.3f}",
                    f"{mean(rows, 'test', 'r2_of_probe'):.3f}",
                    f"{100 * mean(rows, 'test', 'common_errors'):.1f} %",
                    f"{mean(rows, 'parameters') / 1e6:.2f} M",
                    f"{mean(rows, 'seconds'):.0f}",
                ]
            )
    return markdown(head, lines)


def conditions_table(results: Results) -> str:
    names = [condition.name for condition in results.conditions]
    lines = []
    for name in results.chosen:
        rows = results.of(name, results.seeds)
        if not rows:
            continue
        line = [name]
        for condition in names:
            change = relative(results.against(name, condition, EER))
            value = percent(rows, "conditions", condition, "fused")
            line.append(f"{value} ({change})" if change else value)
        lines.append(line)
    return markdown(("pair (relative to its reference)", *names), lines)


def screening_table(results: Results) -> str:
    head = (
        *("pair", "seeds", "second, dev EER %", "fused, dev EER %", "minus reference's"),
        *("score correlation, non-target", "target"),
    )
    lines = []
    for name, candidate in results.candidates.items():
        rows = results.of(name)
        if not rows:
            continue
        seeds = [row["seed"] for row in rows]
        base = results.of(candidate.against, seeds)
        change = ""
        if candidate.against != name and len(base) == len(rows):
            change = mean(rows, "dev", "fused") - mean(base, "dev", "fused")
            change = f"{100 * change:+.2f}"
        lines.append(
            [
                name,
                len(rows),
                percent(rows, "dev", "second"),
                percent(rows, "dev", "fused"),
                change,
                f"{mean(rows, 'dev', 'correlation_nontarget'):.3f}",
                f"{mean(rows, 'dev', 'correlation_target'):.3f}",
            ]
        )
    return markdown(head, lines)


def mean(rows: Sequence[dict[str, Any]], *path: str) -> float:
    """Mean over rows of the figure at ``path``."""

    def at(row: Any) -> float:
        for key in path:
            row = row[key]
        return row

    return float(np.mean([at(row) for row in rows]))


def percent(rows: Sequence[dict[str, Any]], *path: str) -> str:
    return f"{100 * mean(rows, *path):.2f}"


def points(d: Difference | None) -> str:
    """A difference of error rates with its interval, in points of a percent."""
    if d is None:
        return ""
    return f"{100 * d.change:+.2f} [{100 * d.low:+.2f}, {100 * d.high:+.2f}]"


def relative(d: Difference | None) -> str:
    if d is None or math.isnan(d.relative):
        return ""
    return f"{100 * d.relative:+.1f} % [{100 * d.relative_low:+.1f}, {100 * d.relative_high:+.1f}]"


def markdown(head: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)
