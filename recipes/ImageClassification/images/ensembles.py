"""What members say of the test images, alone and fused, and how accurate that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from images.data import Images, embed
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from acorl_sb.complementarity import concatenate
from acorl_sb.metrics.bootstrap import draws
from acorl_sb.metrics.intervals import interval
from acorl_sb.utils.tables import markdown, signed, with_interval


class Outputs(NamedTuple):
    """A member's embeddings (N, D) of each split, and its probabilities (N, C) on the test one."""

    train: torch.Tensor
    dev: torch.Tensor
    test: torch.Tensor
    probabilities: np.ndarray


def outputs(encoder, head, data: Images, device) -> Outputs:
    """What a trained encoder and its head, which is on the CPU, say of the data."""
    z = [embed(encoder, split.images, device) for split in (data.train, data.dev, data.test)]
    with torch.no_grad():
        return Outputs(*z, head.logits(z[2]).double().softmax(1).numpy())


def fused(members: Sequence[Outputs], data: Images) -> dict[str, np.ndarray]:
    """Test probabilities (N, C) of the first 2, 3, ... members together, fused in two ways.

    ``probabilities``: their mean. ``embeddings``: logistic regression, fitted on the training
    images, on the members' embeddings side by side at unit norm; its penalty is the one with the
    lowest NLL on the development images.
    """
    made = {}
    for k in range(2, len(members) + 1):
        first = members[:k]
        train, dev, test = (concatenate([m[i] for m in first]).double().numpy() for i in range(3))
        fits = [
            LogisticRegression(C=c, max_iter=2000).fit(train, data.train.labels)
            for c in np.geomspace(0.3, 300, 7)
        ]
        nll = [log_loss(data.dev.labels, f.predict_proba(dev), labels=f.classes_) for f in fits]
        made[f"{k} members, probabilities"] = np.mean([m.probabilities for m in first], axis=0)
        made[f"{k} members, embeddings"] = fits[int(np.argmin(nll))].predict_proba(test)
    return made


def measure(systems: Mapping[str, np.ndarray], against: Mapping[str, str], labels, replicates):
    """Accuracy of systems, name -> probabilities (S, N, C), and of some ``against`` others.

    Returns for each ``accuracy``, a fraction, as [mean over S seeds and N images, low, high], and
    where it is compared ``minus``, the same of the paired difference. For the 95 % intervals test
    images are drawn with replacement and, crossed with them, seeds (as in Owen 2007): they are of
    what another test set and other seeds give.
    """
    seeds = len(next(iter(systems.values())))
    of_images, of_seeds = draws(len(labels), replicates, 0), draws(seeds, replicates, 1)

    def figures(v: np.ndarray) -> list[float]:  # (S, N)
        return [float(v.mean()), *interval(((of_seeds @ v) * of_images).sum(1) / v.size)]

    right = {name: 1.0 * (p.argmax(-1) == labels) for name, p in systems.items()}
    results = {name: {"accuracy": figures(v)} for name, v in right.items()}
    for name, base in against.items():
        results[name]["minus"] = figures(right[name] - right[base])
    return results


def table(results: Mapping[str, Mapping[str, Sequence[float]]], base: str) -> str:
    """The results of ``measure`` as Markdown; ``base`` names what systems are compared with."""
    rows = []
    for name, row in results.items():
        value, *spread = row["accuracy"]
        change, *of_change = row.get("minus", [0.0])
        difference = signed(change, of_change, 100, 1) if of_change else ""
        rows.append([name, with_interval(value, spread, 100, 1), difference])
    return markdown(["system", "accuracy, %", f"− {base}, points"], rows)
