"""The study of the complementarity term: all members, all rows, one page of tables.

    python recipes/Complementarity/study.py recipes/Complementarity/study.yaml FOLDER DATA \
        [--jobs 2] [--device cuda] [--rows a,b] [--seeds 1,2] [--capacity] [--steps N] [--table] \
        [--publish]

Every member is a process of its own with one thread (``terms/member.py``); ``--jobs`` run side by
side. What is finished is not done again and an interrupted training goes on from its last
checkpoint, so the command can be stopped and started at any point. ``FOLDER/progress.txt`` says
what is running and done, ``FOLDER/study.md`` has the tables so far. ``--table`` makes these and
trains nothing.
"""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

import torch
from ruamel.yaml import YAML
from terms import capacity, figures, published, sets, tables
from terms.jobs import Runner, plan

from acorl_sb.utils.errors import UserError, run_cli
from acorl_sb.utils.files import write_text
from acorl_sb.utils.hparams import read_resolved
from acorl_sb.utils.yaml_dump import dump


def main() -> int:
    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what it has started
    args = arguments()
    folder = args.folder.resolve()
    if args.steps is None:
        published.begin(folder)
    elif args.publish:
        raise UserError("--publish: a trial with other --steps is not of this study")
    tree = settled(args.yaml, folder, args.steps)
    sets.prepare(args.data, folder / "data")
    if args.steps is None:
        published.check(folder)
    of_cells = capacity.rows(tree)
    rows = of_cells if args.capacity else [name for name in tree["rows"] if name not in of_cells]
    if args.rows:
        rows = args.rows.split(",")
    seeds = tree["capacity"]["seeds"] if args.capacity else tree["screening_seeds"]
    if args.seeds:
        seeds = [int(s) for s in args.seeds.split(",")]
    for name in [*rows, *tree["chosen"]]:
        if name not in tree["rows"]:
            raise UserError(f"{args.yaml}: no row {name!r}")
    wanted = [(row, seed, "dev") for row in rows for seed in seeds]
    for part in ("dev", "test"):
        wanted += [(row, seed, part) for row in tree["chosen"] for seed in tree["seeds"]]
    missing = [job for job in wanted if not figures.row_file(folder, *job).is_file()]
    if not args.table:
        Runner(folder, plan(tree, missing), tree, args.device).run(args.jobs)
    write_text(folder / "study.md", tables.page(folder, tree))
    if args.publish:
        published.publish(folder)
    print((folder / "study.md").read_text(encoding="utf-8"))
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("yaml", "folder", "data"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="that trains and embeds")
    parser.add_argument("--rows", help="only these")
    parser.add_argument("--capacity", action="store_true", help="the rows of the capacity map")
    parser.add_argument("--seeds", help="in place of the screening seeds")
    parser.add_argument("--steps", type=int, help="of every training; for a trial of the chain")
    parser.add_argument("--table", action="store_true", help="train nothing")
    parser.add_argument("--publish", action="store_true", help="keep figures beside the recipe")
    return parser.parse_args()


def settled(path: Path, folder: Path, steps: int | None):
    """The YAML with its includes, kept in the folder; refused where training would differ."""
    tree, kept = read_resolved(path), folder / "study.yaml"
    capacity.expand(tree)
    if steps is not None:
        own = [spec for spec in tree["members"].values() if "steps" in spec]
        for part in (tree["settings"], tree["settings"]["continued"], *own):
            part["steps"] = steps
    if kept.is_file():
        before = YAML().load(kept.read_text(encoding="utf-8"))
        for key in ("settings", "encoders", "objectives", "members", "rows"):
            for name, value in before[key].items():
                if name in tree[key] and content(tree[key][name]) != content(value):
                    raise UserError(f"{key}.{name} is not what {kept} has; name another folder")
    write_text(kept, dump(tree))
    return tree


def content(value) -> list[str]:
    """A part of the YAML as lines, without the comments that stand between it and the next."""
    lines = (line.strip() for line in dump({"": value}).splitlines())
    return [line for line in lines if line and not line.startswith("#")]


if __name__ == "__main__":
    run_cli(main)
