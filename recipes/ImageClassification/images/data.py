"""Image data sets as three splits: scikit-learn's digits, image folders, CIFAR.

Every split gives images (C, H, W) float32 in [0, 1]; all splits of a set have one size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from acorl_sb.utils.errors import UserError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}


class ArraySplit:
    """Images in memory.

    Arguments
    ---------
    images : tensor (N, C, H, W), uint8 in [0, 255] or float32 in [0, 1]
    labels : int array (N,)
    """

    def __init__(self, images: torch.Tensor, labels: np.ndarray):
        self.images = images
        self.labels = np.asarray(labels, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, item: int) -> torch.Tensor:
        image = self.images[item]  # (C, H, W)
        return image.float() / 255 if image.dtype == torch.uint8 else image

    def rows(self, rows: np.ndarray) -> ArraySplit:
        return ArraySplit(self.images[torch.from_numpy(rows)], self.labels[rows])


class FileSplit:
    """Images on disk, read when asked for: the shorter side scaled to ``size``, centre cut out.

    Arguments
    ---------
    paths : sequence of Path
    labels : int array (N,)
    size : int, pixels
    """

    def __init__(self, paths: Sequence[Path], labels: np.ndarray, size: int):
        self.paths = list(paths)
        self.labels = np.asarray(labels, dtype=np.int64)
        self.size = size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, item: int) -> torch.Tensor:
        path = self.paths[item]
        try:
            with Image.open(path) as opened:
                image = opened.convert("RGB")
        except (UnidentifiedImageError, OSError) as error:
            raise UserError(f"{path}: not a readable image ({error}); remove it") from None
        scale = self.size / min(image.size)
        wide, high = (max(self.size, round(side * scale)) for side in image.size)
        left, top = (wide - self.size) // 2, (high - self.size) // 2
        image = image.resize((wide, high), Image.Resampling.BILINEAR)
        image = image.crop((left, top, left + self.size, top + self.size))
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255  # (3, H, W)

    def rows(self, rows: np.ndarray) -> FileSplit:
        return FileSplit([self.paths[row] for row in rows], self.labels[rows], self.size)


Split = ArraySplit | FileSplit


@dataclass
class ImageData:
    """``train``, ``dev`` (choices are made on it) and ``test``; ``classes`` in label order."""

    train: Split
    dev: Split
    test: Split
    classes: list[str]


class Rows(NamedTuple):
    """Rows of a data set that are held out and that remain, both sorted."""

    held_out: np.ndarray
    rest: np.ndarray


def hold_out(labels: np.ndarray, count: int, seed: int) -> Rows:
    """Hold out ``count`` rows, each class in proportion (largest remainders get the odd ones).

    Raises ``UserError`` when a class would be left without a row.
    """
    labels = np.asarray(labels)
    sizes = np.bincount(labels)
    quota = count * sizes / len(labels)
    take = np.floor(quota).astype(int)
    take[np.argsort(take - quota, kind="stable")[: count - take.sum()]] += 1
    if count < 1 or (take >= sizes).any():
        raise UserError(
            f"cannot hold out {count} of {len(labels)} images and keep at least one of each of "
            f"the {len(sizes)} classes; hold out fewer, or more than none"
        )
    rng = np.random.default_rng(seed)
    held = [rng.permutation(np.flatnonzero(labels == label))[:n] for label, n in enumerate(take)]
    held_out = np.sort(np.concatenate(held))
    return Rows(held_out, np.setdiff1d(np.arange(len(labels)), held_out))


def digits(
    train_images: int = 300,
    dev_images: int = 400,
    noise: float = 0.3,
    seed: int = 0,
) -> ImageData:
    """scikit-learn's 1,797 digits of 8 x 8 pixels, made hard: few to learn from, and noisy.

    Arguments
    ---------
    train_images, dev_images : int
        The rest is the test split. Classes are drawn in proportion.
    noise : float
        Standard deviation of Gaussian noise on every image of every split, drawn once, so it is
        part of the data; pixels are clipped to [0, 1] afterwards.
    seed : int
        Of the splits and the noise.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise UserError(
            "the digits come with scikit-learn, which is not installed: pip install scikit-learn"
        ) from None
    loaded = load_digits()
    rng = np.random.default_rng(seed)
    pixels = loaded.images / 16  # (1797, 8, 8) in [0, 1]
    noisy = (pixels + noise * rng.standard_normal(pixels.shape)).clip(0, 1)
    images = torch.from_numpy(noisy).float().unsqueeze(1)  # (1797, 1, 8, 8)
    whole = ArraySplit(images, loaded.target)
    train = hold_out(whole.labels, train_images, seed)
    rest = whole.rows(train.rest)
    dev = hold_out(rest.labels, dev_images, seed)
    return ImageData(
        whole.rows(train.held_out),
        rest.rows(dev.held_out),
        rest.rows(dev.rest),
        [str(name) for name in loaded.target_names],
    )


def image_folder(
    data_folder: str, size: int = 224, dev_fraction: float = 0.05, seed: int = 0
) -> ImageData:
    """A folder in torchvision's ``ImageFolder`` form: ``<split>/<class>/.../<image>``.

    ``train`` is needed, and ``test`` or ``val`` (ImageNet has only ``val``). With both, ``val``
    is the development split; with one, that is the test split and ``dev_fraction`` of the
    training images, drawn with ``seed``, is held out for development.

    Arguments
    ---------
    data_folder : path
    size : int, pixels
        Images become size x size, see ``FileSplit``.
    """
    root = Path(data_folder)
    if not root.is_dir():
        raise UserError(f"data_folder {root}: no such folder")
    there = [name for name in ("train", "val", "test") if (root / name).is_dir()]
    if "train" not in there or len(there) < 2:
        raise UserError(
            f"data_folder {root}: needs the folders train and val or test, each with one folder "
            f"of images per class; found {', '.join(there) or 'none of them'}"
        )
    classes = sorted(path.name for path in (root / "train").iterdir() if path.is_dir())
    if len(classes) < 2:
        raise UserError(f"{root / 'train'}: {len(classes)} class folders; at least two are needed")
    splits = {name: _read_split(root / name, classes, size) for name in there}
    train, test = splits["train"], splits.get("test", splits.get("val"))
    if len(there) == 3:
        return ImageData(train, splits["val"], test, classes)
    rows = hold_out(train.labels, round(dev_fraction * len(train)), seed)
    return ImageData(train.rows(rows.rest), train.rows(rows.held_out), test, classes)


def _read_split(folder: Path, classes: Sequence[str], size: int) -> FileSplit:
    paths: list[Path] = []
    labels: list[int] = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name not in classes:
            raise UserError(f"{path}: this class has no folder in train; remove it or add one")
    for label, name in enumerate(classes):
        found = sorted(p for p in (folder / name).rglob("*") if p.suffix.lower() in SUFFIXES)
        if not found and folder.name == "train":
            raise UserError(f"{folder / name}: no images in it; add some or remove the class")
        paths += found
        labels += [label] * len(found)
    if not paths:
        raise UserError(f"{folder}: no images in it")
    return FileSplit(paths, np.array(labels), size)


def cifar(data_folder: str, classes: int = 10, dev_images: int = 5000, seed: int = 0) -> ImageData:
    """CIFAR-10 or CIFAR-100 in their own python form, read by torchvision; nothing is fetched.

    Arguments
    ---------
    data_folder : path
        Holds ``cifar-10-batches-py`` or ``cifar-100-python``.
    classes : 10 or 100
    dev_images : int
        Held out of the 50,000 training images with ``seed``.
    """
    if classes not in (10, 100):
        raise UserError(f"CIFAR has 10 or 100 classes, not {classes}")
    try:
        from torchvision.datasets import CIFAR10, CIFAR100
    except ImportError:
        raise UserError(
            "CIFAR is read by torchvision, which is not installed: pip install torchvision"
        ) from None
    reader = CIFAR10 if classes == 10 else CIFAR100
    try:
        train, test = (reader(data_folder, train=part) for part in (True, False))
    except RuntimeError:
        raise UserError(
            f"data_folder {data_folder}: {reader.base_folder} is not there, or not as published; "
            f"unpack {reader.filename} into it"
        ) from None
    whole, tested = (
        ArraySplit(torch.from_numpy(s.data).permute(0, 3, 1, 2).contiguous(), np.array(s.targets))
        for s in (train, test)
    )
    rows = hold_out(whole.labels, dev_images, seed)
    return ImageData(whole.rows(rows.rest), whole.rows(rows.held_out), tested, list(train.classes))
