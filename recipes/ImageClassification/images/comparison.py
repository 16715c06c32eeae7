"""Objectives side by side: the same members trained under each, for several seeds.

All objectives of a seed share the first member, and their k-th members the same initial weights
and order of images, so they differ in the objective alone.
"""

from __future__ import annotations

import copy
import json
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ruamel.yaml
from speechbrain.utils.distributed import get_local_rank

from acorl_sb.encoders.member_folder import read_record
from acorl_sb.training.train_options import check_specs
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.hparams import Loaded, load_hparams, plain
from acorl_sb.utils.logs import log_to
from images.ensembles import fuse_probabilities, similarity
from images.members import load_outputs
from images.metrics import evaluate, softmax
from images.results import FUSIONS, Bootstrap, differences, fused, with_intervals
from images.training import MEMBER_KEYS, RUN_KEYS, RUN_LAZY, Chain, Task, set_threads

logger = logging.getLogger("acorl_sb.images")

KEYS = ["base", "output_folder", "seeds", "selection_seeds", "ensemble_size", "reference", "jobs"]


class Plan(NamedTuple):
    """What a comparison's YAML says; ``base`` is the YAML of one run, loaded."""

    hparams: dict[str, Any]
    methods: Mapping[str, Any]
    base: Loaded
    text: str

    @property
    def folder(self) -> Path:
        return Path(self.hparams["output_folder"])

    @property
    def encoder(self) -> Any:
        """Resolved YAML of the encoder that all members have: the base's first member's."""
        return self.base.lazy["members"][0]["encoder"]


def read_plan(argv: Sequence[str]) -> Plan:
    """Read and check a comparison's YAML; ``UserError`` for what makes no sense."""
    loaded = load_hparams(argv, KEYS, lazy=("methods", "common"))
    hparams, methods = loaded.hparams, loaded.lazy["methods"]
    common = plain(loaded.lazy["common"] or {})
    changes = [part for key in common for part in (f"--{key}", json.dumps(common[key]))]
    yaml_of_one_run = str(Path(argv[0]).parent / hparams["base"])
    base = load_hparams([yaml_of_one_run, *changes], RUN_KEYS, RUN_LAZY)
    check_specs(base.lazy["members"], base.lazy["references"], MEMBER_KEYS)
    if base.lazy["references"]:
        raise UserError("a comparison trains all its members: the key 'references' must be empty")
    for name, method in methods.items():
        for key in set(method) - {"objective", "strengths"}:
            raise UserError(f"methods.{name}: unknown key {key!r}; known: objective, strengths")
        if "objective" not in method:
            raise UserError(f"methods.{name}: the key 'objective' is missing")
    if get_local_rank() is not None:
        raise UserError("a comparison runs in processes of its own: use python and the key 'jobs'")
    if methods.get(hparams["reference"], {"objective": 0})["objective"] is not None:
        raise UserError("the key 'reference' must name a method whose objective is null")
    if not hparams["seeds"] or hparams["ensemble_size"] < 2:
        raise UserError("a comparison needs at least one seed and an ensemble_size of 2 or more")
    shared = set(hparams["seeds"]) & set(hparams["selection_seeds"])
    if shared:
        raise UserError(f"seed {shared.pop()} is in both seeds and selection_seeds")
    if not hparams["selection_seeds"] and any(len(candidates(m)) > 1 for m in methods.values()):
        raise UserError("several strengths to choose from need at least one of selection_seeds")
    return Plan(hparams, methods, base._replace(run_opts=loaded.run_opts), loaded.text)


def candidates(method: Mapping[str, Any]) -> list[float | None]:
    """The strengths that a method is tried with; [None] when it has none to choose."""
    return list(method.get("strengths") or [None])


def with_strength(objective: Any, strength: float | None) -> Any:
    """The objective's YAML with ``schedule: Ramp(weight)`` put in, docs/method.md (5)."""
    if strength is None:
        return objective
    weighed = copy.deepcopy(objective)
    weighed["schedule"] = ruamel.yaml.YAML().load(
        f"!new:acorl_sb.complementarity.Ramp {{weight: {strength}}}"
    )
    return weighed


def first_of(plan: Plan, seed: int) -> Chain:
    """The first member of a seed, which all methods share, trained or loaded."""
    chain = Chain(Task.from_hparams(plan.base, seed=seed))
    spec = {"name": "first", "encoder": plan.encoder, "objective": None}
    chain.add_member(spec, 0, plan.folder / f"seed{seed}" / "first")
    return chain


def train_first(argv: Sequence[str], seed: int) -> None:
    first_of(read_plan(argv), seed)


def extend(plan: Plan, first: Chain, name: str, objective: Any, size: int) -> Chain:
    """The first member's chain, continued under one objective up to ``size`` members."""
    chain = first.copy()
    for index in range(1, size):
        member = f"{name}-{index + 1}"
        spec = {"name": member, "encoder": plan.encoder, "objective": objective}
        chain.add_member(spec, index, first.folders[0].parent / member)
    return chain


def try_strength(argv: Sequence[str], seed: int, name: str, strength: float | None) -> float:
    """Development NLL (nats) of a pair whose second member is trained with this strength."""
    plan = read_plan(argv)
    first = first_of(plan, seed)
    objective = with_strength(plan.methods[name]["objective"], strength)
    label = name if strength is None else f"{name}_{strength:g}"
    pair = extend(plan, first, label, objective, 2)
    logits = [load_outputs(folder).dev_logits for folder in pair.folders]
    dev = evaluate(fuse_probabilities(logits), first.task.data.dev.labels)
    return float(dev["nll"][0])


class Growth(NamedTuple):
    """One method's ensembles of one seed, entry k - 1 for K = k members.

    ``fused``: test probabilities (N, C) by fusion; ``alone``: the K-th member's; ``similarity``
    of the first K; ``seconds`` of the K-th member's training.
    """

    fused: list[dict[str, np.ndarray]]
    alone: list[np.ndarray]
    similarity: list[dict[str, float]]
    seconds: list[float]


def grow(argv: Sequence[str], seed: int, name: str, strength: float | None) -> Growth:
    """Train one method's members for one seed, or load them; fuse the first 1 .. K."""
    plan = read_plan(argv)
    first = first_of(plan, seed)
    data = first.task.data
    objective = with_strength(plan.methods[name]["objective"], strength)
    chain = extend(plan, first, name, objective, plan.hparams["ensemble_size"])
    outputs = [load_outputs(folder) for folder in chain.folders]
    sizes = range(1, len(outputs) + 1)
    return Growth(
        [fused(outputs[:k], data) for k in sizes],
        [softmax(one.test_logits) for one in outputs],
        [similarity(outputs[:k], data.test.labels) for k in sizes],
        [read_record(folder, ["seconds"])["seconds"] for folder in chain.folders],
    )


def side_by_side(
    work: Callable[..., Any], argv: Sequence[str], jobs: int, todo: Sequence[tuple]
) -> list[Any]:
    """``work(argv, *each)`` for each of ``todo``, in ``jobs`` processes; results in order."""
    if jobs == 1 or len(todo) < 2:
        return [work(argv, *each) for each in todo]
    context = multiprocessing.get_context("spawn")  # torch does not survive a fork
    plan = read_plan(argv)
    shared = (plan.folder / "log.txt", plan.base.hparams["threads"])
    with ProcessPoolExecutor(jobs, context, _start_worker, shared) as pool:
        waiting = [pool.submit(work, argv, *each) for each in todo]
        try:
            return [each.result() for each in waiting]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _start_worker(log: Path, threads: int | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends at once; the parent says why
    threading.Thread(target=_end_with_parent, daemon=True).start()
    set_threads(threads)
    log_to(log)
    quiet_epochs()


def _end_with_parent() -> None:
    """A parent that is killed cannot stop its workers; they would write into the next run."""
    multiprocessing.parent_process().join()
    os._exit(1)


def quiet_epochs() -> None:
    """Hundreds of members: a line for each, not for each epoch."""
    logging.getLogger("acorl_sb.training.epochs").setLevel(logging.WARNING)


def choose_strengths(
    methods: Mapping[str, Any], tried: Mapping[tuple[str, float | None], Sequence[float]]
) -> dict[str, float | None]:
    """The strength with the lowest development NLL, mean over the selection's seeds.

    ``tried`` gives the NLLs of (method, strength); a method with one candidate needs none.
    """
    return {
        name: min(candidates(method), key=lambda s, n=name: np.mean(tried.get((n, s), 0.0)))
        for name, method in methods.items()
    }


def compare(argv: Sequence[str]) -> dict[str, Any]:
    """Run a whole comparison; see the YAML for what is in it.

    First each strength is tried with ``selection_seeds`` and judged on the development images;
    then ``seeds`` are run with the chosen ones and judged on the test images.
    """
    plan = read_plan(argv)
    hparams, methods = plan.hparams, plan.methods
    seeds, trial_seeds, jobs = hparams["seeds"], hparams["selection_seeds"], hparams["jobs"]
    side_by_side(train_first, argv, jobs, [(seed,) for seed in [*trial_seeds, *seeds]])

    settings = [(name, s) for name, method in methods.items() for s in candidates(method)]
    todo = [(seed, *setting) for setting in settings for seed in trial_seeds]
    losses = dict(zip(todo, side_by_side(try_strength, argv, jobs, todo), strict=True))
    tried = {
        setting: [losses[(seed, *setting)] for seed in trial_seeds]
        for setting in settings
        if trial_seeds
    }
    strengths = choose_strengths(methods, tried)
    logger.info("strengths chosen on development images: %s", strengths)

    todo = [(seed, name, strengths[name]) for seed in seeds for name in methods]
    grown = dict(zip(todo, side_by_side(grow, argv, jobs, todo), strict=True))
    by_method = {name: [grown[seed, name, strengths[name]] for seed in seeds] for name in methods}
    labels = Task.from_hparams(plan.base).data.test.labels
    bootstrap = Bootstrap(labels, len(seeds), plan.base.hparams["replicates"])
    return {
        "seeds": list(seeds),
        "test_images": len(labels),
        "reference": hparams["reference"],
        "strengths": strengths,
        "selection": [
            {"method": name, "strength": strength, "dev_nll": nll}
            for (name, strength), nll in tried.items()
        ],
        "ensembles": ensemble_rows(by_method, bootstrap, hparams["reference"]),
        "members": member_rows(by_method, bootstrap),
    }


def ensemble_rows(
    by_method: Mapping[str, Sequence[Growth]], bootstrap: Bootstrap, reference: str
) -> list[dict[str, Any]]:
    """A row per method, K and fusion: figures, and differences to the reference's at K."""
    measured = {
        (name, k, fusion): bootstrap.measure([run.fused[k][fusion] for run in runs])
        for name, runs in by_method.items()
        for k in range(len(runs[0].fused))
        for fusion in FUSIONS
    }
    rows = []
    for (name, k, fusion), values in measured.items():
        row = {"method": name, "k": k + 1, "fusion": fusion, **with_intervals(values)}
        if name != reference and k > 0:
            row["minus_reference"] = differences(values, measured[reference, k, fusion])
        rows.append(row)
    return rows


def member_rows(
    by_method: Mapping[str, Sequence[Growth]], bootstrap: Bootstrap
) -> list[dict[str, Any]]:
    """A row per method and K: the K-th member alone, how alike the first K are, its time."""
    return [
        {
            "method": name,
            "k": k + 1,
            **with_intervals(bootstrap.measure([run.alone[k] for run in runs])),
            "similarity": {
                key: float(np.mean([run.similarity[k][key] for run in runs]))
                for key in runs[0].similarity[k]
            },
            "seconds": float(np.mean([run.seconds[k] for run in runs])),
        }
        for name, runs in by_method.items()
        for k in range(len(runs[0].alone))
    ]
