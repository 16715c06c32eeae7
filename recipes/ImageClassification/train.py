"""Train an ensemble of image classifiers one member after another, and fuse it.

    python recipes/ImageClassification/train.py recipes/ImageClassification/hparams/digits.yaml \
        [--key value ...]

``torchrun --nproc_per_node=N`` in place of ``python`` trains on N GPUs. A finished member is not
trained again and an interrupted one goes on where it was.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path

from images.members import load_outputs
from images.results import ensemble_table, evaluate_run
from images.training import MEMBER_KEYS, RUN_KEYS, RUN_LAZY, Task, set_threads, train_ensemble
from speechbrain.utils.distributed import if_main_process

from acorl_sb.training.train_options import check_specs
from acorl_sb.utils.errors import run_cli
from acorl_sb.utils.files import output_path, write_json, write_text
from acorl_sb.utils.hparams import Loaded, load_hparams
from acorl_sb.utils.locks import locked
from acorl_sb.utils.logs import log_to

logger = logging.getLogger("acorl_sb.images")


def main() -> int:
    loaded = load_hparams(sys.argv[1:], RUN_KEYS, RUN_LAZY)
    check_specs(loaded.lazy["members"], loaded.lazy["references"], MEMBER_KEYS)
    set_threads(loaded.hparams["threads"])
    task = Task.from_hparams(loaded)
    folder = output_path(loaded.hparams["output_folder"])
    with locked(folder) if if_main_process() else contextlib.nullcontext():
        return train(loaded, task, folder)


def train(loaded: Loaded, task: Task, folder: Path) -> int:
    """Train what is not trained yet, fuse, report."""
    specs, references = loaded.lazy["members"], loaded.lazy["references"]
    log_to(folder / "train_log.txt")
    if if_main_process():
        write_text(folder / "hyperparams.yaml", loaded.text)
    chain = train_ensemble(specs, references, task, folder / "members")
    if not if_main_process():
        return 0
    results = evaluate_run(
        [load_outputs(member) for member in chain.folders],
        [member.name for member in chain.folders],
        task.data,
        loaded.hparams["replicates"],
    )
    write_json(folder / "results.json", results)
    table = ensemble_table(results)
    write_text(folder / "results.md", table)
    print(table)
    logger.info("results are in %s", folder)
    return 0


if __name__ == "__main__":
    run_cli(main)
