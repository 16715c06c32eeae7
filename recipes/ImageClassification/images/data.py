"""Images as training data, and the members that are trained on them.

scikit-learn's digits and torchvision's CIFAR, in memory: (N, C, H, W) float32 in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import Dataset

from acorl_sb.encoders.member_folder import CLASSIFIER, RECORD, WEIGHTS
from acorl_sb.encoders.weights import load_weights, save_weights
from acorl_sb.training.training_data import MemberKind, TrainingData
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import write_json, write_text
from acorl_sb.utils.hparams import build
from acorl_sb.utils.yaml_dump import dump


class ImageMembers(MemberKind):
    """Torch modules that map images (B, C, H, W) in [0, 1] to embeddings (B, D).

    The YAML names one as ``embedding_model``, and D as ``embedding_dim``. ``shape`` is (C, H, W).
    """

    def __init__(self, shape: tuple[int, ...]):
        self.shape = shape

    def build(self, tree: Any, where: str) -> nn.Module:
        made = build(tree, where)
        encoder, dim = made.get("embedding_model"), made.get("embedding_dim")
        if not isinstance(encoder, nn.Module) or type(dim) is not int:
            raise UserError(
                f"{where}: needs the keys embedding_model, a torch module, and embedding_dim"
            )
        encoder.embedding_dim = dim
        return encoder

    def noise(self, count, settings=None):
        return torch.rand(count, *self.shape)

    def check_head(self, head):
        if not hasattr(head, "logits"):
            raise ValueError("it needs a method logits, as SoftmaxHead of the package has")

    def load_reference(self, spec, where):
        if set(spec) != {"name", "encoder", "weights"}:
            raise UserError(f"{where}: an image encoder needs the keys name, encoder and weights")
        return self._loaded(spec["encoder"], where, spec["weights"])

    def rebuild(self, folder, tree, where):
        return self._loaded(tree, where, Path(folder) / WEIGHTS)

    def _loaded(self, tree: Any, where: str, weights: str | Path) -> nn.Module:
        encoder = self.build(tree, where)
        load_weights(encoder, weights)
        return encoder.eval()

    def save(self, folder, encoder, head, tree, data, record):
        write_text(folder / "hyperparams.yaml", dump(tree))
        save_weights(encoder, folder / WEIGHTS)
        save_weights(head, folder / CLASSIFIER)
        write_json(folder / RECORD, {**record, "classes": data.classes})


class Split(NamedTuple):
    """Images (N, C, H, W) and their classes, int64 (N,)."""

    images: torch.Tensor
    labels: np.ndarray


@dataclass
class Images(TrainingData, Dataset):
    """Training, development and test images; ``classes`` are names in label order."""

    dev_figure: ClassVar[str] = "dev_error"
    selects: ClassVar[bool] = False  # the best of many epochs on few images is luck

    train: Split
    dev: Split
    test: Split
    classes: list[str]

    def __post_init__(self):
        self.labels = self.train.labels.tolist()
        self.kind = ImageMembers(tuple(self.train.images.shape[1:]))

    def dataset(self, settings, seed):
        return self

    def __getitem__(self, index: tuple[int, int]) -> tuple[torch.Tensor, int, int]:
        _, item = index  # nothing depends on the draw: batches are augmented
        return self.train.images[item], self.labels[item], item

    def check(self, encoder, head):
        if head is None:
            return None
        device = next(encoder.parameters()).device
        with torch.no_grad():
            logits = head.logits(embed(encoder, self.dev.images, device).to(device))
        return float((logits.argmax(1).cpu().numpy() != self.dev.labels).mean())

    def table(self, encoder, device, name):
        return embed(encoder, self.train.images, device)


class EachImage(nn.Sequential):
    """Transforms of torchvision on each image of a batch by itself, with torch's random numbers."""

    def forward(self, images: torch.Tensor, lengths: torch.Tensor):
        return torch.stack([super(EachImage, self).forward(image) for image in images]), lengths


def digits(
    train_images: int = 300, dev_images: int = 400, noise: float = 0.3, seed: int = 0
) -> Images:
    """scikit-learn's 1,797 digits of 8 x 8 pixels, made hard: few to learn from, and noisy.

    What is left of them is the test split. ``noise`` is the standard deviation of Gaussian noise
    on every image, drawn once, so it is part of the data; pixels are clipped to [0, 1] afterwards.
    """
    found = load_digits()
    pixels = found.images / 16  # (1797, 8, 8) in [0, 1]
    noisy = pixels + noise * np.random.default_rng(seed).standard_normal(pixels.shape)
    images = torch.from_numpy(noisy.clip(0, 1)).float().unsqueeze(1)
    train, rest = hold_out(Split(images, found.target), train_images, seed)
    return Images(train, *hold_out(rest, dev_images, seed), [str(n) for n in found.target_names])


def cifar(data_folder: str, classes: int = 10, dev_images: int = 5000, seed: int = 0) -> Images:
    """CIFAR-10 or CIFAR-100 as published, in ``data_folder``; nothing is downloaded."""
    if classes not in (10, 100):
        raise UserError(f"CIFAR has 10 or 100 classes, not {classes}")
    from torchvision import datasets  # takes seconds

    reader = {10: datasets.CIFAR10, 100: datasets.CIFAR100}[classes]
    try:
        train, test = (reader(data_folder, train=part) for part in (True, False))
    except RuntimeError:
        raise UserError(
            f"{data_folder}: no {reader.base_folder} as published; unpack {reader.filename} there"
        ) from None
    whole, tested = (
        Split(torch.from_numpy(s.data).permute(0, 3, 1, 2) / 255, np.array(s.targets))
        for s in (train, test)
    )
    dev, rest = hold_out(whole, dev_images, seed)
    return Images(rest, dev, tested, list(train.classes))


def hold_out(whole: Split, count: int, seed: int) -> tuple[Split, Split]:
    """``count`` images, each class in proportion, and the rest."""
    rows = np.arange(len(whole.labels))
    parts = train_test_split(rows, train_size=count, random_state=seed, stratify=whole.labels)
    held, rest = (Split(whole.images[part], whole.labels[part]) for part in parts)
    return held, rest


def small_resnet18(embedding_dim: int) -> nn.Module:
    """torchvision's ResNet-18 for 32 x 32 pixels: first convolution 3 x 3, no first pooling."""
    from torchvision.models import resnet18  # takes seconds

    resnet = resnet18(num_classes=embedding_dim)
    resnet.conv1, resnet.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return resnet


@torch.no_grad()
def embed(encoder: nn.Module, images: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """Embeddings (N, D) float32, on the CPU, of images (N, C, H, W) without augmentation."""
    encoder = encoder.to(device).eval()
    return torch.cat([encoder(batch.to(device)).float().cpu() for batch in images.split(256)])
