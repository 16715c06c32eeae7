"""A tiny finished run, as train.py leaves it, without the training."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from speechbrain.lobes.models.ECAPA_TDNN import Classifier

from acorl_sb.corpora import make_trials
from acorl_sb.data.embeddings import Embeddings, write_embeddings
from acorl_sb.data.manifest import write_manifest
from acorl_sb.data.trials import write_trials
from acorl_sb.encoders.extraction import embed_utterances
from acorl_sb.encoders.member_folder import build_encoder, save_member
from tests import tiny


def utterances(folder: Path, **sizes):
    """Hums with a gender for each speaker and two sessions."""
    made = []
    for utterance in tiny.hums(folder, **sizes):
        speaker, take = (int(part[1:]) for part in utterance.id.split("-"))
        gender = "f" if speaker % 2 else "m"
        made.append(dataclasses.replace(utterance, gender=gender, session=f"day{take % 2}"))
    return made


def finished(folder: Path, speech: list, seeds: dict[str, int], **size) -> Path:
    """An output folder with one untrained member per seed, embeddings and trials.

    ``size`` overrides keys of the tiny encoder.
    """
    write_manifest(folder / "manifest" / "test.csv", speech)
    write_trials(folder / "manifest" / "test_trials.txt", make_trials(speech, 0))
    for name, seed in seeds.items():
        torch.manual_seed(seed)
        tree = tiny.encoder_tree(**size)
        encoder = build_encoder(tree, name).eval()
        head = Classifier(input_size=encoder.embedding_dim, out_neurons=2)
        save_member(folder / "members" / name, encoder, tree, head, ["a", "b"], {"name": name})
        vectors = embed_utterances(encoder, speech).numpy()
        ids = [utterance.id for utterance in speech]
        write_embeddings(folder / "embeddings" / name / "test", Embeddings(ids, vectors))
    return folder
