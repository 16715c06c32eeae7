"""Weights from files: plain state dicts, read without running code that a file brings."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import atomic_path


def save_weights(model: nn.Module, path: str | Path) -> None:
    """Write a model's state dict, moved to the CPU, whole or not at all."""
    with atomic_path(path) as temporary:
        torch.save({k: v.detach().cpu() for k, v in model.state_dict().items()}, temporary)


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Load a plain state dict into ``model``; a ``UserError`` says what does not fit."""
    state = read_weights(path)
    try:
        model.load_state_dict(state)
    except Exception as error:
        raise _not_weights(Path(path), error) from None


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """A state dict, name -> tensor of any shape, of ``.safetensors`` or torch's; no code is run.

    Raises ``UserError`` for a file that is missing, no state dict, or holds NaN or infinity.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"weights file {path} does not exist")
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        tensors = {str(key): value for key, value in state.items() if torch.is_tensor(value)}
    except Exception as error:
        raise _not_weights(path, error) from None
    for key, value in tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise UserError(f"{path}: the weights {key!r} hold NaN or infinity; train it again")
    return state


def weights_hash(encoder: nn.Module) -> str:
    """SHA-256, in hex, of an encoder's weights: names, types, shapes and bytes, sorted by name.

    Of a ``SpeakerEncoder`` only the embedding network counts, which is what a member's folder
    holds; its front end is computed and may differ in the last digit between machines.
    """
    state = getattr(encoder, "embedding_model", encoder).state_dict()
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        if not isinstance(value, torch.Tensor):  # an extra state
            digest.update(f"{name} {value!r}\n".encode())
            continue
        value = value.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def encoder_hash(encoder: nn.Module) -> str:
    """SHA-256, in hex, of all that decides an encoder's embeddings, as far as files say it.

    That is ``weights_hash``, and the YAML that it was built from, which has its front end.
    """
    text = f"{weights_hash(encoder)}\n{getattr(encoder, 'yaml', None)}"
    return hashlib.sha256(text.encode()).hexdigest()


def _not_weights(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:200]
    return UserError(f"{path}: not the weights of this encoder ({reason})")
