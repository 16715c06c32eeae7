"""Folders for tests: SpeechBrain's as it publishes them, and a finished run, never trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import ruamel.yaml
import torch

from acorl_sb.corpora import make_trials
from acorl_sb.data.manifest import Utterance, write_manifest
from acorl_sb.data.recording_range import RecordingRange
from acorl_sb.data.trial_set import read_trial_set
from acorl_sb.data.trials import write_trials
from acorl_sb.encoders.ensemble import FrozenEnsemble
from acorl_sb.encoders.member_folder import WEIGHTS
from acorl_sb.fusion import ensemble_scoring
from acorl_sb.fusion import models as fusion
from acorl_sb.utils.files import write_json, write_text
from acorl_sb.utils.hparams import build
from tests.analysis import runs

# The YAML of SpeechBrain's published encoders, their sizes made small.
_PUBLISHED = """
# Feature parameters
n_mels: 24
# Pretrain folder (HuggingFace)
pretrained_path: speechbrain/spkrec-voxceleb
# Output parameters
out_n_neurons: 7205
emb_dim: 16
compute_features: !new:speechbrain.lobes.features.Fbank
    n_mels: !ref <n_mels>
mean_var_norm: !new:speechbrain.processing.features.InputNormalization
    norm_type: sentence
    std_norm: False
{model}
classifier: !new:speechbrain.lobes.models.ECAPA_TDNN.Classifier
    input_size: !ref <emb_dim>
    out_neurons: !ref <out_n_neurons>
mean_var_norm_emb: !new:speechbrain.processing.features.InputNormalization
    norm_type: global
    std_norm: False
modules:
    compute_features: !ref <compute_features>
    mean_var_norm: !ref <mean_var_norm>
    embedding_model: !ref <embedding_model>
    mean_var_norm_emb: !ref <mean_var_norm_emb>
    classifier: !ref <classifier>
label_encoder: !new:speechbrain.dataio.encoder.CategoricalEncoder
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        embedding_model: !ref <embedding_model>
        mean_var_norm_emb: !ref <mean_var_norm_emb>
        classifier: !ref <classifier>
        label_encoder: !ref <label_encoder>
    paths:
        embedding_model: !ref <pretrained_path>/embedding_model.ckpt
        label_encoder: !ref <pretrained_path>/label_encoder.txt
"""
MODELS = {
    "ecapa": """
embedding_model: !new:speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN
    input_size: !ref <n_mels>
    channels: [8, 8, 8, 8, 24]
    kernel_sizes: [5, 3, 3, 3, 1]
    dilations: [1, 2, 3, 4, 1]
    attention_channels: 8
    lin_neurons: !ref <emb_dim>
""",
    "xvector": """
embedding_model: !new:speechbrain.lobes.models.Xvector.Xvector
    in_channels: !ref <n_mels>
    activation: !name:torch.nn.LeakyReLU
    tdnn_blocks: 5
    tdnn_channels: [8, 8, 8, 8, 24]
    tdnn_kernel_sizes: [5, 3, 3, 1, 1]
    tdnn_dilations: [1, 2, 3, 1, 1]
    lin_neurons: !ref <emb_dim>
""",
    "resnet": """
embedding_model: !new:speechbrain.lobes.models.ResNet.ResNet
    input_size: !ref <n_mels>
    channels: [8, 8, 16, 16]
    strides: [1, 2, 2, 2]
    block_sizes: [1, 1, 1, 1]
    lin_neurons: !ref <emb_dim>
""",
}


def published(folder: Path, kind: str = "ecapa") -> Path:
    """A folder as of ``speechbrain/spkrec-...``; its weights are a link, as in the hub's cache."""
    text = _PUBLISHED.format(model=MODELS[kind])
    write_text(folder / "hyperparams.yaml", text)
    torch.manual_seed(3)
    model = build(ruamel.yaml.YAML().load(text), kind)["embedding_model"]
    blob = folder.parent / f"blob_{folder.name}"
    torch.save(model.state_dict(), blob)
    (folder / WEIGHTS).symlink_to(blob)
    return folder


def finished_run(folder: Path) -> tuple[Path, list]:
    """An output folder of ``train.py`` with members ``first`` and ``second``; its utterances."""
    speech = runs.utterances(folder.parent / "speech", speakers=6, each=4)
    runs.finished(folder, speech, {"first": 1, "second": 2})
    write_text(
        folder / "hyperparams.yaml",
        "score_seconds: 0.5\nreferences: []\nmembers:\n- name: first\n- name: second\n",
    )
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 2 == 0
    model = fusion.LogisticFusion(prior=0.05).fit(rng.normal(size=(2, 80)) + labels, labels)
    fusion.save(folder / "fusion" / "score-logistic.json", model)
    write_json(folder / "results.json", {"score_seconds": 0.5, "systems": []})
    return folder, speech


def copied(folder: Path, to: Path) -> Path:
    """A copy to do harm to."""
    return Path(shutil.copytree(folder, to, symlinks=True))


def scored_run(folder: Path, members: int = 2) -> Path:
    """An output folder of ``train.py`` as it is once scored; the embeddings are drawn, not made."""
    sides = {}
    for part, first in (("dev", 0), ("test", 20)):
        speech = [
            Utterance(f"s{s}-{u}", 1.0, f"s{s}/{u}.wav", 0, 16000, f"s{s}")
            for s in range(first, first + 20)
            for u in range(4)
        ]
        write_manifest(folder / "manifest" / f"{part}.csv", speech)
        write_trials(folder / "manifest" / f"{part}_trials.txt", make_trials(speech, 0))
        sides[part] = read_trial_set(speech, folder / "manifest" / f"{part}_trials.txt")

    def drawn(encoder, utterances, *args, **options):
        rng = np.random.default_rng([encoder.seed, len(utterances[0].id)])
        voices = rng.normal(size=(20, 8)).repeat(4, 0)
        return torch.from_numpy(voices + (1 + encoder.seed) * rng.normal(size=voices.shape)).float()

    ensemble = FrozenEnsemble()
    for seed, name in enumerate(("first", "second")[:members]):
        encoder = torch.nn.Linear(1, 8)
        encoder.embedding_dim, encoder.seed = 8, seed
        ensemble.add(name, encoder)
        lines = [{"epoch": n, "task_loss": 5 / n, "dev_eer": 0.3 / n} for n in (1, 2)]
        log = "".join(json.dumps(line) + "\n" for line in lines)
        write_text(folder / "members" / name / "train_log.jsonl", log)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ensemble_scoring, "embed_utterances", drawn)
        seen = RecordingRange(1.0, 1.0, 20.0)  # there is no audio
        patch.setattr(RecordingRange, "of", lambda *args: seen)
        ensemble_scoring.evaluate_ensemble(ensemble, {}, **sides, folder=folder, seconds=None,
                                           device="cpu")  # fmt: skip
    return folder
