"""Evaluate encoders that exist on trials of your own; nothing is trained.

    acorl evaluate results/my_run/members/second speechbrain/spkrec-ecapa-voxceleb \\
        --trials trials.txt --audio recordings --dev_trials dev_trials.txt
    acorl evaluate ge2e --trials trials.txt --audio recordings --enrolment spk2utt

From audio and a trial list to one calibrated system: embeddings, cosine scores (with adaptive
S-norm where a cohort is given), fusion and calibration on the development trials, or else
cross-validated with both sides' speakers held out, and a report page; see docs/evaluate.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from speechbrain.utils.distributed import infer_device

from acorl_sb import report
from acorl_sb.analysis.evaluated_groups import find_groups
from acorl_sb.fusion.evaluate_options import EvaluateOptions
from acorl_sb.fusion.evaluate_run import LOG, prepare
from acorl_sb.report import fusion_tables as tables
from acorl_sb.report.group_page import group_markdown
from acorl_sb.utils.errors import UserError, run_cli
from acorl_sb.utils.files import write_json, write_text
from acorl_sb.utils.locks import locked
from acorl_sb.utils.logs import log_to
from acorl_sb.utils.options import Device, read

NO_GROUPS = "the EER threshold is infinite, so there are no errors by group"


def main(argv: list[str] | None = None) -> int:
    """Run the command; ``argv`` is what follows its name, None: the process's own."""
    loaded = read(EvaluateOptions, sys.argv[1:] if argv is None else argv, __doc__, Device)
    options = {key: loaded.hparams[key] for key in EvaluateOptions.model_fields}
    folder = Path(options["output_folder"])
    if (folder / "members").exists():
        raise UserError(f"{folder}: is a run of train.py; name another output_folder")
    evaluation = prepare(options)
    groups = find_groups(evaluation)
    device = torch.device((loaded.run_opts and loaded.run_opts.device) or infer_device())
    with locked(folder):
        evaluation.check_folder(folder)
        log_to(folder / LOG)
        made = evaluation.run(folder, device, sys.argv, lambda text: print(text, file=sys.stderr))
        if groups:
            made.results["groups"] = groups.measure(made, evaluation.dev_labels)
            if made.results["groups"] is None:
                made.results["warnings"].append(NO_GROUPS)
            write_json(folder / "results.json", made.results)
        write_text(folder / "results.md", tables.page(made.results))
        if options["report"] and made.results["table"]:
            title = f"Evaluation of {', '.join(made.results['systems'])}"
            report.write_folder(folder, made.results, made.curves, title=title)
    print(tables.shown(made.results))
    if made.results.get("groups"):
        print(group_markdown(made.results["groups"]))
    print(f"written to {folder}")
    return 0


if __name__ == "__main__":
    run_cli(main)
