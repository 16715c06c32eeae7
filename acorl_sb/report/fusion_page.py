"""The content of a fusion report, from the results of ``fuse.py``; nothing is computed here."""

from __future__ import annotations

from typing import Any

from acorl_sb.report import figures
from acorl_sb.report import fusion_tables as fuse_tables
from acorl_sb.report.group_page import group_sections
from acorl_sb.report.page import Block, Items, Page, Pictures, Section, Table, Text
from acorl_sb.report.uncertainty_section import uncertainty_section
from acorl_sb.utils.tables import with_interval

_VERDICTS = {
    "helps": "the fusion is better.",
    "harms": "the fusion is worse.",
    "not shown": "not shown to differ.",
    None: "no interval.",
}


def fusion_page(
    results: dict[str, Any],
    curves: dict[str, Any],
    training: dict[str, list[dict[str, Any]]] | None = None,
    title: str | None = None,
) -> Page:
    """The whole report.

    Arguments
    ---------
    results : content of ``results.json`` of ``fuse.py``, with a table
    curves : content of its ``curves.json``
    training : epochs by member, from ``curves.read_training``; no section where no member has two
    title : of the page; None: "Fusion of" and the members

    Returns
    -------
    Page
        Sections of text, tables and pictures.
    """
    errors = [figures.det(results, curves), figures.bayes(results, curves, results["fused_name"])]
    sections = [
        Section("Results", "results", _results(results)),
        Section("Errors and calibration", "errors", [Pictures(errors)]),
    ]
    if results["contributions"]:
        contributions = _contributions(results)
        sections.append(Section("Contribution of each member", "members", contributions))
    if len(results["systems"]) > 1:
        sections.append(Section("Similarity of the members", "similarity", _similarity(results)))
    sections += [
        Section("Decisions", "decisions", _decisions(results)),
        Section("Scores", "scores", [Pictures(figures.histograms(results, curves))]),
    ]
    if results.get("uncertainty"):
        sections.insert(-2, uncertainty_section(results["uncertainty"]))
    if results.get("groups"):
        sections += group_sections(results["groups"])
    learned = figures.training(training or {})
    if learned:
        sections.append(Section("Training", "training", [Pictures(learned)]))
    sections.append(Section("How this was made", "made", _made(results)))
    title = title or f"Fusion of {', '.join(results['systems'])}"
    return Page(title, sections, _head(results))


def _head(results: dict[str, Any]) -> list[Block]:
    """The result in words, and what a reader must know of it."""
    rows = {row["name"]: row for row in results["table"]}
    fused, best = rows[results["fused_name"]], rows[results["best_member"]]

    def error(row: dict[str, Any]) -> str:
        return with_interval(row["eer"], row["intervals"].get("eer"), 100, 2)

    text = ""
    change = fuse_tables.difference(fused["against_best"])
    if change != fuse_tables.NOTHING:
        verdict = _VERDICTS[fused["against_best"]["eer"]["verdict"]]
        text = (
            f"Best single member by development, {best['name']}: {error(best)} %. "
            f"Difference {change} points: {verdict}"
        )
    notes = fuse_tables.protocol_notes(results)
    cautions = [note for note in notes if note.startswith("CAUTION")]
    cautions += [f"Warning: {warning}" for warning in results.get("warnings", [])]
    return [
        Text(text, "lead", f"{fused['name']}: EER {error(fused)} %."),
        *(Text(caution, "warning") for caution in cautions),
        Items([note for note in notes if not note.startswith("CAUTION")]),
        Table("Trials and speakers", *fuse_tables.count_table(results)),
    ]


def _results(results: dict[str, Any]) -> list[Block]:
    least = min(row["eer"] for row in results["table"])
    best = frozenset(n for n, row in enumerate(results["table"]) if row["eer"] == least)
    return [
        Table("Results of every member and fusion", *fuse_tables.main_table(results), best),
        Text(fuse_tables.interval_note(results), "soft"),
    ]


def _contributions(results: dict[str, Any]) -> list[Block]:
    return [
        Pictures([figures.subsets(results)]),
        Text("Growing from the best single member by development", "h3"),
        Text(
            "Change by adding a member; negative is better. “Yes” means that the paired interval "
            "of the EER lies below zero."
        ),
        Table("Change by one more member", *fuse_tables.step_table(results, "on_path")),
        Text("Leave one out", "h3"),
        Table("Change by the last member", *fuse_tables.step_table(results, "leave_one_out")),
        Table("All subsets as a table", *fuse_tables.subset_table(results), folded=True),
    ]


def _similarity(results: dict[str, Any]) -> list[Block]:
    return [
        Text(
            "Fusion gains where members err on different trials: low correlation of scores, low "
            "error overlap. Error overlap is the share of the trials that either member gets "
            "wrong, each at its own EER threshold, which both get wrong; beside it, what "
            "independent errors would give."
        ),
        Table("Pairs of members", *fuse_tables.pair_table(results)),
        Pictures(figures.similarity(results)),
    ]


def _decisions(results: dict[str, Any]) -> list[Block]:
    return [
        Text(
            "Accept a trial where its log-likelihood ratio is at least the threshold of the "
            "operating point. The actual cost at that threshold (actDCF) and the least possible "
            "one (minDCF) are in the table of results and, for every prior, in the plot of the "
            "Bayes error rate: the distance of the two lines is lost by calibration."
        ),
        Table("Decision thresholds", *fuse_tables.decision_table(results)),
    ]


def _made(results: dict[str, Any]) -> list[Block]:
    made = results["made"]
    inputs = [[i["system"], i["part"], f"{i['trials']:,}", i["path"]] for i in results["inputs"]]
    return [
        Text(made["command"], "code"),
        Text(f"{made['time']}, figures computed in {made['seconds']:.1f} s", "soft"),
        Table("Versions", ["what", "version"], [list(pair) for pair in made["versions"].items()]),
        Table("Files", ["system", "part", "trials", "file"], inputs),
    ]
