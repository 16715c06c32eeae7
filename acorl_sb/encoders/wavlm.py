"""WavLM through SpeechBrain's lobe for Hugging Face models, frozen, as a front end.

Chen et al., "WavLM: Large-Scale Self-Supervised Pre-Training for Full Stack Speech Processing"
(arXiv 2110.13900), where an ECAPA-TDNN sees a learned average of all its layers.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from acorl_sb.utils.errors import UserError


class WavLMLayers(nn.Module):
    """Waves (B, T) at 16 kHz -> the outputs of all L layers, (B, F, L C), layer after layer.

    L counts the input of the first layer too: 13 for the base models, 25 for the large one.
    WavLM is frozen and always in eval mode. It is deliberately no submodule: it enters neither
    an optimizer nor a checkpoint nor a member's folder, and is loaded from ``source`` again.

    Arguments
    ---------
    source : str
        Id on the Hugging Face hub, or a folder as ``save_pretrained`` writes it.
        Downloads are kept in Hugging Face's cache. Weights are read as plain tensors, and no code
        of the source is run.

    Raises ``UserError`` without the package transformers, and for a source that cannot be loaded.
    """

    def __init__(self, source: str):
        super().__init__()
        try:
            from huggingface_hub.constants import HF_HUB_CACHE
            from speechbrain.integrations.huggingface.wavlm import WavLM
        except ImportError as error:
            raise UserError(
                f"WavLM needs the package transformers ({error}): pip install 'acorl_sb[wavlm]'"
            ) from None
        logger = logging.getLogger("speechbrain.integrations.huggingface.huggingface")
        level = logger.level
        logger.setLevel(logging.ERROR)  # it warns that what shall be frozen is frozen
        try:
            wavlm = WavLM(source, HF_HUB_CACHE, freeze=True, output_all_hiddens=True)
        except Exception as error:  # no such file, no network, no such model
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"WavLM {source}: it cannot be loaded ({reason})") from None
        finally:
            logger.setLevel(level)
        self._frozen = [wavlm.eval().requires_grad_(False)]
        self.layers: int = wavlm.config.num_hidden_layers + 1
        self.channels: int = wavlm.config.hidden_size

    @torch.no_grad()
    def forward(self, waves: torch.Tensor) -> torch.Tensor:
        hidden = self._frozen[0](waves)  # (L, B, F, C)
        return hidden.permute(1, 2, 0, 3).flatten(2)

    def _apply(self, fn: Any, recurse: bool = True) -> WavLMLayers:
        """Follow the encoder to its device, though no submodule."""
        super()._apply(fn, recurse)
        self._frozen[0]._apply(fn, recurse)
        return self


class AveragedLayers(nn.Module):
    """A network behind a learned average of layers: (B, F, L C) -> (B, F, C) -> embeddings.

    Arguments
    ---------
    network : module
        Features (B, F, C) and relative lengths (B,) -> (B, D) or (B, 1, D).
    layers : int
        L.

    Example
    -------
    >>> mean = AveragedLayers(lambda x, lengths: x.mean(1), layers=2)
    >>> mean(torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]))
    tensor([[2., 3.]], grad_fn=<MeanBackward1>)
    """

    def __init__(self, network: Any, layers: int):
        super().__init__()
        self.network, self.layers = network, layers
        self.weights = nn.Parameter(torch.zeros(layers))  # (L,), equal weights at first

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        share = F.softmax(self.weights, dim=0).to(x.dtype)
        return self.network(
            torch.einsum("bflc,l->bfc", x.unflatten(2, (self.layers, -1)), share), lengths
        )
