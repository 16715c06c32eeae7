"""Score trials: embeddings or encoders, back ends, normalisation, metrics with intervals.

    python -m acorl_sb.cli.score hparams/score.yaml --systems "{mine: embeddings/}" --trials trials.txt
    python -m acorl_sb.cli.score hparams/score.yaml --run_folder results/my_run
    python -m acorl_sb.cli.score hparams/score_plda.yaml --run_folder results/my_run

Writes a score file for every system, back end and normalisation, ``results.json`` and
``results.md``; docs/scoring.md explains every key.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speechbrain.utils.distributed import infer_device

from acorl_sb.data import speakers as speaker_lists
from acorl_sb.data.embeddings import Embeddings, concatenate
from acorl_sb.data.lines import some
from acorl_sb.data.protocols import Protocol, check_training, find_protocol, read_protocol
from acorl_sb.data.scorefiles import write_scores
from acorl_sb.data.trials import TrialList, read_enrolment, read_trials
from acorl_sb.scoring import stage
from acorl_sb.scoring.backends.plda import PLDA
from acorl_sb.scoring.results import Judge, Results, trial_speakers
from acorl_sb.scoring.score_options import CONCATENATION, KEYS, ScoreOptions
from acorl_sb.scoring.sources import LabelledSet, Source
from acorl_sb.utils.errors import UserError, run_cli
from acorl_sb.utils.files import write_json, write_text
from acorl_sb.utils.hparams import Loaded, build
from acorl_sb.utils.locks import locked
from acorl_sb.utils.logs import log_to
from acorl_sb.utils.options import Device, read
from acorl_sb.utils.reading import read_json

logger = logging.getLogger("acorl_sb.cli.score")


@dataclass
class Setup:
    """What a run reads: systems and sets, the trials, and who speaks in them."""

    systems: dict[str, Source]
    training: LabelledSet
    cohort: LabelledSet
    trials: TrialList
    protocol: Protocol | None
    lineup: stage.Lineup
    speaker_of: list[str] | None  # of trials.ids


def main(argv: list[str] | None = None) -> int:
    loaded = read(ScoreOptions, sys.argv[1:] if argv is None else argv, __doc__, Device)
    options = loaded.hparams
    for name in loaded.lazy["backends"]:
        make_backend(loaded, name)
    setup = read_setup(options)
    with locked(options["output_folder"]) as folder:
        if (folder / "members").exists():
            raise UserError(f"{folder}: is a run of train.py; name another output_folder")
        return score(setup, loaded, folder)


def score(setup: Setup, loaded: Loaded, folder: Path) -> int:
    """Score, judge, write."""
    options = loaded.hparams
    log_to(folder / "score_log.txt")
    device = torch.device(loaded.run_opts.device or infer_device())
    results = None
    if setup.trials.labels is not None:
        with in_words(f"{options['trials'] or options['run_folder']}"):
            results = Results(make_judge(setup, options))
    for names, scores, calibrated in scored(setup, options, loaded, folder, device):
        file = f"{names['backend']}-{names['normalisation']}.txt"
        path = folder / "scores" / names["system"] / file
        write_text(folder / "hyperparams.yaml", loaded.text)  # now that there is something to tell
        write_scores(path, setup.trials, scores, options["score_form"])
        if results is not None:
            with in_words(f"{names['system']} by {names['backend']}"):
                row = results.add(names, scores, calibrated)
            shown = " / ".join(names.values())
            logger.info("%s: EER %.2f %%", shown, 100 * row["eer"])
    if results is None:
        logger.info("the trials have no labels: scores are in %s", folder / "scores")
        return 0
    write_json(folder / "results.json", as_json(setup, options, loaded, results))
    write_text(folder / "results.md", results.table())
    print(results.table())
    return 0


def read_setup(options: dict[str, Any]) -> Setup:
    """Read trials and lists, and resolve where every system's embeddings come from.

    Raises ``UserError`` for inputs that are missing, contradict each other, or train on speakers of
    the trials.
    """
    options = with_run_folder(options)
    systems = {
        name: Source(str(path), options["manifest"], options["seconds"], options["trust"])
        for name, path in options["systems"].items()
    }
    if not systems:
        raise UserError("nothing to score: give systems ({name: path}) or run_folder")
    if not options["trials"]:
        raise UserError("give the trial list: trials")
    training = labelled_set("training", systems, options)
    cohort = labelled_set("cohort", systems, options)
    cohort = cohort if cohort.sources else training
    protocol = None
    if options["protocol"]:
        protocol = find_protocol(options["protocol"])
        trials = read_protocol(protocol.name, options["trials"])
    else:
        trials = read_trials(options["trials"], options["duplicate_trials"])
    enrolment = read_enrolment(options["enrolment"]) if options["enrolment"] else None
    lineup = stage.Lineup.of(trials, enrolment, str(options["enrolment"]))
    speaker_of = find_speakers(trials, enrolment, protocol, options)
    setup = Setup(systems, training, cohort, trials, protocol, lineup, speaker_of)
    check_speakers(setup, bool(options["allow_test_speakers"]))
    return setup


def with_run_folder(options: dict[str, Any]) -> dict[str, Any]:
    """Fill what is not given from a run of ``train.py``: its members, trials and manifests."""
    options = dict(options)
    options["systems"] = dict(options["systems"] or {})
    if not options["run_folder"]:
        return options
    run, part = Path(options["run_folder"]), options["part"]
    manifest = run / "manifest"
    members = sorted(path.name for path in (run / "members").glob("*") if path.is_dir())
    if not members:
        raise UserError(f"{run}: no members; the output folder of train.py is expected")
    if not options["systems"]:
        options["systems"] = {name: run / "embeddings" / name / part for name in members}
        # The run has no embeddings of its training set: its encoders make them if need be.
        options["training"] = {name: run / "members" / name for name in members}
        options["training_manifest"] = options["training_manifest"] or manifest / "train.csv"
        if options["seconds"] is None:
            options["seconds"] = read_score_seconds(run)
    options["manifest"] = options["manifest"] or manifest / f"{part}.csv"
    options["trials"] = options["trials"] or manifest / f"{part}_trials.txt"
    if not options["speakers"] and not options["speaker_pattern"]:
        options["speakers"] = manifest / f"{part}.csv"
    return options


def read_score_seconds(run: Path) -> float | None:
    """The centre crop (s) that a run of ``train.py`` was scored with; None: whole utterances."""
    path = run / "results.json"
    seconds = read_json(path, "result of a finished run").get("score_seconds")
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if seconds is not None and not (number and 0 < seconds < float("inf")):
        raise UserError(f"{path}: score_seconds must be above 0 or null, not {seconds!r}")
    return seconds


def labelled_set(what: str, systems: dict[str, Source], options: dict[str, Any]) -> LabelledSet:
    """The training set or the cohort; an encoder embeds ``<what>_manifest`` by itself."""
    manifest, how = options[f"{what}_manifest"], (options["seconds"], options["trust"])
    given = options[what] or {}
    sources = {name: Source(str(path), manifest, *how) for name, path in given.items()}
    if manifest:
        for name, system in systems.items():
            if name not in sources and system.is_encoder:
                sources[name] = Source(system.path, manifest, *how)
    return LabelledSet(what, sources, options[f"{what}_speakers"] or manifest)


def find_speakers(
    trials: TrialList,
    enrolment: dict[str, list[str]] | None,
    protocol: Protocol | None,
    options: dict[str, Any],
) -> list[str] | None:
    """Speaker of each of ``trials.ids``: from a list, from a pattern, or None.

    An enrolled model is its own utterances' speaker, or stands in the list itself.
    """
    path, pattern = options["speakers"], options["speaker_pattern"]
    if not path and not pattern and protocol is not None:
        pattern = r"id\d{5}"
    if not path and not pattern:
        return None
    ids = trials.ids
    if path:
        table = speaker_lists.read_speakers(path)
        if enrolment is not None:
            ids = [i if i in table else enrolment.get(i, [i])[0] for i in ids]
        found = speaker_lists.by_table(ids, table, str(path))
    else:
        if enrolment is not None:
            ids = [enrolment.get(i, [i])[0] for i in ids]
        found = speaker_lists.by_pattern(ids, pattern)
    (numbers,) = speaker_lists.number(found)
    wrong = speaker_lists.contradictions(trials, numbers)
    if len(wrong):
        raise UserError(
            f"{path or pattern}: the speakers contradict the labels of {len(wrong)} trials: "
            f"{some(trials.name(trial) for trial in wrong)}"
        )
    return found


def check_speakers(setup: Setup, allow: bool) -> None:
    """Refuse training data, cohorts and encoders that hold speakers of the trials."""
    test = setup.protocol or (set(setup.speaker_of) if setup.speaker_of else None)
    if test is None:
        return
    groups = {
        f"the {group.what} set": group.table().values()
        for group in (setup.training, setup.cohort)
        if group.speakers is not None
    }
    for source in (*setup.systems.values(), *setup.training.sources.values()):
        groups[f"the training set of the encoder {source.path}"] = source.training_speakers()
    for what, names in groups.items():
        shared = check_training(names, test, what, allow)
        if shared:
            logger.warning("CAUTION: %s holds %d test speakers", what, len(shared))


def scored(
    setup: Setup, options: dict[str, Any], loaded: Loaded, folder: Path, device: torch.device
) -> Iterator[tuple[dict[str, str], np.ndarray, bool]]:
    """Names, scores (N,) and whether they are LLRs, of every system, back end, normalisation."""
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
            made = read_parts(setup, name, wanted, folder / "embeddings" / name, device)
            if options["concatenate"]:
                for what, read in made.items():
                    parts[what].append(read)
        vectors = stage.Vectors.of(setup.lineup, made["trials"][0], name, device)
        cohort = None
        if normalised:
            read, speakers = made["cohort"]
            size, seed = options["cohort_size"], options["seed"]
            cohort = stage.Cohort.of(read.vectors, speakers, size, seed, device)
        for backend_name in loaded.lazy["backends"]:
            backend = make_backend(loaded, backend_name)
            with in_words(f"{name} by {backend_name}"):
                if backend.needs_training:
                    read, speakers = made["training"]
                    stage.fit(backend, read.vectors, speakers, device)
                if isinstance(backend, PLDA):
                    backend.save(folder / "backends" / name / f"{backend_name}.safetensors")
                found = stage.score(setup.lineup, vectors, backend, normalisations, cohort)
            for normalisation, scores in found.items():
                names = {"system": name, "backend": backend_name, "normalisation": normalisation}
                plain = normalisations[normalisation] is None
                yield names, scores, backend.scores_are_llrs and plain


def read_parts(
    setup: Setup, name: str, wanted: dict[str, bool], keep: Path, device: torch.device
) -> dict[str, tuple[Embeddings, list[str] | None]]:
    """One system's embeddings of the trials, the training set and the cohort, as wanted."""
    only = setup.lineup.utterances
    made = {"trials": (setup.systems[name].read(keep / "trials", device, only), None)}
    for what, group in (("training", setup.training), ("cohort", setup.cohort)):
        if not wanted[what]:
            continue
        if what == "cohort" and group is setup.training and "training" in made:
            made[what] = made["training"]
        else:
            made[what] = group.read(name, keep / what, device)
    return made


def join(
    read: list[tuple[Embeddings, list[str] | None]],
) -> tuple[Embeddings, list[str] | None]:
    """Embedding-level fusion of all systems' embeddings of one set."""
    return concatenate([embeddings for embeddings, _ in read]), read[0][1]


def make_backend(loaded: Loaded, name: str) -> Any:
    """A fresh back end, since each system trains its own."""
    backend = build({"backend": loaded.lazy["backends"][name]}, f"backends: {name}")["backend"]
    for part in ("needs_training", "scores_are_llrs", "fit", "prepare", "average", "sides"):
        if not hasattr(backend, part):
            raise UserError(f"backends: {name} is no back end: it has no '{part}'")
    return backend


def needs_training(loaded: Loaded, name: str) -> bool:
    return make_backend(loaded, name).needs_training


def make_judge(setup: Setup, options: dict[str, Any]) -> Judge:
    sides = setup.speaker_of and trial_speakers(setup.trials, setup.speaker_of)
    keys = ("points", "c_miss", "c_fa", "replicates", "level", "seed")
    return Judge(setup.trials.labels, sides, *(options[key] for key in keys))


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
def in_words(where: str) -> Iterator[None]:
    """Turn a ``ValueError`` of the pure functions into a sentence that says where."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error


if __name__ == "__main__":
    run_cli(main)
