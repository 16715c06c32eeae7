"""Fuse score files of several systems: ``acorl_sb.cli.fuse``."""

import sys

from acorl_sb.cli.main import main
from acorl_sb.utils.errors import run_cli

if __name__ == "__main__":
    run_cli(lambda: main(["fuse", *sys.argv[1:]]))
