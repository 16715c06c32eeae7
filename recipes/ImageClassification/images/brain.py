"""The image Brain: the speech recipe's, with accuracy in its log."""

from __future__ import annotations

from acorl_sb.training.brain import ComplementaryBrain
from acorl_sb.utils.distributed import unwrapped


class ImageBrain(ComplementaryBrain):
    """Trains one image encoder, alone or to complement the frozen members of an ensemble.

    Everything is ``ComplementaryBrain``'s; ``modules.head`` is a ``SoftmaxHead``. A member without
    references has the objective ``Independent`` and an empty ensemble. The log has the accuracy on
    training images and the error on development images.
    """

    def compute_objectives(self, predictions, batch, stage):
        loss = super().compute_objectives(predictions, batch, stage)
        head = unwrapped(self.modules["head"])
        guess = head.logits(predictions[0].detach()).argmax(-1)
        self.told["train_accuracy"] = (guess == batch.labels).float().mean()
        return loss
