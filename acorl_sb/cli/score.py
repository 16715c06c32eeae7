"""Score trials: embeddings or encoders, back ends, normalisation, metrics with intervals.

    acorl score hparams/score.yaml --systems "{mine: e.npz}" --trials trials.txt
    acorl score hparams/score.yaml --run_folder results/my_run
    acorl score hparams/score_plda.yaml --run_folder results/my_run

Writes a score file for every system, back end and normalisation, ``results.json`` and
``results.md``; docs/scoring.md explains every key.
"""

from __future__ import annotations

import sys

from acorl_sb.fusion.record import RECORD
from acorl_sb.report.score_table import table
from acorl_sb.scoring.score_options import ScoreOptions
from acorl_sb.scoring.score_run import check_training_speakers, make_backend, score
from acorl_sb.scoring.score_setup import read_setup
from acorl_sb.utils.errors import UserError, run_cli
from acorl_sb.utils.files import write_text
from acorl_sb.utils.locks import locked
from acorl_sb.utils.options import Device, read


def main(argv: list[str] | None = None) -> int:
    """Run the command; its exit code."""
    loaded = read(ScoreOptions, sys.argv[1:] if argv is None else argv, __doc__, Device)
    options = loaded.hparams
    for name in loaded.lazy["backends"]:
        make_backend(loaded, name)
    setup = read_setup(options)
    check_training_speakers(loaded, setup)
    with locked(options["output_folder"]) as folder:
        if (folder / "members").exists():
            raise UserError(f"{folder}: is a run of train.py; name another output_folder")
        if (folder / RECORD).exists():
            raise UserError(
                f"{folder}: holds results of another command ({RECORD}); name another output_folder"
            )
        results = score(setup, loaded, folder)
        if results is not None:
            text = table(results)
            write_text(folder / "results.md", text)
            print(text)
    return 0


if __name__ == "__main__":
    run_cli(main)
