"""The finished member that another one goes on from: its weights, classifier and speakers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from acorl_sb.encoders.encoder import SpeakerEncoder, check_same_encoder
from acorl_sb.encoders.member_folder import (
    CLASSIFIER,
    LABELS,
    WEIGHTS,
    load_member,
    read_labels,
    read_record,
)
from acorl_sb.encoders.trusted import UntrustedError
from acorl_sb.encoders.weights import load_weights, read_weights
from acorl_sb.utils.errors import UserError


def check_start(
    folder: Path, encoder: SpeakerEncoder
) -> tuple[dict[str, int], dict[str, torch.Tensor]]:
    """Load the weights of a finished member into an encoder, to see whether it can go on from it.

    Returns its S training speakers, name -> row of the classifier, and the classifier's state
    dict, with weights (S, D).

    Raises ``UserError`` for a folder that is no member's or has damaged files, weights that do not
    fit and another front end; the last is not looked for where the folder's YAML names code of the
    user's own.
    """
    for path in (folder / WEIGHTS, folder / LABELS, folder / CLASSIFIER):
        if not path.is_file():
            raise UserError(
                f"start {folder}: {path} does not exist; name an earlier member of the YAML or the "
                "folder of a finished one"
            )
    read_record(folder, ("seconds",))
    known, classifier = read_labels(folder / LABELS), read_weights(folder / CLASSIFIER)
    load_weights(encoder.embedding_model, folder / WEIGHTS)
    try:
        check_same_encoder(load_member(folder), encoder)
    except UntrustedError:
        pass
    except ValueError as error:
        raise UserError(f"start {folder}: it does not fit this encoder: {error}") from None
    return known, classifier


def load_start(
    folder: str | Path, encoder: SpeakerEncoder, classifier: nn.Module, speakers: Sequence[str]
) -> None:
    """Put a finished member's weights into an encoder and its classifier, to go on from there.

    The classifier takes the rows of ``speakers`` by name, so a member that was trained on more
    of them (other speeds count as speakers) will do.

    Raises ``UserError`` for weights that do not fit and speakers that the member does not know.
    """
    folder = Path(folder)
    known, old = check_start(folder, encoder)
    unknown = [speaker for speaker in speakers if speaker not in known]
    if unknown:
        raise UserError(
            f"start {folder}: {len(unknown)} training speakers are not its own, "
            f"first {unknown[0]}; start from a member of the same corpus"
        )
    rows = [known[speaker] for speaker in speakers]
    new = classifier.state_dict()
    for key, value in old.items():
        if key in new and value.dim() and len(value) == len(known):
            value = value[rows]
        if key not in new or value.shape != new[key].shape:
            raise UserError(f"{folder}/classifier.ckpt: {key} does not fit this head")
        new[key] = value
    classifier.load_state_dict(new)
