"""A finished ensemble at work: embed, enrol, verify, identify.

verifier = Verifier.from_run("results/voices_acorl_ecapa_1", p_target=0.01)
verifier.enrol("ann", ["ann1.wav", "ann2.wav"])
verifier.verify("ann", "who.wav")  # Decision(llr=..., threshold=4.595, accepted=...)
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torchaudio
from torch.nn import functional as F

from acorl_sb.data.audio import RATES, SAMPLE_RATE, SHORTEST, read_audio, read_header
from acorl_sb.encoders.ensemble import FrozenEnsemble
from acorl_sb.encoders.extraction import centre_of
from acorl_sb.encoders.member_folder import load_member, load_reference
from acorl_sb.encoders.trusted import read_yaml
from acorl_sb.fusion import models as fusion
from acorl_sb.metrics import bayes_threshold
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.names import check_name

Samples = np.ndarray | torch.Tensor
Wave = Samples | tuple[Samples, int] | str | os.PathLike
"""A file, or samples (T,) of full scale [-1, 1] at 16 kHz, or a pair of samples and their rate."""


class Decision(NamedTuple):
    """``llr`` (natural log) of same against different speaker; accepted at or above threshold."""

    llr: float
    threshold: float
    accepted: bool


class Verifier:
    """The members of an ensemble and the logistic fusion that makes their scores an LLR.

    The LLR is as well calibrated as the development trials are like the use; the threshold
    follows from prior and costs alone and can be set anew at any time (``threshold``).

    Each wave is cut to the centre that the fusion was fitted on, and a speaker is enrolled by the
    mean of unit-length embeddings, both as in scoring.

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

    Example
    -------
    >>> class Halves(torch.nn.Module):  # an encoder: the means of a wave's two halves
    ...     embedding_dim = 2
    ...
    ...     def forward(self, waves):  # (B, T) -> (B, 2)
    ...         return torch.stack([half.mean(1) for half in waves.chunk(2, 1)], 1)
    >>> ensemble = FrozenEnsemble()
    >>> member = ensemble.add("halves", Halves())
    >>> fitted = {"weights": [6.0], "bias": -2.0, "n_systems": 1}
    >>> model = fusion.LogisticFusion().state() | fitted
    >>> verifier = Verifier(ensemble, fusion.LogisticFusion.from_state(model), p_target=0.05)
    >>> early, late = np.repeat([1.0, 0.0], 1600), np.repeat([0.0, 1.0], 1600)
    >>> verifier.enrol("ann", [early])
    >>> decision = verifier.verify("ann", 0.5 * early)
    >>> round(decision.llr, 3), round(decision.threshold, 3), decision.accepted
    (4.0, 2.944, True)
    >>> verifier.verify("ann", late).accepted
    False
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
    ):
        self.ensemble = ensemble.to(device)
        self.model = model
        self.threshold = bayes_threshold(p_target, c_miss, c_fa)
        self.device = device
        self.score_seconds = _seconds(score_seconds, "score_seconds")
        self.enrolled: dict[str, list[torch.Tensor]] = {}

    @classmethod
    def from_run(cls, folder: str | os.PathLike, trust: bool = False, **options) -> Verifier:
        """Load the output folder of ``train.py``; ``options`` are the constructor's.

        ``score_seconds`` is what the run's ``results.json`` says unless it is given. No code of the
        run's folders, nor of the references that it names, is run, unless ``trust`` says that it
        may be; see ``acorl_sb.encoders.trusted``.

        Raises ``UserError`` for a run that is not finished, damaged, or has a single member, and
        for one that needs ``trust``.
        """
        folder = Path(folder)
        model_path, yaml_path, results_path = (
            folder / "fusion" / "score-logistic.json",
            folder / "hyperparams.yaml",
            folder / "results.json",
        )
        for path in (yaml_path, model_path, results_path):
            if not path.is_file():
                raise UserError(
                    f"{folder}: {path.relative_to(folder)} is missing; a finished run of train.py "
                    "with two members or more is needed"
                )
        options.setdefault("score_seconds", _read_score_seconds(results_path))
        ensemble = FrozenEnsemble()
        tree = read_yaml(yaml_path)
        for kind in ("references", "members"):
            specs = tree.get(kind) or []
            if not isinstance(specs, list):
                raise UserError(f"{yaml_path}: {kind} must be a list")
            for i, spec in enumerate(specs):
                where = f"{yaml_path} {kind}[{i}]"
                if not isinstance(spec, dict):
                    raise UserError(f"{where} must have keys, such as name")
                name = check_name(spec.get("name"), where)
                if name in ensemble.names:
                    raise UserError(f"{where}: the name {name!r} is there twice")
                if kind == "references":
                    encoder = load_reference(spec, where, trust)
                else:
                    encoder = load_member(folder / "members" / name, trust)
                ensemble.add(name, encoder)
        model = fusion.load(model_path)
        fits = isinstance(model, fusion.LogisticFusion) and (
            (model.n_systems, model.n_quality, np.shape(model.weights))
            == (len(ensemble), 0, (len(ensemble),))
        )
        if not fits or not np.isfinite([*model.weights, model.bias]).all():
            raise UserError(
                f"{model_path}: no logistic fusion of the run's {len(ensemble)} members"
            )
        return cls(ensemble, model, **options)

    def embed(self, wave: Wave) -> list[torch.Tensor]:
        """Unit-length embeddings (D_k,), one per member, of the centre of a wave.

        Raises ``UserError`` for a wave that is no (T,), shorter than ``SHORTEST``, of an unusable
        rate, constant (so silent), or not finite.
        """
        samples, where = self._samples(wave)
        if len(samples) < SHORTEST * SAMPLE_RATE:
            raise UserError(
                f"{where}: {len(samples) / SAMPLE_RATE:.3f} s of audio are too short, "
                f"{SHORTEST:g} s at least are needed"
            )
        _require_sound(samples, where)
        embedded = []
        batch = samples.to(self.device).unsqueeze(0)
        for member in self.ensemble.members:
            v = member(batch)[0].float().cpu()
            if not bool(torch.isfinite(v).all()) or not bool(v.any()):
                raise UserError(
                    f"{where}: the member {member.name!r} finds no speech to embed in it"
                )
            embedded.append(F.normalize(v, dim=0))
        return embedded

    def _samples(self, wave: Wave) -> tuple[torch.Tensor, str]:
        """The centre of a wave at 16 kHz, (T,) on the CPU, and what to call it in messages."""
        seconds = self.score_seconds
        if isinstance(wave, str | os.PathLike):
            length = read_header(wave).length()
            span = centre_of(0, length, seconds, SAMPLE_RATE)
            return torch.from_numpy(read_audio(wave, *span)), os.fspath(wave)
        rate: Any = SAMPLE_RATE
        if isinstance(wave, tuple):
            if len(wave) != 2:
                raise UserError("a wave is a file, samples, or a pair (samples, sample rate)")
            wave, rate = wave
        try:
            samples = torch.as_tensor(wave, dtype=torch.float32).detach().cpu()
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"the wave is not one of numbers ({error})") from None
        if samples.dim() != 1 or not len(samples):
            raise UserError(
                f"a wave has one dimension and some samples, not {tuple(samples.shape)}"
            )
        if not bool(torch.isfinite(samples).all()):
            raise UserError("the wave holds NaN or infinity")
        _require_sound(samples, "the wave")  # resampled, a constant is one no more at its ends
        samples = _resampled(samples, rate)
        start, stop = centre_of(0, len(samples), seconds, SAMPLE_RATE)
        return samples[start:stop], "the wave"

    def enrol(self, name: str, waves: Sequence[Wave]) -> None:
        """Enrol a speaker by the mean of the unit-length embeddings of ``waves``."""
        if isinstance(waves, str | os.PathLike) or not len(waves):
            raise UserError(f"{name}: enrolment takes a list of at least one wave or file")
        embedded = [self.embed(wave) for wave in waves]
        self.enrolled[name] = [
            torch.stack(of_member).mean(0) for of_member in zip(*embedded, strict=True)
        ]

    def verify(self, name: str, wave: Wave) -> Decision:
        """Whether ``wave`` is the enrolled speaker ``name``; UserError for an unknown name."""
        if name not in self.enrolled:
            known = ", ".join(sorted(self.enrolled)) or "nobody"
            raise UserError(f"{name!r} is not enrolled; enrolled: {known}")
        llr = self._llr(self.enrolled[name], self.embed(wave))
        return Decision(llr, self.threshold, llr >= self.threshold)

    def identify(self, wave: Wave) -> list[tuple[str, float]]:
        """All enrolled speakers with their LLRs, best first."""
        test = self.embed(wave)
        found = [(name, self._llr(enrolled, test)) for name, enrolled in self.enrolled.items()]
        return sorted(found, key=lambda pair: -pair[1])

    def _llr(self, enrolled: list[torch.Tensor], test: list[torch.Tensor]) -> float:
        cosines = [
            float(F.cosine_similarity(a, b, dim=0)) for a, b in zip(enrolled, test, strict=True)
        ]
        return float(self.model(np.array(cosines)[:, None])[0])


def _require_sound(samples: torch.Tensor, where: str) -> None:
    if bool((samples == samples[0]).all()):
        raise UserError(f"{where}: the audio is silent, all its samples are equal")


def _resampled(samples: torch.Tensor, rate: Any) -> torch.Tensor:
    """Samples (T,) at ``rate`` Hz brought to 16 kHz."""
    low, high = RATES
    if isinstance(rate, bool) or not isinstance(rate, int | np.integer) or not low <= rate <= high:
        raise UserError(f"a sample rate is a whole number of Hz from {low} to {high}, not {rate!r}")
    # The resampler's filter has a phase for each sample of a common period.
    if SAMPLE_RATE // math.gcd(int(rate), SAMPLE_RATE) > 1000:
        raise UserError(f"a sample rate of {rate} Hz has almost no common divisor with 16000 Hz")
    return torchaudio.functional.resample(samples, int(rate), SAMPLE_RATE)


def _read_score_seconds(path: Path) -> float | None:
    """The centre crop that a run was scored with, which its ``results.json`` keeps."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise UserError(f"{path}: not readable as JSON; run train.py again") from None
    if not isinstance(results, dict) or "score_seconds" not in results:
        raise UserError(f"{path}: it does not say score_seconds; run train.py again")
    return _seconds(results["score_seconds"], f"{path}: score_seconds")


def _seconds(value: Any, where: str) -> float | None:
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not SHORTEST <= value < math.inf:
        raise UserError(f"{where} must be null or a number from {SHORTEST:g} on, not {value!r}")
    return float(value)
