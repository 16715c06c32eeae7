"""Attribution over many trials: choosing them, running members on them, summing up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from acorl_sb.analysis import attribution, maps
from acorl_sb.analysis.folds import trial_mean
from acorl_sb.analysis.voicing import frame_classes
from acorl_sb.data.audio import read_audio
from acorl_sb.data.manifest import Utterance
from acorl_sb.data.trial_set import TrialSet
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.extraction import centre

SHARES = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Parts of the cells that a deletion curve takes away."""


class NoMelInput(ValueError):
    """The encoder has no log-mel input to attribute to."""


@dataclass
class CropTrials:
    """Both sides of T trials as 2T rows: all enrolment sides, then all test sides.

    ``utterances`` (2T,) rows of the manifest; ``opposite`` (2T,) the row of the other side here;
    ``elsewhere`` (2T,) a row of another trial's side; ``labels`` (2T,); ``own``, ``others`` (2T,)
    speakers of this side and of the other.
    """

    utterances: np.ndarray
    opposite: np.ndarray
    elsewhere: np.ndarray
    labels: np.ndarray
    own: np.ndarray
    others: np.ndarray

    def part(self, trials: int) -> np.ndarray:
        """Rows of ``trials`` trials spread evenly over the list (it holds targets first)."""
        count = len(self.labels) // 2
        picked = np.unique(np.linspace(0, count - 1, min(trials, count)).round().astype(np.int64))
        return np.concatenate([picked, picked + count])


def choose_trials(side: TrialSet, count: int, seconds: float, seed: int) -> CropTrials:
    """Half target, half non-target trials, spread evenly over enrolment speakers.

    Trials whose two utterances last at least ``seconds`` come first; others only where there are
    too few of these. Fewer than ``count`` where the list is short. Deterministic given the seed.
    """
    rng = np.random.default_rng(seed)
    speaker = np.array([u.spk_id for u in side.utterances])
    long = np.array([u.duration >= seconds for u in side.utterances])
    chosen = []
    for target, wanted in ((True, (count + 1) // 2), (False, count // 2)):
        rows = rng.permutation(np.flatnonzero(side.trials.labels == target))
        enrol = speaker[side.enrol[rows]]
        turn = _occurrence(enrol)  # each speaker's first trial, then each one's second ...
        short = ~(long[side.enrol[rows]] & long[side.test[rows]])
        chosen.append(rows[np.lexsort((turn, short))][:wanted])
    picked = np.concatenate(chosen)
    first, second = side.enrol[picked], side.test[picked]
    utterances = np.concatenate([first, second])
    return CropTrials(
        utterances,
        np.roll(np.arange(len(utterances)), len(picked)),
        _elsewhere(utterances, speaker),
        np.tile(side.trials.labels[picked], 2),
        speaker[utterances],
        speaker[np.concatenate([second, first])],
    )


def _occurrence(values: np.ndarray) -> np.ndarray:
    """How many equal values stand before each: (N,)."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    start = np.concatenate([[True], ranked[1:] != ranked[:-1]])
    position = np.arange(len(values))
    first = np.maximum.accumulate(np.where(start, position, 0))
    turn = np.empty(len(values), dtype=np.int64)
    turn[order] = position - first
    return turn


def _elsewhere(utterances: np.ndarray, speaker: np.ndarray) -> np.ndarray:
    """For each row the next one (going round) of another speaker, else of another utterance."""
    count = len(utterances)
    found = np.roll(np.arange(count), -1)
    for row in range(count):
        following = (row + np.arange(1, count)) % count
        apart = following[speaker[utterances[following]] != speaker[utterances[row]]]
        if not len(apart):
            apart = following[utterances[following] != utterances[row]]
        if len(apart):
            found[row] = apart[0]
    return found


def read_crops(utterances: Sequence[Utterance], seconds: float, rate: int) -> np.ndarray:
    """The centre ``seconds`` of each utterance, (N, T) float32; a shorter one is repeated."""
    length = round(seconds * rate)
    crops = np.empty((len(utterances), length), dtype=np.float32)
    for row, utterance in enumerate(utterances):
        crops[row] = np.resize(
            read_audio(utterance.wav, *centre(utterance, seconds, rate), rate), length
        )
    return crops


@dataclass
class MemberMaps:
    """One member's attribution of 2T sides.

    ``features`` (2T, F, M), ``found`` the maps, ``classes`` (2T, F) of frames, ``hertz`` (M,) band
    centres or None where the encoder does not say, ``drops`` by ranking: (R,) mean loss of score,
    ``curves`` by ranking: (R, P), ``rows`` (R,) the sides deleted, ``blocks`` (Q,) rank correlation
    of blocks with occlusion.
    """

    features: torch.Tensor
    found: attribution.Attribution
    classes: np.ndarray
    hertz: np.ndarray | None
    drops: dict[str, np.ndarray]
    curves: dict[str, np.ndarray]
    rows: np.ndarray
    blocks: np.ndarray


def attribute_member(
    encoder: SpeakerEncoder,
    utterances: Sequence[Utterance],
    sides: CropTrials,
    seconds: float = 2.0,
    steps: int = 16,
    deletion_trials: int = 100,
    occlusion_trials: int = 20,
    window: tuple[int, int] = (20, 5),
    seed: int = 0,
    device: torch.device | str = "cpu",
    tick: Callable[[int], object] = lambda sides: None,
) -> MemberMaps:
    """Maps, deletion curves and the occlusion check of one member on the chosen trials.

    Raises ``NoMelInput`` for an encoder whose network takes waves.
    """
    if encoder.compute_features is None:
        raise NoMelInput("its network takes waves, so there are no log-mel cells to attribute to")
    encoder = encoder.to(device).eval()
    crops = read_crops([utterances[i] for i in sides.utterances], seconds, encoder.sample_rate)
    with torch.no_grad():
        parts = torch.from_numpy(crops).split(32)
        features = torch.cat([encoder.features(part.to(device)) for part in parts])
        vectors = torch.cat([encoder(part) for part in features.split(32)])
    others = vectors[torch.from_numpy(sides.opposite).to(device)]
    found = attribution.integrated_gradients(encoder, features, others, steps, tick=tick)

    rows = sides.part(deletion_trials)
    rankings = {
        "map": found.maps[rows],
        "random": torch.rand(found.maps[rows].shape, generator=torch.Generator().manual_seed(seed)),
        "another trial's map": found.maps[sides.elsewhere[rows]],
    }
    curves = {
        name: attribution.deletion_curve(
            encoder, features[rows], others[rows], ranking, SHARES, tick=tick
        )
        for name, ranking in rankings.items()
    }
    drops = {
        name: attribution.mean_drop(found.score[rows], curve) for name, curve in curves.items()
    }

    checked = sides.part(occlusion_trials)
    occluded = attribution.occlusion(encoder, features[checked], others[checked], window, tick=tick)
    blocks = maps.rank_correlation(
        attribution.block_sums(found.maps[checked].numpy(), window),
        occluded.numpy()[:, :: window[0], :: window[1]],
    )
    classes = [frame_classes(wave, features.shape[1], encoder.sample_rate) for wave in crops]
    return MemberMaps(
        features.cpu(),
        found,
        np.stack(classes),
        band_centres(encoder),
        drops,
        {name: curve.numpy() for name, curve in curves.items()},
        rows,
        blocks,
    )


def sides_to_do(sides: CropTrials, deletion_trials: int, occlusion_trials: int) -> int:
    """How many sides ``attribute_member`` ticks off."""
    deleted, occluded = len(sides.part(deletion_trials)), len(sides.part(occlusion_trials))
    return len(sides.labels) + 3 * deleted + occluded


def band_centres(encoder: SpeakerEncoder) -> np.ndarray | None:
    """Centre frequency of each mel band, Hz (M,), where SpeechBrain's Fbank says it."""
    bank = getattr(encoder.compute_features, "compute_fbanks", None)
    centres = getattr(bank, "f_central", None)
    return None if centres is None else np.asarray(centres.detach().cpu(), dtype=np.float64)


def summarise_member(made: MemberMaps, sides: CropTrials, seed: int = 0) -> dict[str, Any]:
    """One member's numbers: completeness, profiles, deletion with its verdict, occlusion check."""
    cells = made.found.maps.numpy()
    rise = (made.found.score - made.found.neutral).numpy()
    gap = np.abs(made.found.gap.numpy())
    labels = sides.labels
    profile = maps.frequency_profile(cells)
    names = {"target": labels, "non-target": ~labels, "all": np.ones_like(labels)}
    drops, rows = made.drops, made.rows

    def gain(reference: str, chosen: np.ndarray) -> dict[str, float]:
        difference = (drops["map"] - drops[reference])[chosen]
        speakers = sides.own[rows][chosen], sides.others[rows][chosen]
        figures = trial_mean(difference, *speakers, seed)
        return dict(zip(("value", "low", "high"), figures, strict=True))

    over_random = {name: gain("random", part[rows]) for name, part in names.items()}
    over_other = {name: gain("another trial's map", part[rows]) for name, part in names.items()}
    return {
        "score": {
            name: float(made.found.score.numpy()[part].mean()) for name, part in names.items()
        },
        "neutral_score": float(made.found.neutral.mean()),
        "completeness": {
            "mean_rise": float(np.abs(rise).mean()),
            "mean_gap": float(gap.mean()),
            "largest_gap": float(gap.max()),
            "relative_gap": float(gap.sum() / max(np.abs(rise).sum(), 1e-12)),
        },
        "frequency": {
            "hertz": made.hertz,
            **{name: np.nanmean(profile[part], 0) for name, part in names.items()},
        },
        "time": {
            name: {
                kind: share._asdict()
                for kind, share in maps.time_profile(cells[part], made.classes[part]).items()
            }
            for name, part in names.items()
        },
        "deletion": {
            "shares": list(SHARES),
            "score": float(made.found.score.numpy()[rows].mean()),
            "curves": {name: curve.mean(0) for name, curve in made.curves.items()},
            "curves_target": {
                name: curve[labels[rows]].mean(0) for name, curve in made.curves.items()
            },
            "score_target": float(made.found.score.numpy()[rows][labels[rows]].mean()),
            "drop": {name: float(drop.mean()) for name, drop in drops.items()},
            "over_random": over_random,
            "over_another_trial": over_other,
            "worthless": not over_random["all"]["low"] > 0,
            "specific": over_other["all"]["low"] > 0,
        },
        "occlusion": {
            "rank_correlation": float(np.nanmean(made.blocks)),
            "sides": len(made.blocks),
        },
    }


def compare_maps(
    first: MemberMaps,
    second: MemberMaps,
    sides: CropTrials,
    neighbourhood: tuple[int, int] = (5, 3),
    seed: int = 0,
) -> tuple[dict[str, Any], maps.Overlap]:
    """Overlap of two members' maps: figures by class of trial, and the values they come from."""
    contrast = second.features - attribution.neutral(second.features)
    values = maps.overlap(
        first.found.maps.numpy(),
        second.found.maps.numpy(),
        contrast.numpy(),
        sides.elsewhere,
        neighbourhood,
    )
    labels = sides.labels
    names = {"target": labels, "non-target": ~labels, "all": np.ones_like(labels)}
    made: dict[str, Any] = {}
    for name, part in names.items():
        made[name] = {
            key: _mean(getattr(values, key)[part], sides, part, seed) for key in values._fields
        }
    return made, values


def less_alike(
    examined: maps.Overlap, reference: maps.Overlap, sides: CropTrials, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Overlap of the examined pair minus that of the reference pair, on the same sides."""
    everything = np.ones_like(sides.labels)
    return {
        key: _mean(getattr(examined, key) - getattr(reference, key), sides, everything, seed)
        for key in ("rank", "top")
    }


def _mean(values: np.ndarray, sides: CropTrials, part: np.ndarray, seed: int) -> dict[str, float]:
    figures = trial_mean(values, sides.own[part], sides.others[part], seed)
    return dict(zip(("value", "low", "high"), figures, strict=True))
