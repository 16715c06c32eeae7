"""Noise and reverberation from folders, for SpeechBrain's augmentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.fft import next_fast_len
from speechbrain.augment.time_domain import AddNoise
from torch import nn
from torchaudio.functional import fftconvolve

from acorl_sb.corpora.listing import audio_files, read_headers
from acorl_sb.training.dataset import KeptAudio
from acorl_sb.utils.errors import UserError


class FolderNoise(AddNoise):
    """SpeechBrain's ``AddNoise`` with noises taken from the audio files of a folder.

    SpeechBrain's own walks through a list, so the noise of a step depends on how many steps came
    before it in this process, and a resumed run gets other noises. Here each step draws its
    noises anew from torch's random state, and reads only the stretch that it needs.

    Arguments
    ---------
    folder : str or None
        Searched with its subfolders; None adds no noise at all.
    snr_low, snr_high : float, dB
    sample_rate : int, Hz
    cache_mb : float
        Decoded noises kept in memory, MB; what is beyond is read anew each time.
    """

    def __init__(
        self,
        folder: str | None = None,
        snr_low: float = 0,
        snr_high: float = 15,
        sample_rate: int = 16000,
        cache_mb: float = 200,
    ):
        super().__init__(snr_low=snr_low, snr_high=snr_high, clean_sample_rate=sample_rate)
        self.files = audio_lengths(folder, "noise", sample_rate)
        self.audio = KeptAudio(cache_mb, sample_rate)
        if self.files:
            self.csv_file = folder  # makes AddNoise call _load_noise

    def forward(self, waveforms: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return super().forward(waveforms, lengths) if self.files else waveforms

    def _load_noise(self, lengths: torch.Tensor, max_length: int):
        noises = []
        for place, at in zip(
            torch.randint(len(self.files), (len(lengths),)).tolist(),
            torch.rand(len(lengths)).tolist(),
            strict=True,
        ):
            path, length = self.files[place]
            start = int(at * max(1, length - max_length + 1))
            stop = min(start + max_length, length)
            noises.append(np.resize(self.audio.read(path, (0, length), start, stop), max_length))
        noise = torch.from_numpy(np.stack(noises)).to(lengths.device)  # (B, T)
        return noise, lengths


class FolderReverb(nn.Module):
    """Reverberation by impulse responses from the audio files of a folder.

    Each utterance gets a response of its own, drawn from torch's random state. The strongest tap
    of a response becomes its first, so that speech stays where it was in time, and the result
    has the mean amplitude of what came in.

    Arguments
    ---------
    folder : str or None
        Searched with its subfolders; None leaves waves as they are.
    max_seconds : float
        Longer responses are cut to this.
    sample_rate : int, Hz
    cache_mb : float
        Decoded responses kept in memory, MB; what is beyond is read anew each time.

    Calling it with waves (B, T) and relative lengths (B,), which it does not use, gives (B, T).
    """

    def __init__(
        self,
        folder: str | None = None,
        max_seconds: float = 1.0,
        sample_rate: int = 16000,
        cache_mb: float = 200,
    ):
        super().__init__()
        self.files = audio_lengths(folder, "reverberation", sample_rate)
        self.longest = round(max_seconds * sample_rate)
        self.audio = KeptAudio(cache_mb, sample_rate)

    def forward(self, waveforms: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        if not self.files:
            return waveforms
        drawn = torch.randint(len(self.files), (len(waveforms),)).tolist()
        responses = nn.utils.rnn.pad_sequence(
            [self._response(*self.files[i]) for i in drawn], batch_first=True
        ).to(waveforms.device)  # (B, L)
        wet = convolve(waveforms, responses)[:, : waveforms.shape[1]]
        level = waveforms.abs().mean(1, keepdim=True) / wet.abs().mean(1, keepdim=True).clamp(1e-8)
        return wet * level

    def _response(self, path: Path, length: int) -> torch.Tensor:
        response = torch.from_numpy(self.audio.read(path, (0, length), 0, length))
        return response[response.abs().argmax() :][: self.longest]


def convolve(waves: torch.Tensor, responses: torch.Tensor) -> torch.Tensor:
    """Full convolution of (B, T) and (B, L), row by row: (B, T + L - 1).

    torchaudio's ``fftconvolve`` at a length for which the transform is fast.
    """
    length = waves.shape[1] + responses.shape[1] - 1
    more = next_fast_len(length, real=True) - length
    return fftconvolve(waves, nn.functional.pad(responses, (0, more)))[:, :length]


def audio_lengths(folder: str | None, purpose: str, sample_rate: int) -> list[tuple[Path, int]]:
    """Audio files below ``folder`` with their lengths in samples; none for None.

    Raises ``UserError``, naming ``purpose``, for a folder that is missing or holds no audio.
    """
    if folder is None:
        return []
    if not Path(folder).is_dir():
        raise UserError(f"{purpose} folder {folder}: no such folder; name one or leave it null")
    paths = audio_files(Path(folder))
    if not paths:
        raise UserError(f"{purpose} folder {folder}: no audio files in it; name another")
    headers = read_headers([str(path) for path in paths])
    return [(path, header.length(sample_rate)) for path, header in zip(paths, headers, strict=True)]
