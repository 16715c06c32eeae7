"""What attribution maps say on average, and how far two members' maps agree; docs/analysis.md.

A map A is (F, M): frames by mel bands, signed; its cells add up to what the input gives to the
score. Maps of N sides of trials are one array (N, F, M), float, numpy.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter
from scipy.stats import rankdata

from acorl_sb.analysis.voicing import NAMES


def frequency_profile(maps: np.ndarray) -> np.ndarray:
    """Share of each mel band in the attribution: (N, M), rows sum to 1 (NaN for an empty map).

    |A| summed over frames, divided by the sum over all cells.
    """
    weight = np.abs(maps).sum(1)  # (N, M)
    with np.errstate(invalid="ignore"):
        return weight / weight.sum(1, keepdims=True)


class FrameShare(NamedTuple):
    """Frames of one class: their ``share`` of the attribution, their share of ``frames``.

    ``density`` = share / frames: 1 says that such a frame counts as much as any, 2 twice as much.
    """

    share: float
    frames: float
    density: float


def time_profile(maps: np.ndarray, classes: np.ndarray) -> dict[str, FrameShare]:
    """Attribution of silent, unvoiced and voiced frames: maps (N, F, M), classes (N, F).

    Every map counts the same: its |A| is divided by its sum before the maps are averaged. A class
    without a frame has share 0 and density NaN.
    """
    weight = np.abs(maps).sum(2)  # (N, F)
    weight = weight / np.maximum(weight.sum(1, keepdims=True), np.finfo(np.float64).tiny)
    profile = {}
    for code, name in enumerate(NAMES):
        here = classes == code
        share, frames = float((weight * here).sum(1).mean()), float(here.mean())
        profile[name] = FrameShare(share, frames, share / frames if frames else float("nan"))
    return profile


def smooth(maps: np.ndarray, frames: int, bands: int) -> np.ndarray:
    """Mean over a neighbourhood of ``frames`` by ``bands`` cells; (1, 1) changes nothing."""
    if (frames, bands) == (1, 1):
        return maps
    return uniform_filter(maps, size=(1, frames, bands), mode="nearest")


def common_grid(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bring maps of two encoders (N, F, M) and (N, F', M') to the coarser of the two grids.

    Cells are added up by the part of each that a coarse cell covers, so sums are kept. Frames are
    matched by time; bands by their order, which is right where both cover the same frequencies.
    """
    if first.shape == second.shape:
        return first, second
    shape = np.minimum(first.shape[1:], second.shape[1:])
    return tuple(
        np.einsum(
            "fF,nFM,mM->nfm",
            _pool(shape[0], maps.shape[1]),
            maps,
            _pool(shape[1], maps.shape[2]),
            optimize=True,
        )
        for maps in (first, second)
    )


def _pool(coarse: int, fine: int) -> np.ndarray:
    """The part of each fine cell that lies in each coarse one: (coarse, fine), columns sum to 1."""
    edges = np.linspace(0, fine, coarse + 1)
    low = np.maximum(edges[:-1, None], np.arange(fine)[None])
    high = np.minimum(edges[1:, None], np.arange(1, fine + 1)[None])
    return np.maximum(high - low, 0)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman correlation of the cells of each pair of maps: (N,), NaN for a constant map."""
    a, b = (rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (first, second))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a * b).sum(1) / np.sqrt(np.square(a).sum(1) * np.square(b).sum(1))


def top_intersection(first: np.ndarray, second: np.ndarray, share: float = 0.1) -> np.ndarray:
    """Part of the top ``share`` of cells that two maps have in common: (N,) in [0, 1].

    The top are the cells that raise the score most. Two unrelated maps have ``share`` in common.
    """
    tops = [top_cells(maps, share).reshape(len(maps), -1) for maps in (first, second)]
    return (tops[0] & tops[1]).sum(1) / tops[0].sum(1)


def top_cells(maps: np.ndarray, share: float) -> np.ndarray:
    """The round(share F M) highest cells of each map, at least one: (N, F, M) bool.

    Among equal cells the first in order of frame and band are taken.
    """
    flat = maps.reshape(len(maps), -1)
    count = max(1, round(share * flat.shape[1]))
    chosen = np.zeros(flat.shape, dtype=bool)
    order = np.argsort(-flat, axis=1, kind="stable")[:, :count]
    np.put_along_axis(chosen, order, True, axis=1)
    return chosen.reshape(maps.shape)


class Overlap(NamedTuple):
    """Agreement of two members' maps, one value per map: (N,) each.

    ``rank`` and ``top`` on the same input. Chance twice: ``..._chance`` with the second member's
    map of *another* trial, which keeps what all maps have in common (more weight on some bands) and
    nothing of this input; ``..._input`` with the second member's mean gradients on another trial
    times *this* input, which keeps that cells far from neutral stand out in any member's map.
    """

    rank: np.ndarray
    top: np.ndarray
    rank_chance: np.ndarray
    top_chance: np.ndarray
    rank_input: np.ndarray
    top_input: np.ndarray


def overlap(
    first: np.ndarray,
    second: np.ndarray,
    contrast: np.ndarray,
    other: np.ndarray,
    neighbourhood: tuple[int, int] = (5, 3),
    share: float = 0.1,
) -> Overlap:
    """Overlap of two members' maps (N, F, M) of the same inputs.

    ``contrast`` (as ``second``) is the second member's input minus its neutral input; ``other``
    (N,) int is, for each map, the row of another trial to stand for chance. Maps are averaged over
    ``neighbourhood`` (frames, bands) first: how a network shares out attribution between
    neighbouring cells is an accident of its initialisation.
    """
    gradient = np.divide(second, contrast, out=np.zeros_like(second), where=contrast != 0)
    candidates = (second, second[other], gradient[other] * contrast)
    values = []
    for candidate in candidates:
        pair = [smooth(maps, *neighbourhood) for maps in common_grid(first, candidate)]
        values += [rank_correlation(*pair), top_intersection(*pair, share)]
    return Overlap(*values)
