"""The results of a scoring run as a Markdown table, for the terminal and ``results.md``."""

from __future__ import annotations

from acorl_sb.scoring.results import Results
from acorl_sb.utils.tables import EER_NOTE, markdown, signed, with_interval


def table(results: Results) -> str:
    """The rows as Markdown, with what the figures mean below."""
    points = [f"{p:g}" for p in results.judge.points]
    calibrated = any(row["llr"] for row in results.rows)
    header = ["system", "back end", "normalisation", "EER %", "EER % minus first row"]
    header += [f"minDCF({p})" for p in points]
    if calibrated:
        header += [*(f"actDCF({p})" for p in points), "Cllr", "minCllr"]
    body = []
    for row in results.rows:
        spread, against = row["intervals"], row["against_first"]
        cells = [row["system"], row["backend"], row["normalisation"]]
        cells.append(with_interval(row["eer"], spread.get("eer"), 100, 2))
        change = against and against["eer"]
        cells.append(signed(change["change"], change["interval"], 100, 2) if change else "")
        cells += [
            with_interval(row["min_dcf"][p], spread.get(f"min_dcf({p})"), 1, 3) for p in points
        ]
        if calibrated:
            named = {f"act_dcf({p})": row["act_dcf"][p] for p in points} if row["llr"] else {}
            named |= {"cllr": row["cllr"], "min_cllr": row["min_cllr"]} if row["llr"] else {}
            cells += [with_interval(v, spread.get(k), 1, 3) for k, v in named.items()]
            cells += [""] * (len(points) + 2 - len(named))
        body.append(cells)
    return markdown(header, body) + "\n" + notes(results) + "\n"


def notes(results: Results) -> str:
    """What the figures mean."""
    judge = results.judge
    target = int(judge.labels.sum())
    return (
        f"{len(judge.labels):,} trials, {target:,} of them target trials. {EER_NOTE} "
        f"DCF(p): p the prior of a target trial, C_miss = {judge.c_miss:g}, C_fa = "
        f"{judge.c_fa:g}, normalised by min(p C_miss, (1 - p) C_fa). "
        + judge.note(any(row["intervals"] for row in results.rows))
    )
