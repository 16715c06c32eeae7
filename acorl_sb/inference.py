"""A finished alliance at work: embed, enrol, verify, identify.

>>> from acorl_sb.inference import Verifier  # doctest: +SKIP
>>> verifier = Verifier.from_run("results/voices_acorl_ecapa_1", p_target=0.01)  # doctest: +SKIP
>>> verifier.enrol("ann", ["ann1.wav", "ann2.wav"])  # doctest: +SKIP
>>> verifier.verify("ann", "who.wav")  # doctest: +SKIP
Decision(llr=6.1, threshold=4.6, accepted=True)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import ruamel.yaml
import torch
from torch.nn import functional as F

from acorl_sb import fusion
from acorl_sb.alliance import Alliance
from acorl_sb.audio import read_audio
from acorl_sb.errors import UserError
from acorl_sb.members import load_member, load_prior
from acorl_sb.metrics import bayes_threshold

Wave = np.ndarray | torch.Tensor | str | os.PathLike


class Decision(NamedTuple):
    """``llr`` (natural log) of same against different speaker; accepted at or above threshold."""

    llr: float
    threshold: float
    accepted: bool


class Verifier:
    """The members of an alliance and the logistic fusion that makes their scores an LLR.

    The LLR is as well calibrated as the development trials are like the use; the threshold
    follows from prior and costs alone and can be set anew at any time (``threshold``).

    Arguments
    ---------
    alliance : Alliance
    model : fitted ``fusion.LogisticFusion`` over the members' cosines, in their order
    p_target, c_miss, c_fa : float
        Prior of a target and costs of the errors, of which the Bayes threshold is made.
    device : torch device
    """

    def __init__(
        self,
        alliance: Alliance,
        model: fusion.LogisticFusion,
        p_target: float = 0.05,
        c_miss: float = 1.0,
        c_fa: float = 1.0,
        device: torch.device | str = "cpu",
    ):
        self.alliance = alliance.to(device)
        self.model = model
        self.threshold = bayes_threshold(p_target, c_miss, c_fa)
        self.device = device
        self.enrolled: dict[str, list[torch.Tensor]] = {}

    @classmethod
    def from_run(cls, folder: str | os.PathLike, **options) -> Verifier:
        """Load the output folder of ``train.py``; ``options`` are the constructor's.

        Raises ``UserError`` for a run that is not finished or has a single member.
        """
        folder = Path(folder)
        model_path, yaml_path = (
            folder / "fusion" / "score-logistic.json",
            folder / "hyperparams.yaml",
        )
        for path in (yaml_path, model_path):
            if not path.is_file():
                raise UserError(
                    f"{folder}: {path.relative_to(folder)} is missing; a finished run of train.py "
                    "with two members or more is needed"
                )
        tree = ruamel.yaml.YAML().load(yaml_path.read_text(encoding="utf-8"))
        alliance = Alliance()
        for i, spec in enumerate(tree["priors"] or []):
            alliance.add(str(spec["name"]), load_prior(spec, f"{yaml_path} priors[{i}]"))
        for spec in tree["members"]:
            alliance.add(str(spec["name"]), load_member(folder / "members" / str(spec["name"])))
        return cls(alliance, fusion.load(model_path), **options)

    def embed(self, wave: Wave) -> list[torch.Tensor]:
        """Unit-length embeddings (D_k,), one per member, of a file or a 16 kHz wave (T,)."""
        if isinstance(wave, str | os.PathLike):
            wave = read_audio(wave)
        wave = torch.as_tensor(wave, dtype=torch.float32, device=self.device)
        if wave.dim() != 1 or not len(wave):
            raise UserError(f"a wave has one dimension and some samples, not {tuple(wave.shape)}")
        if not bool(torch.isfinite(wave).all()):
            raise UserError("the wave holds NaN or infinity")
        return [F.normalize(v[0].cpu(), dim=0) for v in self.alliance.embed(wave.unsqueeze(0))]

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
