"""One contract for every speaker encoder: waves or features in, (B, D) embeddings out."""

from __future__ import annotations

import inspect

import numpy as np
import torch
from speechbrain.nnet.CNN import Conv1d
from torch import nn

from acorl_sb.encoders.frame_major import frame_major


class SpeakerEncoder(nn.Module):
    """Features, their normalisation and an embedding network behind one call.

    Any network will do that SpeechBrain's inference classes would accept: called with features
    (B, F, n_mels) and relative lengths (B,), which are all 1 where it is called without, it
    returns (B, D) or (B, 1, D). With ``compute_features`` left out, the network takes waves (B, T)
    itself. SpeechBrain's ECAPA-TDNN computes the same faster here (``frame_major``).

    Utterances of different lengths in one batch get the embeddings that each would get alone:
    outside training they are cut to their lengths and embedded length by length. Networks
    disagree on padding otherwise (SpeechBrain's ResNet ignores the lengths, its ECAPA-TDNN lets
    padding into the last frames), and an embedding would depend on its neighbours.

    Arguments
    ---------
    embedding_model : module
    embedding_dim : int
        D.
    compute_features : module or None
        Waves (B, T) -> features (B, F, n_mels).
    mean_var_norm : module or None
        Features and relative lengths -> normalised features.
    sample_rate : int
        Hz, of the waves that it expects.

    Attributes
    ----------
    yaml : str or None
        The keys that it was built from, as text; None for one that was put together in Python.

    Example
    -------
    >>> class Loudness(nn.Module):
    ...     def forward(self, waves):
    ...         return waves.square().mean(1, keepdim=True)
    >>> encoder = SpeakerEncoder(Loudness(), embedding_dim=1)
    >>> encoder(torch.ones(2, 16000)).shape
    torch.Size([2, 1])
    """

    def __init__(
        self,
        embedding_model: nn.Module,
        embedding_dim: int,
        compute_features: nn.Module | None = None,
        mean_var_norm: nn.Module | None = None,
        sample_rate: int = 16000,
    ):
        super().__init__()
        self.yaml: str | None = None
        self.compute_features = compute_features
        self.mean_var_norm = mean_var_norm
        self.embedding_model = embedding_model
        self.embedding_dim = embedding_dim
        self.sample_rate = sample_rate
        skip_empty_padding(embedding_model)
        frame_major(embedding_model)
        # A plain torch module has no use for SpeechBrain's second argument.
        _, *others = inspect.signature(embedding_model.forward).parameters.values()
        self.takes_lengths = bool(others)
        self.needs_lengths = bool(others) and others[0].default is others[0].empty

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Embed a batch.

        Arguments
        ---------
        x : (B, T) waves, full scale [-1, 1], or (B, F, n_mels) features of ``features``
        lengths : (B,) in (0, 1], relative lengths as SpeechBrain counts them; None: all 1

        Returns
        -------
        (B, D) embeddings

        Raises
        ------
        ValueError
            For different lengths in training mode, where batch statistics over padding would be
            wrong: crop to one length instead.
        """
        if lengths is None:
            return self._embed(x)
        samples = torch.round(lengths * x.shape[1]).long().clamp(min=1)  # (B,)
        if bool((samples == x.shape[1]).all()):
            return self._embed(x)
        if self.training:
            raise ValueError("utterances of one training batch must have the same length")
        z = x.new_zeros(len(x), self.embedding_dim)
        for length in samples.unique():
            rows = torch.nonzero(samples == length).squeeze(1)
            z[rows] = self._embed(x[rows, :length]).to(z.dtype)
        return z

    def features(self, waves: torch.Tensor) -> torch.Tensor:
        """(B, T) waves of one length -> the (B, F, n_mels) that the network sees."""
        if self.compute_features is None:
            return waves
        features = self.compute_features(waves)
        if self.mean_var_norm is not None:
            # Not len(waves), which would fix the batch's size in an exported graph.
            features = self.mean_var_norm(features, waves.new_ones(waves.shape[0]))
        return features

    def _embed(self, x: torch.Tensor) -> torch.Tensor:
        if x.dim() == 2:
            x = self.features(x)
        z = self.embedding_model(*self.network_inputs(x))
        return z.squeeze(1) if z.dim() == 3 else z  # (B, D)

    def network_inputs(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What the network gets for features (B, F, n_mels) of one length: lengths if it must."""
        return (x, x.new_ones(x.shape[0])) if self.needs_lengths else (x,)


def skip_empty_padding(model: nn.Module) -> None:
    """Let SpeechBrain's convolutions of kernel size 1 leave out their padding of nothing.

    They copy their whole input to pad it by zero frames, a fifth of an ECAPA-TDNN's forward
    pass on a CPU. The result is the same to the bit.
    """
    for module in model.modules():
        if isinstance(module, Conv1d) and module.kernel_size == 1 and module.padding == "same":
            module.padding = "valid"


@torch.no_grad()
def check_same_encoder(a: nn.Module, b: nn.Module) -> None:
    """ValueError where weights of ``a`` do not fit ``b``, or its front end is another one.

    Front ends are judged by their classes and on a probe of noise, after the normalisation where
    that is of each utterance alone.
    """
    of_a, of_b = (e.embedding_model.state_dict() for e in (a, b))
    for name in [*of_a, *of_b]:
        shapes = [tuple(of[name].shape) if name in of else None for of in (of_a, of_b)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"the shape of the weights {name} is {shapes[0]} there, {shapes[1]} here"
            )
    kinds = []
    for e in (a, b):
        end, norm = (getattr(e, part, None) for part in ("compute_features", "mean_var_norm"))
        kinds.append((type(end), type(norm), getattr(norm, "norm_type", None)))
    if kinds[0] != kinds[1]:
        raise ValueError("its front end is another one")
    if getattr(a, "compute_features", None) is None:
        return
    probe = torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    still = kinds[0][2] == "sentence"
    seen = [e.features(probe) if still else e.compute_features(probe) for e in (a, b)]
    if seen[0].shape != seen[1].shape or not torch.equal(*seen):
        raise ValueError("its front end is another one")


@torch.no_grad()
def same_features(a: nn.Module, b: nn.Module) -> bool:
    """Whether two encoders see a wave through the same features, so that one can lend them.

    Judged on a probe of noise. False for encoders without features of their own, and for a
    normalisation whose statistics move while it is trained.
    """
    for encoder in (a, b):
        norm = getattr(encoder, "mean_var_norm", None)
        if getattr(encoder, "compute_features", None) is None:
            return False
        if getattr(norm, "norm_type", "sentence") == "global":
            return False
    probe = torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    probe = probe.to(next(a.parameters()).device)
    of_a, of_b = a.features(probe), b.features(probe)
    return of_a.shape == of_b.shape and torch.equal(of_a, of_b)


def band_centres(encoder: SpeakerEncoder) -> np.ndarray | None:
    """Centre frequency of each mel band, Hz (M,), where SpeechBrain's Fbank says it."""
    bank = getattr(encoder.compute_features, "compute_fbanks", None)
    centres = getattr(bank, "f_central", None)
    return None if centres is None else np.asarray(centres.detach().cpu(), dtype=np.float64)
