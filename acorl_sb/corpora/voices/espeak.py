"""eSpeak NG's synthetic voices, through the shared library that ``espeakng-loader`` installs."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from acorl_sb.data.audio import SAMPLE_RATE
from acorl_sb.utils.errors import UserError

_WORKER = Path(__file__).with_name("espeak_worker.py")


@dataclass(frozen=True)
class Job:
    """One text to speak.

    ``voice`` is ``language+variant`` such as ``en-us+f3``; ``rate`` in words per minute (80-450);
    ``pitch`` and its ``range`` from 0 to 99, where 50 is the variant's own.
    """

    voice: str
    text: str
    rate: int = 175
    pitch: int = 50
    range: int = 50


def speak(jobs: Sequence[Job]) -> list[np.ndarray]:
    """Speak ``jobs`` in order in a fresh process: float32 waves of shape (T,) at 16 kHz in [-1, 1].

    The same jobs give the same bits. Raises ``UserError`` where eSpeak NG is missing, fails, or
    knows no such voice.
    """
    library, data = _paths()
    request = {"library": library, "data": data, "jobs": [asdict(job) for job in jobs]}
    process = subprocess.run(
        [sys.executable, "-I", str(_WORKER)],
        input=json.dumps(request).encode(),
        capture_output=True,
    )
    if process.returncode != 0:
        message = process.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise UserError(
            f"eSpeak NG failed ({message[-1]}); reinstall it with pip install espeakng-loader"
        )
    out = process.stdout
    (rate,) = struct.unpack_from("<I", out, 0)
    waves, at = [], 4
    for job in jobs:
        (count,) = struct.unpack_from("<I", out, at)
        if count == 0:
            raise UserError(f"eSpeak NG says nothing for {job.text!r} with the voice {job.voice!r}")
        pcm = np.frombuffer(out, "=i2", count, at + 4)
        at += 4 + 2 * count
        wave = pcm.astype(np.float32) / 32768
        waves.append(resample_poly(wave, SAMPLE_RATE, rate).astype(np.float32))
    return waves


def variants() -> list[str]:
    """Names of the voice variants, sorted."""
    return sorted(path.name for path in Path(_paths()[1], "voices", "!v").iterdir())


def gender(variant: str) -> str:
    """``m`` or ``f`` where the variant's file says so, else empty."""
    text = Path(_paths()[1], "voices", "!v", variant).read_text(encoding="utf-8", errors="replace")
    found = re.search(r"^\s*gender\s+([mf])", text, re.MULTILINE | re.IGNORECASE)
    return found.group(1).lower() if found else ""


@lru_cache(maxsize=1)
def _paths() -> tuple[str, str]:
    try:
        import espeakng_loader
    except ImportError:
        raise UserError("eSpeak NG is missing; pip install espeakng-loader") from None
    return str(espeakng_loader.get_library_path()), str(espeakng_loader.get_data_path())
