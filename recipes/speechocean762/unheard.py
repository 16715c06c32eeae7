"""How new are training speakers at another speed to a member that has trained on them?

    python recipes/speechocean762/unheard.py RUN_FOLDER [--member first] [--speeds 0.9 1.1]

Prints the member's EER on trials of its own training speakers, as they are and at each speed,
and on the development and test speakers of the run. Where the speeds' EERs are near those of new
speakers, a second member trained on them learns from errors that the first really makes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from acorl_sb import corpora
from acorl_sb.corpora.splits import by_speaker, make_trials
from acorl_sb.data.trial_set import TrialSet
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.extraction import embed_utterances
from acorl_sb.encoders.member_folder import load_member
from acorl_sb.scoring.backends.cosine import cosine_eer
from acorl_sb.training.dataset import change_speed
from acorl_sb.utils.errors import UserError, run_cli
from acorl_sb.utils.tables import markdown, percent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run_folder", type=Path, help="output folder of train.py")
    parser.add_argument("--member", default="first")
    parser.add_argument("--speeds", type=float, nargs="+", default=[0.9, 1.1])
    parser.add_argument("--seconds", type=float, default=2.0, help="centre of each utterance")
    parser.add_argument("--each", type=int, default=10, help="utterances of each speaker")
    args = parser.parse_args()
    encoder = load_member(args.run_folder / "members" / args.member)
    rows = []
    for part, speeds in (("train", [1.0, *args.speeds]), ("dev", [1.0]), ("test", [1.0])):
        utterances = corpora.read_manifest(args.run_folder / "manifest" / f"{part}.csv")
        side = few(utterances, args.each, args.seconds * max(speeds))
        for speed in speeds:
            z = at_speed(encoder, side, speed, args.seconds)
            rows.append([part, f"{speed:g}", percent(cosine_eer(side, z))])
    print(markdown(["speakers", "speed", "EER %"], rows))
    return 0


def few(utterances: Sequence[corpora.Utterance], each: int, seconds: float) -> TrialSet:
    """Trials of the speakers who have ``each`` utterances of ``seconds`` or more."""
    groups = by_speaker(u for u in utterances if u.duration >= seconds).values()
    kept = [u for group in groups if len(group) >= each for u in group[:each]]
    if not kept:
        raise UserError(f"no speaker has {each} utterances of {seconds:g} s; ask for fewer")
    return TrialSet.of(kept, make_trials(kept, seed=0))


def at_speed(encoder: SpeakerEncoder, side: TrialSet, speed: float, seconds: float) -> np.ndarray:
    """Embeddings (N, D) of the centres, ``seconds`` long once they are at the speed."""

    def hear(wave: np.ndarray, _utterance: corpora.Utterance) -> np.ndarray:
        return change_speed(torch.from_numpy(wave), speed).numpy()

    return embed_utterances(encoder, side.utterances, seconds * speed, hear=hear).numpy()


if __name__ == "__main__":
    run_cli(main)
