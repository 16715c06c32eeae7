"""How fast the scoring stage is, against other ways to the same figures, in one run.

    python benchmarks/scoring.py [--json results/scoring_benchmark.json] [--device cuda]

Every row is a ratio of two times of this run, or a bound that the project promises; the exit code
is 1 when one does not hold. On the CPU the seconds are those that this process gets, on one thread
by default. About two minutes; needs 2 GB of memory (45 GB free to run SpeechBrain's minDCF too)
and 1 GB of disk.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from speechbrain.processing import PLDA_LDA
from speechbrain.utils import metric_stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from acorl_sb import metrics
from acorl_sb.data.scorefiles import read_scores, write_scores
from acorl_sb.data.trials import TrialList, read_trials, write_trials
from acorl_sb.metrics import bootstrap
from acorl_sb.scoring.backends.backend import PreparedSides
from acorl_sb.scoring.backends.cosine import Cosine, cosine_scores
from acorl_sb.scoring.backends.plda import PLDA
from acorl_sb.scoring.backends.plda_training import log_likelihood
from acorl_sb.scoring.normalise import AdaptiveSNorm
from benchmarks.targets import Rows
from benchmarks.timing import MB, clock, free_bytes, make_scores, peak_bytes, ratio, seconds

CPU = torch.device("cpu")


def against_speechbrain_metrics(rows: Rows, device: torch.device) -> None:
    """EER and minDCF of a list as long as VoxCeleb1-O's."""
    scores, labels = make_scores(37611)
    scores, labels = torch.tensor(scores, device=device), torch.tensor(labels, device=device)
    ours = seconds(lambda: metrics.evaluate(scores, labels, points=(0.01,)), device, 20)
    target, other = scores[labels].float(), scores[~labels].float()
    started = clock(device)
    theirs, _ = metric_stats.EER(target, other)
    took = clock(device) - started
    assert abs(theirs - metrics.eer(scores, labels)) < 1e-3
    # Its minDCF holds thresholds x trials at once: as floats, as booleans, and as it sums them.
    needed = 16 * 2 * len(scores) * max(len(target), len(other))
    what = "EER alone (its minDCF does not fit)"
    if free_bytes(device) > 2 * needed:
        what = "EER and minDCF"
        took += seconds(lambda: metric_stats.minDCF(target, other), device, 1)
    rows.at_least(f"EER + minDCF, 37,611 trials: SpeechBrain's {what} / ours", took / ours, 500)


def against_a_sort(rows: Rows, device: torch.device) -> None:
    """EER and minDCF of ten million trials, for balanced and for realistic lists."""
    for share in (0.5, 0.01):
        scores, labels = make_scores(10_000_000, share)
        pair = torch.tensor(scores, device=device), torch.tensor(labels, device=device)
        found = ratio(
            lambda pair=pair: metrics.evaluate(*pair), lambda scores=scores: np.sort(scores), device
        )
        name = f"EER + minDCF, 10 M trials, {share:.0%} target: ours / numpy.sort"
        rows.at_most(name, found, 3)


def against_a_gather(rows: Rows, device: torch.device) -> None:
    """Cosine of a list as long as VoxCeleb1-E's."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(145_000, 192, generator=generator).to(device)
    enrol, test = torch.randint(145_000, (2, 580_000), generator=generator).to(device)
    found = ratio(
        lambda: cosine_scores(vectors, enrol, test),
        lambda: (vectors.index_select(0, enrol) * vectors.index_select(0, test)).sum(1),
        device,
    )
    rows.at_most("cosine, 580 k trials: ours / bare gather and row product", found, 2)


def against_the_recipes_normalisation(rows: Rows, device: torch.device) -> None:
    """Adaptive S-norm of 37,611 trials over 5,000 utterances, 6,000 in the cohort, top 300."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(5000, 192, generator=generator).to(device)
    cohort = torch.randn(6000, 192, generator=generator).to(device)
    enrol, test = torch.randint(5000, (2, 37611), generator=generator).to(device)
    raw = cosine_scores(vectors, enrol, test)
    normalise = AdaptiveSNorm(300, memory=64 * MB)
    backend = Cosine()

    def run() -> torch.Tensor:
        members, prepared = backend.prepare(cohort), backend.prepare(vectors)
        return normalise(raw, enrol, test, backend, members, prepared, prepared)

    ours = seconds(run, device, 3)

    # As SpeechBrain's VoxCeleb recipe goes about it: trial by trial, both sides over the cohort.
    similarity = torch.nn.CosineSimilarity(dim=-1, eps=1e-6)
    cohort_3d, part, found = cohort[:, None], 60, []
    started = clock(device)
    for trial in range(part):
        sides = []
        for row in (enrol[trial], test[trial]):
            repeated = vectors[row][None, None].repeat(len(cohort), 1, 1)
            top = torch.topk(similarity(repeated, cohort_3d), k=300, dim=0)[0]
            sides.append((torch.mean(top, dim=0), torch.std(top, dim=0)))
        score = similarity(vectors[enrol[trial]][None], vectors[test[trial]][None])[0]
        found.append(sum((score - mean) / std for mean, std in sides) / 2)
    loop = (clock(device) - started) / part * len(enrol)
    torch.testing.assert_close(torch.cat(found), run()[:part], rtol=1e-3, atol=1e-3)
    rows.at_least("adaptive S-norm: the recipe's loop, extrapolated / ours", loop / ours, 100)
    peak = peak_bytes(run, device)
    if peak is not None:
        # Beyond the blocks: unit vectors of both sides, 8 MiB, and what the libraries set aside.
        name = "adaptive S-norm with a limit of 64 MiB a block: peak MiB beyond its inputs"
        rows.at_most(name, peak / MB, 64 + 32)


def against_speechbrain_plda(rows: Rows, device: torch.device) -> None:
    """PLDA of 5,000 utterances of 192 dimensions: trained, and 37,611 trials of them scored.

    Both train the same model, between-speaker covariance of full rank; ours must end at a
    likelihood no lower, within its tolerance. SpeechBrain scores all against all, 25 million pairs,
    whatever the trials; making its index of them (most of a minute) and looking the trials up in
    its matrix are not counted.
    """
    rng = np.random.default_rng(0)
    speakers = np.repeat(np.arange(500), 10)
    vectors = rng.normal(size=(500, 192))[speakers] + rng.normal(size=(5000, 192))
    enrol, test = rng.integers(0, 5000, (2, 37611))
    names = [f"utt{i:04d}" for i in range(5000)]  # it sorts its models by name: these stay in order

    def stat(models: list[str]) -> PLDA_LDA.StatObject_SB:
        none = np.full(5000, None)
        return PLDA_LDA.StatObject_SB(
            modelset=np.array(models, dtype=object),
            segset=np.array(names, dtype=object),
            start=none,
            stop=none,
            stat0=np.ones((5000, 1)),
            stat1=vectors.copy(),
        )

    train_set, score_set = stat([f"spk{k:03d}" for k in speakers]), stat(names)
    index = PLDA_LDA.Ndx()
    index.modelset, index.segset = score_set.modelset, score_set.segset
    index.trialmask = np.ones((5000, 5000), dtype=bool)
    theirs, took = None, [math.inf, math.inf]
    for _ in range(2):
        theirs = PLDA_LDA.PLDA(rank_f=192, nb_iter=10)
        started = clock(device)
        theirs.plda(train_set)
        trained = clock(device)
        scores = PLDA_LDA.fast_PLDA_scoring(
            score_set, score_set, index, theirs.mean, theirs.F, theirs.Sigma
        )
        took = [min(took[0], trained - started), min(took[1], clock(device) - trained)]

    on_device = torch.tensor(vectors, device=device)
    e, t = torch.tensor(enrol, device=device), torch.tensor(test, device=device)
    plda = PLDA(whiten=False, length_norm=False)
    train = seconds(lambda: plda.fit(on_device, speakers), device, 9)

    def sides() -> PreparedSides:
        prepared = plda.prepare(on_device)
        return plda.sides(prepared, prepared)

    score = seconds(lambda: sides().trials(e, t), device, 9)
    everything = torch.arange(5000, device=device)
    dense = seconds(lambda: sides().matrix(everything), device, 3)
    print(
        f"  training {took[0]:.3f} s against {train:.3f} s, scoring {took[1]:.3f} s against "
        f"{score:.3f} s (all 25 million pairs: {dense:.3f} s)"
    )
    rows.at_least(
        "PLDA training on 5 k utterances and scoring 37,611 trials of them: SpeechBrain / ours",
        sum(took) / (train + score),
        20,
    )
    loaded = PLDA.from_speechbrain(theirs.mean, theirs.F, theirs.Sigma)
    likelihood = log_likelihood(
        torch.tensor(vectors), torch.tensor(speakers), loaded.mean, loaded.between, loaded.within
    )
    rows.at_least(
        "PLDA log-likelihood of a training vector: ours minus SpeechBrain's after 10 iterations",
        plda.log_likelihoods[-1] - likelihood,
        -plda.tolerance,
    )
    plda = loaded
    worst = np.abs(sides().trials(e, t).cpu().numpy() - scores.scoremat[enrol, test]).max()
    rows.at_most("PLDA with SpeechBrain's parameters: largest difference of a score", worst, 1e-6)


def growth(rows: Rows, device: torch.device) -> None:
    """How time and memory of EER and minDCF grow from 10 k to 10 M trials."""
    sizes, times, peaks = [10_000, 100_000, 1_000_000, 10_000_000], [], []
    for n in sizes:
        scores, labels = make_scores(n, 0.1)
        pair = torch.tensor(scores, device=device), torch.tensor(labels, device=device)
        times.append(seconds(lambda pair=pair: metrics.evaluate(*pair), device, 5))
        peaks.append(peak_bytes(lambda pair=pair: metrics.evaluate(*pair), device))
    for n, took, peak in zip(sizes, times, peaks, strict=True):
        memory = "unknown" if peak is None else f"{peak / MB:.1f} MiB"
        print(f"  {n:>10,} trials: {1000 * took:8.2f} ms, peak {memory} beyond the scores")

    def exponent(values: list[float]) -> float:
        return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])

    rows.at_most("EER + minDCF: exponent of time, 10 k to 10 M trials", exponent(times), 1.1)
    if peaks[-1] is not None:
        # Below a million trials it is less than what the process holds anyway.
        slope = math.log(peaks[-1] / max(peaks[-2], 1)) / math.log(10)
        rows.at_most("EER + minDCF: exponent of peak memory, 1 M to 10 M trials", slope, 1.1)
        rows.at_most("EER + minDCF: peak bytes a trial at 10 M", peaks[-1] / sizes[-1], 16)


def resampling(rows: Rows, device: torch.device) -> None:
    """1,000 replicates of EER and two minDCFs at VoxCeleb1-O's size, 40 speakers."""
    scores, labels = make_scores(37611)
    rng = np.random.default_rng(1)
    enrol = rng.integers(0, 40, len(scores))
    test = np.where(labels, enrol, (enrol + rng.integers(1, 40, len(scores))) % 40)
    took = seconds(
        lambda: bootstrap.speaker_bootstrap(
            scores, labels, enrol, test, bootstrap.standard_measures()
        ),
        device,
        1,
    )
    rows.at_most("speaker bootstrap, 1,000 replicates, 37,611 trials: seconds", took, 20)


def reading(lines: int, rows: Rows, device: torch.device) -> None:
    """A trial list over 145 k utterances in VoxCeleb's form, and a score file in SpeechBrain's."""
    rng = np.random.default_rng(0)
    ids = [f"id{10001 + k % 1251}/{k // 1251:011d}/{k % 300:05d}.wav" for k in range(145_000)]
    pairs = np.unique(rng.integers(0, len(ids) ** 2, int(1.01 * lines)))[:lines]
    rng.shuffle(pairs)
    enrol, test = np.divmod(pairs, len(ids))
    trials = TrialList(ids, enrol, test, rng.random(len(pairs)) < 0.5)
    del pairs, enrol, test
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "list.txt"
        for what, write, read in (
            ("trials", lambda: write_trials(path, trials), read_trials),
            (
                "scores",
                lambda: write_scores(path, trials, rng.normal(size=len(trials))),
                read_scores,
            ),
        ):
            write()
            peak: list[int | None] = []
            took = seconds(
                lambda read=read, peak=peak: peak.append(peak_bytes(lambda: read(path), CPU)),
                CPU,
                1,
            )
            if peak[0] is not None:
                print(f"  reading {what} takes {peak[0] / len(trials):.0f} bytes of memory a line")
            rows.at_most(f"reading {len(trials):,} {what} in no order: seconds", took, 20)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="also write the rows to this file")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--lines", type=int, default=10_000_000, help="of the list that is read")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", help="run the parts whose name holds this")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device, rows = torch.device(arguments.device), Rows()
    for part in (
        against_speechbrain_metrics,
        against_a_sort,
        against_a_gather,
        against_the_recipes_normalisation,
        against_speechbrain_plda,
        growth,
        resampling,
        partial(reading, arguments.lines),
    ):
        name = getattr(part, "func", part).__name__.replace("_", " ")
        if not arguments.only or arguments.only in name:
            print(f"{name} ...", flush=True)
            part(rows, device)
    return rows.finish(arguments.json)


if __name__ == "__main__":
    sys.exit(main())
