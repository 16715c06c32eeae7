"""Does complementary training pay? Pairs of encoders, trained in many ways, at equal cost.

    python recipes/speechocean762/study.py recipes/speechocean762/hparams/study.yaml \
        --data_folder DIR [--key value ...]

Every training is a run of ``train.py`` in a process of its own with one
thread; as many run side by side as ``jobs`` says. A run that is finished is not repeated and an
interrupted one resumes, so the command can be stopped and started at any point. After each job
``study.md``, ``study.json`` and the pictures in the output folder are made anew.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from pairs import tables
from pairs.candidates import Candidate, read_candidates
from pairs.conditions import Condition, embed_conditions, read_conditions
from pairs.jobs import run_all
from pairs.keys import CandidateKeys, StudyOptions, check_changes
from pairs.plan import Plan
from pairs.results import Results
from pairs.write import write_study

from acorl_sb import corpora
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.member_folder import load_member, load_reference
from acorl_sb.training.train_options import check_preparation
from acorl_sb.utils.errors import UserError, run_cli
from acorl_sb.utils.files import write_text
from acorl_sb.utils.hparams import Loaded, plain, read_tree
from acorl_sb.utils.locks import locked
from acorl_sb.utils.options import Options, read

CORPUS = "speechocean762"


def main() -> int:
    torch.set_num_threads(1)  # as many jobs as cores run beside it
    logging.getLogger("acorl_sb").setLevel(logging.WARNING)
    loaded = read(StudyOptions, sys.argv[1:], __doc__)
    hparams = loaded.hparams
    base = (loaded.path.parent / hparams["base"]).resolve()
    of_base = list(read_tree(base))
    for name, changes in loaded.lazy["candidates"].items():
        check_changes(f"candidates.{name}", changes, of_base, CandidateKeys)
    check_changes("common", loaded.lazy["common"], of_base, Options)
    candidates = read_candidates(loaded.lazy["candidates"], loaded.lazy["references"])
    for name in hparams["chosen"]:
        if name not in candidates:
            raise UserError(f"chosen: {name!r} is not a candidate")
    check_preparation(CORPUS, plain(loaded.lazy["common"].get("prepare_options", {})))
    with locked(hparams["output_folder"]) as folder:
        return study(loaded, base, candidates, folder)


def study(loaded: Loaded, base: Path, candidates: dict[str, Candidate], folder: Path) -> int:
    """Train, score and compare what is not done yet."""
    hparams = loaded.hparams
    conditions = read_conditions(loaded.lazy["conditions"], hparams["noise_folder"])
    prepare_options = plain(loaded.lazy["common"].get("prepare_options", {}))
    common = {**loaded.lazy["common"], "corpus": CORPUS, "data_folder": str(hparams["data_folder"])}
    corpora.prepare(CORPUS, hparams["data_folder"], folder / "manifest", **prepare_options)
    write_text(folder / "hyperparams.yaml", loaded.text)

    wanted = [(name, s) for s in hparams["screening_seeds"] for name in candidates]
    wanted += [(name, s) for s in hparams["seeds"] for name in hparams["chosen"]]
    wanted = list(dict.fromkeys(wanted))
    results = Results(folder, candidates, wanted, hparams["chosen"], hparams["seeds"], conditions)

    def hear(load: Callable[[], SpeakerEncoder], under: Sequence[Condition], heard: Path) -> None:
        embed_conditions(load, folder / "manifest", under, hparams["noise_folder"], heard)

    def after(name: str, seed: int, trained: Path) -> None:
        under = results.conditions_for(name, seed)
        hear(lambda: load_member(trained), under, trained.parents[1] / "heard")
        if name in candidates:
            results.row(name, seed)  # here, while others are trained; the result is kept

    references = loaded.lazy["references"]
    for name in {candidates[n].reference for n, _ in wanted} & set(references):
        load = functools.partial(
            load_reference, {"name": name, **references[name]}, f"references.{name}"
        )
        hear(load, conditions, folder / "references" / name / "heard")

    plan = Plan(base, folder, common, references, candidates, after)
    for job in run_all(plan.jobs(wanted), base, hparams["jobs"]):
        if results.update():
            write_study(results)
        print(f"{len(results.rows)} of {len(wanted)} pairs", job.folder, flush=True)
    print(tables.page(results))
    return 0


if __name__ == "__main__":
    run_cli(main)
