"""What is a student worth, for whom does it fail, when is it unsure? On speechocean762.

    python recipes/speechocean762/distil_study.py \
        recipes/speechocean762/hparams/distil_study.yaml FOLDER DATA \
        [--jobs 2] [--device cpu] [--seeds 1,2] [--runs a,b] [--steps N] [--train | --table]

Every run is a process of its own with one thread (``students/train_run.py``); ``--jobs`` run
side by side. What is finished is not done again and an interrupted training goes on from its last
checkpoint, so the command can be stopped and started at any point. The tables are
``FOLDER/study.md``, the picture ``FOLDER/pareto.svg``; ``--train`` makes none, ``--table`` makes
them of ``FOLDER/scores`` and trains nothing.
"""

from __future__ import annotations

import argparse
import logging
import signal
from pathlib import Path

import torch
from pairs.jobs import run_all
from students import pages, runs

from acorl_sb import corpora
from acorl_sb.report.style import write_pictures
from acorl_sb.utils.errors import UserError, run_cli
from acorl_sb.utils.files import write_text
from acorl_sb.utils.hparams import read_resolved, read_tree
from acorl_sb.utils.locks import locked


def main() -> int:
    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what it has started
    logging.getLogger("acorl_sb").setLevel(logging.WARNING)
    args = arguments()
    tree = read_resolved(args.yaml)
    base = (args.yaml.parent / tree["base"]).resolve()
    tree["members"] = read_tree(base)["members"]
    if args.seeds:
        tree["seeds"] = [int(seed) for seed in args.seeds.split(",")]
    if args.runs:
        wanted = args.runs.split(",")
        if missing := set(wanted) - set(tree["runs"]):
            raise UserError(f"--runs: {args.yaml} has no run {', '.join(sorted(missing))}")
        tree["runs"] = {name: run for name, run in tree["runs"].items() if name in wanted}
    if args.steps is not None:
        tree["common"] |= {"epochs": 1, "epoch_steps": args.steps}
        for run in tree["runs"].values():
            run["draws"] = min(2, run.get("draws", 0))
    if not args.data.is_dir():
        raise UserError(f"{args.data}: no such folder; it is where speechocean762 lies")
    with locked(args.folder.resolve()) as folder:
        corpora.prepare(runs.CORPUS, args.data, folder / "manifest")
        if not args.table:
            jobs = runs.jobs(tree, folder, args.data, args.device)
            for done, job in enumerate(run_all(jobs, base, args.jobs), 1):
                print(f"{done} of {len(jobs)}: {job.folder.relative_to(folder)}", flush=True)
        if not args.train:
            page, pictures = pages.make(folder, tree)
            write_text(folder / "study.md", page)
            write_pictures(folder, pictures)
            print(page)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("yaml", "folder", "data"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="of the trainings, such as cuda")
    parser.add_argument("--seeds", help="in place of the YAML's, such as 1,2")
    parser.add_argument("--runs", help="only these, such as pair,single,student,half")
    parser.add_argument("--steps", type=int, help="of every training; for a trial of the chain")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--train", action="store_true", help="make no tables")
    only.add_argument("--table", action="store_true", help="train nothing")
    return parser.parse_args()


if __name__ == "__main__":
    run_cli(main)
