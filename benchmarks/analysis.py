"""How long an analysis takes: two small members, 200 trials, on this machine's cores.

    python benchmarks/analysis.py [--json FILE]

Makes 40 speakers of hummed noise, two untrained members of the default size, and runs
``acorl_sb.cli.analyse`` on them with its defaults. Training does not change what a step costs.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from targets import Rows

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.analysis import runs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--json", metavar="FILE", help="write the rows there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        speech = runs.utterances(Path(folder) / "speech", speakers=40, each=10, seconds=2.2)
        size = {"channels": 128, "embedding_dim": 128, "n_mels": 40}
        run = runs.finished(Path(folder) / "run", speech, {"first": 1, "second": 2}, **size)
        print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        command = [sys.executable, "-m", "acorl_sb.cli.analyse", ROOT / "hparams" / "analyse.yaml"]
        started = time.perf_counter()
        subprocess.run([*command, "--run_folder", run, "--device", "cpu"], check=True, cwd=ROOT)
        seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"CPU seconds of all threads: {used.ru_utime + used.ru_stime:.0f}")
    rows = Rows()
    rows.at_most("analysis of two members, 200 trials: seconds", seconds, 300)
    return rows.finish(arguments.json)


if __name__ == "__main__":
    sys.exit(main())
