"""Write the report page of a finished run again: tables, DET curves, calibration, training.

    acorl report results/my_run

``acorl train`` ends with this page. Nothing is trained or scored: it is made from the run's
``results.json``, score files and training logs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from acorl_sb.report.fusion_tables import interval_note, main_table
from acorl_sb.report.run_report import write_run_report
from acorl_sb.utils.errors import UserError, run_cli
from acorl_sb.utils.locks import locked
from acorl_sb.utils.options import Options, Text, read
from acorl_sb.utils.tables import markdown


class ReportOptions(Options):
    """All keys of ``acorl report``."""

    yaml: ClassVar[Literal["none"]] = "none"
    positional: ClassVar[str] = "run_folder"

    run_folder: Text = Field(description="output folder of acorl train")


def main(argv: list[str] | None = None) -> int:
    """Run the command; ``argv`` is what follows its name, None: the process's own."""
    options = read(ReportOptions, sys.argv[1:] if argv is None else argv, __doc__).hparams
    run = Path(options["run_folder"])
    if not (run / "results.json").is_file():
        raise UserError(f"{run}: no finished run of acorl train (it has no results.json)")
    with locked(run) as folder:
        results = write_run_report(folder, sys.argv)
    print(markdown(*main_table(results)))
    print(interval_note(results))
    for warning in results["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"written to {folder / 'report.html'}")
    return 0


if __name__ == "__main__":
    run_cli(main)
