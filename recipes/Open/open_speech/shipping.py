"""What ships: weights of half precision, calibration, figures, and the model card."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from ruamel.yaml import YAML
from safetensors.torch import save_file

from acorl_sb.data.recording_range import RecordingRange
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.member_folder import ENCODER_KEYS
from acorl_sb.encoders.shipped import SHIPPED_WEIGHTS
from acorl_sb.fusion.logistic import LogisticFusion
from acorl_sb.scoring.backends.cosine import cosine_trial_scores
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import atomic_path, write_json, write_text
from acorl_sb.utils.hparams import dump
from open_speech import evaluation, sets

LARGEST = 4_000_000  # bytes of the weights
PRIOR = 0.05  # at which the calibration is fitted


def write_weights(member: Path, place: Path) -> None:
    """A member's network in float16, and the YAML that builds it, into ``place``."""
    state = torch.load(member / "embedding_model.ckpt", map_location="cpu", weights_only=True)
    half = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    with atomic_path(place / SHIPPED_WEIGHTS) as temporary:
        save_file({key: value.contiguous() for key, value in half.items()}, temporary)
    size = (place / SHIPPED_WEIGHTS).stat().st_size
    if size > LARGEST:
        raise UserError(f"{place / SHIPPED_WEIGHTS}: {size} bytes are more than {LARGEST}")
    tree = YAML().load((member / "hyperparams.yaml").read_text(encoding="utf-8"))
    for key in ("classifier", "label_encoder", "modules", "pretrainer"):
        tree.pop(key, None)
    assert set(ENCODER_KEYS) & tree.keys()
    write_text(place / "hyperparams.yaml", dump(tree))


def calibrate(encoder: SpeakerEncoder, folder: Path, data: Path, place: Path) -> None:
    """Fit LLRs on the development speakers across sessions, under several conditions, together."""
    prepared, own = folder / "data", folder / "embeddings" / place.name
    side = sets.read_set(prepared, data, "dev", sets.DEV)
    scores = []
    for condition in evaluation.CALIBRATED_ON:
        z = evaluation.embedded(lambda: encoder, own, prepared, data, "dev", sets.DEV, condition)
        scores.append(cosine_trial_scores(side, z))
    labels = np.tile(side.trials.labels, len(scores))
    fusion = LogisticFusion(PRIOR).fit(np.concatenate(scores)[None], labels)
    seen = RecordingRange.of(side.utterances, None)
    digest = hashlib.sha256((place / SHIPPED_WEIGHTS).read_bytes()).hexdigest()
    write_json(
        place / "model.json",
        {
            "sha256": digest,
            "fusion": fusion.state(),
            "score_seconds": None,
            "calibrated_on": seen._asdict(),
        },
    )


def read_figures(place: Path) -> dict:
    """The figures that were shipped with the weights."""
    return json.loads((place / "figures.json").read_text(encoding="utf-8"))
