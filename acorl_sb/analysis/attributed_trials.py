"""Attribution over many trials: one member run on the chosen crops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from acorl_sb.analysis import attribution, maps
from acorl_sb.analysis.crop_trials import CropTrials, read_crops
from acorl_sb.analysis.voicing import frame_classes
from acorl_sb.data.manifest import Utterance
from acorl_sb.encoders.encoder import SpeakerEncoder, band_centres

SHARES = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Parts of the cells that a deletion curve takes away."""


class NoMelInput(ValueError):
    """The encoder has no log-mel input to attribute to."""


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
