"""What a rank of ``test_distributed`` does; also run alone, as the process to compare with.

    torchrun --nproc_per_node=2 tests/ranks.py FOLDER

Trains small members on the same global batches however many ranks there are, and leaves in
FOLDER what each rank ended with.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import ruamel.yaml
import torch
from torch import nn
from torch.nn import functional

from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.extraction import embed_utterances
from acorl_sb.training.brain import SpeakerBrain
from acorl_sb.training.members import train_members
from acorl_sb.training.speech import TrainingSet
from acorl_sb.utils import distributed
from tests import tiny

GLOBAL_BATCH = 12
OBJECTIVES = """
plain: null
adversarial: !name:acorl_sb.complementarity.Adversarial
    adversary_steps: 2
    hidden: 16
joint: !name:acorl_sb.complementarity.Joint
    head: !name:acorl_sb.training.heads.AAMHead
"""


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    options, device = distributed.start(tiny.CPU)
    rank, world = distributed.rank_and_world()
    utterances = tiny.hums(folder / f"hums{rank}")

    def dev_error(encoder: SpeakerEncoder) -> float:
        z = embed_utterances(encoder, utterances, 0.4, batch_size=3, shared=True)
        alone = embed_utterances(encoder, utterances, 0.4, batch_size=3)
        assert torch.equal(z, alone), "shared extraction gives other embeddings"
        return 0.1 + 0.1 * float(z.tanh().mean())

    ended: dict[str, dict[str, torch.Tensor]] = {}
    wrap_up = SpeakerBrain.on_stage_end

    def keep(self, stage, stage_loss, epoch=None):
        wrap_up(self, stage, stage_loss, epoch)
        ended[self.hparams.name] = {
            key: value.clone()
            for key, value in self.modules.state_dict().items()
            if torch.is_tensor(value)
        }

    SpeakerBrain.on_stage_end = keep
    # Sums over ranks differ in their last digits from sums over rows. Among a million activations
    # some lie so near a ReLU's kink that these digits choose the gradient; Softplus has no kink.
    nn.ReLU.forward = lambda self, x: functional.softplus(x)
    objectives = ruamel.yaml.YAML().load(OBJECTIVES)
    specs = [
        {"name": name, "encoder": tiny.encoder_tree(), "objective": objective}
        for name, objective in objectives.items()
    ]
    # Adam, likewise, would turn a gradient that is zero but for these digits into a whole step.
    plain_descent = functools.partial(torch.optim.SGD, lr=0.01)
    settings = tiny.settings(
        batch_size=GLOBAL_BATCH // world,
        augment=None,
        optimizer=plain_descent,
        adversary_optimizer=plain_descent,
    )
    data = TrainingSet(utterances, dev_error)
    train_members(specs, [], data, settings, options, device, folder / "members")
    torch.save(ended, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
