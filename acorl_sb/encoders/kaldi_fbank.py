"""Kaldi's log-mel filter bank, which most toolkits' exported encoders take."""

from __future__ import annotations

import torch
from torch import nn
from torchaudio.compliance import kaldi

from acorl_sb.utils.errors import UserError

WINDOWS = ("hamming", "hanning", "povey", "rectangular", "blackman")


class KaldiFbank(nn.Module):
    """Waves to log-mel features as ``compute-fbank-feats`` makes them, without dither.

    In float32 under autocast, too: powers of 16-bit waves are beyond float16's range.

    Toolkits differ in two things, so look them up for the encoder at hand: WeSpeaker takes a
    Hamming window and waves of 16-bit size (the defaults), 3D-Speaker and CAM++ Kaldi's own
    window, ``povey``, and waves of full scale 1 (``scale=1``).

    Arguments
    ---------
    n_mels : int
    sample_rate : int
        Hz.
    window : str
        One of ``WINDOWS``.
    frame_length, frame_shift : float
        ms.
    f_min, f_max : float
        Hz; ``f_max`` of 0 is half the sample rate.
    scale : float
        What waves of full scale [-1, 1] are multiplied by.
    mean_subtraction : bool
        Subtract each utterance's mean over time from each band.

    Raises ``UserError`` for values that make no filter bank.

    Example
    -------
    >>> KaldiFbank()(0.1 * torch.randn(2, 16000)).shape
    torch.Size([2, 98, 80])
    """

    def __init__(
        self,
        n_mels: int = 80,
        sample_rate: int = 16000,
        window: str = "hamming",
        frame_length: float = 25.0,
        frame_shift: float = 10.0,
        f_min: float = 20.0,
        f_max: float = 0.0,
        scale: float = 32768.0,
        mean_subtraction: bool = True,
    ):
        super().__init__()
        if window not in WINDOWS:
            raise UserError(f"KaldiFbank: window must be one of {', '.join(WINDOWS)}")
        self.n_mels, self.sample_rate, self.scale = n_mels, sample_rate, scale
        self.mean_subtraction = mean_subtraction
        self.options = {
            "num_mel_bins": n_mels,
            "sample_frequency": float(sample_rate),
            "window_type": window,
            "frame_length": float(frame_length),
            "frame_shift": float(frame_shift),
            "low_freq": float(f_min),
            "high_freq": float(f_max),
            "dither": 0.0,
        }
        try:
            self(torch.ones(1, sample_rate))
        except Exception as error:  # torchaudio asserts
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"KaldiFbank: these values make no filter bank ({reason})") from None

    def forward(self, waves: torch.Tensor) -> torch.Tensor:
        """(B, T) waves, full scale [-1, 1] -> (B, F, n_mels)."""
        with torch.autocast(waves.device.type, enabled=False):
            waves = waves.to(torch.promote_types(waves.dtype, torch.float32))
            x = torch.stack(
                [kaldi.fbank(self.scale * wave[None], **self.options) for wave in waves]
            )
        return x - x.mean(1, keepdim=True) if self.mean_subtraction else x
