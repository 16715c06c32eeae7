"""Which Common Voice accounts are not one speaker each: an embedding pass with a stated rule.

    python recipes/Complementarity/check_speakers.py COMMONVOICE > dropped_speakers.txt

Embeds every clip whole with Resemblyzer's GE2E, which is external, and drops

1. an account whose clips do not agree: the mean cosine between its sessions (within the session,
   where it has one) lies more than ``SPREADS`` robust standard deviations (1.4826 MAD) below the
   median of all accounts of its kind. Several people may share it.
2. the smaller of two accounts of one language that agree as one speaker does: the mean cosine
   between them is above the median that accounts have with themselves. One person may have both.

Accounts dropped by 1 take no part in 2. Where GE2E errs, a good speaker is lost or a bad one stays,
for all systems that are compared alike.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import torch

from acorl_sb.corpora import commonvoice
from acorl_sb.corpora.splits import by_speaker
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.extraction import embed_utterances
from acorl_sb.encoders.ge2e import GE2E
from acorl_sb.utils.errors import UserError, run_cli

SPREADS = 3.0


def main() -> int:
    if len(sys.argv) != 2:
        raise UserError("usage: check_speakers.py COMMONVOICE")
    torch.set_num_threads(1)
    found = commonvoice.collect(Path(sys.argv[1]))
    utterances = [*found.train, *found.dev, *found.test]
    z = embed_utterances(SpeakerEncoder(GE2E(), GE2E.embedding_dim), utterances).numpy()
    rows = {u.id: row for u, row in zip(utterances, z, strict=True)}
    speakers = {
        name: (np.stack([rows[u.id] for u in group]), [u.session for u in group])
        for name, group in by_speaker(utterances).items()
    }
    print("# Made by check_speakers.py; its docstring states the rule.")
    for name, reason in dropped(speakers).items():
        print(f"{name}  # {reason}")
    return 0


def dropped(speakers: dict[str, tuple[np.ndarray, list[str]]]) -> dict[str, str]:
    """Speaker -> why it is dropped; of each its unit embeddings (N, D) and N sessions."""
    own = {name: agreement(*clips) for name, clips in speakers.items()}
    several = {name: len(set(sessions)) > 1 for name, (_, sessions) in speakers.items()}
    out: dict[str, str] = {}
    for kind in (True, False):
        values = {name: own[name] for name in own if several[name] == kind}
        if not values:
            continue
        middle = np.median([*values.values()])
        floor = middle - SPREADS * 1.4826 * np.median(np.abs([*values.values()] - middle))
        for name, value in values.items():
            if value < floor:
                out[name] = f"its clips agree by {value:.3f}, below {floor:.3f}"
    ceiling = np.median([value for name, value in own.items() if name not in out])
    for a, b in itertools.combinations(sorted(speakers), 2):
        if a.partition("__")[0] != b.partition("__")[0] or a in out or b in out:
            continue
        between = float((speakers[a][0] @ speakers[b][0].T).mean())
        if between > ceiling:
            fewer, other = sorted((a, b), key=lambda name: (len(speakers[name][1]), name))
            out[fewer] = f"agrees with {other} by {between:.3f}, above {ceiling:.3f}"
    return dict(sorted(out.items()))


def agreement(z: np.ndarray, sessions: list[str]) -> float:
    """Mean cosine of pairs of clips of different sessions, or of all pairs of one session."""
    first, second = np.triu_indices(len(z), 1)
    names = np.array(sessions)
    across = names[first] != names[second]
    if across.any():
        first, second = first[across], second[across]
    return float((z[first] * z[second]).sum(1).mean())


if __name__ == "__main__":
    run_cli(main)
