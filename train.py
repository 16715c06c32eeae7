"""Train an ensemble of speaker encoders, score it, fuse it: ``acorl train``."""

from __future__ import annotations

import sys

from acorl_sb.cli import main as acorl
from acorl_sb.utils.errors import run_cli


def main(argv: list[str] | None = None) -> int:
    """What ``acorl train`` does, with the arguments ``argv``; None: the process's own."""
    return acorl.main(["train", *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    run_cli(main)
