"""Hides from a member in training what a frozen reference's decision rests on; docs/method.md."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from acorl_sb.encoders.encoder import SpeakerEncoder, band_centres
from acorl_sb.encoders.ensemble import FrozenMember

OF = ("own", "other", "stripes")


class AttributionMask(nn.Module):
    """Sets to its band's mean the share of a member's features that a map puts first.

    The map is gradient times input of the reference's target score: the cosine of its embedding
    and the vector of the utterance's class. It is laid on the member's own features by centre
    frequency and time, so front ends may differ.

    Arguments
    ---------
    reference : SpeakerEncoder
        With features; it is frozen.
    class_vectors : (C, D_k)
        Of the training classes, such as the weights of the reference's own classifier.
    share : float in (0, 1)
        Of the time-frequency bins; the same number is hidden in every utterance.
    of : str
        ``own``: each utterance's map. Controls of equal area: ``other``, the map of the utterance
        before it in the batch; ``stripes``, a stretch of frames and a stretch of bands at random,
        as wide as each other relative to the whole (SpecAugment, Park et al. 2019).
    window : (int, int), odd
        Frames and bands that a map is averaged over: single bins can be told from their neighbours.

    Raises
    ------
    ValueError
        For values out of range.
    """

    class_vectors: torch.Tensor  # (C, D_k)

    def __init__(
        self,
        reference: SpeakerEncoder,
        class_vectors: torch.Tensor,
        share: float = 0.1,
        of: str = "own",
        window: tuple[int, int] = (9, 3),
    ):
        super().__init__()
        if not 0 < share < 1:
            raise ValueError(f"share is a number between 0 and 1, not {share}")
        if of not in OF:
            raise ValueError(f"of is one of {', '.join(OF)}, not {of!r}")
        if any(size < 1 or size % 2 == 0 for size in window):
            raise ValueError(f"window has odd numbers of frames and bands, not {window}")
        if reference.compute_features is None:
            raise ValueError("the reference takes waves: it has no features to attribute to")
        self.reference = FrozenMember("reference", reference)
        self.register_buffer("class_vectors", class_vectors.detach().clone())
        self.share, self.of, self.window = share, of, (window[0], window[1])

    def forward(
        self,
        features: torch.Tensor,
        encoder: SpeakerEncoder,
        inputs: torch.Tensor,
        labels: torch.Tensor,
    ) -> torch.Tensor:
        """The member's features with what the map puts first hidden.

        Arguments
        ---------
        features : (B, F, M) of ``inputs``, by ``encoder``
        encoder : SpeakerEncoder, the member
        inputs : (B, T) waves
        labels : (B,) int64 in [0, C)

        Returns
        -------
        (B, F, M)
        """
        if self.of == "stripes":
            ranks = stripes(features)
        else:
            encoders = (self.reference.encoder, encoder)
            ranks = self.attribution(inputs, labels).to(features.dtype)
            ranks = on_grid(ranks, features, *(band_centres(e) for e in encoders))
            if self.of == "other":
                ranks = ranks.roll(1, 0)
        return hide(features, ranks, self.share)

    def attribution(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Gradient times input (B, F_k, M_k) on the reference's features, averaged over windows.

        The input is counted from its band's mean, which is what hiding leaves of it.
        """
        encoder = self.reference.encoder
        # Without autocast: such gradients are too small for float16.
        with torch.enable_grad(), torch.autocast(inputs.device.type, enabled=False):
            x = encoder.features(inputs).detach().requires_grad_()
            scores = F.cosine_similarity(encoder(x), self.class_vectors[labels], dim=1)
            (gradient,) = torch.autograd.grad(scores.sum(), x)
        found = (gradient * (x - x.mean(1, keepdim=True))).detach().unsqueeze(1)
        half = (self.window[0] // 2, self.window[1] // 2)
        return F.avg_pool2d(found, self.window, 1, half, count_include_pad=False).squeeze(1)


def on_grid(maps: torch.Tensor, features: torch.Tensor, old, new) -> torch.Tensor:
    """Maps (B, F', M') on the bins of ``features`` (B, F, M), each bin from the nearest one.

    ``old`` (M',) and ``new`` (M,) are the bands' centres, Hz; None where a front end does not say,
    which will do where both have as many bands. Frames lie evenly from the first sample to the
    last, as those of a centred STFT.
    """
    frames, bands = features.shape[1:]
    last = maps.shape[1] - 1
    rows = (torch.arange(frames) * (last / max(1, frames - 1))).round().long()
    maps = maps.index_select(1, rows.to(maps.device))
    if old is None or new is None:
        if bands != maps.shape[2]:
            raise ValueError(f"{maps.shape[2]} and {bands} bands whose frequencies are not known")
        return maps
    apart = torch.as_tensor(new).unsqueeze(1) - torch.as_tensor(old)  # (M, M')
    return maps.index_select(2, apart.abs().argmin(1).to(maps.device))


def stripes(features: torch.Tensor) -> torch.Tensor:
    """Ranks (B, F, M): the nearer to a random frame or a random band, the higher."""
    count, frames, bands = features.shape
    near = []
    for size in (frames, bands):
        centre = torch.rand(count, 1, device=features.device)
        place = (torch.arange(size, device=features.device) + 0.5) / size
        near.append((place - centre).abs())
    return -torch.minimum(near[0].unsqueeze(2), near[1].unsqueeze(1))


def hide(features: torch.Tensor, ranks: torch.Tensor, share: float) -> torch.Tensor:
    """Features (B, F, M) with the ``share`` of bins of the highest ranks at their bands' means."""
    number = round(share * ranks[0].numel())
    chosen = ranks.flatten(1).topk(number, dim=1).indices
    hidden = torch.zeros_like(ranks, dtype=torch.bool).flatten(1).scatter_(1, chosen, True)
    return torch.where(hidden.view_as(features), features.mean(1, keepdim=True), features)
