"""Image members on disk: the encoder, its classifier, and what it says of every image."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ruamel.yaml
import torch
from torch import nn
from torch.utils.data import DataLoader

from acorl_sb.encoders.member_folder import RECORD, WEIGHTS
from acorl_sb.encoders.trusted import HOMES, build_keys, read_yaml
from acorl_sb.encoders.weights import load_weights
from acorl_sb.training.heads import SoftmaxHead
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import atomic_path, write_json, write_text
from acorl_sb.utils.hparams import build

CLASSIFIER, OUTPUTS = "classifier.ckpt", "outputs.npz"


class Outputs(NamedTuple):
    """What a finished member says: embeddings (N, D) of each split, logits (N, C) of two."""

    train: np.ndarray
    dev: np.ndarray
    test: np.ndarray
    dev_logits: np.ndarray
    test_logits: np.ndarray


def build_encoder(tree: Any, where: str) -> nn.Module:
    """Build an encoder from its resolved YAML; it must say D as ``embedding_dim``."""
    return _checked(build({"encoder": tree}, where)["encoder"], where)


def _checked(encoder: Any, where: str) -> nn.Module:
    if not isinstance(encoder, nn.Module) or not hasattr(encoder, "embedding_dim"):
        raise UserError(f"{where}: must be a torch module with the attribute embedding_dim")
    return encoder


@torch.no_grad()
def embed(
    encoder: nn.Module,
    split,
    device: torch.device | str = "cpu",
    batch_size: int = 256,
    workers: int = 0,
) -> torch.Tensor:
    """Embeddings (N, D) float32, on the CPU, of every image of a split; no augmentation."""
    encoder = encoder.to(device).eval()
    loader = DataLoader(split, batch_size, num_workers=workers)
    with worker_errors():
        return torch.cat([encoder(images.to(device)).float().cpu() for images in loader])


@contextlib.contextmanager
def worker_errors() -> Iterator[None]:
    """A loader process hands on its whole traceback as the message; its last line is ours."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).strip().splitlines()[-1].split("UserError: ")[-1]) from None


@torch.no_grad()
def member_outputs(encoder, head: SoftmaxHead, data, device, workers: int = 0) -> Outputs:
    head = head.to("cpu")
    train, dev, test = (
        embed(encoder, split, device, workers=workers)
        for split in (data.train, data.dev, data.test)
    )
    arrays = (train, dev, test, head.logits(dev), head.logits(test))
    return Outputs(*(array.numpy() for array in arrays))


def save_member(
    folder: str | Path,
    encoder: nn.Module,
    encoder_tree: Any,
    head: SoftmaxHead,
    classes: Sequence[str],
    outputs: Outputs,
    record: dict[str, Any],
) -> None:
    """Write a complete member folder; ``member.json``, which says so, comes last."""
    folder = Path(folder)
    stream = io.StringIO()
    ruamel.yaml.YAML().dump({"encoder": encoder_tree}, stream)
    write_text(folder / "hyperparams.yaml", stream.getvalue())
    for name, module in ((WEIGHTS, encoder), (CLASSIFIER, head)):
        with atomic_path(folder / name) as temporary:
            torch.save({k: v.detach().cpu() for k, v in module.state_dict().items()}, temporary)
    labels = "".join(f"{name!r} => {label}\n" for label, name in enumerate(classes))
    write_text(folder / "label_encoder.txt", labels + "================\n'starting_index' => 0\n")
    with atomic_path(folder / OUTPUTS) as temporary:
        np.savez(temporary, **outputs._asdict())
    write_json(folder / RECORD, record)


def load_member(folder: str | Path, trust: bool = False) -> nn.Module:
    """The encoder of a member folder, in eval mode; ``UserError`` for what does not fit.

    No code of the folder is run, unless ``trust`` says that it may be
    (``acorl_sb.encoders.trusted``).
    """
    path = Path(folder) / "hyperparams.yaml"
    made = build_keys(read_yaml(path), ["encoder"], str(path), trust, (*HOMES, "images.models"))
    if "encoder" not in made:
        raise UserError(f"{path}: the key 'encoder' is missing")
    return _with_weights(made["encoder"], str(path), folder)


def rebuild_member(folder: str | Path, tree: Any, where: str) -> nn.Module:
    """A finished member of the user's own run, built from the encoder in the run's own YAML."""
    return _with_weights(build({"encoder": tree}, where)["encoder"], where, folder)


def _with_weights(encoder: Any, where: str, folder: str | Path) -> nn.Module:
    encoder = _checked(encoder, where)
    load_weights(encoder, Path(folder) / WEIGHTS)
    return encoder.eval()


def load_outputs(folder: str | Path) -> Outputs:
    path = Path(folder) / OUTPUTS
    try:
        with np.load(path) as arrays:
            return Outputs(**{key: arrays[key] for key in Outputs._fields})
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: not readable ({error}); delete the member's folder") from None
