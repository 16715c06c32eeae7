"""What in the log-mel input makes a trial's score: attribution with Captum; docs/analysis.md.

One side of a trial is looked at at a time: the score is cos(m(x), v) with v the other side's
embedding, held fixed, and x the (F, M) features that the encoder's network sees. A cell is taken
away by setting it to ``neutral``: its band's mean over the utterance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.precision import full_precision

Tick = Callable[[int], object]
"""Called with the number of sides just finished; a progress bar's ``update``."""


def score(encoder: SpeakerEncoder, features: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Cosine scores (B,) of features (B, F, M) against embeddings (B, D)."""
    return F.cosine_similarity(encoder(features), others, dim=1)


def neutral(features: torch.Tensor) -> torch.Tensor:
    """Features (B, F, M) with every band at its mean over frames: a steady sound of that colour.

    Where an encoder takes the mean off each band, as SpeechBrain's sentence normalisation does,
    this is all zeros.
    """
    return features.mean(1, keepdim=True).expand_as(features).contiguous()


class Attribution(NamedTuple):
    """Maps of N sides, on the CPU.

    ``maps`` (N, F, M) float32: what each cell gives to the score; ``score`` (N,) of the input,
    ``neutral`` (N,) of the neutral input; ``gap`` (N,) completeness: sum of the map minus
    (score - neutral), 0 for an exact integral.
    """

    maps: torch.Tensor
    score: torch.Tensor
    neutral: torch.Tensor
    gap: torch.Tensor


@full_precision()
def integrated_gradients(
    encoder: SpeakerEncoder,
    features: torch.Tensor,
    others: torch.Tensor,
    steps: int = 16,
    tolerance: float = 0.01,
    max_steps: int = 128,
    batch_size: int = 4,
    tick: Tick | None = None,
) -> Attribution:
    """Integrated gradients (Sundararajan et al. 2017) from the neutral input to the input.

    Gauss-Legendre quadrature of ``steps`` points. Sides whose map misses completeness by more than
    ``tolerance`` (in units of the score) are done again with twice the points, up to
    ``max_steps``.

    Arguments
    ---------
    encoder : SpeakerEncoder, in eval mode
    features : (N, F, M)
    others : (N, D), embeddings of the other sides
    steps, max_steps : int
    tolerance : float
    batch_size : int
        Sides at a time; steps x batch_size inputs go through the network together.
    tick : called with the number of sides done

    Returns
    -------
    Attribution
        Maps (N, F, M), whose sums are the change of the score, and how far they are off.
    """
    captum = load_captum()
    # Captum differentiates by the input only; without this each step would also fill the weights'
    # gradients.
    learns = [p for p in encoder.parameters() if p.requires_grad]
    for parameter in learns:
        parameter.requires_grad_(False)
    method = captum.IntegratedGradients(lambda x, v: score(encoder, x, v))
    maps = torch.zeros(features.shape)
    ends = torch.zeros(2, len(features))
    gap = torch.zeros(len(features))
    try:
        for first in range(0, len(features), batch_size):
            rows = torch.arange(first, min(first + batch_size, len(features)))
            done = len(rows)
            with torch.no_grad():
                x, v = features[rows], others[rows]
                ends[0, rows] = score(encoder, x, v).cpu()
                ends[1, rows] = score(encoder, neutral(x), v).cpu()
            points = steps
            while len(rows):
                x, v = features[rows], others[rows]
                made = method.attribute(
                    x,
                    baselines=neutral(x),
                    additional_forward_args=(v,),
                    n_steps=points,
                    internal_batch_size=max(len(rows), steps * batch_size),
                )
                maps[rows] = made.detach().float().cpu()
                gap[rows] = maps[rows].sum((1, 2)) - (ends[0, rows] - ends[1, rows])
                points *= 2
                rows = rows[gap[rows].abs() > tolerance] if points <= max_steps else rows[:0]
            if tick:
                tick(done)
    finally:
        for parameter in learns:
            parameter.requires_grad_(True)
    return Attribution(maps, ends[0], ends[1], gap)


@full_precision()
def occlusion(
    encoder: SpeakerEncoder,
    features: torch.Tensor,
    others: torch.Tensor,
    window: tuple[int, int] = (20, 5),
    batch_size: int = 4,
    tick: Tick | None = None,
) -> torch.Tensor:
    """Loss of score when a block of cells is set to neutral: (N, F, M), constant over each block.

    A check on the gradients: it needs none. Blocks of ``window`` (frames, bands) lie side by side.
    """
    captum = load_captum()
    method = captum.Occlusion(lambda x, v: score(encoder, x, v))
    maps = torch.zeros(features.shape)
    with torch.no_grad():
        for first in range(0, len(features), batch_size):
            rows = slice(first, first + batch_size)
            x = features[rows]
            made = method.attribute(
                x,
                sliding_window_shapes=window,
                strides=window,
                baselines=neutral(x),
                additional_forward_args=(others[rows],),
                perturbations_per_eval=8,
            )
            maps[rows] = made.float().cpu()
            if tick:
                tick(len(x))
    return maps


def block_sums(maps: np.ndarray, window: tuple[int, int]) -> np.ndarray:
    """Maps (N, F, M) added up over blocks of ``window`` cells; the last blocks may be smaller."""
    for axis, width in zip((1, 2), window, strict=True):
        maps = np.add.reduceat(maps, np.arange(0, maps.shape[axis], width), axis=axis)
    return maps


@torch.no_grad()
@full_precision()
def deletion_curve(
    encoder: SpeakerEncoder,
    features: torch.Tensor,
    others: torch.Tensor,
    ranking: torch.Tensor,
    shares: Sequence[float],
    batch_size: int = 32,
    tick: Tick | None = None,
) -> torch.Tensor:
    """Scores after the ``shares`` of cells highest in ``ranking`` are set to neutral: (N, P).

    Features and ranking (N, F, M); shares in [0, 1]. A map that marks what the score rests on
    makes them fall faster than a random ranking does.
    """
    curves = torch.zeros(len(features), len(shares))
    for first in range(0, len(features), batch_size):
        rows = slice(first, first + batch_size)
        x = features[rows]
        flat = ranking[rows].reshape(len(x), -1).to(x.device)
        # Place of each cell in its ranking, highest first.
        place = flat.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        place = place.view(x.shape)
        for column, share in enumerate(shares):
            gone = place < round(share * flat.shape[1])
            left = torch.where(gone, neutral(x), x)
            curves[rows, column] = score(encoder, left, others[rows]).float().cpu()
        if tick:
            tick(len(x))
    return curves


def mean_drop(whole: torch.Tensor, curves: torch.Tensor) -> np.ndarray:
    """Mean loss of score along each deletion curve: whole (N,), curves (N, P) -> (N,)."""
    return (whole[:, None] - curves).mean(1).numpy()


def load_captum():
    """The module ``captum.attr``; ``UserError`` where the package is missing."""
    try:
        import captum.attr
    except ImportError:
        raise UserError(
            "attribution needs the package captum: pip install 'acorl_sb[attribution]'"
        ) from None
    return captum.attr
