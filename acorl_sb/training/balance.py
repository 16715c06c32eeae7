"""Group-balanced sampling: how often each training utterance is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from acorl_sb.data.attributes import read_attributes
from acorl_sb.data.manifest import UNLABELLED, Utterance
from acorl_sb.utils.errors import UserError


def balance_weights(utterances: Sequence[Utterance], balance: Mapping[str, float]) -> np.ndarray:
    """How often each utterance is drawn against drawing all alike.

    A group with the share p of the utterances gets a share of the draws in proportion to
    p^(1 - s): with the strength s = 0 its own, with s = 1 all groups have equal ones. Within a
    group all are drawn alike. Utterances of an unknown group, and unlabelled ones, are drawn as
    often as without.

    Arguments
    ---------
    utterances : sequence of Utterance
    balance : mapping
        One entry: a column of the manifest, or several joined by ``+``, and s in [0, 1]. Numbers
        are put into the bands of ``acorl_sb.data.attributes``.

    Returns
    -------
    (N,) float64
        Mean 1.

    Raises
    ------
    UserError
        For a column that is not in the manifest or that differs between a speaker's utterances,
        and one in which fewer than two groups are.

    Example
    -------
    >>> speakers = [("ann", "f"), ("eve", "f"), ("sue", "f"), ("bob", "m")]
    >>> four = [Utterance(s, 1.0, f"{s}.wav", 0, 16000, s, gender=g) for s, g in speakers]
    >>> balance_weights(four, {"gender": 1.0}).round(2).tolist()
    [0.67, 0.67, 0.67, 2.0]
    """
    ((column, strength),) = balance.items()
    groups = np.array(speaker_groups(utterances, column, "balance"))
    names, place, counts = np.unique(groups, return_inverse=True, return_counts=True)
    told = names != ""
    if told.sum() < 2:
        raise UserError(
            f"the key 'balance': the training utterances have {told.sum()} group of {column}; "
            "two or more can be balanced"
        )
    share = counts[told] / counts[told].sum()
    wanted = share ** (1 - strength)
    weights = np.ones(len(names))
    weights[told] = wanted / wanted.sum() / share
    return weights[place]


def speaker_groups(utterances: Sequence[Utterance], column: str, key: str) -> list[str]:
    """The group of each utterance's speaker; empty where unknown, and of unlabelled ones.

    Arguments
    ---------
    utterances : sequence of Utterance
    column : str, or several joined by ``+``
    key : str
        The key of the YAML that asks, for messages.

    Returns
    -------
    list of str

    Raises
    ------
    UserError
        For a column that is not in the manifest or that differs between a speaker's utterances.
    """
    speakers = ["" if u.attribute(UNLABELLED) else u.spk_id for u in utterances]
    heard = [(s, u) for s, u in zip(speakers, utterances, strict=True) if s]
    try:
        return read_attributes([], heard).groups(column, speakers)
    except UserError as error:
        message = str(error).removeprefix("groups: ")
        raise UserError(f"the key {key!r}, of the training manifest: {message}") from None
