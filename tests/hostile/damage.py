"""Files damaged in every way that was thought of, for the tables of this folder."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000


def noise(seconds: float = 0.5, seed: int = 0) -> np.ndarray:
    """A wave that is neither silent nor like another seed's, float64 (T,)."""
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))


def speakers(root: Path, count: int = 6, each: int = 3) -> Path:
    """A corpus of the layout ``folder``: ``s0/u0.wav`` and so on."""
    for s in range(count):
        (root / f"s{s}").mkdir(parents=True)
        for u in range(each):
            soundfile.write(root / f"s{s}" / f"u{u}.wav", noise(seed=s * each + u), RATE)
    return root


def written(wave: np.ndarray, suffix: str = ".wav", rate: int = RATE) -> Callable[[Path], Path]:
    """A corpus with one more file of this audio."""

    def damage(root: Path) -> Path:
        path = root / "s1" / f"bad{suffix}"
        soundfile.write(path, wave, rate)
        return path

    return damage


def cut(suffix: str, keep: float = 0.5) -> Callable[[Path], Path]:
    """A corpus with one more file that ends early, as an interrupted copy does."""

    def damage(root: Path) -> Path:
        path = written(noise(3), suffix)(root)
        data = path.read_bytes()
        path.write_bytes(data[: int(keep * len(data))])
        return path

    return damage


def patched(
    place: Callable[[bytes], int], form: str, value: int, suffix: str = ".wav"
) -> Callable[[Path], Path]:
    """A corpus with one more file in whose header another figure stands."""

    def damage(root: Path) -> Path:
        path = written(noise(), suffix)(root)
        data = bytearray(path.read_bytes())
        struct.pack_into(form, data, place(data), value)
        path.write_bytes(data)
        return path

    return damage


def holding(data: bytes, name: str = "bad.wav") -> Callable[[Path], Path]:
    """A corpus with one more file of these bytes."""

    def damage(root: Path) -> Path:
        path = root / "s1" / name
        path.write_bytes(data)
        return path

    return damage


def fifo(root: Path) -> Path:
    os.mkfifo(root / "s1" / "bad.wav")
    return root / "s1" / "bad.wav"


def a_socket(root: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(root / "s1")  # the whole path may be longer than a socket's name can be
        try:
            server.bind("bad.wav")
        finally:
            os.chdir(here)
    return root / "s1" / "bad.wav"


def link(name: str, target: str) -> Callable[[Path], Path]:
    """A corpus with a link in it."""

    def damage(root: Path) -> Path:
        (root / name).symlink_to(target)
        return root / name

    return damage


def not_utf8(root: Path) -> Path:
    path = os.fsencode(root / "s1") + b"/bad\xff.wav"
    with open(path, "wb") as file:
        file.write((root / "s1" / "u0.wav").read_bytes())
    return Path(os.fsdecode(path))


def emptied(root: Path) -> Path:
    for path in sorted(root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    return root


FLAC_FRAMES = 8 + 13  # the byte that holds the four highest bits of the number of samples

AUDIO: dict[str, Callable[[Path], Path]] = {
    "too short for a frame": written(noise(0.02)),
    "one sample": written(noise(1 / RATE)),
    "silent": written(np.zeros(RATE)),
    "constant": written(np.full(RATE, 0.25)),
    "two silent channels": written(np.tile([0.25, -0.25], (RATE, 1))),
    "rate of 1 Hz": written(noise(), rate=1),
    "rate of 15,999 Hz": written(noise(), rate=15999),
    "rate of 10 MHz": written(noise(), rate=10_000_000),
    "64 channels": written(np.random.default_rng(0).uniform(-0.1, 0.1, (RATE, 64))),
    "no channel": patched(lambda d: d.index(b"fmt ") + 10, "<H", 0),
    "no byte": holding(b""),
    "text": holding(b"this is no audio, but a line of text\n"),
    "days of audio": patched(lambda d: FLAC_FRAMES, ">B", 0xFF, ".flac"),
    "half a WAV": cut(".wav"),
    "half an AIFF": cut(".aiff"),
    "half a FLAC": cut(".flac"),
    "half an Ogg Vorbis": cut(".ogg"),
    "half an MP3": cut(".mp3"),
    "half of an MP4 header": holding(struct.pack(">I4s", 100, b"moov") + bytes(9), "bad.m4a"),
    "MP4 boxes in boxes": holding(
        b"".join(struct.pack(">I4s", 8 * n, b"moov") for n in range(5000, 0, -1)), "bad.m4a"
    ),
    "FIFO": fifo,
    "socket": a_socket,
    "device": link("s1/bad.wav", "/dev/zero"),
    "link to nowhere": link("s1/bad.wav", "gone.wav"),
    "speaker's folder gone": link("bad", "gone"),
    "link to itself": link("s1/bad.wav", "bad.wav"),
    "link to a folder above": link("s1/bad", ".."),
    "name that is not UTF-8": not_utf8,
    "folder empty": emptied,
}
"""What can be wrong with a file in a folder of recordings: changes the folder, returns the path."""
