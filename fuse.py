"""Turn score files of several systems into one calibrated system, and show what each part gives.

    python fuse.py --dev a/dev.txt b/dev.txt --test a/test.txt b/test.txt
    python fuse.py a.txt b.txt --speakers manifest.csv     one set: cross-validated over speakers
    python fuse.py --run_folder results/my_run             the members of a run of train.py
    python fuse.py hparams/fuse.yaml [--key value ...]     the same keys, from a file
    python fuse.py --apply fusion_model.json --test c.txt d.txt

docs/fusion.md explains every key.
"""

from __future__ import annotations

import os

# Systems are judged side by side; threads within each would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import datetime
import json
import platform
import shlex
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from acorl_sb import __version__
from acorl_sb.data.scorefiles import write_scores
from acorl_sb.fusion import fuse_options
from acorl_sb.fusion.checks import FusionWarning
from acorl_sb.fusion.evaluation import Evaluated, evaluate
from acorl_sb.fusion.record import RECORD, record_of
from acorl_sb.fusion.saved_model import read_model
from acorl_sb.fusion.score_inputs import Inputs, System, load
from acorl_sb.report import fusion_tables as fuse_tables
from acorl_sb.report.curves import read_training
from acorl_sb.utils import files
from acorl_sb.utils.errors import UserError, run_cli
from acorl_sb.utils.locks import locked

MODEL = "fusion_model.json"


def main() -> int:
    options = fuse_options.read_options(sys.argv[1:], __doc__)
    with locked(options["output_folder"]) as folder:
        return apply(options, folder) if options["apply"] else fuse(options, folder)


def fuse(options: dict[str, Any], folder: Path) -> int:
    """Fit, judge, write."""
    started = time.perf_counter()
    record = record_of(options, folder)
    settings = fuse_options.find_settings(options)
    systems = fuse_options.find_systems(options)
    inputs = read_inputs(options, systems)
    training = None
    if options["report"] and options["run_folder"]:
        training = read_training(options["run_folder"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FusionWarning)
        made = evaluate(inputs, settings, options["report"], say)
    results = made.results
    results["warnings"] = list(dict.fromkeys(str(w.message) for w in caught))
    results["inputs"] = inputs.files
    results["made"] = made_by(time.perf_counter() - started)
    files.write_json(folder / RECORD, record)
    write(folder, options, inputs, made, training)

    if results["table"]:
        print(fuse_tables.markdown(*fuse_tables.main_table(results)))
        print(fuse_tables.interval_note(results))
    else:
        print("the reported trials have no labels: fused, not measured")
    for note in fuse_tables.protocol_notes(results):
        print(note)
    for warning in results["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"written to {folder}")
    return 0


def write(
    folder: Path,
    options: dict[str, Any],
    inputs: Inputs,
    made: Evaluated,
    training: dict[str, list[dict[str, Any]]] | None,
) -> None:
    """Fused scores, model, results, and the report where there is something to show."""
    for part, llrs in made.fused.items():
        name = "fused.txt" if part == "scores" else f"fused_{part}.txt"
        write_scores(folder / name, inputs.parts[part].set.trials, llrs)
    files.write_json(
        folder / MODEL,
        {
            "systems": inputs.names,
            "quality": inputs.quality_names,
            "quality_measures": options["quality"],
            **made.model.state(),
            "decisions": made.results["decisions"],
        },
    )
    files.write_json(folder / "results.json", made.results)
    files.write_text(folder / "results.md", fuse_tables.page(made.results))
    if options["report"] and made.results["table"]:
        from acorl_sb import report

        files.write_text(folder / "curves.json", json.dumps(made.curves, allow_nan=False))
        pictures = report.write_report(folder / "report.html", made.results, made.curves, training)
        report.write_pictures(folder / "figures", pictures)


def apply(options: dict[str, Any], folder: Path) -> int:
    """Fuse new score files with a model that was fitted before."""
    path = options["apply"]
    stored, record = read_model(path), record_of(options, folder)
    model, names = stored.fused_system(), stored.systems
    paths = options["test"] or options["scores"]
    if not paths:
        raise UserError("--apply needs the score files to fuse: --test a.txt b.txt")
    if len(paths) != len(names):
        raise UserError(
            f"{path} fuses {len(names)} systems ({', '.join(names)}), in this order, "
            f"but {len(paths)} score files are given"
        )
    embeddings = options["test_embeddings"] or options["embeddings"] or []
    cohorts = options["cohorts"] or []
    for key, values in (("embeddings", embeddings), ("cohorts", cohorts)):
        if values and len(values) != len(names):
            raise UserError(f"{len(names)} systems, but {len(values)} {key} are given")
    systems = [
        System(
            name,
            {"test": paths[n]},
            {"test": embeddings[n]} if embeddings else {},
            cohorts[n] if cohorts else None,
        )
        for n, name in enumerate(names)
    ]
    options["quality"] = stored.quality_measures
    inputs = read_inputs(options, systems)
    scored = inputs.parts["test"].set
    llrs = model(scored.scores, scored.quality)
    files.write_json(folder / RECORD, record)
    write_scores(folder / "fused_test.txt", scored.trials, llrs)
    if scored.labels is not None and scored.labels.any() and not scored.labels.all():
        from acorl_sb import metrics

        figures = metrics.evaluate(llrs, scored.labels, options["points"], calibrated=True)
        for name in ("eer", "min_dcf", "act_dcf", "cllr", "min_cllr"):
            print(f"{name}: {figures[name]}")
    for point in stored.decisions:
        print(
            f"P(target) {point.p_target:g}, C(miss) {point.c_miss:g}, C(false alarm) "
            f"{point.c_fa:g}: accept where the LLR is at least {point.llr_threshold:.4f}"
        )
    print(f"written to {folder / 'fused_test.txt'}")
    return 0


def read_inputs(options: dict[str, Any], systems: list[System]) -> Inputs:
    """Everything that is read from files."""
    lists = {
        "dev": options["dev_trials"],
        "test": options["test_trials"],
        "scores": options["trials"],
    }
    return load(
        systems,
        {part: path for part, path in lists.items() if path},
        options["speakers"] or (),
        options["speaker_pattern"],
        options["quality"],
        options["cohort_top"],
        lambda path: say(f"read {path}"),
    )


def made_by(seconds: float) -> dict[str, Any]:
    """The command, when it ran, and the versions of what it ran with."""
    import numpy
    import scipy
    import torch

    return {
        "command": shlex.join(["python", *sys.argv]),
        "time": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "seconds": round(seconds, 2),
        "versions": {
            "acorl_sb": __version__,
            "Python": platform.python_version(),
            "numpy": numpy.__version__,
            "scipy": scipy.__version__,
            "torch": torch.__version__,
            "system": f"{platform.system()} {platform.machine()}",
        },
    }


def say(text: str) -> None:
    """One line of progress, out of the way of the results."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_cli(main)
