"""The page a person looks at: one HTML file that needs nothing else, not even a network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from acorl_sb import files, fuse_tables
from acorl_sb.report import figures as drawn
from acorl_sb.report.svg import STYLE, Figure, standalone

# No script, no font, no request: the browser itself is told to refuse all of them.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

_STYLE = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}
main{max-width:1180px;margin:0 auto;padding:24px 20px 64px}
h1{font-size:1.7rem;line-height:1.2;margin:.2em 0 .4em}
h2{font-size:1.2rem;margin:2.4em 0 .6em;padding-top:.7em;border-top:1px solid var(--rule)}
h3{font-size:1rem;margin:1.4em 0 .4em}
p,ul{max-width:75ch;margin:.5em 0}
ul{padding-left:1.2em}
.lead{font-size:1.1rem}
.soft,figcaption p{color:var(--soft)}
.warning{border-left:4px solid var(--bad);padding:.3em .8em;margin:.8em 0;max-width:75ch}
nav a{display:inline-block;margin-right:1.1em;padding:.25em 0}
a{color:var(--c0)}
a:focus-visible,.scroll:focus-visible,summary:focus-visible{outline:2px solid var(--c0);
outline-offset:2px}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,350px),1fr));gap:20px}
figure{margin:0;padding:14px 14px 8px;background:var(--panel);border:1px solid var(--rule);
border-radius:8px;min-width:0;max-width:560px}
figcaption{margin-bottom:.6em}
figcaption strong{display:block}
figcaption p{font-size:.88rem;margin:.2em 0 0}
.scroll{overflow-x:auto;border:1px solid var(--rule);border-radius:8px;margin:.6em 0}
table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:.45em .7em;border-bottom:1px solid var(--rule);vertical-align:top}
td,tbody th{white-space:nowrap}
thead th{color:var(--soft);font-weight:600;vertical-align:bottom}
th:first-child,td:first-child{text-align:left}
.words td,.words th{text-align:left}
tbody th{font-weight:500;white-space:normal;min-width:6em}
.words td:nth-child(2){white-space:normal;min-width:9em}
tbody tr:last-child>*{border-bottom:0}
tr.best>*{font-weight:700}
td small{display:block;color:var(--soft);font-weight:400}
.beside{display:grid;grid-template-columns:minmax(0,1fr);gap:0 24px}
@media (min-width:1000px){.beside{grid-template-columns:minmax(0,5fr) minmax(0,6fr)}}
.yes{color:var(--good);font-weight:600}.no{color:var(--bad);font-weight:600}
pre{overflow-x:auto;padding:.8em 1em;border:1px solid var(--rule);border-radius:8px;
background:var(--panel);font-size:.86rem;white-space:pre-wrap;overflow-wrap:anywhere}
summary{cursor:pointer;padding:.4em 0}
@media (max-width:480px){body{font-size:15px}main{padding:14px 12px 40px}
figure{padding:10px 8px 6px}th,td{padding:.4em .55em}}
@media print{figure,table{break-inside:avoid}}
"""


def write_report(
    path: str | os.PathLike,
    results: dict[str, Any],
    curves: dict[str, Any],
    training: dict[str, list[dict[str, Any]]] | None = None,
) -> list[Figure]:
    """Write the page, whole or not at all, and return its figures.

    Arguments
    ---------
    path : the HTML file
    results : content of ``results.json`` of ``fuse.py``, with a table
    curves : content of its ``curves.json``
    training : epochs by member, from ``curves.read_training``; figures only where given
    """
    html, figures = render(results, curves, training)
    files.write_text(path, html)
    return figures


def write_figures(folder: str | os.PathLike, figures: Sequence[Figure]) -> list[Path]:
    """Write every figure as an SVG file of its own, which carries its light and dark colours."""
    paths = []
    for figure in figures:
        paths.append(Path(folder) / f"{figure.key}.svg")
        files.write_text(paths[-1], standalone(figure))
    return paths


def render(
    results: dict[str, Any],
    curves: dict[str, Any],
    training: dict[str, list[dict[str, Any]]] | None = None,
) -> tuple[str, list[Figure]]:
    """The page as text, and the figures in it."""
    figures: list[Figure] = []

    def grid(made: Sequence[Figure]) -> str:
        figures.extend(made)
        return '<div class="grid">' + "".join(map(_figure, made)) + "</div>"

    errors = [drawn.det(results, curves), drawn.bayes(results, curves, results["fused_name"])]
    sections = [
        ("Results", "results", _main_table(results)),
        ("Errors and calibration", "errors", grid(errors)),
    ]
    if results["contributions"]:
        gives = f"<div>{grid([drawn.subsets(results)])}</div><div>{_steps(results)}</div>"
        alike = _pairs(results) + grid(drawn.heat_maps(results))
        sections += [
            ("What each member gives", "members", f'<div class="beside">{gives}</div>'),
            ("How alike the members are", "alike", alike),
        ]
    sections += [
        ("Decisions", "decisions", _decisions(results)),
        ("Scores", "scores", grid(drawn.histograms(results, curves))),
    ]
    if training:
        sections.append(("Training", "training", grid(drawn.training(training))))
    sections.append(("How this was made", "made", _made_by(results)))

    title = f"Fusion of {', '.join(results['systems'])}"
    links = "".join(f'<a href="#{key}">{escape(name)}</a>' for name, key, _ in sections)
    body = "".join(
        f'<section aria-labelledby="{key}"><h2 id="{key}">{escape(name)}</h2>{content}</section>'
        for name, key, content in sections
    )
    html = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<header><h1>{escape(title)}</h1>{_lead(results)}"
        f'<nav aria-label="Sections">{links}</nav></header>\n{body}\n</main>\n</body>\n</html>\n'
    )
    return html, figures


# ------------------------------------------------------------------------------------------------


def _lead(results: dict[str, Any]) -> str:
    """The result in words, and what a reader must know of it."""
    rows = {row["name"]: row for row in results["table"]}
    fused, best = rows[results["fused_name"]], rows[results["best_member"]]
    text = fuse_tables.with_interval(fused["eer"], fused["intervals"].get("eer"), 100, 2)
    lead = f"<strong>{escape(fused['name'])}: EER {text} %</strong>"
    if fused is not best:
        other = fuse_tables.with_interval(best["eer"], best["intervals"].get("eer"), 100, 2)
        change = fused["against_best"]["eer"]
        lead += f", the best single member, {escape(best['name'])}: {other} %. Difference "
        lead += fuse_tables.signed(change["change"], change["interval"], 100, 2) + " points"
        if change["interval"]:
            low, high = change["interval"]
            lead += (
                ": the fusion is better."
                if high < 0
                else ": the fusion is worse."
                if low > 0
                else ": not shown to differ."
            )
        else:
            lead += "."
    notes = "".join(
        f"<li>{escape(note)}</li>"
        for note in fuse_tables.protocol_notes(results)
        if not note.startswith("CAUTION")
    )
    cautions = [n for n in fuse_tables.protocol_notes(results) if n.startswith("CAUTION")]
    cautions += [f"Warning: {warning}" for warning in results.get("warnings", [])]
    boxes = "".join(f'<p class="warning" role="note">{escape(c)}</p>' for c in cautions)
    return f'<p class="lead">{lead}</p>{boxes}<ul class="soft">{notes}</ul>'


def _main_table(results: dict[str, Any]) -> str:
    header, rows = fuse_tables.main_table(results)
    least = min(row["eer"] for row in results["table"])
    best = {n for n, row in enumerate(results["table"]) if row["eer"] == least}
    note = escape(fuse_tables.interval_note(results))
    return _table("Results of every member and fusion", header, rows, best) + (
        f'<p class="soft">{note}</p>'
    )


def _decisions(results: dict[str, Any]) -> str:
    return (
        "<p>Accept a trial where its log-likelihood ratio is at least the threshold of the "
        "operating point. The actual cost at that threshold (actDCF) and the least possible one "
        "(minDCF) are in the table of results and, for every prior, in the plot of the Bayes error "
        "rate: what lies between both lines is lost by calibration.</p>"
        + _table("Decision thresholds", *fuse_tables.decision_table(results))
    )


def _steps(results: dict[str, Any]) -> str:
    path = _table(
        "Change by one more member, growing from the best single one",
        *fuse_tables.step_table(results, "on_path"),
        words=True,
    )
    out = _table(
        "Change by the last member, were it the last to come",
        *fuse_tables.step_table(results, "leave_one_out"),
        words=True,
    )
    every = _table("Every fused subset", *fuse_tables.subset_table(results))
    return (
        "<h3>Growing from the best single member</h3>"
        "<p>Change by adding a member; negative is better. “Yes” means that the paired interval of "
        f"the EER lies below zero.</p>{path}<h3>Leave one out</h3>{out}"
        f"<details><summary>All subsets as a table</summary>{every}</details>"
    )


def _pairs(results: dict[str, Any]) -> str:
    return (
        "<p>Fusion gains where members err on different trials: low correlation, few common "
        "errors. Common errors are the share of the trials that either member gets wrong, each at "
        "its own EER threshold, which both get wrong; beside it, what chance alone would "
        "give.</p>" + _table("Pairs of members", *fuse_tables.pair_table(results))
    )


def _made_by(results: dict[str, Any]) -> str:
    made = results["made"]
    versions = [[name, version] for name, version in made["versions"].items()]
    inputs = [
        [item["system"], item["part"], str(item["trials"]), item["path"]]
        for item in results["inputs"]
    ]
    return (
        f"<pre>{escape(made['command'])}</pre>"
        f'<p class="soft">{escape(made["time"])}, {made["seconds"]:.1f} s</p>'
        + _table("Versions", ["what", "version"], versions, words=True)
        + _table("Files", ["system", "part", "trials", "file"], inputs, words=True)
    )


def _figure(figure: Figure) -> str:
    return (
        f'<figure id="figure-{figure.key}"><figcaption><strong>{escape(figure.title)}</strong>'
        f"</figcaption>{figure.svg}</figure>"
    )


def _table(
    caption: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    best: set[int] | None = None,
    words: bool = False,
) -> str:
    """A table that scrolls by itself where the screen is narrow."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    lines = []
    for number, row in enumerate(rows):
        mark = ' class="best"' if number in (best or ()) else ""
        cells = "".join(f"<td{_colour(cell)}>{_cell(cell)}</td>" for cell in row[1:])
        lines.append(f'<tr{mark}><th scope="row">{escape(row[0])}</th>{cells}</tr>')
    kind = ' class="words"' if words else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cell(text: str) -> str:
    """The cell's text, an interval small and on a line of its own."""
    figure, bracket, interval = text.partition(" [")
    return escape(figure) + (f" <small>[{escape(interval)}</small>" if bracket else "")


def _colour(cell: str) -> str:
    return {"yes": ' class="yes"', "no, it harms": ' class="no"'}.get(cell, "")
