"""Preparing 100,000 files of a VoxCeleb-like folder: seconds, memory, and a rerun.

    python benchmarks/prepare.py [--json FILE] [--files N]

The files are tiny and made for the occasion; preparation reads a header and the first samples of a
file, so that its length does not matter. Each preparation is a fresh Python process, measured from
start to end.
"""

from __future__ import annotations

import argparse
import io
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from targets import Rows

PREPARE = """
import sys
from acorl_sb.corpora import prepare
prepare("voxceleb", sys.argv[1], sys.argv[2], trials=None)
"""


def make_files(root: Path, count: int) -> None:
    """``count`` WAV files of 0.1 s of noise: ten videos of ten utterances a speaker."""
    memory = io.BytesIO()
    noise = np.random.default_rng(0).integers(-3000, 3000, 1600, dtype=np.int16)
    soundfile.write(memory, noise, 16000, format="WAV")
    data = memory.getvalue()
    for i in range(count):
        video = root / "wav" / f"id{i // 100:05d}" / f"video{i // 10 % 10}"
        if i % 10 == 0:
            video.mkdir(parents=True)
        (video / f"{i % 10:05d}.wav").write_bytes(data)


def prepare(root: Path, out: Path) -> tuple[float, float]:
    """Seconds and peak memory (MB) of one preparation in a fresh process.

    The peak is that of the largest child process so far, so that it can only be too high.
    """
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", PREPARE, str(root), str(out)], check=True)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return seconds, peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", help="also write the rows to this file")
    parser.add_argument("--files", type=int, default=100_000)
    arguments = parser.parse_args()
    rows = Rows()
    with tempfile.TemporaryDirectory() as folder:
        root, out = Path(folder, "data"), Path(folder, "out")
        make_files(root, arguments.files)
        seconds, peak = prepare(root, out)
        again, _ = prepare(root, out)
        rows.at_most(f"prepare {arguments.files} files (s)", seconds, 60)
        rows.at_most("peak memory (MB)", peak, 1000)
        rows.at_most("rerun (s)", again, 5)
    return rows.finish(arguments.json)


if __name__ == "__main__":
    sys.exit(main())
