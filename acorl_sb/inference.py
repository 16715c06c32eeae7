"""A finished ensemble at work: embed, enrol, verify, identify; README.md has an example."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from acorl_sb.data.audio import SAMPLE_RATE
from acorl_sb.data.recording_range import RecordingRange
from acorl_sb.data.vad import keep_speech, require_detector
from acorl_sb.data.waves import Wave, read_wave
from acorl_sb.encoders.ensemble import FrozenEnsemble
from acorl_sb.encoders.wave_batches import embed_by_all
from acorl_sb.fusion import models as fusion
from acorl_sb.fusion.answers import Comparison, Decision
from acorl_sb.fusion.default_run import load_default
from acorl_sb.fusion.disagreement import Disagreement
from acorl_sb.fusion.finished_run import FinishedRun, check_seconds, load_run
from acorl_sb.fusion.saved_run import save_run
from acorl_sb.metrics import bayes_threshold
from acorl_sb.store import Enrolment, SpeakerStore, StoreModel, check_speaker
from acorl_sb.store.held import HeldStore
from acorl_sb.store.store_model import join
from acorl_sb.store.store_options import VERIFIER_KEYS
from acorl_sb.utils.errors import UserError


class Verifier:
    """The members of an ensemble and the logistic fusion that makes their scores an LLR.

    The LLR is as well calibrated as the development trials are like the use; the threshold
    follows from prior and costs alone and can be set anew at any time (``threshold``).

    Each wave is cut to the centre that the fusion was fitted on, and a speaker is enrolled by the
    mean of unit-length embeddings, both as in scoring. A wave is a file or a pair (samples, rate):
    samples (T,) of full scale [-1, 1] and their rate in Hz.

    Arguments
    ---------
    ensemble : FrozenEnsemble
    model : fitted ``fusion.LogisticFusion`` over the members' cosines, in their order
    p_target, c_miss, c_fa : float
        Prior of a target and costs of the errors, of which the Bayes threshold is made.
    device : torch device
    score_seconds : float or None
        Seconds of the centre of each wave that is embedded; None takes waves whole. LLRs are
        calibrated for what the fusion was fitted on.
    store : SpeakerStore, path or None
        Where enrolled speakers are kept: a file, made where there is none, or None for memory.
    sample_rate : int or None
        Rate (Hz) of samples that come without one; None refuses them.
    vad : bool
        Leave out what is no speech before the centre is taken, see ``acorl_sb.data.vad``.
    calibrated_on : RecordingRange or None
        What the fusion was fitted on; a recording out of it gives an ``OutOfRangeWarning``.
    spread : fitted ``Disagreement`` of the members, in their order, or None
        What gives each LLR its standard deviation.

    Example
    -------
    >>> halves = torch.nn.AdaptiveAvgPool1d(2)  # an encoder: the means of a wave's two halves
    >>> halves.embedding_dim = 2
    >>> ensemble = FrozenEnsemble()
    >>> member = ensemble.add("halves", halves)
    >>> fitted = {"weights": [6.0], "bias": -2.0, "n_systems": 1}
    >>> model = fusion.LogisticFusion.from_state(fusion.LogisticFusion().state() | fitted)
    >>> verifier = Verifier(ensemble, model, p_target=0.05, sample_rate=16000)
    >>> enrolment = verifier.enrol("ann", [np.repeat([1.0, 0.0], 1600)])
    >>> decision = verifier.verify("ann", np.repeat([0.5, 0.0], 1600))
    >>> round(decision.llr, 3), round(decision.threshold, 3), decision.accepted
    (4.0, 2.944, True)
    """

    def __init__(
        self,
        ensemble: FrozenEnsemble,
        model: fusion.LogisticFusion,
        p_target: float = 0.05,
        c_miss: float = 1.0,
        c_fa: float = 1.0,
        device: torch.device | str = "cpu",
        score_seconds: float | None = None,
        store: SpeakerStore | str | os.PathLike | None = None,
        sample_rate: int | None = None,
        vad: bool = False,
        calibrated_on: RecordingRange | None = None,
        spread: Disagreement | None = None,
    ):
        self.ensemble = ensemble.to(device)
        self.model = model
        self.threshold = bayes_threshold(p_target, c_miss, c_fa)
        self.device = device
        self.score_seconds = check_seconds(score_seconds, "score_seconds")
        self.sample_rate = sample_rate
        self.calibrated_on = calibrated_on
        self.spread = spread
        self.keep = keep_speech if vad else None
        if vad:
            require_detector()
        self._held = HeldStore(self.store_model)
        if store is not None:
            self.open(store)

    @property
    def store(self) -> SpeakerStore:
        """The enrolled speakers."""
        return self._held.store

    def open(self, store: SpeakerStore | str | os.PathLike, create: bool = True) -> None:
        """Take the speakers of a store, or of the one in a file, from now on.

        Where there is none it is made at the first enrolment, unless ``create`` is False. A store
        that the verifier opened itself is closed. Raises ``UserError`` for a file that is no store,
        or of another model; the one before is kept then.
        """
        self._held.open(store, create)

    def close(self) -> None:
        """Let the store go, and close it if it was opened here; another may be opened."""
        self._held.close()

    def __enter__(self) -> Verifier:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def store_model(self) -> StoreModel:
        """What a store must be of to be searched with these members."""
        return StoreModel.of(self.ensemble, self.device)

    @classmethod
    def from_run(
        cls,
        folder: str | os.PathLike,
        trust: bool = False,
        members: Sequence[str] | None = None,
        uncertainty: bool = False,
        **options,
    ) -> Verifier:
        """Load the output folder of ``train.py``, or what ``save`` wrote.

        ``options`` are the constructor's. With ``members`` these encoders alone, one or several,
        with a fusion fitted on their development scores. With ``uncertainty`` every LLR has a
        standard deviation, docs/uncertainty.md (1), by calibrations fitted on the same scores.

        ``score_seconds`` and ``calibrated_on`` are what ``results.json`` says unless they are
        given. No code of the run's folders, nor of the references that it names, is run, unless
        ``trust`` says that it may be; see ``acorl_sb.encoders.trusted``.

        Raises ``UserError`` for a run that is not finished, damaged, of one member, or not trusted.
        """
        return cls._of(load_run(folder, trust, members, uncertainty), options)

    @classmethod
    def default(cls, **options) -> Verifier:
        """The encoder that the package brings, calibrated across sessions; docs/open.md.

        ``options`` are the constructor's; nothing is downloaded. Raises ``UserError`` where its
        files are missing or damaged.
        """
        return cls._of(load_default(), options)

    @classmethod
    def from_options(cls, options: Mapping[str, Any], **more) -> Verifier:
        """By a command's options, those of ``RunKeys``; ``more`` are the constructor's.

        Without ``run_folder`` it is the default. Raises ``UserError`` as these do, and for the
        ``uncertainty`` of the default, which is one encoder.
        """
        more |= {key: options[key] for key in VERIFIER_KEYS}
        uncertainty = options.get("uncertainty", False)
        if options["run_folder"] is not None:
            folder, trust = options["run_folder"], options["trust"]
            return cls.from_run(folder, trust, uncertainty=uncertainty, **more)
        if uncertainty:
            raise UserError("uncertainty: one encoder cannot disagree with itself; name run_folder")
        return cls.default(**more)

    @classmethod
    def _of(cls, run: FinishedRun, options: dict[str, Any]) -> Verifier:
        options.setdefault("score_seconds", run.score_seconds)
        options.setdefault("calibrated_on", run.calibrated_on)
        options.setdefault("spread", run.spread)
        return cls(run.ensemble, run.model, **options)

    def save(self, folder: str | os.PathLike) -> None:
        """Write encoders and fusion into a new folder, which ``from_run`` reads; no training data.

        Enrolled speakers stay in their store, and prior and costs are said anew at loading. Raises
        ``UserError`` as ``acorl_sb.fusion.saved_run.save_run`` does.
        """
        scoring = self.score_seconds, self.calibrated_on, self.spread
        save_run(folder, FinishedRun(self.ensemble, self.model, *scoring))

    load = from_run

    def embed(self, wave: Wave) -> list[torch.Tensor]:
        """Unit-length embeddings (D_k,), one per member, of the centre of a wave.

        Raises ``UserError`` for what ``acorl_sb.data.waves.read_wave`` refuses, and for a wave in
        which a member finds nothing to embed.
        """
        return self._embed(wave)[0]

    def _embed(self, wave: Wave) -> tuple[list[torch.Tensor], float]:
        """As ``embed``, with the seconds that were embedded."""
        samples, where = self._read(wave)
        z = embed_by_all(self.ensemble.members, [(samples, where)], 1, self.device)
        return [of_member[0] for of_member in z], len(samples) / SAMPLE_RATE

    def embed_many(self, waves: Iterable[Wave], batch_size: int = 32) -> list[torch.Tensor]:
        """Embeddings of N waves, K tensors (N, D_k): each as ``embed`` gives it, in batches.

        Waves of one length share a batch, so it pays where many are cut to ``score_seconds``.
        Raises ``UserError`` as ``embed`` does, for the first wave that is refused.
        """
        read = map(self._read, waves)
        return embed_by_all(self.ensemble.members, read, batch_size, self.device)

    def _read(self, wave: Wave) -> tuple[np.ndarray, str]:
        samples, where = read_wave(wave, self.score_seconds, self.sample_rate, self.keep)
        if self.calibrated_on is not None:
            self.calibrated_on.warn(samples, where, noise=self.keep is None)
        return samples, where

    def enrol(self, name: str, waves: Sequence[Wave], replace: bool = False) -> Enrolment:
        """Enrol a speaker by the mean of the unit-length embeddings of ``waves``.

        Raises ``UserError`` for a name that is enrolled already, unless ``replace`` says that its
        enrolment goes, and for what ``embed`` refuses; the store is then as before.
        """
        if isinstance(waves, str | os.PathLike) or not len(waves):
            raise UserError(f"{name}: enrolment takes a list of at least one wave or file")
        check_speaker(name)
        if self._held.open_now is not None:
            self._held.open_now.check_new(name, replace)
        embedded, seconds = zip(*map(self._embed, waves), strict=True)
        members = zip(*embedded, strict=True)
        means = [torch.stack(of_member).mean(0).numpy() for of_member in members]
        try:
            vector = join(means)
        except ValueError:
            raise UserError(f"{name}: the waves cancel each other out; are they speech?") from None
        return self.store.enrol(name, vector, len(waves), sum(seconds), replace)

    def verify(self, name: str, wave: Wave) -> Decision:
        """Whether ``wave`` is the enrolled speaker ``name``; UserError for an unknown name."""
        return self.compare_enrolled(name, wave).decision

    def verify_many(
        self, trials: Sequence[tuple[str, Wave]], batch_size: int = 32
    ) -> list[Decision]:
        """``verify`` of each pair (name, wave), in batches; unknown names are found first."""
        enrolled = {name: self.store.model.split(self.store.vector(name)) for name, _ in trials}
        tests = zip(*self.embed_many((wave for _, wave in trials), batch_size), strict=True)
        return [
            self._compared(enrolled[name], list(test)).decision
            for (name, _), test in zip(trials, tests, strict=True)
        ]

    def compare_enrolled(self, name: str, wave: Wave) -> Comparison:
        """As ``verify``, with what the LLR is made of."""
        vector = self.store.vector(name)
        return self._compared(self.store.model.split(vector), self.embed(wave))

    def compare(self, first: Wave, second: Wave) -> Comparison:
        """Whether two waves are of one speaker, and what the LLR is made of."""
        return self._compared([v.numpy() for v in self.embed(first)], self.embed(second))

    def _compared(self, enrolled: list[np.ndarray], test: list[torch.Tensor]) -> Comparison:
        pairs = zip(enrolled, test, strict=True)
        cosines = [float(a.astype(np.float64) @ b.double().numpy()) for a, b in pairs]
        weights, bias = self._linear()
        llr = bias + float(weights @ np.array(cosines))
        columns = cosines, weights.tolist()
        parts = [dict(zip(self.ensemble.names, column, strict=True)) for column in columns]
        std = None if self.spread is None else float(self.spread(np.array(cosines)[:, None])[0])
        return Comparison(llr, self.threshold, llr >= self.threshold, *parts, bias, std)

    def identify(self, wave: Wave, top: int | None = None) -> list[tuple[str, float]]:
        """The ``top`` enrolled speakers (None: all) with their LLRs, best first."""
        weights, bias = self._linear()
        parts = zip(weights, self.embed(wave), strict=True)
        query = np.concatenate([weight * v.double().numpy() for weight, v in parts])  # (D,)
        return [(name, bias + product) for name, product in self.store.search(query, top)]

    def _linear(self) -> tuple[np.ndarray, float]:
        """Weights (K,) of the members' cosines, and the bias of their sum."""
        return np.asarray(self.model.weights, np.float64), float(self.model.bias)
