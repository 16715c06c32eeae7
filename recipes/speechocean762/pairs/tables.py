"""The Markdown of a study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from acorl_sb.metrics.bootstrap import Measure
from acorl_sb.utils.tables import markdown, signed
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
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def chosen_table(results: Results) -> str:
    """Errors of members and fusion, means over seeds, and how the fusion's spread over seeds."""
    head = [
        *("pair", "seeds", "first EER %", "second EER %", "fused EER %", "sd over seeds"),
        *("first minDCF(0.01)", "second", "fused"),
    ]
    systems = ("first", "second", "fused")
    lines = []
    for name, rows in reported(results):
        spread = np.std([row["test"]["fused"] for row in rows], ddof=1) if rows[1:] else np.nan
        lines.append(
            [
                *(name, str(len(rows))),
                *(percent(rows, "test", key) for key in systems),
                f"{100 * spread:.2f}",
                *(f"{mean(rows, 'test', f'{key}_min_dcf'):.3f}" for key in systems),
            ]
        )
    return markdown(head, lines)


def difference_table(results: Results) -> str:
    """Fused error of each chosen pair minus that of what it is compared with."""
    head = [
        *("pair", "minus", "seeds", "EER, percentage points", "sd over seeds", "EER, relative"),
        "minDCF(0.01)",
    ]
    lines = []
    for name in results.chosen:
        for other in results.candidates[name].against:
            eer = results.against(name, other, results.main, EER)
            dcf = results.against(name, other, results.main, DCF)
            if eer is not None:
                lines.append(
                    [
                        *(name, other, str(eer.seeds)),
                        signed(eer.change, eer.interval, 100, 2),
                        f"{100 * eer.spread:.2f}",
                        relative(eer),
                        signed(dcf.change, dcf.interval, 1, 3),
                    ]
                )
    return markdown(head, lines)


def likeness_table(results: Results) -> str:
    """How alike the two members are, and the second one's size and training time."""
    head = [
        *("pair", "score correlation, target", "non-target", "CKA", "R² of a fresh probe"),
        *("error overlap", "second's parameters", "its training, s"),
    ]
    similarity = ("correlation_target", "correlation_nontarget", "cka", "r2_of_probe")
    lines = [
        [
            name,
            *(f"{mean(rows, 'test', key):.3f}" for key in similarity),
            f"{100 * mean(rows, 'test', 'error_overlap'):.1f} %",
            f"{mean(rows, 'parameters') / 1e6:.2f} M",
            f"{mean(rows, 'seconds'):.0f}",
        ]
        for name, rows in reported(results)
    ]
    return markdown(head, lines)


def conditions_table(results: Results) -> str:
    """EER of the fusion under every condition."""
    names = [condition.name for condition in results.conditions]
    lines = []
    for name, rows in reported(results):
        line = [name]
        for condition in names:
            value = percent(rows, "conditions", condition, "fused")
            for other in results.candidates[name].against[:1]:
                change = results.against(name, other, condition, EER)
                value += f" ({relative(change)})" if change is not None else ""
            line.append(value)
        lines.append(line)
    return markdown(["pair (relative to the first that it is compared with)", *names], lines)


def screening_table(results: Results) -> str:
    """All candidates by what they may be chosen by."""
    head = [
        *("pair", "seeds", "second, dev EER %", "fused, dev EER %", "minus"),
        *("score correlation, non-target", "target"),
    ]
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
                *(name, str(len(rows))),
                percent(rows, "dev", "second"),
                percent(rows, "dev", "fused"),
                ", ".join(changes),
                f"{mean(rows, 'dev', 'correlation_nontarget'):.3f}",
                f"{mean(rows, 'dev', 'correlation_target'):.3f}",
            ]
        )
    return markdown(head, lines)


def reported(results: Results) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Each chosen pair with its rows of the reported seeds, where it has any."""
    for name in results.chosen:
        if rows := results.of(name, results.seeds):
            yield name, rows


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
    low, high = d.relative_interval
    return f"{100 * d.relative:+.1f} % [{100 * low:+.1f}, {100 * high:+.1f}]"
