"""Member folders: complete on disk, loadable here and in plain SpeechBrain."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ruamel.yaml.comments import CommentedMap
from speechbrain.dataio.encoder import CategoricalEncoder
from torch import nn

from acorl_sb.data.audio import SAMPLE_RATE
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.trusted import build_keys, read_yaml
from acorl_sb.encoders.weights import load_weights, save_weights
from acorl_sb.utils.downloads import check_hash, hub_folder
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import atomic_path, write_json, write_text
from acorl_sb.utils.yaml_dump import dump

WEIGHTS, CLASSIFIER = "embedding_model.ckpt", "classifier.ckpt"
LABELS = "label_encoder.ckpt"
RECORD = "member.json"
_AGAIN = "bring it back as it was, or delete this member's folder and train it again"
ENCODER_KEYS = (
    *("embedding_model", "embedding_dim", "compute_features", "mean_var_norm", "sample_rate"),
)

# What SpeechBrain's EncoderClassifier needs beside the encoder's own keys.
_INTERFACE = """
classifier: !new:speechbrain.lobes.models.ECAPA_TDNN.Classifier
    input_size: {dim}
    out_neurons: {speakers}
label_encoder: !new:speechbrain.dataio.encoder.CategoricalEncoder
modules:
{front_end}    embedding_model: !ref <embedding_model>
    classifier: !ref <classifier>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        embedding_model: !ref <embedding_model>
        classifier: !ref <classifier>
        label_encoder: !ref <label_encoder>
"""


def read_labels(path: Path) -> dict[str, int]:
    """A label file of SpeechBrain's: training speaker -> row of the classifier, from 0.

    A voice at another speed is ``<speaker> x<speed>``. Raises ``UserError`` for a file that is
    damaged.
    """
    known = CategoricalEncoder()  # reads its file by ast.literal_eval
    try:
        known.load(path)
    except Exception as error:  # whatever its parser stumbles over
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: not readable as a label file ({reason}); {_AGAIN}") from None
    if sorted(known.lab2ind.values()) != list(range(len(known.lab2ind))):
        raise UserError(f"{path}: its numbers are not those of a classifier's rows; {_AGAIN}")
    return {str(label): row for label, row in known.lab2ind.items()}


def build_encoder(tree: Any, where: str, trust: bool = True) -> SpeakerEncoder:
    """Build an encoder from the keys of ``hparams/encoders/*.yaml``, resolved.

    Weights are initialised from torch's random state. ``trust`` says that the tree is the user's
    own, and may name any code; see ``acorl_sb.encoders.trusted``. Raises ``UserError``, naming
    ``where``, when ``embedding_model`` or ``embedding_dim`` is missing or something cannot be
    built.
    """
    made = build_keys(tree, ENCODER_KEYS, where, trust)
    if made.get("embedding_dim") is None:  # a network that knows it
        made["embedding_dim"] = getattr(made.get("embedding_model"), "embedding_dim", None)
    for key in ("embedding_model", "embedding_dim"):
        if made.get(key) is None:
            raise UserError(f"{where}: the encoder's key {key!r} is missing")
    encoder = _assembled(made, where)
    encoder.yaml = dump(tree)
    return encoder


def _assembled(made: dict[str, Any], where: str) -> SpeakerEncoder:
    """An encoder of built keys; ``UserError`` for one that is of the wrong kind."""
    for key in ("embedding_model", "compute_features", "mean_var_norm"):
        if not isinstance(made.get(key), nn.Module | None):
            raise UserError(f"{where}: the key {key!r} must be a torch module")
    dim, rate = made["embedding_dim"], made.get("sample_rate", SAMPLE_RATE)
    for key, value in (("embedding_dim", dim), ("sample_rate", rate)):
        if type(value) is not int or value <= 0:
            raise UserError(f"{where}: the key {key!r} must be a whole number, not {value!r}")
    return SpeakerEncoder(
        made["embedding_model"], dim, made.get("compute_features"), made.get("mean_var_norm"), rate
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
    front_end = "".join(
        f"    {key}: !ref <{key}>\n"
        for key in ("compute_features", "mean_var_norm")
        if encoder_tree.get(key) is not None
    )
    interface = _INTERFACE.format(
        dim=encoder.embedding_dim, speakers=len(speakers), front_end=front_end
    )
    block = CommentedMap(encoder_tree)  # in lines, also where it was given in braces
    write_text(folder / "hyperparams.yaml", dump(block) + interface)
    save_weights(encoder.embedding_model, folder / WEIGHTS)
    save_weights(classifier, folder / CLASSIFIER)
    encoder_of_labels = CategoricalEncoder()
    encoder_of_labels.update_from_iterable(speakers)
    with atomic_path(folder / LABELS) as temporary:
        encoder_of_labels.save(temporary)
    write_json(folder / RECORD, record)


def read_record(
    folder: str | Path, figures: Sequence[str] = ("dev_eer", "seconds")
) -> dict[str, Any] | None:
    """``member.json`` of a finished member, or None when the member is not finished.

    It holds ``settings`` and the numbers ``figures`` at least.

    Raises ``UserError`` for one that is damaged or lacks what every record holds.
    """
    path = Path(folder) / RECORD
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise UserError(f"{path}: not readable as JSON; {_AGAIN}") from None
    if not isinstance(record, dict) or not isinstance(record.get("settings"), dict):
        raise UserError(f"{path}: not a member's record, it has no settings; {_AGAIN}")
    for key in figures:
        value = record.get(key)
        if type(value) not in (int, float) or not math.isfinite(value):
            raise UserError(f"{path}: {key!r} must be a number, not {value!r}; {_AGAIN}")
    return record


def load_member(folder: str | Path, trust: bool = False) -> SpeakerEncoder:
    """Load an encoder, in eval mode, from a member folder of ours or of SpeechBrain.

    A folder of SpeechBrain's is one that ``EncoderClassifier.from_hparams`` reads: a
    ``hyperparams.yaml`` with ``compute_features``, ``mean_var_norm`` and ``embedding_model``,
    and the weights in ``embedding_model.ckpt``.

    No code of the folder is run, unless ``trust`` says that it may be; see
    ``acorl_sb.encoders.trusted``.

    Raises ``UserError`` for a folder, YAML or weights file that is missing, damaged or does not
    fit, and for a YAML that names other code than our encoders, SpeechBrain's and torch's.
    """
    folder = Path(folder)
    yaml_path, weights = folder / "hyperparams.yaml", folder / WEIGHTS
    for path in (folder, yaml_path, weights):
        if not path.exists():
            raise UserError(f"encoder folder {folder}: {path} does not exist")
    made = build_keys(read_yaml(yaml_path), ENCODER_KEYS, str(yaml_path), trust)
    if made.get("embedding_model") is None:
        raise UserError(f"{yaml_path}: the key 'embedding_model' is missing")
    named_dim = made.setdefault("embedding_dim", None) is not None
    encoder = _assembled(made if named_dim else {**made, "embedding_dim": 1}, str(yaml_path))
    encoder.yaml = yaml_path.read_text(encoding="utf-8")
    load_weights(encoder.embedding_model, weights)
    dim = _probe_dim(encoder.eval(), yaml_path)
    if named_dim and dim != encoder.embedding_dim:
        raise UserError(
            f"{yaml_path}: the encoder gives {dim} figures, its embedding_dim says "
            f"{encoder.embedding_dim}"
        )
    encoder.embedding_dim = dim
    return encoder


def rebuild_member(folder: str | Path, tree: Any, where: str) -> SpeakerEncoder:
    """A finished member of the user's own run, in eval mode, built from the run's own YAML.

    ``tree`` are the encoder's keys there, which may name any code, and ``where`` names them;
    of the folder only the weights are read.
    """
    return load_reference({"encoder": tree, "weights": Path(folder) / WEIGHTS}, where)


def load_reference(spec: dict[str, Any], where: str, trust: bool | None = None) -> SpeakerEncoder:
    """Load a user's own encoder, in eval mode, as an entry of the YAML's ``references`` says.

    One of these keys says what it is; ``where`` names the entry in messages:

    ``folder``
        a member folder of ours or of SpeechBrain
    ``source``
        such a folder, or the id of one on the Hugging Face hub, which is downloaded once, at the
        ``revision`` (a commit, tag or branch) if one is given
    ``encoder``
        an encoder's keys as in ``hparams/encoders/*.yaml``, so any torch module; its weights are
        those of the file ``weights``, a plain state dict, else what the module loads itself, else
        drawn from one fixed seed

    ``sha256`` is what the hash of the weights file must be, and ``trust: true`` lets a folder run
    code. The argument ``trust`` overrules that: the YAML is somebody else's, and what its
    ``encoder`` may name depends on ``trust`` as well.

    Raises ``UserError`` for what is missing, does not fit, or has another hash.
    """
    said = spec.get("trust", False)
    if type(said) is not bool:
        raise UserError(f"{where}: the key 'trust' must be true or false, not {said!r}")
    weights, digest = spec.get("weights"), spec.get("sha256")
    if "encoder" not in spec:
        folder = Path(str(spec.get("folder", spec.get("source"))))
        if "folder" not in spec and not folder.is_dir():
            files = ["hyperparams.yaml", WEIGHTS]
            folder = hub_folder(str(spec["source"]), spec.get("revision"), files, where)
        weights = folder / WEIGHTS
    if digest is not None:
        if weights is None:
            raise UserError(f"{where}: the key 'sha256' needs the key 'weights'")
        check_hash(weights, "sha256", str(digest))
    if "encoder" not in spec:
        encoder = load_member(folder, said if trust is None else trust)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # a module that loads no weights has the same ones every time
            encoder = build_encoder(spec["encoder"], f"{where}.encoder", trust is None or trust)
        if weights is not None:
            load_weights(encoder.embedding_model, weights)
    if encoder.sample_rate != SAMPLE_RATE:
        raise UserError(f"{where}: manifests count samples at {SAMPLE_RATE} Hz, and so must it")
    return encoder.eval()


@torch.no_grad()
def _probe_dim(encoder: SpeakerEncoder, yaml_path: Path) -> int:
    """D as the encoder gives it for one second of noise; a foreign YAML need not name it."""
    wave = torch.randn(1, encoder.sample_rate, generator=torch.Generator().manual_seed(0))
    try:
        z = encoder(0.1 * wave)
    except Exception as error:  # a YAML can put together what does not fit in any way
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{yaml_path}: the encoder fails on one second of audio ({reason})"
        ) from None
    if z.dim() != 2 or not bool(torch.isfinite(z).all()):
        raise UserError(f"{yaml_path}: the encoder gives no embedding of one second of audio")
    return z.shape[-1]
