"""Encoders that exist, on trials that exist: embeddings, scores, fusion, calibration.

Each stage is the one of its own package; this only hands the files of one to the next.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acorl_sb.corpora import folder as folder_corpus
from acorl_sb.corpora.audio_inputs import read_inputs
from acorl_sb.corpora.trial_audio import is_table
from acorl_sb.data.embeddings import Embeddings, write_embeddings
from acorl_sb.data.manifest import Utterance
from acorl_sb.data.protocols import check_training
from acorl_sb.data.scorefiles import write_scores
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.named import load_named
from acorl_sb.fusion.embed_once import embed_once
from acorl_sb.fusion.evaluate_options import encoder_names
from acorl_sb.fusion.evaluated_sides import (
    Side,
    check_protocol,
    heard_before,
    known_speakers,
    read_sides,
    tested_speakers,
)
from acorl_sb.fusion.evaluation import Evaluated
from acorl_sb.fusion.fuse_options import FuseOptions
from acorl_sb.fusion.fuse_run import fit
from acorl_sb.fusion.record import RECORD, WRITTEN, keep_inputs, record_of
from acorl_sb.fusion.systems import System
from acorl_sb.scoring import stage
from acorl_sb.scoring.backends.cosine import Cosine
from acorl_sb.scoring.normalise import AdaptiveSNorm
from acorl_sb.scoring.score_run import naming
from acorl_sb.scoring.sources import Source
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import write_json, write_text

logger = logging.getLogger(__name__)
SPEAKERS, LOG = "utt2spk", "evaluate_log.txt"


@dataclass(frozen=True)
class Evaluation:
    """All that an evaluation reads, found and checked; nothing is embedded yet.

    Arguments
    ---------
    options : dict
        The keys of ``acorl evaluate``.
    fusing : dict
        Those of ``fuse.py`` that follow from them.
    encoders : dict, by name
    sides : dict
        By part: ``dev`` and ``test``, or ``scores``, which is cross-validated.
    cohort : list of Utterance or None
    speaker_of : dict
        Speaker of each id of the trials; empty where not known, or given as files.
    caution : list of str
        What a reader of the results must know.
    """

    options: dict[str, Any]
    fusing: dict[str, Any]
    encoders: dict[str, SpeakerEncoder]
    sides: dict[str, Side]
    cohort: list[Utterance] | None
    speaker_of: dict[str, str]
    caution: list[str]

    @property
    def dev_labels(self) -> np.ndarray | None:
        """Labels of the development trials; None where the trials are cross-validated."""
        return self.sides["dev"].trials.known_labels if "dev" in self.sides else None

    def check_folder(self, folder: Path) -> None:
        """Refuse an output folder in which something else would be overwritten; writes nothing.

        Raises
        ------
        UserError
            For results of something else, an input that would be overwritten, a data folder of
            Kaldi's, and an ``utt2spk`` that is none of this evaluation's.
        """
        record_of(self._fusing_in(folder), folder)
        written = [folder / name for name in (*WRITTEN, LOG)]
        for name in self.encoders:
            written += [folder / "scores" / name / f"{part}.txt" for part in self.sides]
        if self.speaker_of:
            written.append(folder / SPEAKERS)
        keep_inputs(self.options, written)
        for key in ("audio", "dev_audio", "cohort"):
            data = self.options[key]
            if data and is_table(data) and Path(data).resolve() == folder.resolve():
                raise UserError(
                    f"{data}: the key {key!r} names this data folder, and results would be written "
                    "into it; name another folder with --output_folder"
                )
        there = folder / SPEAKERS
        known = not self.speaker_of or not there.exists() or (folder / RECORD).exists()
        if not known and there.read_bytes() != self._speaker_lines().encode():
            raise UserError(
                f"{there}: this file would be overwritten, and nothing says that an evaluation "
                "made it; name another folder with --output_folder, or move the file away"
            )

    def _fusing_in(self, folder: Path) -> dict[str, Any]:
        """The keys of ``fuse.py``, with the list of speakers that is written to ``folder``."""
        own = {"speakers": [str(folder / SPEAKERS)]} if self.speaker_of else {}
        return {**self.fusing, **own}

    def _speaker_lines(self) -> str:
        return "".join(f"{utterance} {name}\n" for utterance, name in self.speaker_of.items())

    def run(
        self,
        folder: Path,
        device: torch.device | str,
        command: Sequence[str],
        progress: Callable[[str], None],
    ) -> Evaluated:
        """Embed, score, fuse and judge; all of it is written to ``folder``.

        Arguments
        ---------
        folder : Path
            Where embeddings, scores, and what ``fuse.py`` writes go.
        device : torch device
        command : sequence of str
            The command line, for ``results.json``.
        progress : callable(str)
            Told what is being done.

        Returns
        -------
        Evaluated
            Results, curves, fused scores and the model.

        Raises
        ------
        UserError
            For audio that cannot be read, embeddings that cannot be scored, too few speakers to
            cross-validate, and a folder that ``check_folder`` refuses.
        """
        self.check_folder(folder)
        fusing = self._fusing_in(folder)
        if self.speaker_of:
            write_text(folder / SPEAKERS, self._speaker_lines())
        systems = [
            self._scored(name, encoder, folder, device) for name, encoder in self.encoders.items()
        ]
        made = fit(fusing, systems, folder, command, progress)
        made.results["warnings"] = [*self.caution, *made.results["warnings"]]
        write_json(folder / "results.json", made.results)
        for warning in made.results["warnings"]:
            logger.warning("%s", warning)
        return made

    def _scored(
        self, name: str, encoder: SpeakerEncoder, folder: Path, device: torch.device | str
    ) -> System:
        """One encoder's embeddings and scores of every part, written."""

        def embed(part: str, utterances: list[Utterance]) -> tuple[Embeddings, str]:
            path, seconds = folder / "embeddings" / name / part, self.options["seconds"]
            title = f"embed {name} {part}"
            made = embed_once(encoder, source, utterances, path, seconds, device, title)
            return made, str(path)

        source = self.options["encoders"][list(self.encoders).index(name)]

        cohort, cohort_path, norm = None, None, None
        if self.cohort is not None:
            made, cohort_path = embed("cohort", self.cohort)
            names = [u.spk_id for u in self.cohort]
            known = names if all(names) else None
            cohort = stage.Cohort.of(made.vectors, known, None, 0, device)
            norm = AdaptiveSNorm(self.options["top_k"])
        scores, embeddings = {}, {}
        for part, side in self.sides.items():
            made, embeddings[part] = embed(part, side.utterances)
            if side.models:
                made, embeddings[part] = side.enrolled(made), f"{embeddings[part]}_enrolled"
                write_embeddings(embeddings[part], made)
            lineup = stage.Lineup.of(side.trials, None, "")
            vectors = stage.Vectors.of(lineup, made, name, device)
            with naming(f"{name}, {part} trials"):
                found = stage.score(lineup, vectors, Cosine(), {"cosine": norm}, cohort)["cosine"]
            scores[part] = str(folder / "scores" / name / f"{part}.txt")
            write_scores(scores[part], side.trials, found)
        return System(name, scores, embeddings, cohort_path)


def prepare(options: dict[str, Any]) -> Evaluation:
    """Read the trial lists, find their audio, load the encoders; nothing is written.

    Arguments
    ---------
    options : dict
        The keys of ``acorl_sb.fusion.evaluate_options.EvaluateOptions``.

    Returns
    -------
    Evaluation

    Raises
    ------
    UserError
        For lists, audio and encoders that are missing, damaged or contradict each other, a cohort
        or an encoder's training set with speakers of the trials, and a single trial list without
        labels.
    """
    names = encoder_names(options["encoders"], options["names"])
    sides = read_sides(options)
    fusing = _keys_of_fusion(options, sides)
    speaker_of = known_speakers(options, sides)
    check_protocol(fusing, sides, speaker_of)
    cohort = None if options["cohort"] is None else _read_cohort(options)
    encoders = {
        name: load_named(source, trust=options["trust"])
        for name, source in zip(names, options["encoders"], strict=True)
    }
    caution = _shared_speakers(options, tested_speakers(options, sides, speaker_of), cohort)
    caution += heard_before(options, sides)
    return Evaluation(options, fusing, encoders, sides, cohort, speaker_of, caution)


def _keys_of_fusion(options: dict[str, Any], sides: dict[str, Side]) -> dict[str, Any]:
    """The keys of ``fuse.py``; those of the evaluation stay, for its record of inputs."""
    keys = {key: field.get_default() for key, field in FuseOptions.model_fields.items()}
    keys |= options
    keys["trials"] = None
    for part, side in sides.items():
        path = options["dev_trials" if part == "dev" else "trials"]
        key = "trials" if part == "scores" else f"{part}_trials"
        keys[key] = path if side.trials.labels is not None else None
    return keys


def _read_cohort(options: dict[str, Any]) -> list[Utterance]:
    path = options["cohort"]
    found = read_inputs([path]) if is_table(path) else folder_corpus.collect(Path(path)).train
    names = [u.spk_id for u in found]
    with naming(f"{path}, the cohort"):
        AdaptiveSNorm(options["top_k"]).check(len(set(names)) if all(names) else len(names))
    return found


def _shared_speakers(
    options: dict[str, Any], tested: set[str], cohort: list[Utterance] | None
) -> list[str]:
    """Refuse cohorts and encoders that know speakers of the trials, or say so where allowed."""
    groups: dict[str, Iterable[str]] = {
        f"the training set of {source}": Source(source).training_speakers()
        for source in options["encoders"]
    }
    if cohort is not None:
        groups["the cohort"] = ["_".join(u.spk_id.split()) for u in cohort]
    caution = []
    for what, members in groups.items():
        shared = check_training(members, tested, what, bool(options["allow_test_speakers"]))
        if shared:
            caution.append(f"{what} holds {len(shared)} speakers of the trials")
    return caution
