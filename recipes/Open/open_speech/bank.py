"""All training speech in one array, plain and through a codec; batches are cut from it."""

from __future__ import annotations

import io
import json
import zlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch
from scipy.signal import resample_poly
from torch import nn
from torch.utils.data import Dataset

from acorl_sb.data.audio import SAMPLE_RATE, read_audio
from acorl_sb.data.manifest import Utterance
from acorl_sb.data.waves import centre_of
from acorl_sb.scoring.backends.cosine import cosine_eer
from acorl_sb.training.dataset import as_ratio, change_speed
from acorl_sb.training.speech import SpeakerMembers
from acorl_sb.training.training_data import TrainingData
from acorl_sb.utils.files import atomic_path
from open_speech import sets

ROOM_SECONDS = 0.5
DEV_SECONDS = 3.0  # of the check after each epoch, and of the teachers' view of a piece
CHUNK = 1 << 24  # samples resampled at once

# File format, codec, rate (Hz), libsndfile's compression level, share of the coded speech.
CODECS = (
    ("WAV", "GSM610", 8000, None, 0.3),
    ("WAV", "ULAW", 8000, None, 0.15),
    ("WAV", "IMA_ADPCM", 8000, None, 0.15),
    ("MP3", "MPEG_LAYER_III", 16000, 0.9, 0.25),
    ("OGG", "OPUS", 16000, 1.0, 0.15),
)


def coded(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A wave (T,) through a codec at random, at a low bit rate: (T,) again."""
    which = rng.choice(len(CODECS), p=[codec[-1] for codec in CODECS])
    form, subtype, rate, level, _ = CODECS[which]
    factor = SAMPLE_RATE // rate
    narrow = wave if factor == 1 else resample_poly(wave, 1, factor)
    file = io.BytesIO()
    more = {} if level is None else {"compression_level": level}
    soundfile.write(file, np.clip(narrow, -1, 1), rate, format=form, subtype=subtype, **more)
    file.seek(0)
    heard = soundfile.read(file, dtype="float32")[0]
    heard = heard if factor == 1 else resample_poly(heard, factor, 1)
    return np.resize(np.pad(heard, (0, max(0, len(wave) - len(heard)))), len(wave))


def read_piece(utterance: Utterance) -> np.ndarray:
    """(2, T) int16: an utterance as it is, and coded."""
    wave = read_audio(utterance.wav, utterance.start, utterance.stop)
    rng = np.random.default_rng(zlib.crc32(utterance.id.encode()))
    return integers(np.stack([wave, coded(wave, rng)]))


def integers(waves: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(waves, -1, 1) * 32767).astype(np.int16)


def centred(utterance: Utterance) -> np.ndarray:
    """The centre of ``DEV_SECONDS``, int16; a shorter utterance is repeated."""
    wave = read_audio(
        utterance.wav, *centre_of(utterance.start, utterance.stop, DEV_SECONDS, SAMPLE_RATE)
    )
    return integers(np.resize(wave, round(DEV_SECONDS * SAMPLE_RATE)))


def build(folder: Path, data: Path, jobs: int) -> None:
    """Write ``bank/{speech,dev,noise,rooms}.npy`` to ``folder``, unless they are there."""
    bank, prepared = folder / "bank", folder / "data"
    train = sets.read(prepared / "train.csv", data)
    dev = sets.read_set(prepared, data, "dev", sets.DEV)
    noises = [data / n for n in json.loads((prepared / "train" / "noise.json").read_text())]
    rooms = sorted((prepared / "train" / "rooms").glob("*.wav"))
    with ProcessPoolExecutor(jobs) as pool:
        if not (bank / "speech.npy").is_file():
            places = edges(train)
            speech = np.empty((2, places[-1]), np.int16)
            for i, piece in enumerate(pool.map(read_piece, train, chunksize=16)):
                speech[:, places[i] : places[i + 1]] = piece
            save(bank / "speech.npy", speech)
        if not (bank / "dev.npy").is_file():
            save(bank / "dev.npy", np.stack(list(pool.map(centred, dev.utterances, chunksize=8))))
        if not (bank / "noise.npy").is_file():
            loud = [w / max(1e-4, float(np.abs(w).max())) for w in pool.map(read_audio, noises)]
            save(bank / "noise.npy", integers(np.concatenate(loud)))
    if not (bank / "rooms.npy").is_file():
        save(bank / "rooms.npy", np.stack([response(path) for path in rooms]))


def save(path: Path, array: np.ndarray) -> None:
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.save(file, array)


def response(path: Path) -> np.ndarray:
    """Impulse response, its strongest tap first, of ``ROOM_SECONDS`` and unit energy."""
    wave = read_audio(path)
    wave = np.append(wave[np.abs(wave).argmax() :], np.zeros(SAMPLE_RATE))
    wave = wave[: round(ROOM_SECONDS * SAMPLE_RATE)]
    return (wave / np.linalg.norm(wave)).astype(np.float32)


def edges(utterances) -> np.ndarray:
    """(N + 1,) places of N utterances in the array."""
    return np.cumsum([0, *(u.stop - u.start for u in utterances)])


class Bank(NamedTuple):
    """``speech`` (2, S) int16 at all speeds; row i is ``lengths[i]`` long from ``starts[i]``."""

    speech: torch.Tensor
    starts: np.ndarray
    lengths: np.ndarray
    noise: torch.Tensor
    rooms: torch.Tensor
    dev: torch.Tensor

    @classmethod
    def load(cls, folder: Path, places: np.ndarray, speeds, device) -> Bank:
        """What ``build`` wrote, on a device, with the speech resampled to every speed."""
        files = {p.stem: np.load(p, mmap_mode="r") for p in (folder / "bank").glob("*.npy")}
        parts, starts, lengths, offset = [], [], [], 0
        for speed in speeds:
            parts.append(at_speed(files["speech"], speed, device))
            now = np.ceil(places / float(as_ratio(speed))).astype(np.int64)
            starts.append(offset + now[:-1])
            lengths.append(np.diff(np.minimum(now, parts[-1].shape[1])))
            offset += parts[-1].shape[1]
        rest = (
            torch.from_numpy(np.array(files[name])).to(device) for name in ("noise", "rooms", "dev")
        )
        return cls(torch.cat(parts, 1), np.concatenate(starts), np.concatenate(lengths), *rest)


def at_speed(speech: np.ndarray, speed: float, device) -> torch.Tensor:
    """All speech (2, S) int16 played ``speed`` times as fast, stretch by stretch."""
    step = CHUNK - CHUNK % as_ratio(speed).numerator
    made = []
    for first in range(0, speech.shape[1], step):
        part = torch.from_numpy(np.array(speech[:, first : first + step])).to(device)
        if speed != 1:
            part = change_speed(part.float(), speed).round().clamp(-32768, 32767).short()
        made.append(part)
    return torch.cat(made, 1)


class Places(Dataset):
    """Where a training crop lies: ``[draw, item]`` -> ((start, length, offset), label, item)."""

    def __init__(self, bank: Bank, labels, crop: int, seed: int):
        self.starts, self.lengths, self.labels = bank.starts, bank.lengths, labels
        self.crop, self.seed = crop, seed

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: tuple[int, int]):
        draw, item = index
        length = int(self.lengths[item])
        spare = max(0, length - self.crop)
        offset = int(np.random.default_rng((self.seed, draw)).integers(spare + 1))
        place = torch.tensor([int(self.starts[item]), length, offset])
        return place, self.labels[item], item


def crops(bank: Bank, places: torch.Tensor, samples: int, channel: torch.Tensor) -> torch.Tensor:
    """Waves (B, T) at ``places`` (B, 3); what is shorter is repeated."""
    start, length, offset = places.unbind(1)
    steps = torch.arange(samples, device=places.device)
    within = (offset[:, None] + steps) % length[:, None]
    at = channel[:, None] * bank.speech.shape[1] + start[:, None] + within
    return bank.speech.view(-1)[at].float() / 32768


class Heard(nn.Module):
    """Training crops as they are heard: coded or not, in a room, with noise, band-limited or not.

    Stands where an augmentation does: (B, 3) places of ``Places`` in, waves (B, T) out. Each
    crop draws for itself. All filters are products in the frequency domain.

    Arguments
    ---------
    bank : Bank
    samples : int, T
    share : mapping
        Of crops that are ``coded``, in a ``room``, with ``noise``, of a ``band``.
    snr : (float, float), dB
    """

    on_device = True

    def __init__(self, bank: Bank, samples: int, share, snr):
        super().__init__()
        self.bank, self.samples, self.share, self.snr = bank, samples, dict(share), tuple(snr)
        self.size = samples + bank.rooms.shape[1]
        self.responses = torch.fft.rfft(bank.rooms, self.size)  # (R, F)

    def forward(self, places: torch.Tensor, lengths: torch.Tensor):
        count, device = len(places), places.device
        with torch.autocast(device.type, enabled=False):

            def drawn(low: float, high: float) -> torch.Tensor:
                return low + (high - low) * torch.rand(count, 1, device=device)

            def some(what: str) -> torch.Tensor:
                return drawn(0, 1) < self.share[what]  # (B, 1)

            waves = crops(self.bank, places, self.samples, some("coded").long().squeeze(1))
            spectrum = torch.fft.rfft(waves, self.size)  # (B, F)
            which = torch.randint(len(self.responses), (count,), device=device)
            spectrum = torch.where(some("room"), spectrum * self.responses[which], spectrum)
            spectrum = spectrum + self.noise(spectrum, drawn(*self.snr), some("noise"))
            low, high = drawn(0, 400), drawn(3000, 4000)
            hertz = torch.linspace(0, SAMPLE_RATE / 2, spectrum.shape[1], device=device)
            band = torch.sigmoid((hertz - low) / 30) * torch.sigmoid((high - hertz) / 30)
            spectrum = torch.where(some("band"), spectrum * band, spectrum)
            return torch.fft.irfft(spectrum, self.size)[:, : self.samples], lengths

    def noise(self, spectrum: torch.Tensor, snr: torch.Tensor, where: torch.Tensor):
        """The spectrum (B, F) of noise at ``snr`` (B, 1), zero where it is not wanted."""
        device = spectrum.device
        last = len(self.bank.noise) - self.samples
        at = torch.randint(last, (len(spectrum), 1), device=device)
        waves = self.bank.noise[at + torch.arange(self.samples, device=device)].float()
        found = torch.fft.rfft(waves, self.size)
        speech, power = (x.abs().square().mean(1, keepdim=True) for x in (spectrum, found))
        level = torch.sqrt(speech / (power.clamp(min=1e-3) * 10 ** (snr / 10)))
        return found * (level * where)


class OpenSpeech(TrainingData):
    """Training pieces at all speeds, cut on the device; the EER across sessions as the check."""

    kind = SpeakerMembers()

    def __init__(self, bank: Bank, pieces, speeds, fewest: int, dev):
        self.bank, self.dev = bank, dev
        natural = sorted({u.spk_id for u in pieces})
        index = {speaker: i for i, speaker in enumerate(natural)}
        self.classes = [f"{name} x{s:g}" if s != 1 else name for s in speeds for name in natural]
        speaker = np.array([index[u.spk_id] for u in pieces])
        labels = [speaker + i * len(natural) for i in range(len(speeds))]
        self.labels = np.concatenate(labels).tolist()
        # A speaker of few pieces is drawn as often as one of ``fewest``.
        often = np.tile(np.maximum(1, fewest / np.bincount(speaker)[speaker]), len(speeds))
        self.weights = often / often.mean()

    def dataset(self, settings, seed: int) -> Places:
        return Places(self.bank, self.labels, round(settings.crop_seconds * SAMPLE_RATE), seed)

    @torch.no_grad()
    def check(self, encoder, head) -> float:
        waves = self.bank.dev.float() / 32768
        z = torch.cat([encoder(part).float().cpu() for part in waves.split(128)])
        return cosine_eer(self.dev, z.numpy())

    @torch.no_grad()
    def table(self, encoder, device, name: str) -> torch.Tensor:
        """Embeddings of all items from the first ``DEV_SECONDS`` of each, clean."""
        encoder = encoder.to(device).eval()
        samples = round(DEV_SECONDS * SAMPLE_RATE)
        places = np.stack([self.bank.starts, self.bank.lengths, 0 * self.bank.starts], 1)
        made = []
        for part in torch.from_numpy(places).split(256):
            part = part.to(device)
            clean = torch.zeros(len(part), dtype=torch.long, device=device)
            made.append(encoder(crops(self.bank, part, samples, clean)).float())
        return torch.cat(made)
