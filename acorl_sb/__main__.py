"""``python -m acorl_sb``: the command ``acorl`` where it is not installed."""

from acorl_sb.cli.main import run

if __name__ == "__main__":
    run()
