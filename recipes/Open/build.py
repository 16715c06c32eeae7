"""Build the encoder that ships: prepare, train teachers, distil, calibrate, judge.

    python recipes/Open/build.py recipes/Open/open.yaml FOLDER DATA [--device cuda] [--jobs 2]
        [--until speech|members] [--only NAME,NAME] [--steps N] [--ge2e FILE]

Each stage writes files below ``FOLDER`` and is left out where they are there, so the command can be
stopped and started at any point; README.md says what it costs. ``--steps`` trains every member for
so many steps: a trial.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

RECIPE = Path(__file__).resolve().parent
sys.path[:0] = [str(RECIPE.parent / "Complementarity"), str(RECIPE.parents[1])]

from hyperpyyaml import resolve_references  # noqa: E402
from open_speech import bank, sets  # noqa: E402
from ruamel.yaml import YAML  # noqa: E402

from acorl_sb.encoders.member_folder import read_record  # noqa: E402
from acorl_sb.utils.errors import UserError, run_cli  # noqa: E402
from acorl_sb.utils.files import write_text  # noqa: E402
from acorl_sb.utils.hparams import dump, read_tree  # noqa: E402


def main() -> int:
    args = arguments()
    folder = args.folder.resolve()
    tree = settled(args.yaml, folder, args.steps)
    sets.prepare(args.data, folder / "data")
    bank.build(folder, args.data, args.jobs)
    if args.until == "speech":
        return 0
    wanted = args.only.split(",") if args.only else list(tree["members"])
    train(tree, folder, args, wanted)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("yaml", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side")
    parser.add_argument("--until", choices=["speech", "members"], help="the last stage")
    parser.add_argument("--only", help="members to train, by name")
    parser.add_argument("--steps", type=int, help="of every member: a trial")
    parser.add_argument("--ge2e", default="", help="Resemblyzer's weights; else its package's")
    return parser.parse_args()


def settled(yaml: Path, folder: Path, steps: int | None):
    """The settings, kept in the folder; ``UserError`` where it was begun with others."""
    tree = YAML().load(resolve_references(dump(read_tree(yaml))).getvalue())
    if steps is not None:
        for spec in tree["members"].values():
            spec["steps"] = steps
    text, kept = dump(tree), folder / "open.yaml"
    if kept.is_file() and kept.read_text(encoding="utf-8") != text:
        raise UserError(f"{kept}: begun with other settings; name a new folder")
    write_text(kept, text)
    return tree


def train(tree, folder: Path, args, wanted: list[str]) -> None:
    """Train members, those that wait for no teacher side by side."""
    waiting = [name for name in wanted if read_record(folder / "members" / name) is None]
    while waiting:
        ready = [
            n for n in waiting if not set(tree["members"][n].get("teachers", [])) & set(waiting)
        ]
        for start in range(0, len(ready), args.jobs):
            batch = ready[start : start + args.jobs]
            failed = [name for name, process in begun(folder, args, batch) if process.wait()]
            if failed:
                raise UserError(f"{folder / 'logs'}: the training failed of {', '.join(failed)}")
        waiting = [name for name in waiting if name not in ready]


def begun(folder: Path, args, names: list[str]) -> list[tuple[str, subprocess.Popen]]:
    paths = [str(RECIPE), *sys.path[:2]]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    (folder / "logs").mkdir(exist_ok=True)
    processes = []
    for name in names:
        command = [sys.executable, "-m", "open_speech.training", folder, args.data.resolve(), name]
        command += [args.device, args.ge2e]
        with open(folder / "logs" / f"{name}.txt", "a", encoding="utf-8") as output:
            processes.append(
                (
                    name,
                    subprocess.Popen(
                        [str(part) for part in command],
                        env=environment,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                    ),
                )
            )
    return processes


if __name__ == "__main__":
    run_cli(main)
