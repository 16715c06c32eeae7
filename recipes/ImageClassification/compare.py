"""Compare the ways to train an ensemble of image classifiers, side by side.

    python recipes/ImageClassification/compare.py recipes/ImageClassification/hparams/compare.yaml \
        [--key value ...]

Trains everything (finished members are kept, so it can be stopped and started at any point) and
writes ``results.json``, ``results.md`` and ``comparison.png`` into the output folder.
"""

from __future__ import annotations

import logging
import sys

from images.comparison import compare, quiet_epochs, read_plan
from images.page import comparison_tables, draw_comparison
from images.training import set_threads

from acorl_sb.utils.errors import run_cli
from acorl_sb.utils.files import write_json, write_text
from acorl_sb.utils.logs import log_to

logger = logging.getLogger("acorl_sb.images")


def main() -> int:
    plan = read_plan(sys.argv[1:])
    log_to(plan.folder / "log.txt")
    quiet_epochs()
    set_threads(plan.base.hparams["threads"])
    write_text(plan.folder / "hyperparams.yaml", plan.text)
    results = compare(sys.argv[1:])
    write_json(plan.folder / "results.json", results)
    tables = comparison_tables(results)
    write_text(plan.folder / "results.md", tables)
    draw_comparison(results, plan.folder / "comparison.png")
    print(tables)
    logger.info("tables and picture are in %s", plan.folder)
    return 0


if __name__ == "__main__":
    run_cli(main)
