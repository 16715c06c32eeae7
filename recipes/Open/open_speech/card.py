"""The tables of the model card, from the figures that lie beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acorl_sb.utils.tables import markdown, with_interval
from open_speech.evaluation import BASE, CONDITIONS, MAIN

SETS = {"several": "Common Voice, across sessions", "ocean": "speechocean762"}
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"


def tables(figures: Mapping[str, Any], shipped: str) -> str:
    """All tables of the card as Markdown."""
    parts = [main_table(figures, shipped), system_table(figures)]
    for name, title in SETS.items():
        parts.append(f"By group, {title}:\n\n" + group_table(figures, name, shipped))
    return "\n\n".join(part.rstrip() for part in parts)


def main_table(figures: Mapping[str, Any], shipped: str) -> str:
    head = ["test set", "condition", "EER %", "GE2E's EER %", "against GE2E", "Cllr", "minCllr"]
    lines = []
    for name, title in SETS.items():
        for condition in CONDITIONS:
            found = figures[f"{name}, {condition}"]
            costs = [f"{found[shipped][key]:.2f}" for key in ("cllr", "min_cllr")]
            lines.append([title, condition, *row(found, shipped), *costs])
    return markdown(head, lines)


def row(found: Mapping[str, Any], shipped: str) -> list[str]:
    own, base = found[shipped], found[BASE]
    return [
        told(own),
        told(base),
        with_interval(own["change"], own["change_interval"], 100, 0) + " %",
    ]


def system_table(figures: Mapping[str, Any]) -> str:
    keys = [f"{name}, {condition}" for name in SETS for condition in MAIN]
    systems = [n for n, value in figures[keys[0]].items() if isinstance(value, Mapping)]
    head = ["system", *(f"{SETS[n]}, {c}" for n in SETS for c in MAIN)]
    return markdown(head, [[s, *(told(figures[k][s]) for k in keys)] for s in systems])


def group_table(figures: Mapping[str, Any], name: str, shipped: str) -> str:
    head = ["group", "speakers", "EER %", "GE2E's EER %", "against GE2E"]
    lines = []
    for group, found in figures[f"{name}, clean, groups"].items():
        if not found["speakers"]:
            continue
        rest = row(found, shipped) if shipped in found else ["too small", "", ""]
        lines.append([group, str(found["speakers"]), *rest])
    return markdown(head, lines)


def told(found: Mapping[str, Any]) -> str:
    return with_interval(found["eer"], found["interval"], 100, 1)


def put_in(text: str, made: str) -> str:
    """A page with what stands between its marks replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{made}\n{END}{after}"
