"""Systems of the study: scores of members and fusions by seed, LLRs, errors over draws of speakers.

A replicate is a draw of speakers, jointly on both sides of a trial, the same for all systems and
seeds; and of seeds, the same for all systems.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from acorl_sb import metrics
from acorl_sb.data.attributes import read_attributes
from acorl_sb.data.manifest import read_manifest
from acorl_sb.data.trial_set import TrialSet, read_trial_set
from acorl_sb.fusion.calibration import LinearCalibration
from acorl_sb.fusion.logistic import LogisticFusion
from acorl_sb.fusion.models import MeanZNorm
from acorl_sb.metrics.bootstrap import Measure, SpeakerBootstrap
from acorl_sb.metrics.intervals import interval
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import atomic_path
from students.runs import PARTS, kept

PRIOR = 0.05  # of calibrations, that of acorl groups and acorl fuse
REPLICATES = 1000
MEAN, LOGISTIC = "pair, mean of z-norm", "pair, logistic"


class Systems:
    """All scores of a folder of the study: ``scores[system][seed][part]`` (N,) float64.

    Arguments
    ---------
    folder : the study's
    tree : its YAML

    ``seeds`` are those of which all runs are finished, but for runs that no seed has. ``sides`` are
    the trials by part, ``cost`` of each member its parameters and the mean of its seconds of
    training.
    """

    def __init__(self, folder: Path, tree: Mapping[str, Any]) -> None:
        self.folder = folder
        manifest = folder / "manifest"
        self.sides: dict[str, TrialSet] = {
            part: read_trial_set(
                read_manifest(manifest / f"{part}.csv"), manifest / f"{part}_trials.txt"
            )
            for part in PARTS
        }
        self.known = read_attributes([manifest / f"{part}.csv" for part in PARTS])
        found = {s: {n: kept(folder, n, s) for n in tree["runs"]} for s in tree["seeds"]}
        any_seed = {name for runs in found.values() for name, run in runs.items() if run}
        self.seeds = [s for s, runs in found.items() if all(runs[name] for name in any_seed)]
        if not any_seed or not self.seeds:
            raise UserError(f"{folder}: no seed of which all runs are finished")
        self.scores: dict[str, dict[int, dict[str, np.ndarray]]] = {}
        self.std: dict[int, np.ndarray] = {}
        costs: dict[str, list[np.ndarray]] = {}
        for seed in self.seeds:
            for run in found[seed].values():
                for key, value in run.items():
                    name, _, part = key.rpartition("/")
                    if part == "cost":
                        costs.setdefault(name, []).append(value)
                    elif name == "std":
                        self.std[seed] = value.astype(np.float64)
                    else:
                        self.put(name, seed, part, value.astype(np.float64))
            pair = [m["name"] for m in tree["members"]]
            stacked = {p: np.stack([self.scores[n][seed][p] for n in pair]) for p in PARTS}
            labels = self.labels("dev")
            for name, fusion in ((MEAN, MeanZNorm()), (LOGISTIC, LogisticFusion(PRIOR))):
                fusion.fit(stacked["dev"], labels)
                for part in PARTS:
                    self.put(name, seed, part, fusion(stacked[part]))
        self.pair = pair
        self.cost = {name: np.mean(values, 0) for name, values in costs.items()}

    def put(self, name: str, seed: int, part: str, scores: np.ndarray) -> None:
        if scores.shape != self.labels(part).shape:
            raise UserError(
                f"{self.folder}: seed {seed}: {name} has {len(scores)} {part} scores, the list "
                f"{len(self.labels(part))} trials; the runs are of other data"
            )
        self.scores.setdefault(name, {}).setdefault(seed, {})[part] = scores

    def labels(self, part: str) -> np.ndarray:
        return self.sides[part].trials.known_labels

    def llrs(self, name: str, seed: int) -> dict[str, np.ndarray]:
        """Calibrated on the development trials by one linear map; a logistic fusion as it is."""
        scores = self.scores[name][seed]
        if name == LOGISTIC:
            return scores
        calibration = LinearCalibration(PRIOR).fit(scores["dev"], self.labels("dev"))
        return {part: calibration(scores[part]) for part in PARTS}

    def threshold(self, name: str, seed: int) -> float:
        """The EER threshold of the development trials' LLRs."""
        return float(metrics.eer_threshold(self.llrs(name, seed)["dev"], self.labels("dev")))

    def eer(self, name: str) -> np.ndarray:
        """Of the test trials: (seeds, 1 + REPLICATES), the value and its replicates."""
        return self.eers(lambda seed: self.scores[name][seed]["test"])

    def eers(
        self,
        scores: Callable[[int], np.ndarray],
        kept: Callable[[int], np.ndarray] | None = None,
    ) -> np.ndarray:
        """As ``eer``, of ``scores`` by seed; of the test trials ``kept`` by seed alone."""
        every = np.ones(len(self.labels("test")), dtype=bool)
        return np.stack([self._error(scores(s), kept(s) if kept else every) for s in self.seeds])

    def _error(self, scores: np.ndarray, inside: np.ndarray) -> np.ndarray:
        place = zlib.crc32(inside.tobytes(), zlib.crc32(scores.tobytes()))
        path = self.folder / "errors" / f"{place:08x}.npy"
        if not path.is_file():
            value = metrics.eer(scores[inside], self.labels("test")[inside])
            drawn = self._draw(inside.tobytes())(scores[inside], [Measure("eer")])["eer"]
            with atomic_path(path) as temporary, open(temporary, "wb") as file:
                np.save(file, np.append(value, drawn))
        return np.load(path)

    @functools.lru_cache(maxsize=2)  # noqa: B019 - lives as long as the process
    def _draw(self, inside: bytes) -> SpeakerBootstrap:
        chosen = np.frombuffer(inside, dtype=bool)
        sides = [side[chosen] for side in self.sides["test"].speakers]
        return SpeakerBootstrap(self.labels("test")[chosen], *sides, REPLICATES)


def over_seeds(values: np.ndarray) -> np.ndarray:
    """(seeds, 1 + R) -> (1 + R,): the mean over seeds, and of each replicate over drawn seeds."""
    seeds, replicates = len(values), values.shape[1] - 1
    chosen = np.random.default_rng(0).integers(seeds, size=(seeds, replicates))
    drawn = np.take_along_axis(values[:, 1:], chosen, 0).mean(0)
    return np.append(values[:, 0].mean(), drawn)


def told(value: np.ndarray, scale: float = 100, digits: int = 2, sign: str = "") -> str:
    """(1 + R,) as a number with its 95 % interval."""
    low, high = interval(value[1:])
    shown = [f"{scale * x:{sign}.{digits}f}" for x in (value[0], low, high)]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


def relative(value: np.ndarray, reference: np.ndarray) -> str:
    """Change of one (1 + R,) against another, both of ``over_seeds``, in %."""
    return told(value / reference - 1, digits=1, sign="+") + " %"


def worst(values: Sequence[np.ndarray]) -> np.ndarray:
    """Of groups' (1 + R,) each, the largest in every replicate."""
    return np.max(np.stack(values), 0)
