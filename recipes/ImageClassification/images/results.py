"""From members' outputs to figures, intervals and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from acorl_sb.metrics.bootstrap import draws
from acorl_sb.metrics.intervals import interval
from acorl_sb.utils.tables import markdown
from images.data import ImageData
from images.ensembles import fuse_embeddings, fuse_probabilities, similarity
from images.members import Outputs
from images.metrics import METRICS, centred, evaluate, over_runs, softmax

FUSIONS = ("probabilities", "embeddings")
Probabilities = np.ndarray


def fused(outputs: Sequence[Outputs], data: ImageData) -> dict[str, Probabilities]:
    """Test probabilities (N, C) of the members together, by fusion."""
    _, by_embeddings = fuse_embeddings(outputs, data.train.labels, data.dev.labels)
    return {
        "probabilities": fuse_probabilities([o.test_logits for o in outputs]),
        "embeddings": by_embeddings,
    }


class Bootstrap:
    """Draws shared by all systems, so that differences of two are paired.

    Test images are drawn with replacement and, where there are several runs, the runs as well
    (crossed, as in Owen 2007): the interval is of what another test set and other seeds give.

    Arguments
    ---------
    labels : int array (N,)
    runs : int, S
    replicates : int, R
    seed : int
    """

    def __init__(self, labels: np.ndarray, runs: int = 1, replicates: int = 1000, seed: int = 0):
        self.labels = labels
        self.images = draws(len(labels), replicates, seed)  # (R, N)
        self.runs = draws(runs, replicates, seed + 1)  # (R, S)

    def measure(self, runs: Sequence[Probabilities]) -> dict[str, tuple[float, np.ndarray]]:
        """Of S runs' probabilities (N, C): {metric: (mean over runs, its replicates (R,))}."""
        whole = [evaluate(p, self.labels) for p in runs]
        drawn = [evaluate(p, self.labels, self.images) for p in runs]
        measured = {}
        for metric in METRICS:
            estimate = float(np.mean([w[metric][0] for w in whole]))
            values = over_runs(np.stack([d[metric] for d in drawn]), self.runs)
            measured[metric] = (estimate, centred(values, estimate))
        return measured


def with_intervals(measured: Mapping[str, tuple[float, np.ndarray]]) -> dict[str, list[float]]:
    """{metric: [estimate, low, high]}, 95 %."""
    return {name: [value, *interval(drawn)] for name, (value, drawn) in measured.items()}


def differences(ours: Mapping, theirs: Mapping) -> dict[str, list[float]]:
    """{metric: [ours - theirs, low, high]}, paired, 95 %; both from one ``Bootstrap``."""
    return with_intervals(
        {key: (ours[key][0] - theirs[key][0], ours[key][1] - theirs[key][1]) for key in ours}
    )


def evaluate_run(
    outputs: Sequence[Outputs], names: Sequence[str], data: ImageData, replicates: int
) -> dict[str, Any]:
    """Each member alone, and the first 2, 3, ... together, with differences to the first."""
    bootstrap = Bootstrap(data.test.labels, replicates=replicates)
    systems: dict[str, Probabilities] = {
        name: softmax(o.test_logits) for name, o in zip(names, outputs, strict=True)
    }
    for k in range(2, len(outputs) + 1):
        for fusion, probabilities in fused(outputs[:k], data).items():
            systems[f"{k} members, {fusion}"] = probabilities
    measured = {name: bootstrap.measure([p]) for name, p in systems.items()}
    first = measured[names[0]]
    return {
        "test_images": len(data.test),
        "systems": {name: with_intervals(m) for name, m in measured.items()},
        "minus_first": {n: differences(m, first) for n, m in measured.items() if n != names[0]},
        "similarity": similarity(outputs, data.test.labels),
    }


def ensemble_table(results: Mapping[str, Any]) -> str:
    """The results of one run as a Markdown table."""
    header = ["system", "accuracy, %", "− first", "top-5, %", "NLL, nats", "calibration error, %"]
    rows = []
    for name, row in results["systems"].items():
        against = results["minus_first"].get(name)
        cells = [
            name,
            percent(row["accuracy"]),
            percent(against["accuracy"], sign=True) if against else "",
            percent(row["top5"]),
            number(row["nll"]),
            percent(row["ece"]),
        ]
        rows.append(cells)
    lines = [
        f"{results['test_images']} test images; 95 % intervals over images.",
        "",
        markdown(header, rows).rstrip(),
    ]
    if results["similarity"]:
        alike = ", ".join(
            f"{k.replace('_', ' ')} {v:.2f}" for k, v in results["similarity"].items()
        )
        lines += ["", f"Members, mean over pairs: {alike}."]
    return "\n".join(lines) + "\n"


def percent(triple: Sequence[float], sign: bool = False) -> str:
    value, low, high = (100 * part for part in triple)
    form = "+.1f" if sign else ".1f"
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"


def number(triple: Sequence[float]) -> str:
    value, low, high = triple
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"
