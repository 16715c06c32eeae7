"""Does complementary training pay? Second members under many objectives, at equal cost.

    python recipes/speechocean762/study.py recipes/speechocean762/hparams/study.yaml \
        --data_folder DIR [--key value ...]

Every training is a run of the front door, ``train.py``, in a process of its own with one thread;
as many run side by side as ``jobs`` says. A run that is finished is not repeated and an
interrupted one resumes, so the command can be stopped and started at any point. After each job
``study.md`` in the output folder is written anew.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from acorl_sb.contribution import score_correlations
from acorl_sb.errors import UserError, run_cli
from acorl_sb.files import write_json, write_text
from acorl_sb.hparams import dump, load_hparams, read_tree
from acorl_sb.scoring.scorefiles import read_scores

KEYS = ["output_folder", "base", "data_folder", "jobs", "screening_seeds"]
KEYS += ["seeds", "chosen"]
ROOT = Path(__file__).resolve().parents[2]
FUSION = "score-mean"


def main() -> int:
    loaded = load_hparams(sys.argv[1:], KEYS, lazy=("candidates", "common"))
    hparams = loaded.hparams
    candidates, common = loaded.lazy["candidates"], loaded.lazy["common"]
    unknown = [name for name in hparams["chosen"] if name not in candidates]
    if unknown:
        raise UserError(f"chosen: {unknown[0]!r} is not a candidate")
    folder = Path(hparams["output_folder"])
    base = (Path(sys.argv[1]).parent / hparams["base"]).resolve()
    common["corpus"], common["data_folder"] = "speechocean762", str(hparams["data_folder"])
    wanted = [(name, s) for s in hparams["screening_seeds"] for name in candidates]
    wanted += [(name, s) for s in hparams["seeds"] for name in hparams["chosen"]]
    wanted = list(dict.fromkeys(wanted))
    seeds = list(dict.fromkeys(seed for _, seed in wanted))
    with concurrent.futures.ThreadPoolExecutor(hparams["jobs"]) as pool:
        firsts = {
            seed: pool.submit(run_first, base, folder / f"seed{seed}", common, seed)
            for seed in seeds
        }
        seconds = {
            pool.submit(
                run_second, base, folder / f"seed{s}", common, s, name, candidates[name], firsts[s]
            ): (name, s)
            for name, s in wanted
        }
        for done in concurrent.futures.as_completed(seconds):
            done.result()
            rows = collect(folder, wanted)
            write_json(folder / "study.json", rows)
            write_text(folder / "study.md", table(rows))
            print(f"{len(rows)} of {len(wanted)} pairs", *seconds[done], flush=True)
    print(table(collect(folder, wanted)))
    return 0


def run_first(base: Path, folder: Path, common: Any, seed: int) -> None:
    """The first member of a seed, which every pair of the seed shares."""
    run(base, folder / "first", common, {"seed": seed, "members": members_of(base)[:1]})


def run_second(base, folder, common, seed, name, candidate, first) -> None:
    """One second member: the base's, changed as the candidate says, beside the seed's first."""
    first.result()
    changes = dict(candidate)
    member = members_of(base)[1]
    member["name"] = "second"
    for key in ("objective", "encoder"):
        if key in changes:
            member[key] = changes.pop(key)
    # The same seed of initialisation and of the crops' order for all candidates.
    member["seed"] = 1000 * seed + 1
    prior = {"name": "first", "folder": str((folder / "first/members/first").resolve())}
    run(
        base,
        folder / name,
        common,
        {"seed": seed, "priors": [prior], "members": [member], **changes},
    )


def members_of(base: Path) -> list[Any]:
    return read_tree(base)["members"]


def run(base: Path, folder: Path, common: Any, changes: dict[str, Any]) -> None:
    """Run train.py with a YAML that inherits the base, unless its results are there already."""
    if (folder / "results.json").is_file():
        return
    tree = {"inherit": os.path.relpath(base, folder), "output_folder": str(folder.resolve())}
    write_text(folder / "job.yaml", dump({**tree, **common, **changes}))
    with open(folder / "output.txt", "a", encoding="utf-8") as output:
        code = subprocess.run(
            [sys.executable, ROOT / "train.py", folder / "job.yaml"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        ).returncode
    if code:
        tail = (folder / "output.txt").read_text(encoding="utf-8").strip().splitlines()[-1:]
        raise UserError(f"{folder}/output.txt: train.py ended with code {code}: {' '.join(tail)}")


def collect(folder: Path, wanted: list[tuple[str, int]]) -> list[dict[str, Any]]:
    """One row per finished pair: errors of members and fusion, and how alike the members are."""
    rows = []
    for name, seed in wanted:
        results = folder / f"seed{seed}" / name / "results.json"
        if not results.is_file():
            continue
        systems = {s["name"]: s for s in json.loads(results.read_text())["systems"]}
        row = {"candidate": name, "seed": seed}
        for part in ("dev", "test"):
            row[part] = {
                "first": systems["first"][part]["eer"],
                "second": systems["second"][part]["eer"],
                "fused": systems[FUSION][part]["eer"],
                "fused_min_dcf_0.01": systems[FUSION][part]["min_dcf"]["0.01"],
                **likeness(results.parent / "scores", part),
            }
        row["seconds"] = systems["second"]["train_seconds"]
        rows.append(row)
    return rows


def likeness(folder: Path, part: str) -> dict[str, float]:
    """Correlation of the two members' scores and their common errors on one side's trials."""
    files = [read_scores(folder / name / f"{part}.txt") for name in ("first", "second")]
    scores = np.stack([f.scores for f in files])
    labels = files[0].trials.labels
    correlation = score_correlations(scores, labels)
    return {
        "correlation_target": float(correlation["target"][0, 1]),
        "correlation_nontarget": float(correlation["nontarget"][0, 1]),
        "best_linear_d": best_linear_d(scores, labels),
    }


def best_linear_d(scores: np.ndarray, labels: np.ndarray) -> float:
    """d' of the best linear fusion: sqrt(delta' W^-1 delta), W the within-class covariance."""
    delta = scores[:, labels].mean(1) - scores[:, ~labels].mean(1)
    within = (np.cov(scores[:, labels]) + np.cov(scores[:, ~labels])) / 2
    return float(np.sqrt(delta @ np.linalg.solve(within, delta)))


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a line per candidate, means over its seeds; EER in percent."""
    names = list(dict.fromkeys(row["candidate"] for row in rows))
    lines = [
        "| second member | seeds | dev alone | dev fused | test alone | test fused | "
        "test fused minDCF(0.01) | correlation non-target | target | training s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        mine = [row for row in rows if row["candidate"] == name]

        def mean(part, key, mine=mine):
            return float(np.mean([row[part][key] for row in mine]))

        lines.append(
            f"| {name} | {len(mine)} | {100 * mean('dev', 'second'):.2f} | "
            f"{100 * mean('dev', 'fused'):.2f} | {100 * mean('test', 'second'):.2f} | "
            f"{100 * mean('test', 'fused'):.2f} | {mean('test', 'fused_min_dcf_0.01'):.3f} | "
            f"{mean('test', 'correlation_nontarget'):.3f} | "
            f"{mean('test', 'correlation_target'):.3f} | "
            f"{np.mean([row['seconds'] for row in mine]):.0f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run_cli(main)
