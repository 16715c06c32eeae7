"""The Markdown of a study."""

from __future__ import annotations

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
        "## Their differences",
        difference_table(results),
        "## How different their members are, and what they cost",
        likeness_table(results),
        "## In noise and on short speech: EER % of the fusion, test trials",
        conditions_table(results),
        "## All candidates, development trials",
        screening_table(results),
    ]
    return "\n\n".join(parts) + "\n"


def chosen_table(results: Results) -> str:
    """Errors of members and fusion, means over seeds; the fusion's with its range over seeds."""
    head = (
        *("pair", "seeds", "first EER %", "second EER %", "fused EER %", "sd over seeds"),
        *("first minDCF(0.01)", "second", "fused"),
    )
    lines = []
    for name in results.chosen:
        rows = results.of(name, results.seeds)
        if rows:
            spread = np.std([row["test"]["fused"] for row in rows], ddof=1) if rows[1:] else np.nan
            lines.append(
                [
                    name,
                    len(rows),
                    *(percent(rows, "test", key) for key in ("first", "second", "fused")),
                    f"{100 * spread:.2f}",
                    *(
                        f"{mean(rows, 'test', f'{key}_min_dcf'):.3f}"
                        for key in ("first", "second", "fused")
                    ),
                ]
            )
    return markdown(head, lines)


def difference_table(results: Results) -> str:
    """Fused error of each chosen pair minus that of what it is compared with."""
    head = (
        *("pair", "minus", "seeds", "EER, points of %", "sd over seeds", "EER, relative"),
        "minDCF(0.01)",
    )
    lines = []
    for name in results.chosen:
        for other in results.candidates[name].against:
            eer = results.against(name, other, results.main, EER)
            dcf = results.against(name, other, results.main, DCF)
            if eer is not None:
                lines.append(
                    [
                        *(name, other, eer.seeds),
                        f"{100 * eer.change:+.2f} [{100 * eer.low:+.2f}, {100 * eer.high:+.2f}]",
                        f"{100 * eer.spread:.2f}",
                        relative(eer),
                        f"{dcf.change:+.3f} [{dcf.low:+.3f}, {dcf.high:+.3f}]",
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
            value = percent(rows, "conditions", condition, "fused")
            for other in results.candidates[name].against[:1]:
                change = results.against(name, other, condition, EER)
                value += f" ({relative(change)})" if change is not None else ""
            line.append(value)
        lines.append(line)
    return markdown(("pair (relative to the first that it is compared with)", *names), lines)


def screening_table(results: Results) -> str:
    head = (
        *("pair", "seeds", "second, dev EER %", "fused, dev EER %", "minus"),
        *("score correlation, non-target", "target"),
    )
    lines = []
    for name, candidate in results.candidates.items():
        rows = results.of(name)
        if not rows:
            continue
        seeds = [row["seed"] for row in rows]
        changes = []
        for other in candidate.against:
            base = results.of(other, seeds)
            if len(base) == len(rows):
                change = mean(rows, "dev", "fused") - mean(base, "dev", "fused")
                changes.append(f"{100 * change:+.2f} ({other})")
        lines.append(
            [
                name,
                len(rows),
                percent(rows, "dev", "second"),
                percent(rows, "dev", "fused"),
                ", ".join(changes),
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


def relative(d: Difference) -> str:
    return f"{100 * d.relative:+.1f} % [{100 * d.relative_low:+.1f}, {100 * d.relative_high:+.1f}]"


def markdown(head: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)
