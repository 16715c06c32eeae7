"""An encoder by what a user calls it: a folder, an id of the hub, an encoder's YAML."""

from __future__ import annotations

from pathlib import Path

from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.member_folder import load_reference
from acorl_sb.encoders.trusted import read_yaml
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.packaged import find_yaml

_BARE = ("speechbrain.", "torch.")  # networks of these packages come without weights


def load_named(
    name: str, weights: str | None = None, revision: str | None = None, trust: bool = False
) -> SpeakerEncoder:
    """Load an encoder, in eval mode.

    Arguments
    ---------
    name : a member's folder, or one that SpeechBrain's ``EncoderClassifier.from_hparams`` reads;
        the id of such a folder on the Hugging Face hub; or the YAML of an encoder, of one's own or
        of the package (``encoders/ge2e.yaml``)
    weights : a plain state dict, for a YAML whose network does not load its own
    revision : commit, tag or branch on the hub
    trust : whether a folder or YAML may name any code, see docs/trust.md

    Raises
    ------
    UserError
        For an encoder that is not there, does not fit its weights or names other code, and for a
        YAML whose network would be left with random weights.
    """
    if not name.endswith((".yaml", ".yml")):
        if weights is not None:
            raise UserError(f"{name}: a folder has its own weights; leave out the key 'weights'")
        key = "folder" if Path(name).is_dir() else "source"
        return load_reference({key: name, "revision": revision}, "encoder", trust)
    path = find_yaml(name)
    spec = {"encoder": read_yaml(path)} | ({"weights": weights} if weights else {})
    encoder = load_reference(spec, str(path), trust)
    network = type(encoder.embedding_model).__module__
    if weights is None and network.startswith(_BARE):
        raise UserError(f"{path}: the network has no weights but random ones; give --weights FILE")
    return encoder
