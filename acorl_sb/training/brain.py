"""One training step, from a batch to the adversary's step; numbers are those of docs/method.md.

    x (B, T) -> encoder -> z (B, D) -> task head                   -> L_task (1)
                                    -> reversal -> adversary heads -> L_adv (2), (3)
    L = L_task + L_adv (4) -> backward -> one step of both optimizers
    further steps of the adversary's, on the same z

What surrounds the steps (seeds, learning rate, log, checkpoints) is in
``acorl_sb.training.epochs``, the objectives are in ``acorl_sb.complementarity``.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable

import speechbrain as sb
import torch

from acorl_sb.complementarity import Objective, bounded_loss
from acorl_sb.complementarity.objective import ABSENT
from acorl_sb.encoders.encoder import same_features
from acorl_sb.encoders.ensemble import EmbeddingTable, FrozenEnsemble, OutOfFoldReferences
from acorl_sb.training.batchnorm import fixed_batch_statistics
from acorl_sb.training.dataset import Batch, two_views
from acorl_sb.training.epochs import EpochBrain
from acorl_sb.training.left_out import held
from acorl_sb.utils.distributed import average_gradients, mean_over_ranks, unwrapped


class SpeakerBrain(EpochBrain):
    """Trains one encoder with its task head, docs/method.md (1).

    ``modules`` holds ``encoder`` (inputs -> (B, D)) and ``head`` (embeddings, labels -> scalar
    loss); ``hparams`` is described in ``EpochBrain``, and may give ``mask``, an
    ``AttributionMask``, ``unlabelled``, whether there are items of the label -1, and ``pair_loss``,
    a ``DLoss``, with ``pair_batches``, step -> its ``Batch``, and ``pairs_augmented``, which says
    that these come augmented already.
    """

    def compute_forward(self, batch: Batch, stage: sb.Stage):
        """Embed a batch.

        Returns
        -------
        z : (B, D) float32, with a graph
        inputs : (B, T) waves, augmented in training
        seen : what the network sees of them, such as (B, F, n_mels) features
        """
        inputs = batch.inputs  # (B, T)
        mask = None
        if stage == sb.Stage.TRAIN:
            if not getattr(self.hparams, "augmented", False):
                inputs = self.augmented(inputs)
            mask = getattr(self.hparams, "mask", None)
        return self.embed(inputs, mask and functools.partial(mask, labels=batch.labels))

    def augmented(self, inputs: torch.Tensor) -> torch.Tensor:
        """Inputs (B, T) as training sees them; in full precision, whatever the network's."""
        if self.hparams.augment is None:
            return inputs
        whole = torch.ones(len(inputs), device=inputs.device)  # relative lengths (B,)
        with self.in_float32():
            return self.hparams.augment(inputs, whole)[0]

    def in_float32(self) -> torch.autocast:
        """A context without autocast: float32 stays float32, whatever ``--precision``."""
        return torch.autocast(self.device_type, enabled=False)

    def embed(self, inputs: torch.Tensor, mask: Callable[..., torch.Tensor] | None = None):
        """What ``compute_forward`` returns, of inputs (B, T) as they are.

        The network sees what ``mask`` leaves of the features; they are returned whole.
        """
        encoder = unwrapped(self.modules["encoder"])
        # Features are computed apart so that a reference with the same ones can be lent them.
        seen = encoder.features(inputs) if hasattr(encoder, "features") else inputs
        shown = seen if mask is None else mask(seen, encoder=encoder, inputs=inputs)
        # Losses on embeddings are computed in full precision, whatever the encoder's.
        z = self.modules.encoder(shown).float()  # (B, D)
        return z, inputs, seen

    def compute_objectives(self, predictions, batch: Batch, stage: sb.Stage) -> torch.Tensor:
        """L_task (1), a scalar, of the items that have a label."""
        z, labels, there = predictions[0], batch.labels, True
        if getattr(self.hparams, "unlabelled", False):
            there = bool((labels >= 0).any())
            # Without a label the head is called all the same: other ranks wait for its gradients.
            known = labels >= 0 if there else torch.ones_like(labels, dtype=torch.bool)
            z, labels = z[known], labels[known].clamp(min=0)
        with self.in_float32():
            task_loss = self.modules.head(z, labels)  # (1)
        if not there:
            task_loss = 0.0 * task_loss
        self.told = {"task_loss": task_loss if there else ABSENT}
        pair_loss = getattr(self.hparams, "pair_loss", None)
        if pair_loss is not None and stage == sb.Stage.TRAIN:
            pairs = self.hparams.pair_batches(self.global_step).to(self.device)
            if not getattr(self.hparams, "pairs_augmented", False):
                pairs = pairs._replace(inputs=self.augmented(pairs.inputs))
            pairs_z = self.embed_apart(pairs)[0]
            with self.in_float32():
                loss, d_prime = pair_loss(pairs_z, pairs.labels, self.progress)
            self.told |= {"pair_loss": loss, "pair_d_prime": d_prime}
            task_loss = task_loss + loss  # (15)
        return task_loss

    def embed_apart(self, batch: Batch):
        """``embed`` of a batch beside the task's; batch norms keep their statistics."""
        with fixed_batch_statistics(self.modules["encoder"]):
            return self.embed(batch.inputs)


class ComplementaryBrain(SpeakerBrain):
    """Trains one encoder to complement the frozen members of an ensemble, docs/method.md (4).

    ``modules`` holds ``objective`` (see ``acorl_sb.complementarity.Objective``) beside the
    encoder and the head; the adversary's parameters get their own optimizer. The references are
    given apart, so that they enter neither ``modules`` nor any optimizer or checkpoint.

    Arguments
    ---------
    references : FrozenEnsemble, OutOfFoldReferences or EmbeddingTable
        The ensemble embeds the batch that the new member sees, or what that was before its
        augmentation (view ``clean``); a table holds an embedding for every item.
    adversary_opt_class : callable(parameters) -> optimizer
    term_batches : callable(step) -> Batch, or None
        Batches of their own for the term, such as utterances that the references were not trained
        on; the encoder's batch-norm statistics stay as they are while it embeds them. None: the
        term looks at the task's batch.
    second_view : callable(inputs, relative lengths) -> the same, or None
        The term sees its own batches as they are and, below them, the same under this; None: once,
        augmented as the task's are.
    view : str
        The key of that name. ``unaugmented``: the objective is left out of the steps whose batch
        augmentation has changed, and its own batches are not augmented.
    """

    def __init__(
        self,
        *args,
        references: FrozenEnsemble | OutOfFoldReferences | EmbeddingTable,
        adversary_opt_class: Callable[..., torch.optim.Optimizer],
        term_batches: Callable[[int], Batch] | None = None,
        second_view: Callable | None = None,
        view: str = "crop",
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.references = references.to(self.device)
        self.term_batches = term_batches
        self.second_view = second_view
        self.view = view
        self.adversary_opt_class = adversary_opt_class

    @property
    def objective(self) -> Objective:
        return unwrapped(self.modules["objective"])

    def compute_objectives(self, predictions, batch: Batch, stage: sb.Stage) -> torch.Tensor:
        """L (4), a scalar; the objective has the adversary's loss L_adv (2), (3) in it."""
        task_loss = super().compute_objectives(predictions, batch, stage)  # (1)
        clean = batch.inputs
        plain, own = self.view == "unaugmented", self.term_batches is not None
        self.active = not plain or own or torch.equal(predictions[1], clean)
        if own:
            # Augmented where they are made, on the CPU, as the loader does beside a GPU.
            batch = self.term_batches(self.global_step)
            clean = batch.inputs
            if self.second_view is not None:
                clean = torch.cat([clean, clean])
                with self.in_float32():
                    batch = two_views(batch, self.second_view)
            elif not plain:
                batch = batch._replace(inputs=self.augmented(batch.inputs))
            batch = batch.to(self.device)
            predictions = self.embed_apart(batch)
        z, inputs, seen = predictions  # z: (B, D)
        if self.view == "clean":
            inputs, seen = clean.to(self.device), None
        references = [v.float() for v in self.embed_references(inputs, seen, batch)]  # (B, D_k)
        self.last_batch = (z.detach(), references, batch.labels)
        with self.in_float32():
            return self.with_term(task_loss, z, references, batch.labels)

    def with_term(self, task_loss: torch.Tensor, z: torch.Tensor, references, labels):
        """L (4), a scalar: L_task (1) and the term of z (B, D), K of (B, D_k) and labels (B,)."""
        # c(p) of (5) is inside the objective, as the strength of its gradient reversal.
        with contextlib.nullcontext() if self.active else held(self.objective):
            term = self.modules.objective(z, references, labels, self.progress)  # (2), (3)
        if not self.active:
            # Called all the same: every rank has to have all gradients, if only of 0, and the same
            # names of figures.
            self.told |= dict.fromkeys(term.logs, ABSENT)
            return task_loss + 0.0 * term.loss
        self.told |= term.logs
        if term.limit is None or not term.loss.requires_grad:
            return term.total(task_loss)  # (4), or (6) to (8) with other objectives
        encoder = [*self.modules["encoder"].parameters()]
        others = [*self.modules["head"].parameters(), *self.objective.parameters()]
        task_loss = task_loss * term.task_weight
        scale = self.scaler.get_scale() if self.scaler.is_enabled() else None
        return bounded_loss(task_loss, term.loss, encoder, others, term.limit, scale)

    def embed_references(self, inputs, seen, batch: Batch) -> list[torch.Tensor]:
        """v_1 .. v_K of a batch, each (B, D_k), without a graph."""
        if isinstance(self.references, EmbeddingTable):
            return self.references.embed(batch.items)
        if isinstance(self.references, OutOfFoldReferences):
            return self.references.embed(inputs, batch.labels)
        return [
            member(seen if lent and seen is not None else inputs)
            for member, lent in zip(self.references.members, self.lends_features, strict=True)
        ]

    @functools.cached_property
    def lends_features(self) -> list[bool]:
        """For each reference, whether it sees inputs through the new member's very features."""
        encoder = unwrapped(self.modules["encoder"])
        return [same_features(encoder, member.encoder) for member in self.references.members]

    def init_optimizers(self):
        """Two optimizers: encoder and head descend L, the adversary's heads a_k descend L_adv.

        SpeechBrain steps and clears all of ``optimizers_dict`` after each backward pass.
        """
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

    def on_fit_batch_end(self, batch, outputs, loss, should_step):
        """The adversary's further steps: its first was taken with the encoder's."""
        super().on_fit_batch_end(batch, outputs, loss, should_step)
        if not should_step:
            return  # gradients of several batches are being gathered
        steps = self.objective.adversary_steps
        if steps < 2 or not self.active_somewhere():
            return
        for step in range(1, steps):
            loss = self.objective.further_loss(step, *self.last_batch)  # (3) on a fixed z
            (loss if self.active else 0.0 * loss).backward()
            average_gradients(self.objective.further_parameters(step))
            self.adversary_optimizer.step()
            self.adversary_optimizer.zero_grad()  # nothing may leak into the next batch

    def active_somewhere(self) -> bool:
        """Whether the objective has acted on a rank's batch; the ranks then step together."""
        if self.view != "unaugmented":
            return self.active
        return mean_over_ranks({"active": float(self.active)}, self.device)["active"] > 0

    def step_ended(self, figures):
        self.objective.observe(task_loss=figures.get("task_loss"))

    def epoch_ended(self, dev_error):
        self.objective.observe(dev_error=dev_error)
