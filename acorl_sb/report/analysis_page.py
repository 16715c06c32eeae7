"""The content of an analysis page, from the results of the command; nothing is computed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from acorl_sb.analysis.voicing import NAMES
from acorl_sb.report.page import Block, Items, Page, Pictures, Section, Table, Text
from acorl_sb.report.style import Picture
from acorl_sb.utils.files import write_text

Rows = Sequence[tuple[str, str, Callable[[Any], str]]]
"""Rows of a table: name, where the figure is (keys joined by dots), how it is written."""


def analysis_page(results: dict[str, Any], pictures: dict[str, list[Picture]]) -> Page:
    """The whole page; ``pictures`` by where they stand: similarity, attribution, trials."""
    trials = results["trials"]
    text = (
        f"{results['utterances']:,} utterances of {results['speakers']:,} speakers "
        f"({results['part']}), {trials['target']:,} target and {trials['nontarget']:,} non-target "
        "trials. Intervals in brackets are 95 %, from a bootstrap over speakers. "
    )
    baseline = [pair["name"] for pair in results["pairs"] if pair["role"] == "reference"]
    text += (
        f"The pair {baseline[0]} was trained independently and is the baseline."
        if baseline
        else "No independently trained pair was given (baseline_run) as a baseline."
    )
    sections = [
        Section("Similarity of the members", "similarity", [
            _pairs(results["pairs"]),
            Text("1st and 2nd: in the order in which the column names the members.", "soft"),
            Pictures(pictures["similarity"]),
        ]),
        Section("Attributes", "attributes", _attributes(results["members"])),
        Section("What the scores rest on", "attribution",
                _attribution(results["attribution"], pictures)),
    ]  # fmt: skip
    if results["attribution"]["pairs"]:
        overlap = _overlap(results["attribution"])
        sections.append(Section("Do two members use the same bins?", "overlap", overlap))
    notes = [Text(text), Text("docs/analysis.md says how each measure is read.", "soft")]
    return Page("What the members learned", sections, notes)


def _pairs(pairs: Sequence[dict[str, Any]]) -> Table:
    probes: list[tuple[str, str, Callable[[Any], str]]] = []
    for key, goal in (
        ("second_from_first", "2nd out of 1st"),
        ("first_from_second", "1st out of 2nd"),
    ):
        probes += [
            (f"R², linear probe reads {goal}", f"embeddings.r2.{key}.linear", _reading),
            (f"R², MLP probe reads {goal}", f"embeddings.r2.{key}.mlp", _reading),
            (
                f"R² within speakers, linear, {goal}",
                f"embeddings.within_speaker.r2.{key}",
                _reading,
            ),
        ]
    within, overlap = "embeddings.within_speaker", "scores.error_overlap"
    rows: Rows = [
        ("CKA, whole embeddings", "embeddings.cka", _number),
        ("CKA, within speakers", f"{within}.cka", _number),
        ("canonical correlation, mean", "embeddings.canonical_mean", _number),
        ("canonical correlation within speakers", f"{within}.canonical_mean", _number),
        *probes,
        ("score correlation, target", "scores.correlation.target", _number),
        ("score correlation, non-target", "scores.correlation.nontarget", _number),
        ("error overlap", f"{overlap}.share", _percent),
        ("… if errors were independent", f"{overlap}.expected", _percent),
        ("Yule's Q, misses", f"{overlap}.misses.q", _number),
        ("Yule's Q, false alarms", f"{overlap}.false_alarms.q", _number),
        ("EER, 1st", "scores.eer.first", _percent),
        ("EER, 2nd", "scores.eer.second", _percent),
        ("EER, mean of both", "scores.eer.mean_of_both", _percent),
        ("EER, best weighted sum found", "scores.bounds.linear", _percent),
        ("EER expected of Gaussian scores", "scores.bounds.gaussian", _percent),
        ("lower bound of error, oracle of decisions", "scores.bounds.decision", _percent),
    ]
    header = [f"{pair['name']} ({_ROLES[pair['role']]})" for pair in pairs]
    return _table("Pairs of members", "measure", rows, dict(zip(header, pairs, strict=True)))


_ROLES = {"examined": "examined", "reference": "independent"}


def _attributes(members: dict[str, dict[str, Any]]) -> list[Block]:
    kinds = dict.fromkeys(kind for m in members.values() for kind in m["attributes"])
    if not kinds:
        return [Text("The manifest knows no attribute that varies.")]
    rows = []
    for kind in kinds:
        found = [member["attributes"].get(kind) for member in members.values()]
        first = next(reading for reading in found if reading)
        measure = {"auc": "AUC, chance 0.5", "r2": "R², chance 0"}[first["measure"]]
        title = f"{kind} ({measure}; {first['speakers']} speakers)"
        rows.append([title, *map(_reading, found)])
    text = (
        "How well a linear probe reads each attribute out of each member's embeddings, on held-out "
        "speakers."
    )
    return [Text(text), Table("Attributes", ["attribute", *members], rows)]


def _attribution(made: dict[str, Any], pictures: dict[str, list[Picture]]) -> list[Block]:
    skipped = [f"{name} has no maps: {why}" for name, why in made["skipped"].items()]
    skips = [Items(skipped)] if skipped else []
    members = made["members"]
    if not members:
        return skips
    random, other = "deletion.over_random.all", "deletion.over_another_trial.all"
    rows: Rows = [
        ("score at full input", "score.all", _three),
        ("score at neutral input", "neutral_score", _three),
        ("completeness: mean gap / mean rise", "completeness.relative_gap", _percent),
        ("completeness: largest gap", "completeness.largest_gap", _three),
        ("mean loss of score, all trials, bins that the map marks", "deletion.drop.map", _three),
        ("… random bins", "deletion.drop.random", _three),
        ("… bins of another trial's map", "deletion.drop.another trial's map", _three),
        ("marked minus random, all trials", random, _reading_3),
        ("marked minus another trial's, all trials", other, _reading_3),
        ("the map is", "deletion", _verdict),
        ("rank correlation with occlusion, by block", "occlusion.rank_correlation", _number),
        ("… sides of trials checked", "occlusion.sides", str),
        *((f"attribution per frame, {kind}", f"time.all.{kind}.density", _number)
          for kind in NAMES),
    ]  # fmt: skip
    text = (
        f"Integrated gradients of the cosine score of {made['trials']} trials (half of them target "
        f"trials), both sides, centre {made['crop_seconds']:g} s, to the log-mel input. A masked "
        "time–frequency bin is set to its band's mean over the utterance. All figures and pictures "
        "here are of target and non-target trials together, if they do not say otherwise."
    )
    return [
        Text(text),
        *(Text(line, "warning") for line in _warnings(members)),
        *skips,
        _table("Attribution", "member", rows, members),
        Pictures(pictures["attribution"]),
        Pictures(pictures["trials"]),
    ]


def _warnings(members: dict[str, dict[str, Any]]) -> list[str]:
    lines = [
        f"The map of {name} is not better than random masking: masking what it marks lowers the "
        "score no more than masking random bins. Its profiles and overlaps say nothing."
        for name, member in members.items()
        if member["deletion"]["worthless"]
    ]
    return lines + [
        f"The map of {name} is not complete (gap {_percent(member['completeness']['relative_gap'])}"
        " of the rise); raise steps."
        for name, member in members.items()
        if member["completeness"]["relative_gap"] > 0.05
    ]


def _overlap(made: dict[str, Any]) -> list[Block]:
    chance = "… chance: another trial's map"
    gradients = "… chance: this input, another trial's gradients"
    rows: Rows = [
        ("rank correlation", "all.rank", _reading_3),
        (chance, "all.rank_chance", _reading_3),
        (gradients, "all.rank_input", _reading_3),
        ("overlap of the top 10 %", "all.top", _reading_3),
        (chance, "all.top_chance", _reading_3),
        (gradients, "all.top_input", _reading_3),
        ("rank correlation, target trials", "target.rank", _reading_3),
        ("rank correlation, non-target trials", "non-target.rank", _reading_3),
    ]
    return [
        _table("Overlap of maps", "measure", rows, made["pairs"]),
        Text(
            "Of two unrelated maps the rank correlation is 0 and the overlap of the top 10 % is "
            "0.1. Chance keeps what the members' maps always share: their bands (another trial's "
            "map), or that the input's own extremes stand out (this input, another trial's "
            "gradients).",
            "soft",
        ),
        *(
            Text(
                f"{name} minus the independent pair: rank correlation {_reading_3(gap['rank'])}, "
                f"top 10 % {_reading_3(gap['top'])}: {_gap(gap['rank'])}."
            )
            for name, gap in made["against_reference"].items()
        ),
    ]


def _gap(gap: dict[str, float | None]) -> str:
    if gap["high"] is not None and gap["high"] < 0:
        return "its members use different bins more than independent ones do"
    if gap["low"] is not None and gap["low"] > 0:
        return "its members use the same bins more than independent ones do"
    return "no difference shown"


def _table(caption: str, corner: str, rows: Rows, columns: dict[str, Any]) -> Table:
    cells = [
        [title, *(write(_at(c, path)) for c in columns.values())] for title, path, write in rows
    ]
    return Table(caption, [corner, *columns], cells)


def _at(found: Any, path: str) -> Any:
    for key in path.split("."):
        found = None if found is None else found.get(key)
    return found


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def _three(value: float | None) -> str:
    return _number(value, 3)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{_number(100 * value)} %"


def _reading(reading: dict[str, Any] | None, digits: int = 2) -> str:
    if not reading or reading["value"] is None:
        return "–"
    value, low, high = (_number(reading[key], digits) for key in ("value", "low", "high"))
    return value if "–" in (low, high) else f"{value} [{low}, {high}]"


def _reading_3(reading: dict[str, Any] | None) -> str:
    return _reading(reading, 3)


def _verdict(deletion: dict[str, Any]) -> str:
    if deletion["worthless"]:
        return "no, not better than random masking"
    specific = "better than random masking"
    return specific if deletion["specific"] else f"{specific}, but not specific to the trial"


def link_from(report: Path, target: Path) -> None:
    """Put a link to the analysis at the end of a report page, once."""
    html = report.read_text(encoding="utf-8")
    if 'id="analysis"' in html or "</main>" not in html:
        return
    path = Path(os.path.relpath(target, report.parent)).as_posix()
    where = escape(quote(path, errors="surrogateescape"))  # folders may be named anything
    line = f'<p id="analysis"><a href="{where}">How the members differ, and why</a></p>\n'
    before, after = html.rsplit("</main>", 1)
    write_text(report, f"{before}{line}</main>{after}")
