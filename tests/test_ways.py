"""The way of one waveform through training and of one score through fusion, as CONTRIBUTING has it.

A module is on the way where one of its functions is the first in which a new array of numbers of
the way is seen, among its variables or as its result: there the numbers are made. What is done to
a number inside of SpeechBrain, torch or numpy belongs to the function that asks for it.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType

import numpy as np
import torch
from ruamel.yaml import YAML

from acorl_sb.cli import fuse
from acorl_sb.complementarity import Adversarial
from acorl_sb.training.brain import ComplementaryBrain, SpeakerBrain
from acorl_sb.training.dataset import CropDataset, collate
from acorl_sb.training.members import train_members
from acorl_sb.training.speech import TrainingSet
from tests import tiny

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = str(ROOT / "acorl_sb")


class Makers:
    """Notes, while it is on, which modules make arrays that ``wanted`` takes for the way's own.

    Only what runs inside of ``roots``, code of some functions, counts; None: all.
    """

    def __init__(self, wanted: Callable[[object], bool], roots: set[CodeType] | None = None):
        self.wanted, self.roots = wanted, roots
        self.depth = 0
        self.modules: dict[str, set[str]] = {}
        self.known: dict[int, object] = {}  # address -> the array, kept: no address comes twice

    def __enter__(self) -> Makers:
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, result: object) -> None:
        if self.roots and frame.f_code in self.roots:
            self.depth += {"call": 1, "return": -1}.get(event, 0)
        file = frame.f_code.co_filename
        if event != "return" or not file.startswith(PACKAGE):
            return
        inside = not self.roots or self.depth or frame.f_code in self.roots
        for array in arrays((list(frame.f_locals.values()), result)):
            if not self.wanted(array) or (place := address(array)) in self.known:
                continue
            self.known[place] = array
            if inside:
                name = str(Path(file).relative_to(PACKAGE))
                self.modules.setdefault(name, set()).add(frame.f_code.co_name)


def arrays(value: object, depth: int = 3) -> Iterator[np.ndarray | torch.Tensor]:
    """The arrays and tensors in a value and its containers."""
    if isinstance(value, np.ndarray | torch.Tensor):
        yield value
    elif depth and isinstance(value, dict):
        yield from arrays(list(value.values()), depth)
    elif depth and dataclasses.is_dataclass(value):
        yield from arrays([getattr(value, f.name, None) for f in dataclasses.fields(value)], depth)
    elif depth and isinstance(value, tuple | list):
        for part in value:
            yield from arrays(part, depth - 1)


def address(array: np.ndarray | torch.Tensor) -> int:
    if isinstance(array, torch.Tensor):
        return array.untyped_storage().data_ptr()
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array.__array_interface__["data"][0]


def of_page(title: str) -> tuple[list[str], set[str]]:
    """The files that a section of CONTRIBUTING.md numbers, and those that it names beside them."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.split(f"## {title}\n")[1].split("\n## ")[0]
    listed = re.findall(r"^\d\. `acorl_sb/([\w/]+\.py)`", section, re.MULTILINE)
    return listed, {*re.findall(r"`acorl_sb/([\w/]+\.py)`", section)} - {*listed}


def test_the_way_of_one_waveform(tmp_path):
    data = TrainingSet(tiny.hums(tmp_path / "hums"), lambda encoder: 0.1)
    roots = {
        function.__code__
        for function in (CropDataset.__getitems__, collate, Adversarial.adversary_loss)
    }
    roots |= {
        vars(brain)[step].__code__
        for brain in (SpeakerBrain, ComplementaryBrain)
        for step in ("compute_forward", "compute_objectives")
        if step in vars(brain)
    }
    adversarial = "!name:acorl_sb.complementarity.Adversarial {adversary_steps: 2}"
    specs = [
        {"name": name, "encoder": tiny.encoder_tree(), "objective": YAML().load(objective)}
        for name, objective in (("a", "null"), ("b", adversarial))
    ]
    options = data, tiny.settings(epochs=1, epoch_steps=1), tiny.CPU, torch.device("cpu")
    train_members(specs[:1], [], *options, tmp_path / "out")
    with Makers(lambda a: a.dtype in (torch.float32, np.float32), roots) as made:
        train_members(specs, [], *options, tmp_path / "out")
    listed, networks = of_page("The way of one waveform")
    assert made.modules.keys() == {*listed, *networks}, made.modules
    assert len(listed) <= 7 and networks == {"encoders/frame_major.py"}


def test_the_way_of_one_score(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    number = 997  # of trials, so that an axis of theirs is known by its length
    labels = np.arange(number) % 5 == 0
    generator = np.random.default_rng(0)
    for name in ("a.txt", "b.txt"):
        rows = enumerate(generator.normal(size=number) + 2 * labels)
        lines = (f"e{n} t{n} {int(labels[n])} {score:.6f}\n" for n, score in rows)
        Path(name).write_text("".join(lines))
    files = ["--test", "a.txt", "b.txt"]
    quick = ["--replicates", "0", "--no-report"]
    assert fuse.main([*files, "--dev", "a.txt", "b.txt", *quick, "--output_folder", "fitted"]) == 0
    model = ["--apply", "fitted/fusion_model.json", "--output_folder", "out"]
    with Makers(lambda a: number in a.shape and a.dtype in (np.float64, torch.float64)) as made:
        assert fuse.main([*files, *model]) == 0
    listed, of_figures = of_page("The way of one score")
    assert made.modules.keys() == {*listed, *of_figures}, made.modules
    assert len(listed) <= 6 and all(name.startswith("metrics/") for name in of_figures)
