"""Any encoder that a command line can name: folders, hub ids, ONNX files, YAMLs, GE2E."""

from __future__ import annotations

from pathlib import Path

from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.member_folder import load_reference
from acorl_sb.encoders.onnx_encoder import load_onnx
from acorl_sb.encoders.trusted import read_yaml
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.packaged import find_yaml

GE2E = "ge2e"


def load_any(source: str, trust: bool = False) -> SpeakerEncoder:
    """Load an encoder, in eval mode, by what a user calls it.

    Arguments
    ---------
    source : str
        A member folder of ours or of SpeechBrain; the id of such a folder on the Hugging Face hub
        (``speechbrain/spkrec-ecapa-voxceleb``); a file ``.onnx`` that takes waves; a ``.yaml`` with
        an encoder's keys as in ``hparams/encoders``; or ``ge2e``, resemblyzer's encoder.
    trust : bool
        Whether the folder or YAML may run code, see ``acorl_sb.encoders.trusted``.

    Returns
    -------
    SpeakerEncoder
        Takes waves (B, T) at 16 kHz.

    Raises
    ------
    UserError
        For what is not there, is damaged, does not fit, or names code that is not trusted.
    """
    path = Path(source)
    if source == GE2E and not path.exists():
        path = Path("encoders/ge2e.yaml")
    if path.suffix.lower() == ".onnx":
        encoder = load_onnx(path)
    elif path.suffix.lower() in (".yaml", ".yml"):
        where = str(find_yaml(path))
        encoder = load_reference({"encoder": read_yaml(where)}, where, trust)
    elif path.is_dir() or _is_hub_id(source):
        encoder = load_reference({"source": source}, source, trust)
    else:
        raise UserError(
            f"{source}: no such encoder; name a member's folder, an id of the Hugging Face hub "
            f"(owner/name), a file .onnx, a .yaml with an encoder's keys, or {GE2E}"
        )
    return encoder


def _is_hub_id(source: str) -> bool:
    """Whether a name that is no folder has the form of a hub id: ``owner/name``."""
    owner, slash, name = source.partition("/")
    return bool(slash and owner.strip(".~") and name) and "/" not in name
