"""An encoder by what a user calls it: a folder, an id of the hub, an ONNX file, a YAML, ge2e."""

from __future__ import annotations

from pathlib import Path

from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.member_folder import load_reference
from acorl_sb.encoders.onnx_encoder import load_onnx
from acorl_sb.encoders.shipped import OPEN, load_shipped
from acorl_sb.encoders.trusted import read_yaml
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.packaged import find_yaml

GE2E = "ge2e"
# Networks of these come without weights.
_BARE = ("speechbrain.", "torch.", "acorl_sb.encoders.frame_major", "acorl_sb.encoders.wavlm")


def load_named(
    name: str, weights: str | None = None, revision: str | None = None, trust: bool = False
) -> SpeakerEncoder:
    """Load an encoder, in eval mode.

    Arguments
    ---------
    name : ``open``, the encoder that the package brings; a member's folder, or one that
        SpeechBrain's ``EncoderClassifier.from_hparams`` reads; the id of such a folder on the
        Hugging Face hub; an ``.onnx`` file that takes waves; the YAML of an encoder, of one's own
        or of the package (``encoders/onnx_fbank.yaml``); or ``ge2e``, the package's YAML of that
        encoder
    weights : a plain state dict, for a YAML whose network does not load its own
    revision : commit, tag or branch on the hub
    trust : whether a folder or YAML may name any code, see docs/trust.md

    Returns
    -------
    SpeakerEncoder

    Raises
    ------
    UserError
        For an encoder that is not there, does not fit its weights or names other code, and for a
        YAML whose network would be left with random weights.
    """
    if name == OPEN and weights is None and not Path(name).exists():
        return load_shipped()
    if name == GE2E and not Path(name).exists():
        name = "encoders/ge2e.yaml"
    if not name.endswith((".yaml", ".yml")):
        if weights is not None:
            raise UserError(f"{name}: it has its own weights; leave out the key 'weights'")
        if name.lower().endswith(".onnx"):
            return load_onnx(name)
        if not Path(name).is_dir() and not _is_hub_id(name):
            raise UserError(
                f"{name}: no such encoder; name a member's folder, an id of the Hugging Face hub "
                f"(owner/name), a file .onnx, a .yaml with an encoder's keys, {OPEN} or {GE2E}"
            )
        key = "folder" if Path(name).is_dir() else "source"
        return load_reference({key: name, "revision": revision}, name, trust)
    path = find_yaml(name)
    spec = {"encoder": read_yaml(path)} | ({"weights": weights} if weights else {})
    encoder = load_reference(spec, str(path), trust)
    network = type(encoder.embedding_model).__module__
    if weights is None and network.startswith(_BARE):
        raise UserError(f"{path}: the network has no weights but random ones; give --weights FILE")
    return encoder


def _is_hub_id(name: str) -> bool:
    """Whether a name that is no folder has the form of a hub id: ``owner/name``."""
    owner, slash, rest = name.partition("/")
    return bool(slash and owner.strip(".~") and rest) and "/" not in rest
