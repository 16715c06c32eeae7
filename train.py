"""Train an ensemble of speaker encoders, score it, fuse it: ``acorl_sb.cli.train``."""

from acorl_sb.cli.train import main
from acorl_sb.utils.errors import run_cli

if __name__ == "__main__":
    run_cli(main)
