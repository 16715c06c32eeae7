"""Member folders: complete on disk, loadable here and in plain SpeechBrain."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ruamel.yaml
import torch
from speechbrain.dataio.encoder import CategoricalEncoder
from torch import nn

from acorl_sb.encoders import SpeakerEncoder
from acorl_sb.errors import UserError
from acorl_sb.files import atomic_path, write_json, write_text
from acorl_sb.hparams import build, dump

WEIGHTS = "embedding_model.ckpt"
RECORD = "member.json"

# What SpeechBrain's EncoderClassifier needs beside the encoder's own keys.
_INTERFACE = """
classifier: !new:speechbrain.lobes.models.ECAPA_TDNN.Classifier
    input_size: {dim}
    out_neurons: {speakers}
label_encoder: !new:speechbrain.dataio.encoder.CategoricalEncoder
modules:
    compute_features: !ref <compute_features>
    mean_var_norm: !ref <mean_var_norm>
    embedding_model: !ref <embedding_model>
    classifier: !ref <classifier>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        embedding_model: !ref <embedding_model>
        classifier: !ref <classifier>
        label_encoder: !ref <label_encoder>
"""


def build_encoder(tree: Any, where: str) -> SpeakerEncoder:
    """Build an encoder from the keys of ``hparams/encoders/*.yaml``, resolved.

    Weights are initialised from torch's random state. Raises ``UserError``, naming ``where``,
    when ``embedding_model`` or ``embedding_dim`` is missing or something cannot be built.
    """
    made = build(tree, where)
    for key in ("embedding_model", "embedding_dim"):
        if key not in made:
            raise UserError(f"{where}: the encoder's key {key!r} is missing")
    return SpeakerEncoder(
        made["embedding_model"],
        made["embedding_dim"],
        made.get("compute_features"),
        made.get("mean_var_norm"),
        made.get("sample_rate", 16000),
    )


def save_member(
    folder: str | Path,
    encoder: SpeakerEncoder,
    encoder_tree: Any,
    classifier: nn.Module,
    speakers: Sequence[str],
    record: dict[str, Any],
) -> None:
    """Write a complete member folder; ``member.json``, which says so, comes last.

    Arguments
    ---------
    folder : path
    encoder : SpeakerEncoder
    encoder_tree : resolved YAML keys that rebuild the encoder
    classifier : SpeechBrain's cosine ``Classifier`` over the training speakers
    speakers : training speakers in label order
    record : figures and settings for ``member.json``
    """
    folder = Path(folder)
    interface = _INTERFACE.format(dim=encoder.embedding_dim, speakers=len(speakers))
    write_text(folder / "hyperparams.yaml", dump(encoder_tree) + interface)
    for name, module in ((WEIGHTS, encoder.embedding_model), ("classifier.ckpt", classifier)):
        with atomic_path(folder / name) as temporary:
            torch.save({k: v.detach().cpu() for k, v in module.state_dict().items()}, temporary)
    encoder_of_labels = CategoricalEncoder()
    encoder_of_labels.update_from_iterable(speakers)
    with atomic_path(folder / "label_encoder.ckpt") as temporary:
        encoder_of_labels.save(temporary)
    write_json(folder / RECORD, record)


def read_record(folder: str | Path) -> dict[str, Any] | None:
    """``member.json`` of a finished member, or None when the member is not finished."""
    path = Path(folder) / RECORD
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError:
        raise UserError(f"{path}: not readable as JSON; delete the member's folder") from None


def load_member(folder: str | Path) -> SpeakerEncoder:
    """Load an encoder, in eval mode, from a member folder of ours or of SpeechBrain.

    A folder of SpeechBrain's is one that ``EncoderClassifier.from_hparams`` reads: a
    ``hyperparams.yaml`` with ``compute_features``, ``mean_var_norm`` and ``embedding_model``,
    and the weights in ``embedding_model.ckpt``.

    Raises ``UserError`` for a folder, YAML or weights file that is missing or does not fit.
    """
    folder = Path(folder)
    yaml_path, weights = folder / "hyperparams.yaml", folder / WEIGHTS
    for path in (folder, yaml_path, weights):
        if not path.exists():
            raise UserError(f"encoder folder {folder}: {path} does not exist")
    made = build(ruamel.yaml.YAML().load(yaml_path.read_text(encoding="utf-8")), str(yaml_path))
    model = made.get("embedding_model")
    if model is None:
        raise UserError(f"{yaml_path}: the key 'embedding_model' is missing")
    load_weights(model, weights)
    dim = made.get("embedding_dim") or _probe_dim(made, yaml_path)
    encoder = SpeakerEncoder(
        model,
        dim,
        made.get("compute_features"),
        made.get("mean_var_norm"),
        made.get("sample_rate", 16000),
    )
    return encoder.eval()


def load_prior(spec: dict[str, Any], where: str) -> SpeakerEncoder:
    """Load a user's own encoder, in eval mode, as an entry of the YAML's ``priors`` says.

    One of these keys says what it is; ``where`` names the entry in messages:

    ``folder``
        a member folder of ours or of SpeechBrain
    ``source``
        such a folder, or the id of one on the Hugging Face hub, which is downloaded once
    ``encoder``
        an encoder's keys as in ``hparams/encoders/*.yaml``, so any torch module; its weights are
        those of the file ``weights``, a plain state dict, else what the module loads itself, else
        drawn from one fixed seed

    Raises ``UserError`` for what is missing or does not fit.
    """
    if "encoder" in spec:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # a module that loads no weights has the same ones every time
            encoder = build_encoder(spec["encoder"], f"{where}.encoder")
        if spec.get("weights") is not None:
            load_weights(encoder.embedding_model, spec["weights"])
        return encoder.eval()
    if "folder" in spec:
        return load_member(spec["folder"])
    source = str(spec["source"])
    return load_member(source if Path(source).is_dir() else _download(source, where))


def _download(source: str, where: str) -> str:
    """The local folder of an encoder on the Hugging Face hub."""
    from huggingface_hub import snapshot_download

    try:
        return snapshot_download(source, allow_patterns=["hyperparams.yaml", WEIGHTS])
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{where}: {source!r} is no folder here, and the Hugging Face hub does not give it "
            f"({reason})"
        ) from None


def load_start(
    folder: str | Path, encoder: SpeakerEncoder, classifier: nn.Module, speakers: Sequence[str]
) -> None:
    """Put a finished member's weights into an encoder and its classifier, to go on from there.

    The classifier takes the rows of ``speakers`` by name, so a member that was trained on more
    of them (other speeds count as speakers) will do.

    Raises ``UserError`` for weights that do not fit and speakers that the member does not know.
    """
    folder = Path(folder)
    load_weights(encoder.embedding_model, folder / WEIGHTS)
    known = CategoricalEncoder()
    for path in (folder / "label_encoder.ckpt", folder / "classifier.ckpt"):
        if not path.is_file():
            raise UserError(f"start {folder}: {path} does not exist; name a member's folder")
    known.load(folder / "label_encoder.ckpt")
    unknown = [speaker for speaker in speakers if speaker not in known.lab2ind]
    if unknown:
        raise UserError(
            f"start {folder}: {len(unknown)} training speakers are not its own, "
            f"first {unknown[0]}; start from a member of the same corpus"
        )
    rows = [known.lab2ind[speaker] for speaker in speakers]
    old = torch.load(folder / "classifier.ckpt", map_location="cpu", weights_only=True)
    new = classifier.state_dict()
    for key, value in old.items():
        if key in new and value.dim() and len(value) == len(known.lab2ind):
            value = value[rows]
        if key not in new or value.shape != new[key].shape:
            raise UserError(f"{folder}/classifier.ckpt: {key} does not fit this head")
        new[key] = value
    classifier.load_state_dict(new)


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Load a plain state dict into ``model``; a ``UserError`` says what does not fit."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"weights file {path} does not exist")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(state)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: not the weights of this encoder ({reason})") from None


@torch.no_grad()
def _probe_dim(made: dict[str, Any], yaml_path: Path) -> int:
    """D of a foreign encoder, whose YAML need not name it, from one second of noise."""
    encoder = SpeakerEncoder(
        made["embedding_model"], 0, made.get("compute_features"), made.get("mean_var_norm")
    ).eval()
    try:
        return encoder(torch.randn(1, made.get("sample_rate", 16000))).shape[-1]
    except RuntimeError as error:
        raise UserError(f"{yaml_path}: the encoder fails on one second of audio: {error}") from None
