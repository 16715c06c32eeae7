"""Scoring of a finished ensemble: every member, every fusion, one table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from speechbrain.utils.distributed import if_main_process

from acorl_sb import metrics
from acorl_sb.data.embeddings import Embeddings, concatenate, write_embeddings
from acorl_sb.data.recording_range import RecordingRange
from acorl_sb.data.scorefiles import write_scores
from acorl_sb.data.trial_set import TrialSet
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.ensemble import FrozenEnsemble, FrozenMember
from acorl_sb.encoders.extraction import embed_utterances
from acorl_sb.fusion import models as fusion
from acorl_sb.metrics.intervals import interval, paired_changes
from acorl_sb.scoring.backends.cosine import cosine_trial_scores
from acorl_sb.scoring.results import Judge, flat
from acorl_sb.utils.files import write_json

COST_POINTS = (0.01, 0.05)
LOGISTIC = "score-logistic"
"""The fusion whose scores are LLRs."""


def evaluate_ensemble(
    ensemble: FrozenEnsemble,
    records: dict[str, dict[str, Any]],
    dev: TrialSet,
    test: TrialSet,
    folder: Path,
    seconds: float | None,
    device: torch.device | str,
) -> dict[str, Any] | None:
    """Score all members and fusions; write embeddings, score files and results.json.

    The ranks of a distributed run share the extraction of embeddings, so all must call this;
    the first scores and writes, the others get None.

    Fusion weights are fitted on the development trials; the test trials only report. Returns
    the content of results.json: ``systems``, a list of rows with ``name``, ``kind``,
    ``parameters``, ``train_seconds``, ``real_time_factor`` and for ``dev`` and ``test`` the
    figures of ``metrics.evaluate`` (fractions); of the test trials also ``intervals`` and
    ``against_best``, the paired changes to ``best_member``, the member that is best on the
    development trials.
    """
    vectors: dict[str, list[np.ndarray]] = {"dev": [], "test": []}
    scores: dict[str, list[np.ndarray]] = {"dev": [], "test": []}
    sides = {"dev": dev, "test": test}
    rows: list[dict[str, Any]] = []
    for member in ensemble.members:
        embedded, elapsed = _embed(member, sides, seconds, device)
        if not if_main_process():
            continue
        for part, z in embedded.items():
            ids = [u.id for u in sides[part].utterances]
            write_embeddings(folder / "embeddings" / member.name / part, Embeddings(ids, z))
            vectors[part].append(z)
            scores[part].append(cosine_trial_scores(sides[part], z))
        record = records.get(member.name, {})
        rows.append(
            {
                "name": member.name,
                "kind": "member",
                "parameters": sum(p.numel() for p in member.encoder.parameters()),
                "train_seconds": record.get("seconds", 0.0),
                "real_time_factor": elapsed / _audio_seconds(sides.values(), seconds),
                **_figures(scores["dev"][-1], scores["test"][-1], dev, test),
            }
        )
        _write(folder, member.name, sides, {part: scores[part][-1] for part in sides})
    if not if_main_process():
        return None
    fused = fuse_all(vectors, scores, sides, folder)
    for name, made in fused.items():
        rows.append(
            {
                "name": name,
                "kind": "fusion",
                **{
                    key: sum(row[key] for row in rows if row["kind"] == "member")
                    for key in ("parameters", "train_seconds", "real_time_factor")
                },
                **_figures(made["dev"], made["test"], dev, test),
            }
        )
        _write(folder, name, sides, made)
    test_scores = dict(zip(ensemble.names, scores["test"], strict=True))
    test_scores |= {name: made["test"] for name, made in fused.items()}
    results = {
        "cost_points": [{"p_target": p, "c_miss": 1, "c_fa": 1} for p in COST_POINTS],
        "score_seconds": seconds,
        "calibrated_on": RecordingRange.of(dev.utterances, seconds)._asdict(),
        "trials": {part: side.counts() for part, side in sides.items()},
        **add_intervals(rows, test_scores, test),
        "systems": rows,
    }
    write_json(folder / "results.json", results)
    return results


def add_intervals(
    rows: Sequence[dict[str, Any]], scores: dict[str, np.ndarray], test: TrialSet
) -> dict[str, Any]:
    """Give each row its intervals and its paired changes to the best member, on the test trials.

    ``scores`` (N,) by the rows' names. Returns the entries of results.json that tell how.
    """
    judge = Judge(test.trials.known_labels, test.speakers, COST_POINTS)
    members = [row for row in rows if row["kind"] == "member"]
    best = min(members, key=lambda row: row["dev"]["eer"])
    replicates = {name: judge.replicate(values, False) for name, values in scores.items()}
    for row in rows:
        mine = replicates[row["name"]]
        row["intervals"] = {key: list(interval(v, judge.level)) for key, v in mine.items()}
        row["against_best"] = None
        if row is not best:
            row["against_best"] = paired_changes(
                flat(row["test"]), mine, flat(best["test"]), replicates[best["name"]], judge.level
            )
    note = judge.note(any(replicates.values()))
    method = {"level": judge.level, "replicates": judge.replicates, "method": note}
    return {"best_member": best["name"], "intervals": method}


def _embed(
    member: FrozenMember, sides: dict[str, TrialSet], seconds: float | None, device
) -> tuple[dict[str, np.ndarray], float]:
    """A member's embeddings of each side, and the seconds that they took."""
    started = time.perf_counter()
    embedded = {
        part: embed_utterances(
            cast(SpeakerEncoder, member.encoder),
            side.utterances,
            seconds,
            device=device,
            progress=f"embed {member.name} {part}",
            shared=True,
        ).numpy()
        for part, side in sides.items()
    }
    return embedded, time.perf_counter() - started


def fuse_all(
    vectors: dict[str, list[np.ndarray]],
    scores: dict[str, list[np.ndarray]],
    sides: dict[str, TrialSet],
    folder: Path,
) -> dict[str, dict[str, np.ndarray]]:
    """Every fusion of the members: name -> scores (N,) by side; none for a single member."""
    if len(scores["dev"]) < 2:
        return {}
    stacked = {part: np.stack(rows) for part, rows in scores.items()}  # (K, N)
    fused = {
        "embedding-concatenation": {
            part: cosine_trial_scores(side, _side_by_side(side, vectors[part]))
            for part, side in sides.items()
        }
    }
    for name, model in (
        ("score-mean", fusion.MeanZNorm()),
        (LOGISTIC, fusion.LogisticFusion(prior=0.05)),
    ):
        model.fit(stacked["dev"], sides["dev"].trials.known_labels)
        fusion.save(folder / "fusion" / f"{name}.json", model)
        fused[name] = {part: model(stacked[part]) for part in sides}
    return fused


def _side_by_side(side: TrialSet, vectors: list[np.ndarray]) -> np.ndarray:
    ids = [utterance.id for utterance in side.utterances]
    return concatenate([Embeddings(ids, rows) for rows in vectors]).vectors


def _figures(dev_scores, test_scores, dev: TrialSet, test: TrialSet) -> dict[str, Any]:
    made = {}
    for part, scores, side in (("dev", dev_scores, dev), ("test", test_scores, test)):
        figures = metrics.evaluate(scores, side.trials.labels, COST_POINTS)
        figures["min_dcf"] = {f"{p:g}": value for p, value in figures["min_dcf"].items()}
        made[part] = figures
    return made


def _write(
    folder: Path, name: str, sides: dict[str, TrialSet], scores: dict[str, np.ndarray]
) -> None:
    for part, side in sides.items():
        write_scores(folder / "scores" / name / f"{part}.txt", side.trials, scores[part])


def _audio_seconds(sides, seconds: float | None) -> float:
    whole = [u.duration for side in sides for u in side.utterances]
    return sum(whole if seconds is None else [min(seconds, d) for d in whole])
