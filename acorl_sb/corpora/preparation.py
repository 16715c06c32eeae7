"""From a corpus folder to three manifests and two trial lists, once.

A corpus is one module of this package with one function,

    collect(data_folder, **its own options) -> Corpus

that checks the folder's layout and lists the utterances of the corpus's own splits. All else, such
as choosing development and test speakers where the corpus does not say, is done here. A corpus that
can do without a data folder also has ``default_folder(**its own options) -> Path``.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import logging
import os
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from acorl_sb.corpora.manifest import Utterance, write_manifest
from acorl_sb.corpora.splits import by_speaker, check_disjoint, make_trials, split_speakers
from acorl_sb.errors import UserError
from acorl_sb.files import write_json
from acorl_sb.scoring.trials import TrialList, write_trials

logger = logging.getLogger(__name__)


@dataclass
class Corpus:
    """What a corpus module found: utterances by official split, and official trials if any.

    ``dev`` and ``test`` may be empty; speakers are then held out of the split before them.
    """

    train: list[Utterance]
    dev: list[Utterance] = field(default_factory=list)
    test: list[Utterance] = field(default_factory=list)
    test_trials: TrialList | None = None


class Splits(NamedTuple):
    """Paths of the three manifests and the two trial lists."""

    train: Path
    dev: Path
    test: Path
    dev_trials: Path
    test_trials: Path


def known_corpora() -> list[str]:
    """Names of the corpora: the modules of this package that define ``collect``."""
    package = importlib.import_module("acorl_sb.corpora")
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return [name for name in names if hasattr(_module(name), "collect")]


def prepare(
    corpus: str,
    data_folder: str | os.PathLike | None,
    save_folder: str | os.PathLike,
    seed: int = 0,
    dev_speakers: int | None = None,
    test_speakers: int | None = None,
    max_targets: int = 20_000,
    nontargets_per_target: float = 4.0,
    **options: Any,
) -> Splits:
    """Write ``train.csv dev.csv test.csv dev_trials.txt test_trials.txt`` to ``save_folder``.

    ``corpus`` is the name of a module of this package and ``options`` are its own. Where the corpus
    has no development (test) split, ``dev_speakers`` (``test_speakers``) are held out of training;
    by default a sixth (a quarter) of the speakers with two utterances or more, at most 40 (80).
    Trials are those of :func:`make_trials` unless the corpus brings its own.

    A second call with the same settings and unchanged data does nothing; ``prepared.json`` keeps
    what it compares. That the splits share no speaker is checked and logged every time.

    Raises ``UserError`` for an unknown corpus or option, a missing or empty folder, a layout or
    audio file that cannot be read, and too few speakers.
    """
    collect, data_folder = _find(corpus, data_folder, options)
    settings = {
        "corpus": corpus,
        "data_folder": None if data_folder is None else str(data_folder.resolve()),
        "seed": seed,
        "dev_speakers": dev_speakers,
        "test_speakers": test_speakers,
        "max_targets": max_targets,
        "nontargets_per_target": nontargets_per_target,
        "options": json.loads(json.dumps(options, default=str)),
    }
    save_folder = Path(save_folder)
    paths = Splits(*(save_folder / name for name in _FILES))
    record = save_folder / "prepared.json"
    speakers = _prepared_speakers(record, settings, paths)
    if speakers is None:
        found = collect(data_folder, **options)
        found = _complete(found, seed, dev_speakers, test_speakers)
        limits = (max_targets, nontargets_per_target)
        dev_trials = _trials("development", found.dev, seed, *limits)
        test_trials = found.test_trials or _trials("test", found.test, seed + 1, *limits)
        speakers = {
            name: sorted({u.spk_id for u in getattr(found, name)})
            for name in ("train", "dev", "test")
        }
        check_disjoint(speakers)
        record.unlink(missing_ok=True)
        write_manifest(paths.train, found.train)
        write_manifest(paths.dev, found.dev)
        write_manifest(paths.test, found.test)
        write_trials(paths.dev_trials, dev_trials)
        write_trials(paths.test_trials, test_trials)
        write_json(
            record,
            {
                "settings": settings,
                "data": _fingerprint(data_folder),
                "files": {path.name: _digest(path) for path in paths},
                "speakers": speakers,
            },
        )
    check_disjoint(speakers)
    logger.info(
        "%s: %d training, %d development and %d test speakers, checked to be disjoint",
        corpus,
        *(len(speakers[name]) for name in ("train", "dev", "test")),
    )
    return paths


_FILES = ("train.csv", "dev.csv", "test.csv", "dev_trials.txt", "test_trials.txt")


def _module(name: str):
    return importlib.import_module(f"acorl_sb.corpora.{name}")


def _find(
    corpus: str, data_folder: str | os.PathLike | None, options: dict[str, Any]
) -> tuple[Callable[..., Corpus], Path | None]:
    """The corpus's ``collect`` and the folder for it."""
    known = known_corpora()
    if corpus not in known:
        raise UserError(f"unknown corpus {corpus!r}; known are {', '.join(known)}")
    module = _module(corpus)
    accepted = list(inspect.signature(module.collect).parameters)[1:]
    for name in options:
        if name not in accepted:
            raise UserError(
                f"corpus {corpus}: unknown option {name!r}; "
                f"known are {', '.join(accepted) or 'none'}"
            )
    if data_folder is None and hasattr(module, "default_folder"):
        return module.collect, module.default_folder(**options)
    return module.collect, None if data_folder is None else Path(data_folder)


def _complete(
    found: Corpus, seed: int, dev_speakers: int | None, test_speakers: int | None
) -> Corpus:
    """Hold out test, then development speakers, where the corpus has none of its own."""
    train, dev, test = found.train, found.dev, found.test
    eligible = _eligible(train)
    if not test:
        count = min(80, max(2, eligible // 4)) if test_speakers is None else test_speakers
        train, test = _hold_out(train, count, seed, "test")
    if not dev and _eligible(train) < 2 and found.test and found.test_trials is None:
        logger.warning(
            "no training speaker has two utterances, so half of the test speakers become "
            "development speakers"
        )
        count = _eligible(test) // 2 if dev_speakers is None else dev_speakers
        test, dev = _hold_out(test, count, seed + 1, "development")
    elif not dev:
        count = min(40, max(2, eligible // 6)) if dev_speakers is None else dev_speakers
        train, dev = _hold_out(train, count, seed + 1, "development")
    for name, part in (("training", train), ("development", dev), ("test", test)):
        speakers = len({u.spk_id for u in part})
        if speakers < 2:
            raise UserError(
                f"fewer than two {name} speakers ({speakers}); bring more speakers or hold out "
                "fewer with dev_speakers and test_speakers"
            )
    return Corpus(train, dev, test, found.test_trials)


def _trials(name: str, utterances: Sequence[Utterance], *settings: Any) -> TrialList:
    try:
        return make_trials(utterances, *settings)
    except UserError as error:
        raise UserError(f"{name} trials: {error}") from None


def _eligible(utterances: Sequence[Utterance]) -> int:
    """Number of speakers with the two utterances that a target trial needs."""
    return sum(len(group) > 1 for group in by_speaker(utterances).values())


def _hold_out(
    utterances: Sequence[Utterance], count: int, seed: int, purpose: str
) -> tuple[list[Utterance], list[Utterance]]:
    if count < 2:
        raise UserError(f"{count} {purpose} speaker(s): trials need two or more")
    try:
        return split_speakers(utterances, count, seed)
    except UserError as error:
        raise UserError(f"{purpose} speakers: {error}") from None


def _prepared_speakers(record: Path, settings: dict, paths: Splits) -> dict | None:
    """The speakers of an earlier, still valid preparation."""
    try:
        old = json.loads(record.read_text(encoding="utf-8"))
        valid = (
            old["settings"] == settings
            and old["files"] == {path.name: _digest(path) for path in paths}
            and old["data"] == _fingerprint(settings["data_folder"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not valid:
        logger.info("%s: settings, data or files have changed, preparing again", record.parent)
        return None
    logger.info("%s: already prepared", record.parent)
    return old["speakers"]


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _fingerprint(folder: str | os.PathLike | None) -> str | None:
    """A digest of every file's name, size and time of change below ``folder``."""
    if folder is None:
        return None
    digest = hashlib.sha256()
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders.sort()
        digest.update(os.path.relpath(parent, folder).encode("utf-8", "surrogateescape"))
        for name in sorted(files):
            status = os.stat(os.path.join(parent, name))
            digest.update(
                f"\0{name}\0{status.st_size}\0{status.st_mtime_ns}".encode(
                    "utf-8", "surrogateescape"
                )
            )
    return digest.hexdigest()
