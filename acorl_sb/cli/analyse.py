"""How members of a finished run differ, and what their scores rest on.

    acorl analyse hparams/analyse.yaml --run_folder results/my_run [--key value]

Writes ``analysis.json``, ``analysis.md``, the same as ``analysis.html``, and pictures;
docs/analysis.md says how to read them.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import torch
from speechbrain.utils.distributed import infer_device

from acorl_sb.analysis.analyse_options import AnalyseOptions
from acorl_sb.analysis.analysis_run import attribute_members, compare_members
from acorl_sb.analysis.attribution import load_captum
from acorl_sb.analysis.compare import (
    without_nan,
)
from acorl_sb.analysis.run_inputs import Inputs, known_of, read_inputs
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.member_folder import load_member
from acorl_sb.report import analysis_figures, write_pictures
from acorl_sb.report.analysis_page import analysis_page, link_from
from acorl_sb.report.page import as_html, as_markdown
from acorl_sb.utils.errors import UserError, run_cli
from acorl_sb.utils.files import write_json, write_text
from acorl_sb.utils.locks import locked
from acorl_sb.utils.logs import log_to, log_to_screen
from acorl_sb.utils.options import Device, read
from acorl_sb.utils.reading import read_text

logger = logging.getLogger("acorl_sb.cli.analyse")


def main(argv: list[str] | None = None) -> int:
    """Run the command; its exit code."""
    loaded = read(AnalyseOptions, sys.argv[1:] if argv is None else argv, __doc__, Device)
    options = loaded.hparams
    log_to_screen()
    load_captum()  # before minutes of work that a missing package would lose
    run_folder = Path(options["run_folder"])
    for report in _reports(options):
        read_text(report, "report")
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
    extra = known_of(inputs.side.utterances, options["attributes"] or {})
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
    made = attribute_members(inputs, encoders, options, device)
    pictures = analysis_figures.of_attribution(
        made, tuple(options["neighbourhood"]), options["crop_seconds"]
    )
    results = without_nan({**results, "attribution": made.results})
    similar = [*analysis_figures.similarity(results), *analysis_figures.spectra(results)]
    page = analysis_page(results, {"similarity": similar, **pictures})
    write_pictures(folder / "figures", page.pictures)
    write_json(folder / "analysis.json", results)
    write_text(folder / "analysis.md", as_markdown(page, "figures"))
    write_text(folder / "analysis.html", as_html(page))
    for report in _reports(options):
        link_from(report, folder / "analysis.html")
    logger.info("the analysis is in %s", folder / "analysis.md")
    return 0


def _reports(options: dict[str, Any]) -> list[Path]:
    """Pages that get a link to the analysis: the one that is named, and the run's own."""
    own = (Path(options["run_folder"], name) for name in ("report.html", "fusion/report.html"))
    named = [] if options["report"] is None else [Path(options["report"])]
    return [*named, *(path for path in own if path.is_file())]


if __name__ == "__main__":
    run_cli(main)
