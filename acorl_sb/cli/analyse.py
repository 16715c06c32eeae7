"""How members of a finished run differ, and what their scores rest on.

    python -m acorl_sb.cli.analyse hparams/analyse.yaml --run_folder results/my_run [--key value ...]

Writes ``analysis.json``, ``analysis.md``, the same as ``analysis.html``, and pictures;
docs/analysis.md says how to read them.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speechbrain.utils.distributed import infer_device
from tqdm import tqdm

from acorl_sb.analysis import attributed_trials as trials
from acorl_sb.analysis.analyse_options import AnalyseOptions
from acorl_sb.analysis.compare import (
    compare_embeddings,
    compare_scores,
    read_out_attributes,
    without_nan,
)
from acorl_sb.analysis.run_inputs import Inputs, read_attributes, read_inputs
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.member_folder import load_member
from acorl_sb.report import Picture, analysis_figures, write_pictures
from acorl_sb.report.analysis_page import analysis_page
from acorl_sb.report.page import as_html, as_markdown
from acorl_sb.scoring.backends.cosine import cosine_trial_scores
from acorl_sb.utils.errors import UserError, run_cli
from acorl_sb.utils.files import write_json, write_text
from acorl_sb.utils.locks import locked
from acorl_sb.utils.logs import log_to
from acorl_sb.utils.options import Device, read

SETTINGS = [k for k in AnalyseOptions.model_fields if k not in ("run_folder", "report")]

logger = logging.getLogger("acorl_sb.cli.analyse")


def main() -> int:
    loaded = read(AnalyseOptions, sys.argv[1:], __doc__, Device)
    options = loaded.hparams
    run_folder = Path(options["run_folder"])
    inputs = read_inputs(
        run_folder,
        options["part"],
        options["members"],
        options["baseline_run"],
        options["reference_members"],
    )
    # Before anything takes long, since a folder may be damaged or need trust.
    encoders = {
        name: load_member(member.folder, options["trust"])
        for name, member in inputs.members.items()
    }
    extra = read_attributes(
        run_folder / "manifest" / f"{options['part']}.csv",
        inputs.side.utterances,
        options["attributes"] or {},
    )
    if len(set(inputs.speakers)) < 3:
        raise UserError(
            f"{run_folder}: the {options['part']} part has {len(set(inputs.speakers))} speakers; "
            "cross-validation by speaker needs three"
        )
    with locked(options["output_folder"] or run_folder / "analysis") as folder:
        device = torch.device(loaded.run_opts.device or infer_device())
        return analyse(inputs, encoders, extra, options, device, folder)


def analyse(
    inputs: Inputs,
    encoders: dict[str, SpeakerEncoder],
    extra: dict[str, list[str]],
    options: dict[str, Any],
    device: torch.device,
    folder: Path,
) -> int:
    """Compare, attribute, write."""
    run_folder = Path(options["run_folder"])
    log_to(folder / "analyse_log.txt")
    labels = inputs.side.trials.labels
    results: dict[str, Any] = {
        "run_folder": str(run_folder),
        "baseline_run": options["baseline_run"] and str(options["baseline_run"]),
        "part": options["part"],
        "utterances": len(inputs.side.utterances),
        "speakers": len(set(inputs.speakers)),
        "trials": {"target": int(labels.sum()), "nontarget": int((~labels).sum())},
        "settings": {
            key: options[key]
            for key in AnalyseOptions.model_fields
            if key not in ("run_folder", "report")
        },
        **compare_members(inputs, extra, options),
    }
    results["attribution"], pictures = attribute_members(inputs, encoders, options, device)
    results = without_nan(results)
    similar = [*analysis_figures.similarity(results), *analysis_figures.spectra(results)]
    page = analysis_page(results, {"similarity": similar, **pictures})
    write_pictures(folder / "figures", page.pictures)
    write_json(folder / "analysis.json", results)
    write_text(folder / "analysis.md", as_markdown(page, "figures"))
    write_text(folder / "analysis.html", as_html(page))
    for report in [
        options["report"],
        run_folder / "report.html",
        run_folder / "fusion/report.html",
    ]:
        if report and Path(report).is_file():
            link_from(Path(report), folder / "analysis.html")
    logger.info("the analysis is in %s", folder / "analysis.md")
    return 0


def compare_members(inputs: Inputs, extra: dict[str, list[str]], options) -> dict[str, Any]:
    """``pairs`` and ``members`` of the results: everything but attribution."""
    folds, seed = options["folds"], options["seed"]
    chosen = np.arange(len(inputs.side.utterances))
    if len(chosen) > options["max_utterances"]:
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.choice(len(chosen), options["max_utterances"], replace=False))
    rows = torch.from_numpy(chosen)
    vectors = {name: member.vectors[rows].double() for name, member in inputs.members.items()}
    scores = {
        name: cosine_trial_scores(inputs.side, m.vectors.numpy())
        for name, m in inputs.members.items()
    }
    speakers, labels = inputs.speakers[chosen], inputs.side.trials.labels
    utterances = [inputs.side.utterances[i] for i in chosen]
    extra = {name: [texts[i] for i in chosen] for name, texts in extra.items()}
    pairs, members = [], {}
    with tqdm(total=4 * len(inputs.pairs) + len(vectors), desc="probes", disable=None) as bar:
        for pair in inputs.pairs:
            first, second = pair.first, pair.second
            pairs.append(
                {
                    "name": pair.name,
                    "first": first,
                    "second": second,
                    "role": pair.role,
                    "embeddings": compare_embeddings(
                        vectors[first],
                        vectors[second],
                        speakers,
                        folds,
                        options["probe_steps"],
                        seed,
                        tick=bar.update,
                    ),
                    "scores": compare_scores(scores[first], scores[second], labels),
                }
            )
        for name in inputs.members:
            readings = read_out_attributes(vectors[name], utterances, extra, folds, seed)
            members[name] = {"attributes": readings}
            bar.update()
    return {"pairs": pairs, "members": members}


def attribute_members(
    inputs: Inputs, encoders: dict[str, SpeakerEncoder], options, device: torch.device
):
    """``attribution`` of the results, and its pictures: ``attribution`` and ``trials``."""
    seed, seconds = options["seed"], options["crop_seconds"]
    neighbourhood = tuple(options["neighbourhood"])
    sides = trials.choose_trials(inputs.side, options["trials"], seconds, seed)
    count = (options["deletion_trials"], options["occlusion_trials"])
    made, skipped = {}, {}
    total = len(inputs.members) * trials.sides_to_do(sides, *count)
    with tqdm(total=total, desc="attribution", unit="side", disable=None) as bar:
        for name, encoder in encoders.items():
            bar.set_description(f"attribution {name}")
            try:
                made[name] = trials.attribute_member(
                    encoder,
                    inputs.side.utterances,
                    sides,
                    seconds,
                    options["steps"],
                    *count,
                    seed=seed,
                    device=device,
                    tick=bar.update,
                )
            except trials.NoMelInput as reason:
                skipped[name] = str(reason)
    summaries = {name: trials.summarise_member(maps, sides, seed) for name, maps in made.items()}
    pairs, values = {}, {}
    for pair in inputs.pairs:
        if pair.first in made and pair.second in made:
            pairs[pair.name], values[pair.name] = trials.compare_maps(
                made[pair.first], made[pair.second], sides, neighbourhood, seed
            )
    reference = next((p.name for p in inputs.pairs if p.role == "reference"), None)
    against = {
        pair.name: trials.less_alike(values[pair.name], values[reference], sides, seed)
        for pair in inputs.pairs
        if reference in values and pair.name in values and pair.role == "examined"
    }
    pictures: dict[str, list[Picture]] = {"attribution": [], "trials": []}
    if made:
        pictures["attribution"] = [
            *analysis_figures.deletion(summaries),
            *analysis_figures.profiles(summaries),
        ]
        for kind, target in (("target", True), ("non-target", False)):
            row = _telling_trial(made, sides, target)
            rows = (row, int(sides.opposite[row]))
            pictures["trials"] += analysis_figures.trial_maps(
                f"maps-{kind}", f"A {kind} trial", made, rows, neighbourhood, seconds
            )
    return {
        "trials": len(sides.labels) // 2,
        "crop_seconds": seconds,
        "members": summaries,
        "skipped": skipped,
        "pairs": pairs,
        "against_reference": against,
    }, pictures


def _telling_trial(
    made: dict[str, trials.MemberMaps], sides: trials.CropTrials, target: bool
) -> int:
    """The enrolment row of the trial whose mean score over members is the median of its class."""
    rows = np.flatnonzero(sides.labels[: len(sides.labels) // 2] == target)
    score = np.mean([maps.found.score.numpy()[rows] for maps in made.values()], axis=0)
    return int(rows[np.argsort(score)[len(rows) // 2]])


def link_from(report: Path, target: Path) -> None:
    """Put a link to the analysis at the end of a report page, once."""
    html = report.read_text(encoding="utf-8")
    if 'id="analysis"' in html or "</main>" not in html:
        return
    where = Path(os.path.relpath(target, report.parent)).as_posix()
    line = f'<p id="analysis"><a href="{where}">How the members differ, and why</a></p>\n'
    before, after = html.rsplit("</main>", 1)
    write_text(report, f"{before}{line}</main>{after}")


if __name__ == "__main__":
    run_cli(main)
