"""Fuse score files of several systems: ``acorl_sb.cli.fuse``."""

from acorl_sb.cli.fuse import main
from acorl_sb.utils.errors import run_cli

if __name__ == "__main__":
    run_cli(main)
