"""Targets of fusion: time and memory of ``fuse.py``, exactness of the fusion weights.

    python benchmarks/fusion.py [--json FILE] [--trials 580000] [--many 10000000]

Score files are made in a temporary folder: three systems over trials of the size of VoxCeleb1-E
(1,251 speakers, 145,160 utterances, half of the trials target trials), for development and test.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from scipy.special import logit

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from acorl_sb.data.scorefiles import write_scores
from acorl_sb.data.trials import TrialList
from acorl_sb.fusion.logistic import LogisticFusion
from benchmarks.targets import Rows

SPEAKERS, UTTERANCES = 1251, 145_160
SYSTEMS = {"ecapa": 3.6, "resnet": 3.4, "xvector": 2.6}  # distance of class means, in deviations


def make_trials(count: int, seed: int) -> TrialList:
    """Distinct random trials, half of them target trials."""
    rng = np.random.default_rng(seed)
    per = UTTERANCES // SPEAKERS
    ids = [
        f"id{10001 + s}/{s * 7 % 997:011d}/{u:05d}.wav" for s in range(SPEAKERS) for u in range(per)
    ]
    keys = np.zeros(0, dtype=np.int64)
    while len(keys) < count:
        enrol = rng.integers(0, len(ids), count)
        same = rng.random(count) < 0.5
        other = rng.integers(0, len(ids), count)
        test = np.where(same, enrol // per * per + rng.integers(0, per, count), other)
        keys = np.unique(np.concatenate([keys, (enrol * len(ids) + test)[enrol != test]]))
    keys = rng.permutation(keys)[:count]
    enrol, test = keys // len(ids), keys % len(ids)
    return TrialList(ids, enrol, test, enrol // per == test // per)


def make_scores(trials: TrialList, seed: int) -> np.ndarray:
    """Scores (S, N) in the range of cosines; systems correlate by 0.6 within a class."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal(len(trials))
    scores = np.empty((len(SYSTEMS), len(trials)))
    for row, distance in zip(scores, SYSTEMS.values(), strict=True):
        row[:] = np.sqrt(0.6) * common + np.sqrt(0.4) * rng.standard_normal(len(trials))
        row += distance * trials.labels
        row *= 0.1
    return scores.round(6)


def write_files(folder: Path, count: int) -> list[str]:
    """Score files of every system and part; returns what ``fuse.py`` is called with."""
    arguments = []
    for seed, part in enumerate(("dev", "test")):
        trials = make_trials(count, seed)
        arguments.append(f"--{part}")
        for name, scores in zip(SYSTEMS, make_scores(trials, seed), strict=True):
            write_scores(folder / name / f"{part}.txt", trials, scores)
            arguments.append(str(folder / name / f"{part}.txt"))
    return arguments


def run_fuse(arguments: list[str], folder: Path) -> tuple[float, float]:
    """Seconds and peak memory (GB, resident) of ``fuse.py`` without the report, start to end."""
    command = [sys.executable, str(ROOT / "fuse.py"), *arguments, "--no-report"]
    command += ["--output_folder", str(folder / "out")]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"fuse.py ended with {child.returncode}: {' '.join(command)}")
    kilobyte = 1 if sys.platform == "darwin" else 1024
    return time.perf_counter() - started, usage.ru_maxrss * kilobyte / 1e9


def weight_error(trials: int) -> float:
    """Largest difference to scikit-learn over priors, L2 strengths and kinds of scores."""
    from sklearn.linear_model import LogisticRegression

    worst = 0.0
    for count, priors, strengths in (
        (3000, (0.01, 0.1, 0.5), (0.0, 1e-3)),
        (trials, (0.05,), (0.0,)),
    ):
        made = make_trials(count, 5)
        labels, n = made.labels, count
        scores = make_scores(made, 5)
        scores[1] *= 100.0  # a PLDA among cosines
        spread = scores.std(1)
        for prior in priors:
            for l2 in strengths:
                model = LogisticFusion(prior, l2).fit(scores, labels)
                weight = np.where(labels, prior / labels.sum(), (1 - prior) / (~labels).sum())
                reference = LogisticRegression(
                    C=1 / (l2 * n) if l2 else np.inf,
                    solver="newton-cholesky",
                    tol=1e-12,
                    max_iter=1000,
                )
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    reference.fit((scores / spread[:, None]).T, labels, sample_weight=weight * n)
                weights = reference.coef_[0] / spread
                bias = reference.intercept_[0] - logit(prior)
                worst = max(worst, np.abs(model.weights - weights).max(), abs(model.bias - bias))
    return float(worst)


def cpu_share(trials: int) -> float:
    """CPU time of a fit, as a share of scikit-learn's fastest solver to the same optimum."""
    from sklearn.linear_model import LogisticRegression

    made, prior = make_trials(trials, 6), 0.05
    labels, scores = made.labels, make_scores(made, 6)
    columns = np.ascontiguousarray((scores / scores.std(1, keepdims=True)).T)
    weight = np.where(labels, prior / labels.sum(), (1 - prior) / (~labels).sum()) * trials
    theirs = [
        LogisticRegression(C=np.inf, solver=solver, tol=1e-8, max_iter=1000)
        for solver in ("lbfgs", "newton-cholesky")
    ]

    def seconds(call) -> float:
        taken = []
        for _ in range(3):
            started = time.process_time()
            call()
            taken.append(time.process_time() - started)
        return min(taken)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fastest = min(
            seconds(lambda model=model: model.fit(columns, labels, sample_weight=weight))
            for model in theirs
        )
    return seconds(lambda: LogisticFusion(prior).fit(scores, labels)) / fastest


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", help="write the rows to this file")
    parser.add_argument("--trials", type=int, default=580_000)
    parser.add_argument("--many", type=int, default=10_000_000, help="0 leaves this out")
    options = parser.parse_args()
    rows = Rows()
    rows.at_most(
        "fusion weights, largest difference to scikit-learn", weight_error(options.trials), 1e-5
    )
    rows.at_most(
        "fusion weights, CPU time as a share of scikit-learn's to the same optimum",
        cpu_share(options.trials),
        1.0,
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments = write_files(Path(folder), options.trials)
        seconds = min(run_fuse(arguments, Path(folder))[0] for _ in range(2))
    size = f"{options.trials / 1e3:g} k"
    name = f"fuse.py without report, 3 systems, {size} development and {size} test trials, seconds"
    rows.at_most(name, seconds, 10.0)
    if options.many:
        with tempfile.TemporaryDirectory() as folder:
            arguments = write_files(Path(folder), options.many)
            seconds, memory = run_fuse(arguments, Path(folder))
        size = f"{options.many / 1e6:g} M"
        name = f"fuse.py, {size} development and {size} test trials, peak memory in GB"
        rows.at_most(name, memory, 4.0)
        print(f"(it took {seconds:.0f} s)")
    return rows.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
