"""Objectives side by side: the same members trained under each, for several seeds.

All objectives of a seed share the first member, and their k-th members the same initial weights
and order of images, so they differ in the objective alone.
"""

from __future__ import annotations

import copy
import json
import logging
import multiprocessing
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ruamel.yaml
import torch

from acorl_sb.errors import UserError
from acorl_sb.hparams import Loaded, load_hparams, plain
from acorl_sb.logs import log_to
from acorl_sb.members import read_record
from acorl_sb.training import check_specs
from images.ensembles import fuse_probabilities, likeness
from images.members import load_outputs
from images.metrics import evaluate
from images.results import FUSIONS, Bootstrap, differences, fused, with_intervals
from images.training import RUN_KEYS, RUN_LAZY, Chain, Task

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
    check_specs(base.lazy["members"], base.lazy["priors"])
    if base.lazy["priors"]:
        raise UserError("a comparison trains all its members: the key 'priors' must be empty")
    for name, method in methods.items():
        for key in set(method) - {"objective", "strengths"}:
            raise UserError(f"methods.{name}: unknown key {key!r}; known: objective, strengths")
        if "objective" not in method:
            raise UserError(f"methods.{name}: the key 'objective' is missing")
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
    """The objective's YAML with ``push: Ramp(strength)`` put in, docs/method.md (5)."""
    if strength is None:
        return objective
    pushed = copy.deepcopy(objective)
    pushed["push"] = ruamel.yaml.YAML().load(
        f"!new:acorl_sb.complementarity.Ramp {{strength: {strength}}}"
    )
    return pushed


def first_of(plan: Plan, seed: int) -> Chain:
    task = Task.from_hparams(plan.base, seed=seed)
    chain = Chain(task)
    spec = {"name": "first", "encoder": plan.encoder, "objective": None}
    chain.add_member(spec, 0, plan.folder / f"seed{seed}" / "first")
    return chain


def extend(plan: Plan, first: Chain, name: str, objective: Any, size: int) -> Chain:
    """The first member's chain, continued under one objective up to ``size`` members."""
    chain = first.copy()
    for index in range(1, size):
        member = f"{name}-{index + 1}"
        spec = {"name": member, "encoder": plan.encoder, "objective": objective}
        chain.add_member(spec, index, first.folders[0].parent / member)
    return chain


def select_seed(argv: Sequence[str], seed: int) -> dict[str, dict[float | None, float]]:
    """Development NLL of the pair under each method and strength: {method: {strength: NLL}}."""
    plan = read_plan(argv)
    first = first_of(plan, seed)
    found: dict[str, dict[float | None, float]] = {name: {} for name in plan.methods}
    for name, method in plan.methods.items():
        for strength in candidates(method):
            objective = with_strength(method["objective"], strength)
            label = name if strength is None else f"{name}_{strength:g}"
            pair = extend(plan, first, label, objective, 2)
            logits = [load_outputs(folder).dev_logits for folder in pair.folders]
            dev = evaluate(fuse_probabilities(logits), first.task.data.dev.labels)
            found[name][strength] = float(dev["nll"][0])
    return found


class SeedResults(NamedTuple):
    """Of one seed, by method and K: test probabilities by fusion, of the K-th member alone,
    how alike the members are, and the K-th member's training time in seconds."""

    fused: dict[tuple[str, int], dict[str, np.ndarray]]
    alone: dict[tuple[str, int], np.ndarray]
    likeness: dict[tuple[str, int], dict[str, float]]
    seconds: dict[tuple[str, int], float]


def run_seed(argv: Sequence[str], seed: int, strengths: dict[str, float | None]) -> SeedResults:
    """Train every method's members for one seed, or load them; fuse the first 1 .. K."""
    plan = read_plan(argv)
    first = first_of(plan, seed)
    data = first.task.data
    results = SeedResults({}, {}, {}, {})
    for name, method in plan.methods.items():
        objective = with_strength(method["objective"], strengths[name])
        chain = extend(plan, first, name, objective, plan.hparams["ensemble_size"])
        outputs = [load_outputs(folder) for folder in chain.folders]
        for k in range(1, len(outputs) + 1):
            results.fused[name, k] = fused(outputs[:k], data)
            results.alone[name, k] = fuse_probabilities([outputs[k - 1].test_logits])
            results.likeness[name, k] = likeness(outputs[:k], data.test.labels)
            results.seconds[name, k] = read_record(chain.folders[k - 1])["seconds"]
    return results


def for_each_seed(
    work: Callable[..., Any], argv: Sequence[str], seeds: Sequence[int], jobs: int, *rest: Any
) -> list[Any]:
    """``work(argv, seed, *rest)`` for all seeds, in ``jobs`` processes."""
    if jobs == 1 or len(seeds) < 2:
        return [work(argv, seed, *rest) for seed in seeds]
    context = multiprocessing.get_context("spawn")  # torch does not survive a fork
    log = read_plan(argv).folder / "log.txt"
    with ProcessPoolExecutor(jobs, context, _start_worker, (log,)) as pool:
        waiting = [pool.submit(work, argv, seed, *rest) for seed in seeds]
        return [each.result() for each in waiting]


def _start_worker(log: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends at once; the parent says why
    torch.set_num_threads(1)  # small images: processes are faster than threads
    log_to(log)
    quiet_epochs()


def quiet_epochs() -> None:
    """Hundreds of members: a line for each, not for each epoch."""
    logging.getLogger("acorl_sb.brain").setLevel(logging.WARNING)


def choose_strengths(
    methods: Mapping[str, Any], found: Sequence[Mapping[str, Mapping[float | None, float]]]
) -> dict[str, float | None]:
    """The strength with the lowest development NLL, mean over the selection's seeds."""
    return {
        name: min(candidates(method), key=lambda s, n=name: np.mean([f[n][s] for f in found]))
        if found
        else candidates(method)[0]
        for name, method in methods.items()
    }


def compare(argv: Sequence[str]) -> dict[str, Any]:
    """Run a whole comparison; see the YAML for what is in it.

    First each strength is tried with ``selection_seeds`` and judged on the development images;
    then ``seeds`` are run with the chosen ones and judged on the test images.
    """
    plan = read_plan(argv)
    hparams, reference = plan.hparams, plan.hparams["reference"]
    tried = for_each_seed(select_seed, argv, hparams["selection_seeds"], hparams["jobs"])
    strengths = choose_strengths(plan.methods, tried)
    logger.info("strengths chosen on development images: %s", strengths)
    runs = for_each_seed(run_seed, argv, hparams["seeds"], hparams["jobs"], strengths)
    labels = Task.from_hparams(plan.base).data.test.labels
    bootstrap = Bootstrap(labels, len(runs), plan.base.hparams["replicates"])
    rows = []
    measured = {
        (name, k, fusion): bootstrap.measure([run.fused[name, k][fusion] for run in runs])
        for name, k in runs[0].fused
        for fusion in FUSIONS
    }
    alone = {at: bootstrap.measure([run.alone[at] for run in runs]) for at in runs[0].alone}
    for (name, k, fusion), values in measured.items():
        row = {"method": name, "k": k, "fusion": fusion, **with_intervals(values)}
        if name != reference and k > 1:
            row["minus_reference"] = differences(values, measured[reference, k, fusion])
        rows.append(row)
    members = [
        {
            "method": name,
            "k": k,
            **with_intervals(values),
            "seconds": float(np.mean([run.seconds[name, k] for run in runs])),
            "likeness": {
                key: float(np.mean([run.likeness[name, k][key] for run in runs]))
                for key in runs[0].likeness[name, k]
            },
        }
        for (name, k), values in alone.items()
    ]
    return {
        "seeds": list(hparams["seeds"]),
        "test_images": len(labels),
        "reference": reference,
        "strengths": strengths,
        "selection": [
            {
                "method": name,
                "strength": strength,
                "dev_nll": [each[name][strength] for each in tried],
            }
            for name, method in plan.methods.items()
            for strength in candidates(method)
            if tried
        ],
        "ensembles": rows,
        "members": members,
    }
