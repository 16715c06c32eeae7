"""Say whether two recordings are of one speaker, and what the answer is made of.

    acorl verify one.wav other.wav
    acorl verify one.wav other.wav --run_folder results/my_run
    acorl verify ann who.wav --store speakers.db --run_folder results/my_run --p_target 0.01
    acorl verify one.wav other.wav --run_folder results/my_run --format json

Without ``run_folder`` the encoder of the package answers, docs/open.md. Prints the LLR (natural
log, calibrated on development trials), the decision by the Bayes
threshold of prior and costs, and each member's cosine, weight and part of the LLR. With ``store``
the first argument is an enrolled speaker's name; with ``uncertainty`` the LLR has a standard
deviation. docs/store.md and docs/uncertainty.md say more.
"""

from __future__ import annotations

import os

# Two recordings are soon embedded; on a busy machine threads would mostly wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import sys
from typing import Any

from acorl_sb.data.recording_range import out_of_range
from acorl_sb.inference import Comparison, Verifier
from acorl_sb.store.store_options import VerifyOptions
from acorl_sb.utils.errors import run_cli
from acorl_sb.utils.options import read
from acorl_sb.utils.tables import markdown


def main(argv: list[str] | None = None) -> int:
    """Run the command; ``argv`` is what follows its name, None: the process's own."""
    options = read(VerifyOptions, sys.argv[1:] if argv is None else argv, __doc__).hparams
    verifier = Verifier.from_options(options)
    with out_of_range() as concerns:
        if options["store"] is None:
            made = verifier.compare(options["first"], options["second"])
        else:
            verifier.open(options["store"], create=False)
            made = verifier.compare_enrolled(options["first"], options["second"])
    point = {key: options[key] for key in ("p_target", "c_miss", "c_fa")}
    if options["format"] == "json":
        print(json.dumps({**made._asdict(), **point, "warnings": concerns}, ensure_ascii=False))
    else:
        print(text(made, point))
    for concern in concerns:
        print(f"warning: {concern}", file=sys.stderr)
    return 0


def text(made: Comparison, point: dict[str, Any]) -> str:
    """The answer in lines, and the table of its parts."""
    verdict = "accepted: one speaker" if made.accepted else "rejected: two speakers"
    names = made.cosines
    rows = [
        [name, f"{names[name]:.3f}", f"{w:.3f}", f"{w * names[name]:+.2f}"]
        for name, w in made.weights.items()
    ]
    rows.append(["bias", "", "", f"{made.bias:+.2f}"])
    parts = markdown(["member", "cosine", "weight", "part of the LLR"], rows).rstrip()
    std = "" if made.std is None else f" (standard deviation {made.std:.2f})"
    return (
        f"LLR {made.llr:+.2f}{std}, threshold {made.threshold:+.2f} for P(target) "
        f"{point['p_target']:g}, C(miss) {point['c_miss']:g}, C(false alarm) {point['c_fa']:g}\n"
        f"{verdict}\n\n{parts}"
    )


if __name__ == "__main__":
    run_cli(main)
