"""From a corpus folder to three manifests and two trial lists, once.

A corpus (see ``registry``) lists the utterances of its own splits. All else, such as choosing
development and test speakers where the corpus does not say, is done here.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from acorl_sb.corpora.corpus_type import Corpus
from acorl_sb.corpora.freshness import (
    data_fingerprints,
    earlier_preparation,
    file_digest,
    recorded_files,
    refuse_changes,
)
from acorl_sb.corpora.held_out import hold_out_speakers
from acorl_sb.corpora.overlap import HeldOut
from acorl_sb.corpora.own_trials import with_own_trials
from acorl_sb.corpora.registry import find_corpus
from acorl_sb.corpora.splits import (
    check_disjoint,
    cut,
    make_trials,
)
from acorl_sb.corpora.trimming import trim_corpus, trimmed
from acorl_sb.data.manifest import UNLABELLED, Utterance, write_manifest
from acorl_sb.data.trials import TrialList, read_trials, write_trials
from acorl_sb.utils.errors import UserError, cannot_write
from acorl_sb.utils.files import write_json

logger = logging.getLogger(__name__)


class Splits(NamedTuple):
    """Paths of the three manifests and the two trial lists."""

    train: Path
    dev: Path
    test: Path
    dev_trials: Path
    test_trials: Path


def prepare(
    corpus: str,
    data_folder: str | os.PathLike | None,
    save_folder: str | os.PathLike,
    seed: int = 0,
    dev_speakers: int | None = None,
    test_speakers: int | None = None,
    max_targets: int = 20_000,
    nontargets_per_target: float = 4.0,
    utterances_per_speaker: int = 50,
    more_training: dict[str, str | os.PathLike | None] | None = None,
    more_unlabelled: dict[str, str | os.PathLike | None] | None = None,
    segment_seconds: float | None = None,
    trained_on_it: str | None = None,
    own_trials: dict[str, str | os.PathLike] | None = None,
    vad: bool = False,
    **options: Any,
) -> Splits:
    """Write ``train.csv dev.csv test.csv dev_trials.txt test_trials.txt`` to ``save_folder``.

    ``corpus`` is a name that :func:`corpus_module` knows and ``options`` are its own. Where it has
    no development (test) split, ``dev_speakers`` (``test_speakers``) are held out of training; by
    default a sixth (a quarter) of the speakers with two utterances or more, at most 40 (80);
    ``utterances_per_speaker`` limits what is kept of them. Trials are those of :func:`make_trials`
    unless the corpus brings its own; where it brings several lists, the others are written beside
    the first as ``test_trials_<name>.txt``.

    ``more_training`` maps further corpora to their data folders: their training utterances are
    trained on too, under speakers and IDs that begin with the corpus's name; ``train.csv`` then has
    a column ``corpus``. Those of ``more_unlabelled`` are marked so (``UNLABELLED``): training looks
    at no label of theirs. A corpus that has trial lists brings none then. None of them may hold
    speech that is developed or tested on, whatever its name there; see :class:`HeldOut`.

    Training utterances of twice ``segment_seconds`` (s) or more are cut into equal pieces no
    shorter than that, since a training step draws utterances evenly, whatever their length; None
    leaves them whole.

    A second call with the same settings, unchanged data and unchanged files that ``options`` name
    does nothing; ``prepared.json`` keeps what it compares. That the splits share no speaker is
    checked and logged every time. The files are written elsewhere first, and replace those of an
    earlier call only once all are there.

    With ``vad`` every utterance begins and ends with its speech, see :func:`trim_corpus`, and is
    left out where it has too little.

    ``own_trials`` names trial lists of the user's for the parts ``dev`` and ``test``, or one of
    these: see :func:`with_own_trials`. A corpus that brings test trials brings none then.

    ``trained_on_it`` names a member that was trained on what lies in ``save_folder``: its files are
    then replaced by the very same ones only.

    Raises ``UserError`` for an unknown corpus or option, a missing or empty folder, a layout or
    audio file that cannot be read, too few speakers, held-out speech in a further corpus, and files
    that ``trained_on_it`` protects.
    """
    collect, data_folder = find_corpus(corpus, data_folder, options)
    lists = {part: Path(path) for part, path in (own_trials or {}).items()}
    for path in lists.values():
        read_trials(path)  # a bad one is told of before the corpus is looked through
    if "test" in lists:
        if options.get("trials") is not None:
            raise UserError("test trials are given both by trials and by prepare_options.trials")
        options |= _no_trials(collect)
    if segment_seconds is not None and not segment_seconds > 0:
        raise UserError(f"segment_seconds must be above 0 or null, not {segment_seconds}")
    if corpus in (more_unlabelled or {}):
        raise UserError(
            f"more_unlabelled: {corpus} is the corpus itself, whose other speakers are held out; "
            "name another"
        )
    more = {name: find_corpus(name, folder, {}) for name, folder in (more_training or {}).items()}
    unlabelled = {n: find_corpus(n, folder, {}) for n, folder in (more_unlabelled or {}).items()}
    settings = {
        "corpus": corpus,
        "data_folder": None if data_folder is None else str(data_folder.resolve()),
        "seed": seed,
        "dev_speakers": dev_speakers,
        "test_speakers": test_speakers,
        "max_targets": max_targets,
        "nontargets_per_target": nontargets_per_target,
        "utterances_per_speaker": utterances_per_speaker,
        "more_training": _folders(more),
        "segment_seconds": segment_seconds,
        "options": json.loads(json.dumps(options, default=str)),
    }
    if lists:
        settings["own_trials"] = {part: file_digest(path) for part, path in lists.items()}
    if vad:
        settings["vad"] = True
    if unlabelled:
        settings["more_unlabelled"] = _folders(unlabelled)
    save_folder = Path(save_folder)
    paths = Splits(*(save_folder / name for name in _FILES))
    record = save_folder / "prepared.json"
    done = earlier_preparation(record, settings, paths)
    if done is None:
        found = _collected(collect, data_folder, save_folder, options)
        if lists:
            found = with_own_trials(found, lists)
        if vad:
            found = trim_corpus(found)
        found = hold_out_speakers(found, seed, dev_speakers, test_speakers, utterances_per_speaker)
        if more or unlabelled:
            found.train = [_of_corpus(u, corpus) for u in found.train]
            held = HeldOut({"development": found.dev, "test": found.test})
        for key, further in (("more_training", more), ("more_unlabelled", unlabelled)):
            column = {UNLABELLED: "yes"} if key == "more_unlabelled" else {}
            for name, (collect_more, folder) in further.items():
                none = _no_trials(collect_more)
                speech = _collected(collect_more, folder, save_folder, none).train
                held.refuse(speech, f"{key}: {name}")
                speech = trimmed(speech) if vad else speech
                found.train += [_of_corpus(_renamed(u, name, column), name) for u in speech]
        if segment_seconds is not None:
            found.train = [piece for u in found.train for piece in cut(u, segment_seconds)]
        limits = (max_targets, nontargets_per_target, found.impostor_group)
        dev_trials = found.dev_trials or _trials("development", found.dev, seed, *limits)
        test_trials = found.test_trials or _trials("test", found.test, seed + 1, *limits)
        done = {
            "speakers": {
                name: sorted({u.spk_id for u in getattr(found, name)})
                for name in ("train", "dev", "test")
            },
            "shared_speakers": found.shared_speakers,
        }
        _check(corpus, done)
        with _staging(save_folder) as staging:
            write_manifest(staging / paths.train.name, found.train)
            write_manifest(staging / paths.dev.name, found.dev)
            write_manifest(staging / paths.test.name, found.test)
            write_trials(staging / paths.dev_trials.name, dev_trials)
            write_trials(staging / paths.test_trials.name, test_trials)
            for name, trials in found.more_trials.items():
                write_trials(staging / f"test_trials_{name}.txt", trials)
            files = {name: file_digest(staging / name) for name in _FILES}
            if trained_on_it is not None:
                refuse_changes(record, trained_on_it, settings, files)
            with cannot_write(save_folder):
                save_folder.mkdir(exist_ok=True)
                if files != recorded_files(record):
                    record.unlink(missing_ok=True)  # what is there now is neither old nor new
                for path in staging.iterdir():
                    os.replace(path, save_folder / path.name)
        data = data_fingerprints(settings, save_folder)
        write_json(record, {"settings": settings, "data": data, "files": files, **done})
    else:
        _check(corpus, done)
    return paths


def _collected(
    collect: Callable[..., Corpus], folder: Path | None, save_folder: Path, options: dict[str, Any]
) -> Corpus:
    """What a corpus finds; one that keeps files of its own is told where."""
    if "save_folder" in inspect.signature(collect).parameters:
        options = {**options, "save_folder": save_folder}
    return collect(folder, **options)


def _no_trials(collect: Callable[..., Corpus]) -> dict[str, None]:
    """The options by which a corpus brings no trials: none where it knows of none."""
    return {"trials": None} if "trials" in inspect.signature(collect).parameters else {}


def _check(corpus: str, done: dict[str, Any]) -> None:
    """Refuse shared speakers, or warn of them where they are allowed; log the counts."""
    verdict = "checked to be disjoint"
    try:
        check_disjoint(done["speakers"])
    except UserError as error:
        if not done["shared_speakers"]:
            raise
        logger.warning("allowed by the settings: %s", error)
        verdict = "NOT disjoint"
    counts = (len(done["speakers"][name]) for name in ("train", "dev", "test"))
    logger.info(
        "%s: %d training, %d development and %d test speakers, %s", corpus, *counts, verdict
    )


_FILES = ("train.csv", "dev.csv", "test.csv", "dev_trials.txt", "test_trials.txt")


def _folders(corpora: dict[str, tuple[Any, Path | None]]) -> dict[str, str | None]:
    """Where further corpora lie, for the record."""
    return {n: None if path is None else str(path.resolve()) for n, (_, path) in corpora.items()}


def _renamed(utterance: Utterance, corpus: str, more: dict[str, str]) -> Utterance:
    """The utterance of a further corpus, whose names may be taken in the first; more columns."""
    names = {"id": f"{corpus}-{utterance.id}", "spk_id": f"{corpus}-{utterance.spk_id}"}
    return replace(utterance, **names, attributes={**utterance.attributes, **more})


def _of_corpus(utterance: Utterance, corpus: str) -> Utterance:
    """With a column ``corpus``, unless its corpus's own table has one."""
    return replace(utterance, attributes={"corpus": corpus, **utterance.attributes})


def _trials(name: str, utterances: Sequence[Utterance], *settings: Any) -> TrialList:
    try:
        return make_trials(utterances, *settings)
    except UserError as error:
        raise UserError(f"{name} trials: {error}") from None


@contextlib.contextmanager
def _staging(save_folder: Path) -> Iterator[Path]:
    """A folder beside ``save_folder`` to write into first; it is gone after the block."""
    with cannot_write(save_folder):
        save_folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(
            prefix=f".{save_folder.name}.", dir=save_folder.parent, ignore_cleanup_errors=True
        )
    with temporary as folder:
        try:
            yield Path(folder)
        except UserError as error:
            raise UserError(str(error).replace(folder, str(save_folder))) from None
