"""Figures by group as tables, a picture and sections of a page; nothing is computed here."""

from __future__ import annotations

from typing import Any

from acorl_sb.report.page import Block, Page, Pictures, Section, Table, Text
from acorl_sb.report.plots import LETTER, panel, shorten, styled
from acorl_sb.report.style import LIGHT, WIDTH, Picture, key_of
from acorl_sb.utils.tables import EER_NOTE, Row, markdown, number, percent, signed, with_interval

NOTHING = "–"
_RATES = {"eer": "EER %", "fmr": "FMR %", "fnmr": "FNMR %"}


def group_page(results: dict[str, Any]) -> Page:
    """The page of ``acorl groups``, from its results."""
    return Page(f"Errors by group: {', '.join(results['attributes'])}", group_sections(results))


def group_sections(results: dict[str, Any]) -> list[Section]:
    """A section for each attribute, for a page of one's own.

    Arguments
    ---------
    results : what ``acorl_sb.analysis.group_errors.group_errors`` returns

    Returns
    -------
    list of Section
    """
    return [
        Section(f"By {name}", f"groups-{key_of(name)}", _section(results, name))
        for name in results["attributes"]
    ]


def group_markdown(results: dict[str, Any]) -> str:
    """All tables as Markdown, for the terminal and for ``groups.md``."""
    parts = []
    for name in results["attributes"]:
        made = [group_table(results, name), difference_table(results, name)]
        made += [cross_table(results, name), fairness_table(results, name)]
        parts.append(f"## By {name}\n")
        parts += [markdown(*table) for table in made if table[1]]
    return "\n".join([*parts, note(results)])


def group_table(results: dict[str, Any], name: str) -> tuple[Row, list[Row]]:
    """Header and rows: every group, and all trials together."""
    figures = results["figures"]
    header = [name, "speakers", "target trials", "non-target trials", *map(_title, figures)]
    rows = []
    for row in [*results["attributes"][name]["groups"], {"group": "all", **results["overall"]}]:
        cells = [row["group"], *(f"{row[k]:,}" for k in ("speakers", "target", "nontarget"))]
        if row["figures"] is None:
            cells += [row["note"], *[NOTHING] * (len(figures) - 1)]
        else:
            cells += [_cell(k, row["figures"][k], row["intervals"].get(k)) for k in figures]
        rows.append(cells)
    return header, rows


def difference_table(results: dict[str, Any], name: str) -> tuple[Row, list[Row]]:
    """Header and rows: each group minus the others together, with p-values by Holm's method."""
    header, rows = [f"{name}, minus the others", "figure", "difference", "p", "p (Holm)"], []
    compared = [row for row in results["attributes"][name]["groups"] if row["difference"]]
    # Two groups are one comparison, and the second row of it the first with the other sign.
    for row in compared[:1] if len(compared) == 2 else compared:
        for figure, found in row["difference"].items():
            scale, digits = (100, 2) if figure in _RATES else (1, 3)
            change = signed(found["change"], found["interval"], scale, digits)
            values = (number(found[p], 3) for p in ("p", "p_holm"))
            rows.append([row["group"], _title(figure), change, *values])
    return header, rows


def cross_table(results: dict[str, Any], name: str) -> tuple[Row, list[Row]]:
    """Header and rows: false matches between groups."""
    found = results["attributes"][name]["cross"]
    rows = [["all pairs of groups", found["all"]]] if found["all"]["nontarget"] else []
    if len(found["pairs"]) > 1:
        rows += [[" and ".join(pair["groups"]), pair] for pair in found["pairs"]]
    header = [f"between groups of {name}", "non-target trials", "FMR %"]
    return header, [
        [title, f"{r['nontarget']:,}", _cell("fmr", r["fmr"], r["interval"])] for title, r in rows
    ]


def fairness_table(results: dict[str, Any], name: str) -> tuple[Row, list[Row]]:
    """Header and rows: Gini coefficient and worst/best ratio."""
    found = results["attributes"][name]["fairness"]
    header = ["figure", "Gini", "Gini by chance", "worst/best", "worst", "best"]
    rows = []
    for figure, title in _RATES.items():
        if figure in found:
            row = found[figure]
            gini = NOTHING
            if row["gini"] is not None:
                gini = with_interval(row["gini"], row["interval"], 1, 3)
            values = [number(row["by_chance"], 3), number(row["ratio"])]
            rows.append([title.removesuffix(" %"), gini, *values, row["worst"], row["best"]])
    return header, rows


def note(results: dict[str, Any]) -> str:
    """What a reader must know of the tables."""
    text = f"FMR and FNMR at the threshold {results['threshold']:.4f} for all groups"
    if "threshold_source" in results:
        text += f" ({results['threshold_source']})"
    if results["replicates"]:
        text += (
            f". In brackets: {100 * results['level']:g} % intervals, {results['replicates']} "
            "bootstrap draws of the group's speakers; p: two-sided, of the same draws; p (Holm): "
            "adjusted for the number of groups. Gini by chance: what groups of one true error "
            "would show"
        )
    return (
        f"{text}. A group's figures are of the trials with both speakers in it; groups of fewer "
        f"than {results['least_speakers']} speakers are not measured. {EER_NOTE}\n"
    )


# ------------------------------------------------------------------------------------------------


def _title(figure: str) -> str:
    if figure in _RATES:
        return _RATES[figure]
    return figure.replace("act_dcf", "actDCF").replace("cllr", "Cllr")


def _cell(figure: str, value: float | None, interval: Any) -> str:
    if value is None:
        return NOTHING
    return with_interval(value, interval, *((100, 2) if figure in _RATES else (1, 3)))


def _section(results: dict[str, Any], name: str) -> list[Block]:
    found = results["attributes"][name]
    blocks: list[Block] = [Table(f"Figures by {name}", *group_table(results, name))]
    if any(row["figures"] for row in found["groups"]):
        blocks.append(Pictures([_picture(results, name)]))
    if found["unknown_speakers"]:
        unknown = f"{found['unknown_speakers']} speakers of unknown {name} are left out."
        blocks.append(Text(unknown, "warning"))
    for title, table in (
        ("Each group against the others", difference_table(results, name)),
        ("False matches between groups", cross_table(results, name)),
        ("How unequal the groups are", fairness_table(results, name)),
    ):
        if table[1]:
            blocks.append(Table(title, *table))
    return [*blocks, Text(note(results), "soft")]


@styled
def _picture(results: dict[str, Any], name: str) -> Picture:
    """EER of every measured group as a dot with its interval, all trials as a line."""
    rows = [row for row in results["attributes"][name]["groups"] if row["figures"]]
    whole = 100 * results["overall"]["figures"]["eer"]
    figure, axis = panel(0.34 * len(rows) + 0.1, 0.1)
    across = axis.get_yaxis_transform()
    axis.axvline(whole, color=LIGHT["soft"], linewidth=1, linestyle="--")
    for y, row in enumerate(rows):
        value, spread = 100 * row["figures"]["eer"], row["intervals"].get("eer")
        if spread:
            low, high = (100 * end for end in spread)
            ends = [[max(0.0, value - low)], [max(0.0, high - value)]]
            axis.errorbar(value, y + 0.2, xerr=ends, color=LIGHT["ink"], capsize=3, linewidth=1.4)
        axis.plot(value, y + 0.2, "o", color=LIGHT["c0"], gid=f"group-{y}")
        label = shorten(row["group"], int((WIDTH - 0.3) / LETTER) - 8)
        axis.text(0, y - 0.05, label, va="bottom", transform=across)
        axis.text(1, y - 0.05, f"{value:.2f} %", va="bottom", ha="right", transform=across)
    axis.set(ylim=(len(rows) - 0.4, -0.55), yticks=[], xlabel="EER, %")
    axis.set_xlim(left=0)
    axis.spines["left"].set_visible(False)
    said = "; ".join(f"{r['group']} {percent(r['figures']['eer'])} percent" for r in rows)
    return Picture(
        f"eer-by-{key_of(name)}", f"EER by {name}",
        f"Equal error rate of each group's own trials with its interval: {said}; the dashed line "
        f"is that of all trials, {whole:.2f} percent.",
        figure,
    )  # fmt: skip
