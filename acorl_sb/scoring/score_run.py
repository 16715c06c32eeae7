"""One scoring run: every system by every back end and normalisation, judged and written."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speechbrain.utils.distributed import infer_device

from acorl_sb.data.embeddings import Embeddings, concatenate
from acorl_sb.data.lines import some
from acorl_sb.data.scorefiles import write_scores
from acorl_sb.scoring import stage
from acorl_sb.scoring.backends.backend import Backend
from acorl_sb.scoring.backends.plda import PLDA
from acorl_sb.scoring.results import Judge, Results, trial_speakers
from acorl_sb.scoring.score_options import CONCATENATION, KEYS
from acorl_sb.scoring.score_setup import Setup
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import write_json, write_text
from acorl_sb.utils.hparams import Loaded, build
from acorl_sb.utils.logs import log_to

logger = logging.getLogger(__name__)

Labelled = tuple[Embeddings, list[str] | None]
"""Embeddings (M, D) and the names of their speakers (M,), if known."""


def score(setup: Setup, loaded: Loaded, folder: Path) -> Results | None:
    """Score all trials, judge the scores, then write score files and ``results.json``.

    Returns
    -------
    Results | None
        The judged rows; None where the trials have no labels.
    """
    options = loaded.hparams
    log_to(folder / "score_log.txt")
    device = torch.device((loaded.run_opts and loaded.run_opts.device) or infer_device())
    results = None
    if setup.trials.labels is not None:
        with naming(f"{options['trials'] or options['run_folder']}"):
            results = Results(make_judge(setup, options))
    made = []  # results of before stay as they are until all is there
    for names, scores, backend in scored(setup, options, loaded, folder, device):
        made.append((names, scores, backend))
        if results is not None:
            calibrated = backend.scores_are_llrs
            calibrated = calibrated and options["normalisations"][names["normalisation"]] is None
            with naming(f"{names['system']} by {names['backend']}"):
                row = results.add(names, scores, calibrated)
            shown = " / ".join(names.values())
            logger.info("%s: EER %.2f %%", shown, 100 * row["eer"])
    write_text(folder / "hyperparams.yaml", loaded.text)
    for names, scores, backend in made:
        system, name = names["system"], names["backend"]
        if isinstance(backend, PLDA):
            backend.save(folder / "backends" / system / f"{name}.safetensors")
        path = folder / "scores" / system / f"{name}-{names['normalisation']}.txt"
        write_scores(path, setup.trials, scores, options["score_form"])
    if results is None:
        logger.info("the trials have no labels: scores are in %s", folder / "scores")
        return None
    write_json(folder / "results.json", as_json(setup, options, loaded, results))
    return results


def scored(
    setup: Setup, options: dict[str, Any], loaded: Loaded, folder: Path, device: torch.device
) -> Iterator[tuple[dict[str, str], np.ndarray, Backend]]:
    """Names, scores (N,) and the fitted back end of every system, back end and normalisation."""
    normalisations = options["normalisations"]
    normalised = any(n is not None for n in normalisations.values())
    wanted = {
        "trials": True,
        "training": any(needs_training(loaded, name) for name in loaded.lazy["backends"]),
        "cohort": normalised,
    }
    parts: dict[str, list[Any]] = {"trials": [], "training": [], "cohort": []}
    for name in [*setup.systems, *([CONCATENATION] if options["concatenate"] else [])]:
        if name == CONCATENATION:
            made = {what: join(read) for what, read in parts.items() if read}
        else:
            allow, keep = options["allow_test_speakers"], folder / "embeddings" / name
            made = read_parts(setup, name, wanted, keep, device, allow)
            if options["concatenate"]:
                for what, read in made.items():
                    parts[what].append(read)
        vectors = stage.Vectors.of(setup.lineup, made["trials"][0], name, device)
        cohort = None
        if normalised:
            members, speakers = made["cohort"]
            size, seed = options["cohort_size"], options["seed"]
            cohort = stage.Cohort.of(members.vectors, speakers, size, seed, device)
        for backend_name in loaded.lazy["backends"]:
            backend = make_backend(loaded, backend_name)
            with naming(f"{name} by {backend_name}"):
                if backend.needs_training:
                    learnt, speakers = made["training"]
                    stage.fit(backend, learnt.vectors, speakers, device)
                found = stage.score(setup.lineup, vectors, backend, normalisations, cohort)
            for normalisation, scores in found.items():
                names = {"system": name, "backend": backend_name, "normalisation": normalisation}
                yield names, scores, backend


def read_parts(
    setup: Setup,
    name: str,
    wanted: dict[str, bool],
    keep: Path,
    device: torch.device,
    allow_test_speakers: bool = False,
) -> dict[str, Labelled]:
    """One system's embeddings of the trials, the training set and the cohort, as wanted.

    Raises ``UserError`` for a training set or cohort with utterances of the trials, which lists of
    speakers need not tell.
    """
    only = setup.lineup.utterances
    made: dict[str, Labelled] = {
        "trials": (setup.systems[name].read(keep / "trials", device, only), None)
    }
    for what, group in (("training", setup.training), ("cohort", setup.cohort)):
        if not wanted[what]:
            continue
        if what == "cohort" and group is setup.training and "training" in made:
            made[what] = made["training"]
        else:
            made[what] = group.read(name, keep / what, device)
        own = [] if allow_test_speakers else made[what][0].held(made["trials"][0], only)
        if own:
            raise UserError(
                f"{what}: {len(own)} of the utterances of {name} are the trials' own: {some(own)}; "
                "give other ones, or allow_test_speakers"
            )
    return made


def join(
    read: list[Labelled],
) -> Labelled:
    """Embedding-level fusion of all systems' embeddings of one set."""
    return concatenate([embeddings for embeddings, _ in read]), read[0][1]


def make_backend(loaded: Loaded, name: str) -> Any:
    """A fresh back end, since each system trains its own."""
    backend = build({"backend": loaded.lazy["backends"][name]}, f"backends: {name}")["backend"]
    for part in ("needs_training", "scores_are_llrs", "fit", "prepare", "average", "sides"):
        if not hasattr(backend, part):
            raise UserError(f"backends: {name} is no back end: it has no '{part}'")
    return backend


def check_training_speakers(loaded: Loaded, setup: Setup) -> None:
    """``UserError`` for a back end that learns from speakers where none are known."""
    if setup.training.speakers is not None or not setup.training.sources:
        return
    for name in loaded.lazy["backends"]:
        backend = make_backend(loaded, name)
        if backend.needs_training and getattr(backend, "needs_speakers", False):
            raise UserError(
                f"backends: {name} learns from the speakers of its training set, which are not "
                "known; give training_speakers, or training_manifest"
            )


def needs_training(loaded: Loaded, name: str) -> bool:
    """Whether the back end of that name is fitted to training embeddings."""
    return make_backend(loaded, name).needs_training


def make_judge(setup: Setup, options: dict[str, Any]) -> Judge:
    """What measures each system: labels, the speakers of both sides, the cost points asked for."""
    sides = trial_speakers(setup.trials, setup.speaker_of) if setup.speaker_of else None
    keys = ("points", "c_miss", "c_fa", "replicates", "level", "seed")
    return Judge(setup.trials.known_labels, sides, *(options[key] for key in keys))


def as_json(
    setup: Setup, options: dict[str, Any], loaded: Loaded, results: Results
) -> dict[str, Any]:
    """The content of ``results.json``."""
    judge = results.judge
    return {
        "trials": {
            "list": str(options["trials"] or options["run_folder"]),
            "protocol": setup.protocol and setup.protocol.name,
            "target": int(judge.labels.sum()),
            "nontarget": int((~judge.labels).sum()),
            "speakers": setup.speaker_of and len(set(setup.speaker_of)),
        },
        "cost_points": [
            {"p_target": p, "c_miss": judge.c_miss, "c_fa": judge.c_fa} for p in judge.points
        ],
        "intervals": {
            "level": judge.level,
            "replicates": judge.replicates,
            "method": judge.note(any(row["intervals"] for row in results.rows)),
        },
        "settings": loaded.plain(KEYS),
        "systems": results.rows,
    }


@contextlib.contextmanager
def naming(where: str) -> Iterator[None]:
    """Turn a ``ValueError`` of the pure functions into a sentence that says where."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error
