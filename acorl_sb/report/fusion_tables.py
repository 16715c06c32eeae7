"""The results of ``fuse.py`` as Markdown tables, shared by the terminal, the file and the page."""

from __future__ import annotations

from typing import Any

from acorl_sb.report.group_page import group_markdown
from acorl_sb.utils.markdown import code, escape
from acorl_sb.utils.tables import EER_NOTE, Row, markdown, number, signed, with_interval

NOTHING = "–"
_COUNTED = ("speakers", "target", "nontarget")


def difference(against: dict[str, Any] | None) -> str:
    """EER minus the best member's, %; a dash for that member and for what decides as it does."""
    if against is None:
        return NOTHING
    change, interval = against["eer"]["change"], against["eer"]["interval"]
    if change == 0 and not any(interval or ()):
        return NOTHING
    return signed(change, interval, 100, 2)


def main_table(results: dict[str, Any]) -> tuple[Row, list[Row]]:
    """Header and rows of every member and fusion, with intervals and the difference to the best."""
    points = [f"{p['p_target']:g}" for p in results["cost_points"]]
    header = ["system", "EER %", f"EER % minus {results['best_member']}"]
    for p in points:
        header += [f"minDCF({p})", f"actDCF({p})"]
    header += ["Cllr", "minCllr"]
    rows = []
    for row in results["table"]:
        spread = row["intervals"]
        cells = [row["name"], with_interval(row["eer"], spread.get("eer"), 100, 2)]
        cells.append(difference(row["against_best"]))
        for p in points:
            for figure in ("min_dcf", "act_dcf"):
                interval = spread.get(f"{figure}({p})")
                cells.append(with_interval(row[figure][p], interval, 1, 3))
        cells.append(with_interval(row["cllr"], spread.get("cllr"), 1, 3))
        cells.append(f"{row['min_cllr']:.3f}")
        rows.append(cells)
    return header, rows


def count_table(results: dict[str, Any]) -> tuple[Row, list[Row]]:
    """Header and rows: speakers and trials of every part."""
    names = {"dev": "development", "test": "test", "scores": "all, cross-validated"}
    rows = [
        [
            names[part],
            *(NOTHING if n is None else f"{n:,}" for n in map(counts.get, _COUNTED)),
        ]
        for part, counts in results["protocol"]["parts"].items()
    ]
    return ["trials", "speakers", "target trials", "non-target trials"], rows


def step_table(results: dict[str, Any], which: str) -> tuple[Row, list[Row]]:
    """Header and rows of what each member adds; ``which``: "on_path", "leave_one_out"."""
    names = results["systems"]
    points = [f"{p['p_target']:g}" for p in results["cost_points"]]
    figures = ["eer", *(f"min_dcf({p})" for p in points)]
    header = ["add", "to", "EER %", "does it help?", *(f"minDCF({p})" for p in points)]
    rows = []
    for step in results["contributions"]["steps"]:
        if not step[which]:
            continue
        cells = [names[step["member"]], " + ".join(names[m] for m in step["without"])]
        for figure in figures:
            change = step["change"][figure]
            scale, digits = (100, 2) if figure == "eer" else (1, 3)
            cells.append(signed(change["change"], change["interval"], scale, digits))
        cells.insert(3, verdict(step["change"]["eer"]))
        rows.append(cells)
    return header, rows


def verdict(change: dict[str, Any]) -> str:
    """In words, by the paired interval of the EER."""
    if change["verdict"] is None:
        return "no interval"
    return {"helps": "yes", "harms": "no, it harms", "not shown": "not shown"}[change["verdict"]]


def subset_table(results: dict[str, Any]) -> tuple[Row, list[Row]]:
    """Header and rows of every subset that was fused, the best first."""
    names = results["systems"]
    points = [f"{p['p_target']:g}" for p in results["cost_points"]]
    rows = []
    for row in sorted(results["contributions"]["subsets"], key=lambda row: row["figures"]["eer"]):
        spread, figures = row["intervals"], row["figures"]
        cells = [" + ".join(names[m] for m in row["members"])]
        cells.append(with_interval(figures["eer"], spread.get("eer"), 100, 2))
        for p in points:
            name = f"min_dcf({p})"
            cells.append(with_interval(figures[name], spread.get(name), 1, 3))
        rows.append(cells)
    return ["members", "EER %", *(f"minDCF({p})" for p in points)], rows


def pair_table(results: dict[str, Any]) -> tuple[Row, list[Row]]:
    """Header and rows: how similar every two members are."""
    names = results["systems"]
    header = ["members", "correlation, targets", "correlation, non-targets"]
    header += ["error overlap", "if independent"]
    rows = []
    for i in range(len(names)):
        for j in range(i + 1, len(names)):
            correlation, errors = results["correlation"], results["error_overlap"]
            rows.append(
                [
                    f"{names[i]}, {names[j]}",
                    *(number(correlation[kind][i][j]) for kind in ("target", "nontarget")),
                    *(_share(errors[kind][i][j]) for kind in ("share", "expected")),
                ]
            )
    return header, rows


def decision_table(results: dict[str, Any]) -> tuple[Row, list[Row]]:
    """Header and rows: the threshold to decide by at each operating point."""
    rows = [
        [
            f"{row['p_target']:g}",
            f"{row['c_miss']:g}",
            f"{row['c_fa']:g}",
            number(row["llr_threshold"], 4),
        ]
        for row in results["decisions"]
    ]
    return ["P(target)", "C(miss)", "C(false alarm)", "accept where the LLR is at least"], rows


def interval_note(results: dict[str, Any]) -> str:
    """What stands in brackets."""
    intervals = results["intervals"]
    if not intervals["replicates"]:
        return f"No intervals: {intervals['method'].removeprefix('none: ')}."
    return f"In brackets: {100 * intervals['level']:g} % intervals, {intervals['method']}."


def protocol_notes(results: dict[str, Any]) -> list[str]:
    """Sentences that a reader of any figure must know."""
    protocol, fusion = results["protocol"], results["fusion"]
    notes = [f"Protocol: {protocol['sentence']}."]
    shared = protocol.get("shared_speakers")
    if shared:
        notes.append(
            f"CAUTION: {shared} speakers are in both the development and the test trials, "
            "so the fusion has seen some of the test speakers."
        )
    elif shared == 0:
        notes.append("No speaker is in both the development and the test trials.")
    if protocol["kind"] == "dev_test" and shared is None:
        notes.append(
            f"Whether development and test share speakers is not known ({protocol['speakers']})."
        )
    regularised = f", L2 {fusion['l2']:g}" if fusion["l2"] else ""
    notes.append(
        f"Fused system: {fusion['kind']} with {fusion['calibration']} calibration, effective prior "
        f"{fusion['prior']:g}{regularised}."
    )
    cost = results["cost_points"][0]
    notes.append(
        f"minDCF(p), actDCF(p): detection cost at prior p, C(miss) = {cost['c_miss']:g}, "
        f"C(false alarm) = {cost['c_fa']:g}, normalised by that of the default (no-score) system; "
        "actDCF, Cllr and the thresholds are those of the calibrated scores. " + EER_NOTE
    )
    return notes


def shown(results: dict[str, Any]) -> str:
    """What a terminal shows: trials and speakers, the table, and what its reader must know."""
    parts = ["the reported trials have no labels: fused, not measured"]
    if results["table"]:
        tables = [markdown(*count_table(results)), markdown(*main_table(results))]
        parts = [*tables, interval_note(results)]
    return "\n".join([*parts, *protocol_notes(results)])


def page(results: dict[str, Any]) -> str:
    """The whole Markdown file."""
    parts = ["# Fusion of " + escape(", ".join(results["systems"])) + "\n"]
    parts += ["\n".join(f"- {escape(note)}" for note in protocol_notes(results)) + "\n"]
    parts += [f"- WARNING: {escape(warning)}\n" for warning in results.get("warnings", [])]
    if not results["table"]:
        parts.append("The reported trials have no labels: there is nothing to measure.\n")
    else:
        parts += [markdown(*count_table(results))]
        parts += [markdown(*main_table(results)), interval_note(results) + "\n"]
        if results["contributions"]:
            parts += ["## Does adding a member help?\n", _steps(results)]
            parts += ["## Subsets\n", markdown(*subset_table(results))]
            parts += ["## Similarity of the members\n", markdown(*pair_table(results))]
            parts.append(
                "Error overlap: share of the trials that either member gets wrong, each at its own "
                "EER threshold, which both get wrong; beside it: if they erred independently.\n"
            )
    parts += ["## Decisions\n", markdown(*decision_table(results))]
    if results.get("groups"):
        parts.append(group_markdown(results["groups"]))
    parts += ["## Made by\n", _made_by(results)]
    return "\n".join(parts)


def _steps(results: dict[str, Any]) -> str:
    parts = ["Change by one more member; negative is better.\n"]
    parts += [
        "Growing from the best single member by development:\n",
        markdown(*step_table(results, "on_path")),
    ]
    parts += ["Leave one out:\n", markdown(*step_table(results, "leave_one_out"))]
    return "\n".join(parts)


def _made_by(results: dict[str, Any]) -> str:
    made = results.get("made", {})
    versions = ", ".join(f"{name} {version}" for name, version in made.get("versions", {}).items())
    return f"{code(made.get('command', ''))}\n\n{versions}\n"


def _share(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.0f} %"
