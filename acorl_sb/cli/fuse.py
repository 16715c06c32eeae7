"""Turn score files of several systems into one calibrated system, and show what each part gives.

    acorl fuse --dev a/dev.txt b/dev.txt --test a/test.txt b/test.txt
    acorl fuse a.txt b.txt --speakers manifest.csv     one set: cross-validated over speakers
    acorl fuse --run_folder results/my_run             the members of a run of train.py
    acorl fuse hparams/fuse.yaml [--key value ...]     the same keys, from a file
    acorl fuse --apply fusion_model.json --test c.txt d.txt

docs/fusion.md explains every key.
"""

from __future__ import annotations

import os

# Systems are judged side by side; threads within each would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
from pathlib import Path
from typing import Any

from acorl_sb import report
from acorl_sb.fusion import fuse_options, fuse_run
from acorl_sb.report import fusion_tables as tables
from acorl_sb.report.curves import read_training
from acorl_sb.utils.errors import run_cli
from acorl_sb.utils.files import write_text
from acorl_sb.utils.locks import locked


def main(argv: list[str] | None = None) -> int:
    """Run the command; its exit code."""
    options = fuse_options.read_options(sys.argv[1:] if argv is None else argv, __doc__)
    with locked(options["output_folder"]) as folder:
        return apply(options, folder) if options["apply"] else fuse(options, folder)


def fuse(options: dict[str, Any], folder: Path) -> int:
    """Fit, judge, write, and print the table."""
    systems, training = fuse_options.find_systems(options), None
    if options["report"] and options["run_folder"]:
        training = read_training(options["run_folder"])
    made = fuse_run.fit(options, systems, folder, sys.argv, say)
    results = made.results
    write_text(folder / "results.md", tables.page(results))
    if options["report"] and results["table"]:
        report.write_folder(folder, results, made.curves, training)
    print(tables.shown(results))
    for warning in results["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"written to {folder}")
    return 0


def apply(options: dict[str, Any], folder: Path) -> int:
    """Fuse new score files with a model that was fitted before."""
    made = fuse_run.apply(options, folder, say)
    for name in ("eer", "min_dcf", "act_dcf", "cllr", "min_cllr"):
        if made.figures:
            print(f"{name}: {made.figures[name]}")
    for point in made.model.decisions:
        print(
            f"P(target) {point.p_target:g}, C(miss) {point.c_miss:g}, C(false alarm) "
            f"{point.c_fa:g}: accept where the LLR is at least {point.llr_threshold:.4f}"
        )
    print(f"written to {made.path}")
    return 0


def say(text: str) -> None:
    """One line of progress, out of the way of the results."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_cli(main)
