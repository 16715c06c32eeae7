"""One training step, from the batch to the loss to the adversary's step: docs/method.md (1) to (4).

B utterances a batch; D and D_k: sizes of the new member's and of reference encoder k's embeddings.
Steps, epochs and checkpoints are counted in ``acorl_sb.training.loop``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import speechbrain as sb
import torch
from torch import nn

from acorl_sb.complementarity import bounded_loss
from acorl_sb.encoders.encoder import same_features
from acorl_sb.encoders.ensemble import EmbeddingTable, FrozenEnsemble, OutOfFoldReferences
from acorl_sb.training.batchnorm import fixed_batch_statistics
from acorl_sb.training.bookkeeping import average_gradients, unwrapped
from acorl_sb.training.dataset import Batch
from acorl_sb.training.loop import MemberBrain


class SpeakerBrain(MemberBrain):
    """Trains one encoder with its task head.

    ``modules`` holds ``encoder`` (inputs -> (B, D)) and ``head`` (embeddings, labels -> scalar
    loss); ``hparams.augment`` maps inputs and relative lengths to the same, or is None. The other
    ``hparams`` are those of ``MemberBrain``.
    """

    def compute_forward(self, batch, stage):
        inputs = batch.inputs  # (B, T) waves
        if stage == sb.Stage.TRAIN and self.hparams.augment is not None:
            ones = torch.ones(len(inputs), device=inputs.device)
            inputs, _ = self.hparams.augment(inputs, ones)
        encoder = unwrapped(self.modules["encoder"])
        # Computed apart, so that a reference encoder with the same features can be lent them.
        seen = (
            encoder.features(inputs) if hasattr(encoder, "features") else inputs
        )  # (B, F, n_mels)
        # Losses on embeddings are computed in full precision, whatever the encoder's.
        z = self.modules.encoder(seen).float()  # (B, D)
        return z, inputs, seen

    def compute_objectives(self, predictions, batch, stage):
        z, *_ = predictions
        loss = self.modules.head(z, batch.labels)  # (1), scalar
        self.told = {"task_loss": loss}
        return loss


class ComplementaryBrain(SpeakerBrain):
    """Trains one encoder to complement the frozen members of an ensemble, docs/method.md (4).

    ``modules`` holds ``objective`` (see ``acorl_sb.complementarity.Objective``) beside the
    encoder and the head; the adversary's parameters get their own optimizer. The reference encoders
    are given apart, so that they enter neither ``modules`` nor any optimizer or checkpoint.

    Arguments
    ---------
    references : FrozenEnsemble, OutOfFoldReferences or EmbeddingTable
        View ``crop``: the ensemble embeds the batch that the new member sees. View
        ``utterance``: a table holds an embedding for every training item.
    adversary_opt_class : callable(parameters) -> optimizer
    term_batches : callable(step) -> Batch, or None
        Batches of its own for the complementarity loss, such as utterances that the reference
        encoders were not trained on; the encoder's batch-norm statistics stay as they are while it
        embeds them. None: the loss looks at the task's batch.
    """

    def __init__(
        self,
        *args,
        references: FrozenEnsemble | OutOfFoldReferences | EmbeddingTable,
        adversary_opt_class: Callable[..., torch.optim.Optimizer],
        term_batches: Callable[[int], Batch] | None = None,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.references = references.to(self.device)
        self.term_batches = term_batches
        self.adversary_opt_class = adversary_opt_class

    def compute_objectives(self, predictions, batch, stage):
        task_loss = super().compute_objectives(predictions, batch, stage)  # (1)
        if self.term_batches is not None:
            batch = self.term_batches(self.global_step).to(self.device)
            with fixed_batch_statistics(self.modules["encoder"]):
                predictions = self.compute_forward(batch, stage)
        z, inputs, seen = predictions  # (B, D), (B, T), (B, F, n_mels)
        v = [v_k.float() for v_k in self.embed_references(inputs, seen, batch)]  # K of (B, D_k)
        term = self.modules.objective(z, v, batch.labels, self.progress)  # (2), (3), (5)
        self.told |= term.logs
        self.last_batch = (z.detach(), v, batch.labels)
        if term.limit is None or not term.loss.requires_grad:
            return term.total(task_loss)  # (4)
        encoder = [*self.modules["encoder"].parameters()]
        others = [*self.modules["head"].parameters(), *self.objective.parameters()]
        return bounded_loss(task_loss * term.task_weight, term.loss, encoder, others, term.limit)

    def embed_references(self, inputs, seen, batch) -> list[torch.Tensor]:
        """v_1 .. v_K, (B, D_k), of waves (B, T) or the new member's features (B, F, n_mels)."""
        if isinstance(self.references, EmbeddingTable):
            return self.references.embed(batch.items)
        if isinstance(self.references, OutOfFoldReferences):
            return self.references.embed(inputs, batch.labels)
        return [
            member(seen if lent else inputs)
            for member, lent in zip(self.references.members, self.lends_features, strict=True)
        ]

    @functools.cached_property
    def lends_features(self) -> list[bool]:
        """For each reference encoder, whether its features are the new member's own."""
        encoder = unwrapped(self.modules["encoder"])
        return [same_features(encoder, member.encoder) for member in self.references.members]

    def on_fit_batch_end(self, batch, outputs, loss, should_step):
        super().on_fit_batch_end(batch, outputs, loss, should_step)
        if not should_step:
            return  # gradients of several batches are being gathered
        # The encoder's step has moved the heads a_k once; further steps are theirs alone.
        for _ in range(self.objective.adversary_steps - 1):
            self.objective.adversary_loss(*self.last_batch).backward()  # (3) on a fixed z
            average_gradients(self.objective.adversary_parameters())
            self.adversary_optimizer.step()
            self.adversary_optimizer.zero_grad()  # nothing may leak into the next batch

    def init_optimizers(self):
        own = [*self.modules["encoder"].parameters(), *self.modules["head"].parameters()]
        self.optimizer = self.opt_class([*own, *self.objective.member_parameters()])
        self.optimizers_dict = {"opt_class": self.optimizer}
        adversary = list(self.objective.adversary_parameters())
        if adversary:
            self.adversary_optimizer = self.adversary_opt_class(adversary)
            self.optimizers_dict["adversary"] = self.adversary_optimizer
        if self.checkpointer is not None:
            self.checkpointer.add_recoverable("optimizer", self.optimizer)
            if adversary:
                self.checkpointer.add_recoverable("adversary_optimizer", self.adversary_optimizer)

    @property
    def objective(self) -> nn.Module:
        """The objective without the wrappers of several ranks."""
        return unwrapped(self.modules["objective"])

    def step_ended(self, figures):
        self.objective.observe(task_loss=figures["task_loss"])

    def epoch_ended(self, dev_error):
        self.objective.observe(dev_error=dev_error)
