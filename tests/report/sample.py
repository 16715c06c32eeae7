"""Small results to draw, made by the same code that fuse.py runs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from acorl_sb.data.trials import TrialList
from acorl_sb.fusion.evaluation import Settings, evaluate
from acorl_sb.fusion.score_inputs import Inputs, Part
from acorl_sb.fusion.validation import Recipe, ScoreSet

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["ecapa", "resnet <b>&", "a member with a-rather-long-name"]


def score_set(seed: int, speakers: int = 25, utterances: int = 5) -> ScoreSet:
    """Trials over all utterances, three members of differing strength."""
    rng = np.random.default_rng(seed)
    count = speakers * utterances
    enrol, test = np.triu_indices(count, 1)
    labels = enrol // utterances == test // utterances
    kept = labels | (rng.random(len(enrol)) < 0.5)
    enrol, test, labels = enrol[kept], test[kept], labels[kept]
    scores = rng.standard_normal((3, len(labels))) + 0.8 * rng.standard_normal(len(labels))
    scores += np.array([[2.8], [2.4], [1.2]]) * labels
    ids = [f"u{n}" for n in range(count)]
    return ScoreSet(TrialList(ids, enrol, test, labels), scores, np.arange(count) // utterances)


def make(members: int = 3, cross: bool = False):
    """(results, curves, training) as ``report.write_report`` takes them."""
    sets = {"scores": score_set(2)} if cross else {"dev": score_set(1), "test": score_set(2)}
    sets = {name: made.members(range(members)) for name, made in sets.items()}
    names = NAMES[:members]
    inputs = Inputs(names, {k: Part(v, {}) for k, v in sets.items()}, [], "a test", 3, [])
    made = evaluate(inputs, Settings(Recipe(), replicates=60))
    results = made.results
    results["warnings"] = ["something to be warned of"]
    results["inputs"] = [
        {"system": n, "part": "test", "path": f"{n}.txt", "trials": 9} for n in names
    ]
    results["made"] = {
        "command": "python fuse.py --dev a.txt --test 'b <c>.txt'",
        "time": "2025-01-01 00:00 UTC",
        "seconds": 1.0,
        "versions": {"acorl_sb": "0", "Python": "3"},
    }
    training = {
        name: [
            {
                "epoch": n,
                "task_loss": 5 / n,
                "adversary_loss": k * 0.5,
                "weight": k,
                "dev_eer": 0.3 / n,
            }
            for n in range(1, 6)
        ]
        for k, name in enumerate(names)
    }
    return results, made.curves, training


def analysis(folder):
    """``analysis.html`` in ``folder``, of a pair and an independent one, by the script itself."""
    from acorl_sb.cli import analyse
    from tests.analysis import runs

    speech = runs.utterances(folder / "speech", speakers=6, each=4)
    main = runs.finished(folder / "acorl", speech, {"first": 1, "a-rather-long-name": 2})
    other = runs.finished(folder / "independent", speech, {"first": 1, "second": 3})
    small = {"trials": 4, "crop_seconds": 0.5, "deletion_trials": 2, "occlusion_trials": 2}
    small |= {"steps": 8, "folds": 3, "device": "cpu", "probe_steps": 5}
    paths = {"run_folder": main, "baseline_run": other, "output_folder": folder}
    flags = [str(part) for key, value in {**small, **paths}.items() for part in (f"--{key}", value)]
    before, sys.argv = sys.argv, ["analyse", str(ROOT / "hparams" / "analyse.yaml"), *flags]
    try:
        assert analyse.main() == 0
    finally:
        sys.argv = before
