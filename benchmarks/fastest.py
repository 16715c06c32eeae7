"""Scoring against the fastest that others have, and against what no program can do without.

    python benchmarks/fastest.py [--threads 1] [--device cuda] [--only PART] [--json FILE]

Peers are WeSpeaker's algorithms, re-implemented, and pyarrow (``benchmarks/peers.py``); limits are
the matrix product or the sort alone. Every row is a ratio of two works that take turns in one
process. Ours and the limits run on ``--device``; the peers, which are numpy, on the CPU. Exit code
1 when a target is missed. Three minutes of one core, 3 GB of memory.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

if "--threads" in sys.argv:  # numpy's product reads this once, when it is loaded
    os.environ.setdefault("OPENBLAS_NUM_THREADS", sys.argv[sys.argv.index("--threads") + 1])
else:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import torch

from acorl_sb import metrics
from acorl_sb.data.scorefiles import read_scores, write_scores
from acorl_sb.data.trials import TrialList
from acorl_sb.scoring.backends.cosine import Cosine
from acorl_sb.scoring.backends.plda import PLDA
from acorl_sb.scoring.normalise import cohort_statistics
from acorl_sb.utils.precision import full_precision
from benchmarks import peers
from benchmarks.targets import Rows
from benchmarks.timing import make_scores, shortest

MB = 1 << 20


def normalisation(
    rows: Rows,
    device: torch.device,
    sizes: Sequence[tuple[int, int]] = ((5000, 9), (145_000, 2)),
    memory: int = 64 * MB,
    slow: Sequence[str] = (),
) -> None:
    """Cohort statistics of 5,000 and of 145,000 utterances, 6,000 in the cohort, top 300.

    ``sizes`` are numbers of utterances with how often each is repeated, ``slow`` as in
    ``shortest``, ``memory`` is that of ``cohort_statistics``.
    """
    generator = torch.Generator().manual_seed(0)
    backend = Cosine()
    cohort = backend.prepare(torch.randn(6000, 192, generator=generator))
    for count, repeats in sizes:
        vectors = backend.prepare(torch.randn(count, 192, generator=generator))
        v, c = vectors.numpy(), cohort.numpy()
        sides = backend.sides(vectors.to(device), cohort.to(device))
        wanted = torch.arange(count, device=device)
        # The scores of 145,000 do not fit into most memories: peer and limit go piece by piece.
        pieces = [slice(start, start + 5000) for start in range(0, count, 5000)]

        def ours(sides=sides, wanted=wanted):
            return cohort_statistics(sides, wanted, 300, memory)

        def theirs(v=v, c=c, pieces=pieces):
            return [peers.cohort_statistics(v[piece], c, 300) for piece in pieces]

        @full_precision()
        def product(v=v, c=c, sides=sides, pieces=pieces):
            for piece in pieces:
                if device.type == "cuda":
                    sides.left[piece] @ sides.right.T
                else:
                    v[piece] @ c.T  # quicker than torch's

        mean, std = peers.cohort_statistics(v[:5000], c, 300)
        assert np.abs(ours()[0].cpu().numpy()[:5000] - mean).max() < 1e-5
        assert np.abs(ours()[1].cpu().numpy()[:5000] - std * np.sqrt(300 / 299)).max() < 1e-5
        works = {"ours": ours, "theirs": theirs, "product": product}
        took = shortest(works, device, repeats, slow)
        print(f"  {count:,}: " + ", ".join(f"{n} {1000 * t:.2f} ms" for n, t in took.items()))
        name = f"AS-norm statistics, {count:,} x 6,000, top 300"
        rows.at_least(f"{name}: WeSpeaker's / ours", took["theirs"] / took["ours"], 2)
        rows.at_most(f"{name}: ours / matrix product alone", took["ours"] / took["product"], 1.6)


def detection(
    rows: Rows,
    device: torch.device,
    sizes: Sequence[tuple[int, int, float, float]] = (
        (37_611, 100, 3, 3),
        (10_000_000, 5, 12, 1.5),
    ),
    slow: Sequence[str] = (),
) -> None:
    """EER, hull EER and minDCF of 37,611 and of ten million trials.

    ``sizes`` are numbers of trials with repeats and both targets, ``slow`` as in ``shortest``.
    """
    for count, repeats, over_peer, over_sort in sizes:
        scores, labels = make_scores(count)
        numbers = labels.astype(np.int64)
        pair = torch.tensor(scores, device=device), torch.tensor(labels, device=device)
        eer, cost = peers.eer_and_min_dcf(scores, numbers)
        found = metrics.evaluate(*pair, points=(0.01,))
        assert abs(eer - found["eer"]) < 1e-6 and abs(cost - found["min_dcf"][0.01]) < 1e-9

        took = shortest(
            {
                "ours": lambda pair=pair: metrics.evaluate(*pair, points=(0.01,)),
                "theirs": lambda s=scores, n=numbers: peers.eer_and_min_dcf(s, n),
                "sort": lambda s=scores, pair=pair: (
                    torch.sort(pair[0]) if device.type == "cuda" else np.sort(s)
                ),
            },
            device,
            repeats,
            slow,
        )
        print(f"  {count:,}: " + ", ".join(f"{n} {1000 * t:.2f} ms" for n, t in took.items()))
        name = f"EER + minDCF, {count:,} trials"
        rows.at_least(f"{name}: WeSpeaker's / ours", took["theirs"] / took["ours"], over_peer)
        rows.at_most(f"{name}: ours / sort alone", took["ours"] / took["sort"], over_sort)


def plda(
    rows: Rows,
    device: torch.device,
    repeats: int = 2,
    slow: Sequence[str] = (),
    speakers: int = 500,
) -> None:
    """Two-covariance PLDA of 5,000 utterances of 192 dimensions, and 37,611 trials of them.

    ``speakers`` of ten utterances each; ``repeats`` and ``slow`` as in ``shortest``.
    """
    rng = np.random.default_rng(0)
    spoken = np.repeat(np.arange(speakers), 10)
    vectors = rng.normal(size=(speakers, 192))[spoken] + rng.normal(size=(len(spoken), 192))
    groups = [vectors[spoken == s] for s in range(speakers)]
    enrol, test = rng.integers(0, len(spoken), (2, 37_611))
    on_device = torch.tensor(vectors, device=device)
    e, t = torch.tensor(enrol, device=device), torch.tensor(test, device=device)
    mine, other = PLDA(whiten=False, length_norm=False), peers.TwoCovariancePLDA(10)

    def score() -> torch.Tensor:
        prepared = mine.prepare(on_device)
        return mine.sides(prepared, prepared).trials(e, t)

    took = shortest(
        {
            "EM": lambda: mine.fit(on_device, spoken),
            "their EM": lambda: other.fit(groups),
            "scoring": score,
            "their scoring": lambda: other.scores(vectors[enrol], vectors[test]),
        },
        device,
        repeats,
        slow,
    )
    print("  PLDA: " + ", ".join(f"{n} {1000 * t:.2f} ms" for n, t in took.items()))
    alike = np.corrcoef(score().cpu().numpy(), other.scores(vectors[enrol], vectors[test]))[0, 1]
    assert alike > 0.99, alike
    for work in ("EM", "scoring"):
        figure = took[f"their {work}"] / took[work]
        rows.at_least(f"PLDA {work}: WeSpeaker's two-covariance / ours", figure, 10)


def reading(rows: Rows, device: torch.device, lines: int = 2_000_000) -> None:
    """A score file over 145,000 utterances; always on the CPU."""
    rng = np.random.default_rng(0)
    ids = [f"id{10001 + k % 1251}/{k // 1251:011d}/{k % 300:05d}.wav" for k in range(145_000)]
    pairs = np.unique(rng.integers(0, len(ids) ** 2, lines))
    rng.shuffle(pairs)
    enrol, test = np.divmod(pairs, len(ids))
    trials = TrialList(ids, enrol, test, rng.random(len(pairs)) < 0.5)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/scores.txt"
        write_scores(path, trials, rng.normal(size=len(trials)))
        try:
            theirs = peers.read_by_arrow(path)
        except ImportError:
            print("  left out: pyarrow is not installed")
            return
        assert np.array_equal(theirs[3], read_scores(path).scores)
        del theirs
        works = {"ours": lambda: read_scores(path), "theirs": lambda: peers.read_by_arrow(path)}
        took = shortest(works, torch.device("cpu"), 3)
    print("  " + ", ".join(f"{n} {t:.2f} s" for n, t in took.items()))
    name = f"reading {len(trials):,} scores: pyarrow's CSV reader / ours"
    rows.at_least(name, took["theirs"] / took["ours"], 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="also write the rows to this file")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", help="run the parts whose name holds this")
    parser.add_argument("--lines", type=int, default=2_000_000, help="of the score file")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = Rows()
    for part in (normalisation, detection, plda, partial(reading, lines=arguments.lines)):
        name = getattr(part, "func", part).__name__
        if not arguments.only or arguments.only in name:
            print(f"{name} ...", flush=True)
            part(rows, torch.device(arguments.device))
    return rows.finish(arguments.json)


if __name__ == "__main__":
    sys.exit(main())
