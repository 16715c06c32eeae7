"""Build the encoder that ships: prepare, train teachers, distil, calibrate, judge.

    python recipes/Open/build.py recipes/Open/open.yaml FOLDER DATA [--device cuda] [--jobs 2]
        [--until speech|members] [--only NAME,NAME] [--steps N] [--ge2e FILE] [--ship]

Each stage writes files below ``FOLDER`` and is left out where they are there, so the command can be
stopped and started at any point; README.md says what it costs. ``--steps`` trains every member for
so many steps: a trial.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

RECIPE = Path(__file__).resolve().parent
sys.path[:0] = [str(RECIPE.parent / "Complementarity"), str(RECIPE.parents[1])]

from open_speech import bank, card, evaluation, sets, shipping  # noqa: E402
from open_speech.training import load_teacher  # noqa: E402

from acorl_sb.encoders.member_folder import read_record  # noqa: E402
from acorl_sb.encoders.shipped import OPEN, SHIPPED  # noqa: E402
from acorl_sb.utils.errors import UserError, run_cli  # noqa: E402
from acorl_sb.utils.files import write_json, write_text  # noqa: E402
from acorl_sb.utils.hparams import read_resolved  # noqa: E402
from acorl_sb.utils.yaml_dump import dump  # noqa: E402


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
    if args.until == "members" or args.only:
        return 0
    place = folder / OPEN
    judge(tree, folder, args, place)
    print(card.tables(shipping.read_figures(place), OPEN))
    if args.ship:
        shipping.ship(place, SHIPPED, RECIPE)
    return 0


def judge(tree, folder: Path, args, place: Path) -> None:
    """The encoder that ships, its calibration, and its figures on the test speakers."""
    if (place / "figures.json").is_file():
        return
    load = partial(load_teacher, folder, ge2e=args.ge2e)
    systems = evaluation.Systems(folder, args.data, load)
    shares = shipping.fitted_shares(systems, list(tree["ships"]))
    systems.joined[OPEN] = shares
    shipping.write_encoder(systems, shares, place)
    fusion = shipping.calibrate(systems, OPEN, place)
    made = {"shares": shares, "half_precision": shipping.rounding(systems, OPEN, place)}
    made |= evaluation.figures(systems, list(tree["judged"]), OPEN, fusion)
    write_json(place / "figures.json", made)


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
    parser.add_argument("--ship", action="store_true", help="into the package and the cards")
    parser.add_argument("--ge2e", default="", help="Resemblyzer's weights; else its package's")
    return parser.parse_args()


def settled(yaml: Path, folder: Path, steps: int | None):
    """The settings, kept in the folder; ``UserError`` where it was begun with others."""
    tree = read_resolved(yaml)
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
