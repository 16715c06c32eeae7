"""A network's kernels launched together, as one CUDA graph: small networks wait for launches."""

from __future__ import annotations

import torch
from torch import nn

from acorl_sb.encoders.encoder import SpeakerEncoder


def replay_network(encoder: SpeakerEncoder, inputs: torch.Tensor) -> None:
    """Let an encoder replay its network as a CUDA graph in the steps of training.

    ``torch.cuda.make_graphed_callables`` records the network's forward and backward pass once.
    Replayed are training batches of the shape of ``inputs`` while batch statistics are taken and
    gradients wanted; anything else is computed as before. A replay's graph can go backward once,
    and its gradients lie in memory that the next replay writes: clear them after each step.

    Arguments
    ---------
    encoder : SpeakerEncoder, on the GPU
        Its weights and statistics are left as they are.
    inputs : (B, T) waves, on the GPU
    """
    network = encoder.embedding_model
    with torch.no_grad():
        sample = encoder.features(inputs)  # (B, F, n_mels)
    given = encoder.network_inputs(sample)
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    was_training, plain = network.training, network.forward
    statistics = [buffer.clone() for buffer in network.buffers()]
    network.train()
    torch.cuda.make_graphed_callables(network, given, allow_unused_input=True)
    replay = network.forward
    network.train(was_training)
    with torch.no_grad():  # which recording has moved
        for buffer, before in zip(network.buffers(), statistics, strict=True):
            buffer.copy_(before)

    def forward(x: torch.Tensor, *lengths: torch.Tensor) -> torch.Tensor:
        as_recorded = x.shape == sample.shape and x.dtype == sample.dtype and not x.requires_grad
        in_training = network.training and all(norm.training for norm in norms)
        if as_recorded and in_training and torch.is_grad_enabled():
            return replay(x, *lengths)
        return plain(x, *lengths)

    network.forward = forward  # type: ignore[method-assign]
