"""One member, a teacher or the student. A process of its own:

    python -m open_speech.training FOLDER DATA NAME DEVICE GE2E

``FOLDER`` is the recipe's, with its ``open.yaml``. What is done already is not done again; training
goes on from its last checkpoint.
"""

from __future__ import annotations

import functools
import logging
import sys
from pathlib import Path

import ruamel.yaml
import torch
from speechbrain.nnet.schedulers import WarmCoolDecayLRSchedule
from speechbrain.utils.run_opts import RunOptions

from acorl_sb.complementarity import Distillation
from acorl_sb.data.audio import SAMPLE_RATE
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.ensemble import FrozenEnsemble
from acorl_sb.encoders.ge2e import GE2E
from acorl_sb.encoders.member_folder import load_member, read_record
from acorl_sb.training.heads import AAMHead
from acorl_sb.training.one_member import train_member
from acorl_sb.training.speech import SpeechSettings
from acorl_sb.utils.errors import run_cli
from open_speech import sets
from open_speech.bank import Bank, Heard, OpenSpeech, edges

CHECKPOINT_STEPS = 250


class ExactHead(AAMHead):
    """``AAMHead`` in full precision, whatever the encoder's."""

    def forward(self, z, labels, raised=None):
        with torch.autocast(z.device.type, enabled=False):
            return super().forward(z.float(), labels, raised)


class Distilled(Distillation):
    """``Distillation`` in full precision, whatever the encoder's."""

    def forward(self, z, references, labels, progress):
        with torch.autocast(z.device.type, enabled=False):
            return super().forward(z.float(), references, labels, progress)


def main() -> int:
    folder, data, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    device, ge2e = torch.device(sys.argv[4]), sys.argv[5]
    logging.getLogger("acorl_sb").setLevel(logging.INFO)
    logging.basicConfig(format="%(asctime)s %(message)s")
    tree = ruamel.yaml.YAML().load((folder / "open.yaml").read_text(encoding="utf-8"))
    if read_record(folder / "members" / name) is None:
        train(tree, folder, data, name, device, ge2e)
    return 0


def train(tree, folder: Path, data: Path, name: str, device: torch.device, ge2e: str) -> None:
    spec, prepared = tree["members"][name], folder / "data"
    pieces = sets.read(prepared / "train.csv", data)
    dev = sets.read_set(prepared, data, "dev", sets.DEV)
    bank = Bank.load(folder, edges(pieces), tree["speeds"], device)
    speech = OpenSpeech(bank, pieces, tree["speeds"], int(tree["fewest"]), dev)
    references = FrozenEnsemble()
    for teacher in spec.get("teachers", []):
        references.add(teacher, load_teacher(folder, teacher, ge2e))
    member = {
        "name": name,
        "encoder": tree["encoders"][spec["encoder"]],
        "seed": 1000 * tree["seed"] + spec["seed"],
        "objective": spec.get("objective"),
    }
    options = {"device": str(device), "ckpt_interval_steps": CHECKPOINT_STEPS}
    if device.type == "cuda":
        options |= {"precision": "bf16"}
        torch.backends.cudnn.benchmark = True
    train_member(
        member,
        spec["seed"],
        references,
        [],
        speech,
        how(tree, spec, bank, device),
        RunOptions(**options, overridden_args=set(options)),
        device,
        folder / "members" / name,
    )


def load_teacher(folder: Path, name: str, ge2e: str) -> SpeakerEncoder:
    """A finished member, or Resemblyzer's encoder."""
    if name == "ge2e":
        return SpeakerEncoder(GE2E(ge2e or None), GE2E.embedding_dim)
    return load_member(folder / "members" / name)


def how(tree, spec, bank: Bank, device: torch.device) -> SpeechSettings:
    """Batch, steps, rate and what becomes of the crops."""
    # Plain numbers: those of the YAML would not be loaded again from a checkpoint.
    steps, rate = int(spec["steps"]), float(tree["lr"])
    adam = functools.partial(
        torch.optim.AdamW, lr=rate, weight_decay=float(tree["weight_decay"]), fused=True
    )
    samples = round(tree["crop_seconds"] * SAMPLE_RATE)
    return SpeechSettings(
        seed=tree["seed"],
        crop_seconds=tree["crop_seconds"],
        batch_size=tree["batch_size"],
        epochs=tree["epochs"],
        epoch_steps=steps // tree["epochs"],
        optimizer=adam,
        adversary_optimizer=adam,
        lr_schedule=WarmCoolDecayLRSchedule(rate, int(tree["warmup"]), steps // 2, steps),
        head=functools.partial(ExactHead, margin=0.2, scale=30.0),
        augment=Heard(bank, samples, tree["share"], tree["snr"]),
        view="utterance",
        cache_mb=0,
        workers=3 if device.type == "cuda" else 0,
        plain={},
    )


if __name__ == "__main__":
    run_cli(main)
