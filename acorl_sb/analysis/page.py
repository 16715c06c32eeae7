"""The page of an analysis, from its results, as Markdown and HTML; nothing is computed here."""

from __future__ import annotations

import re
from html import escape
from typing import Any

from acorl_sb.analysis.voicing import NAMES
from acorl_sb.tables import markdown


def page(results: dict[str, Any]) -> str:
    """Results of ``acorl_sb.analyse`` as Markdown."""
    parts = [
        "# What the members learned",
        _preamble(results),
        "## How different the members are",
        _likeness(results),
        "### Attributes",
        _attributes(results),
        "## What the scores rest on",
        _attribution(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _preamble(results: dict[str, Any]) -> str:
    trials = results["trials"]
    text = (
        f"{results['utterances']} utterances of {results['speakers']} speakers "
        f"({results['part']}), {trials['target']} target and {trials['nontarget']} "
        "non-target trials. "
        "Intervals in brackets are 95 %, from a bootstrap over speakers. "
        "What each measure means and how to read it: `docs/analysis.md`."
    )
    roles = [pair for pair in results["pairs"] if pair["role"] == "reference"]
    if roles:
        text += f" The pair {roles[0]['name']} was trained independently and is the yardstick."
    else:
        text += " No independently trained pair was given (`reference_run`) to hold this against."
    return text


def _likeness(results: dict[str, Any]) -> str:
    pairs = results["pairs"]
    rows: list[list[str]] = []

    def row(title: str, value) -> None:
        rows.append([title, *(value(pair) for pair in pairs)])

    row("CKA, whole embeddings", lambda p: _two(p["embeddings"]["cka"]))
    row("CKA, within speakers", lambda p: _two(_within(p, "cka")))
    row("canonical correlation, mean", lambda p: _two(p["embeddings"]["canonical_mean"]))
    row("canonical correlation within speakers", lambda p: _two(_within(p, "canonical_mean")))
    for key, goal in (
        ("second_from_first", "2nd out of 1st"),
        ("first_from_second", "1st out of 2nd"),
    ):
        for kind, name in (("linear", "linear"), ("mlp", "MLP")):
            row(
                f"R², {name} probe reads {goal}",
                lambda p, k=key, m=kind: _reading(p["embeddings"]["r2"][k][m]),
            )
        row(
            f"R² within speakers, linear, {goal}",
            lambda p, k=key: _reading((_within(p, "r2") or {}).get(k)),
        )
    row("score correlation, target", lambda p: _two(p["scores"]["correlation"]["target"]))
    row("score correlation, non-target", lambda p: _two(p["scores"]["correlation"]["nontarget"]))
    common = "common_errors"
    row("share of errors in common", lambda p: _percent(p["scores"][common]["share"]))
    row("… if they erred independently", lambda p: _percent(p["scores"][common]["expected"]))
    row("Yule's Q, misses", lambda p: _two(p["scores"][common]["misses"]["q"]))
    row("Yule's Q, false alarms", lambda p: _two(p["scores"][common]["false_alarms"]["q"]))
    for key, name in (("first", "1st"), ("second", "2nd"), ("mean_of_both", "mean of both")):
        row(f"EER, {name}", lambda p, k=key: _percent(p["scores"]["eer"][k], 2))
    row("EER bound, best weighted sum", lambda p: _percent(p["scores"]["bounds"]["linear"], 2))
    row("EER promised if Gaussian", lambda p: _percent(p["scores"]["bounds"]["gaussian"], 2))
    row(
        "error bound, oracle of decisions", lambda p: _percent(p["scores"]["bounds"]["decision"], 2)
    )
    header = ["", *(f"{pair['name']} ({pair['role']})" for pair in pairs)]
    return "\n\n".join(
        [
            markdown(header, rows).rstrip(),
            "1st and 2nd are the members in the order in which the column names them.",
            _picture("likeness.png", "How alike members are, member by member"),
            _picture("canonical.png", "Canonical correlations"),
        ]
    )


def _attributes(results: dict[str, Any]) -> str:
    members = results["members"]
    kinds = list(dict.fromkeys(k for m in members.values() for k in m["attributes"]))
    if not kinds:
        return "The manifest knows no attribute that varies."
    rows = []
    for kind in kinds:
        found = {name: member["attributes"].get(kind) for name, member in members.items()}
        first = next(reading for reading in found.values() if reading)
        measure = {"auc": "AUC, chance 0.5", "r2": "R², chance 0"}[first["measure"]]
        title = f"{kind} ({measure}; {first['speakers']} speakers)"
        rows.append([title, *(_reading(reading) for reading in found.values())])
    return (
        "How well a linear probe reads each out of each member's embeddings, on held-out "
        "speakers.\n\n" + markdown(["", *members], rows).rstrip()
    )


def _attribution(results: dict[str, Any]) -> str:
    made = results["attribution"]
    if not made["members"]:
        return "\n".join(f"- {name}: {why}" for name, why in made["skipped"].items())
    members = made["members"]
    text = [
        f"Integrated gradients of the cosine score of {made['trials']} trials (half of them target "
        f"trials), both sides, centre {made['crop_seconds']:g} s, to the log-mel input. Taken away "
        "means: set to the band's mean over the utterance.",
        *(f"**{line}**" for line in _warnings(made)),
        *(f"- {name} has no maps: {why}" for name, why in made["skipped"].items()),
        markdown(["", *members], _member_rows(members)).rstrip(),
        _picture("deletion.png", "Deletion curves"),
        _picture("profiles.png", "Frequency and time profiles"),
        *(_picture(file, title) for file, title in made["trial_pictures"].items()),
    ]
    if made["pairs"]:
        text += ["### Do two members look at the same cells?", _overlaps(made)]
    return "\n\n".join(text)


def _member_rows(members: dict[str, dict[str, Any]]) -> list[list[str]]:
    rows: list[list[str]] = []

    def row(title: str, value) -> None:
        rows.append([title, *(value(member) for member in members.values())])

    row("score at full input, at neutral input", lambda m: f"{m['score']['all']:.3f}, "
        f"{m['neutral_score']:.3f}")  # fmt: skip
    row("completeness: mean gap / mean rise", lambda m: _percent(m["completeness"]["relative_gap"]))
    row("completeness: largest gap", lambda m: f"{m['completeness']['largest_gap']:.4f}")
    row("mean loss of score, marked cells", lambda m: _three(m["deletion"]["drop"]["map"]))
    row("… random cells", lambda m: _three(m["deletion"]["drop"]["random"]))
    row("… another trial's map", lambda m: _three(m["deletion"]["drop"]["another trial's map"]))
    row("marked minus random", lambda m: _reading(m["deletion"]["over_random"]["all"], 3))
    row(
        "marked minus another trial's",
        lambda m: _reading(m["deletion"]["over_another_trial"]["all"], 3),
    )
    row("the map is", lambda m: _verdict(m["deletion"]))
    row(
        "rank correlation with occlusion, by block",
        lambda m: f"{_two(m['occlusion']['rank_correlation'])} ({m['occlusion']['sides']} sides)",
    )
    for kind in NAMES:
        row(
            f"attribution per frame, {kind}", lambda m, k=kind: _two(m["time"]["all"][k]["density"])
        )
    return rows


def _verdict(deletion: dict[str, Any]) -> str:
    if deletion["worthless"]:
        return "**worthless**"
    return "of use" if deletion["specific"] else "of use, but not specific to the trial"


def _warnings(made: dict[str, Any]) -> list[str]:
    lines = []
    for name, member in made["members"].items():
        if member["deletion"]["worthless"]:
            lines.append(
                f"The map of {name} is worthless: taking away what it marks hurts the score no "
                "more than taking away random cells. Its profiles and overlaps say nothing."
            )
        if member["completeness"]["relative_gap"] > 0.05:
            lines.append(
                f"The map of {name} is not complete (gap "
                f"{_percent(member['completeness']['relative_gap'])} of the rise); raise `steps`."
            )
    return lines


def _overlaps(made: dict[str, Any]) -> str:
    rows = []
    for title, key in (
        ("rank correlation", "rank"),
        ("… chance: another trial's map", "rank_chance"),
        ("… chance: this input, another trial's gradients", "rank_input"),
        ("top 10 % in common", "top"),
        ("… chance: another trial's map", "top_chance"),
        ("… chance: this input, another trial's gradients", "top_input"),
    ):
        rows.append([title, *(_reading(pair["all"][key], 3) for pair in made["pairs"].values())])
    for kind in ("target", "non-target"):
        rows.append(
            [
                f"rank correlation, {kind} trials",
                *(_reading(pair[kind]["rank"], 3) for pair in made["pairs"].values()),
            ]
        )
    text = [
        markdown(["", *made["pairs"]], rows).rstrip(),
        "Of two unrelated maps the rank correlation is 0 and the top 10 % have 0.1 in common. "
        "Chance keeps what the members' maps always share: their bands (another trial's map), or "
        "that the input's own extremes stand out (this input, another trial's gradients).",
    ]
    for name, gap in made["against_reference"].items():
        text.append(
            f"{name} minus the independent pair: rank correlation {_reading(gap['rank'], 3)}, "
            f"top 10 % {_reading(gap['top'], 3)}: {_reading_of_gap(gap['rank'])}."
        )
    return "\n\n".join(text)


def _reading_of_gap(gap: dict[str, float | None]) -> str:
    if gap["high"] is not None and gap["high"] < 0:
        return "its members look at different cells more than independent ones do"
    if gap["low"] is not None and gap["low"] > 0:
        return "its members look at the same cells more than independent ones do"
    return "no difference shown"


def _within(pair: dict[str, Any], key: str):
    within = pair["embeddings"]["within_speaker"]
    return None if within is None else within[key]


def _two(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _three(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def _reading(reading: dict[str, Any] | None, digits: int = 2) -> str:
    if not reading or reading["value"] is None:
        return "–"
    text = f"{reading['value']:.{digits}f}"
    if reading["low"] is None or reading["high"] is None:
        return text
    return f"{text} [{reading['low']:.{digits}f}, {reading['high']:.{digits}f}]"


def _picture(file: str, title: str) -> str:
    return f"![{title}]({file})"


_STYLE = """
:root{color-scheme:light dark}
body{max-width:1000px;margin:0 auto;padding:20px 16px 60px;font:16px/1.5 system-ui,sans-serif}
div{overflow-x:auto}
table{border-collapse:collapse;font-size:.92rem;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:.3em .8em;border-bottom:1px solid #8884;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
img{max-width:100%;background:#fff;border-radius:6px}
"""


def as_html(text: str) -> str:
    """``page``'s Markdown as an HTML page that a browser shows; pictures stay beside it.

    Knows what ``page`` writes and no more: headings, paragraphs, list items, tables, pictures,
    bold and code.
    """
    body = "\n".join(_block(block) for block in text.strip().split("\n\n"))
    title = escape(text.split("\n", 1)[0].lstrip("# "))
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _block(block: str) -> str:
    heading = re.match(r"(#+) (.*)", block)
    if heading:
        level = len(heading[1])
        return f"<h{level}>{_inline(heading[2])}</h{level}>"
    if block.startswith("|"):
        header, _, *rows = (
            [c.strip().replace("\\|", "|") for c in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in block.split("\n")
        )
        head = "".join(f"<th>{_inline(cell)}</th>" for cell in header)
        cells = ("".join(f"<td>{_inline(cell)}</td>" for cell in row) for row in rows)
        lines = "\n".join(f"<tr>{row}</tr>" for row in cells)
        return f"<div><table>\n<tr>{head}</tr>\n{lines}\n</table></div>"
    picture = re.fullmatch(r"!\[(.*)\]\((.*)\)", block)
    if picture:
        return f'<p><img src="{escape(picture[2])}" alt="{escape(picture[1])}"></p>'
    if block.startswith("- "):
        items = "".join(f"<li>{_inline(line[2:])}</li>" for line in block.split("\n"))
        return f"<ul>{items}</ul>"
    return f"<p>{_inline(block)}</p>"


def _inline(text: str) -> str:
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escape(text, quote=False))
    return re.sub(r"`(.+?)`", r"<code>\1</code>", text)
