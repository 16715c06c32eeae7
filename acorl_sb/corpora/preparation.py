"""From a corpus folder to three manifests and two trial lists, once.

A corpus (see ``registry``) lists the utterances of its own splits. All else, such as choosing
development and test speakers where the corpus does not say, is done here.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from acorl_sb.corpora.listing import walk
from acorl_sb.corpora.registry import find_corpus
from acorl_sb.corpora.splits import (
    by_speaker,
    check_disjoint,
    cut,
    make_trials,
    split_speakers,
    thin,
)
from acorl_sb.data.manifest import Utterance, write_manifest
from acorl_sb.data.trials import TrialList, write_trials
from acorl_sb.utils.errors import UserError, cannot_write
from acorl_sb.utils.files import write_json

logger = logging.getLogger(__name__)


@dataclass
class Corpus:
    """What a corpus module found: utterances by official split, and official trials if any.

    ``dev`` and ``test`` may be empty; speakers are then held out of the training speakers.
    ``more_trials`` are further lists over the test utterances, by name. ``impostor_group`` gives an
    utterance's group, such as its language, within which impostors are drawn; None: among all.
    ``shared_speakers`` says that the user has explicitly allowed a speaker to be in two splits.
    """

    train: list[Utterance]
    dev: list[Utterance] = field(default_factory=list)
    test: list[Utterance] = field(default_factory=list)
    test_trials: TrialList | None = None
    more_trials: dict[str, TrialList] = field(default_factory=dict)
    impostor_group: Callable[[Utterance], str] | None = None
    shared_speakers: bool = False


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
    segment_seconds: float | None = None,
    trained_on_it: str | None = None,
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
    trained on too, under speakers and IDs that begin with the corpus's name. Training utterances of
    twice ``segment_seconds`` (s) or more are cut into equal pieces no shorter than that, since a
    training step draws utterances evenly, whatever their length; None leaves them whole.

    A second call with the same settings and unchanged data does nothing; ``prepared.json`` keeps
    what it compares. That the splits share no speaker is checked and logged every time. The files
    are written elsewhere first, and replace those of an earlier call only once all are there.

    ``trained_on_it`` names a member that was trained on what lies in ``save_folder``: its files are
    then replaced by the very same ones only.

    Raises ``UserError`` for an unknown corpus or option, a missing or empty folder, a layout or
    audio file that cannot be read, too few speakers, and files that ``trained_on_it`` protects.
    """
    collect, data_folder = find_corpus(corpus, data_folder, options)
    if segment_seconds is not None and not segment_seconds > 0:
        raise UserError(f"segment_seconds must be above 0 or null, not {segment_seconds}")
    more = {name: find_corpus(name, folder, {}) for name, folder in (more_training or {}).items()}
    folders = {
        name: None if path is None else str(path.resolve()) for name, (_, path) in more.items()
    }
    settings = {
        "corpus": corpus,
        "data_folder": None if data_folder is None else str(data_folder.resolve()),
        "seed": seed,
        "dev_speakers": dev_speakers,
        "test_speakers": test_speakers,
        "max_targets": max_targets,
        "nontargets_per_target": nontargets_per_target,
        "utterances_per_speaker": utterances_per_speaker,
        "more_training": folders,
        "segment_seconds": segment_seconds,
        "options": json.loads(json.dumps(options, default=str)),
    }
    save_folder = Path(save_folder)
    paths = Splits(*(save_folder / name for name in _FILES))
    record = save_folder / "prepared.json"
    done = _prepared(record, settings, paths)
    if done is None:
        if "save_folder" in inspect.signature(collect).parameters:
            options["save_folder"] = save_folder
        found = collect(data_folder, **options)
        found = _complete(found, seed, dev_speakers, test_speakers, utterances_per_speaker)
        for name, (collect_more, folder) in more.items():
            found.train += [_renamed(u, name) for u in collect_more(folder).train]
        if segment_seconds is not None:
            found.train = [piece for u in found.train for piece in cut(u, segment_seconds)]
        limits = (max_targets, nontargets_per_target, found.impostor_group)
        dev_trials = _trials("development", found.dev, seed, *limits)
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
            files = {name: _digest(staging / name) for name in _FILES}
            if trained_on_it is not None:
                _refuse_changes(record, trained_on_it, settings, files)
            with cannot_write(save_folder):
                save_folder.mkdir(exist_ok=True)
                if files != _written(record):
                    record.unlink(missing_ok=True)  # what is there now is neither old nor new
                for path in staging.iterdir():
                    os.replace(path, save_folder / path.name)
        data = _fingerprints(settings, save_folder)
        write_json(record, {"settings": settings, "data": data, "files": files, **done})
    else:
        _check(corpus, done)
    return paths


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


def _complete(
    found: Corpus, seed: int, dev_speakers: int | None, test_speakers: int | None, limit: int
) -> Corpus:
    """Hold out test, then development speakers, where the corpus has none of its own."""
    train, dev, test = found.train, found.dev, found.test
    eligible = _eligible(train)
    if not test:
        count = min(80, max(2, eligible // 4)) if test_speakers is None else test_speakers
        train, test = _hold_out(train, count, seed, "test", limit)
    if not dev and _eligible(train) < 2 and found.test and found.test_trials is None:
        logger.warning(
            "no training speaker has two utterances, so half of the test speakers become "
            "development speakers"
        )
        count = _eligible(test) // 2 if dev_speakers is None else dev_speakers
        test, dev = _hold_out(test, count, seed + 1, "development", limit)
    elif not dev:
        count = min(40, max(2, eligible // 6)) if dev_speakers is None else dev_speakers
        train, dev = _hold_out(train, count, seed + 1, "development", limit)
    for name, part in (("training", train), ("development", dev), ("test", test)):
        speakers = len({u.spk_id for u in part})
        if speakers < 2:
            raise UserError(
                f"fewer than two {name} speakers ({speakers}); bring more speakers or hold out "
                "fewer with dev_speakers and test_speakers"
            )
    return replace(found, train=train, dev=dev, test=test)


def _renamed(utterance: Utterance, corpus: str) -> Utterance:
    """The utterance of a further corpus, whose names may be taken in the first."""
    return replace(utterance, id=f"{corpus}-{utterance.id}", spk_id=f"{corpus}-{utterance.spk_id}")


def _trials(name: str, utterances: Sequence[Utterance], *settings: Any) -> TrialList:
    try:
        return make_trials(utterances, *settings)
    except UserError as error:
        raise UserError(f"{name} trials: {error}") from None


def _eligible(utterances: Sequence[Utterance]) -> int:
    """Number of speakers with the two utterances that a target trial needs."""
    return sum(len(group) > 1 for group in by_speaker(utterances).values())


def _hold_out(
    utterances: Sequence[Utterance], count: int, seed: int, purpose: str, limit: int
) -> tuple[list[Utterance], list[Utterance]]:
    if count < 2:
        raise UserError(f"{count} {purpose} speaker(s): trials need two or more")
    try:
        kept, held_out = split_speakers(utterances, count, seed)
    except UserError as error:
        raise UserError(f"{purpose} speakers: {error}") from None
    return kept, thin(held_out, limit, seed)


def _prepared(record: Path, settings: dict, paths: Splits) -> dict | None:
    """The record of an earlier, still valid preparation."""
    try:
        old = json.loads(record.read_text(encoding="utf-8"))
        valid = (
            old["settings"] == settings
            and old["files"] == {path.name: _digest(path) for path in paths}
            and old["data"] == _fingerprints(settings, record.parent)
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not valid:
        logger.info("%s: settings, data or files have changed, preparing again", record.parent)
        return None
    logger.info("%s: already prepared", record.parent)
    return old


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


def _written(record: Path) -> dict[str, str]:
    """Digests of the files of an earlier preparation, as it has recorded them; empty for none."""
    try:
        return dict(json.loads(record.read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _refuse_changes(record: Path, member: str, settings: dict, files: dict[str, str]) -> None:
    """UserError when new files would differ from those that ``member`` was trained on."""
    written = _written(record)
    changed = [name for name, digest in written.items() if files.get(name) != digest]
    if not changed:
        return
    before = json.loads(record.read_text(encoding="utf-8"))["settings"]
    keys = [key for key in settings if before.get(key) != settings[key]]
    cause = f"the files in {settings['data_folder']} have changed"
    if keys:
        cause = f"{keys[0]} was {before.get(keys[0])} and is {settings[keys[0]]}"
    raise UserError(
        f"{record.parent}: {', '.join(changed)} would no longer be what the member {member!r} was "
        f"trained on, since {cause}; undo that or name another output_folder"
    )


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _fingerprints(settings: dict, save_folder: Path) -> list[str | None]:
    folders = [settings["data_folder"], *settings["more_training"].values()]
    return [_fingerprint(folder, save_folder) for folder in folders]


def _fingerprint(folder: str | os.PathLike | None, save_folder: Path) -> str | None:
    """A digest of every file's name, size and time of change below ``folder``.

    What lies in ``save_folder`` does not count: it may be inside.
    """
    if folder is None:
        return None
    own = str(save_folder.resolve())
    digest = hashlib.sha256()
    for parent, folders, files in walk(folder):
        folders[:] = [n for n in folders if os.path.abspath(os.path.join(parent, n)) != own]
        digest.update(os.path.relpath(parent, folder).encode("utf-8", "surrogateescape"))
        for name in files:
            status = _status(os.path.join(parent, name))
            entry = f"\0{name}\0{status.st_size}\0{status.st_mtime_ns}"
            digest.update(entry.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _status(path: str) -> os.stat_result:
    """Size and time of change of a file, or of a hidden link that leads nowhere."""
    try:
        return os.stat(path)
    except OSError:
        return os.lstat(path)
