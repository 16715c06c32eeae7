"""List the enrolled speakers who may have spoken a recording, the likeliest first.

    acorl identify speakers.db who.wav --run_folder results/my_run
    acorl identify speakers.db who.wav --top 3 --format json --run_folder results/my_run

Each LLR is of that speaker against another one, so more than one or none may be accepted; the
search goes through all speakers. docs/store.md says more.
"""

from __future__ import annotations

import json
import sys

from acorl_sb.data.recording_range import out_of_range
from acorl_sb.inference import Verifier
from acorl_sb.store.store_options import IdentifyOptions
from acorl_sb.utils.errors import UserError, run_cli
from acorl_sb.utils.options import read
from acorl_sb.utils.tables import markdown


def main(argv: list[str] | None = None) -> int:
    """Run the command; ``argv`` is what follows its name, None: the process's own."""
    options = read(IdentifyOptions, sys.argv[1:] if argv is None else argv, __doc__).hparams
    verifier = Verifier.from_options(options)
    verifier.open(options["store"], create=False)
    if not len(verifier.store):
        raise UserError(f"{options['store']}: nobody is enrolled; acorl enrol does that")
    with out_of_range() as concerns:
        found = verifier.identify(options["file"], options["top"])
    threshold = verifier.threshold
    if options["format"] == "json":
        rows = [{"name": name, "llr": llr, "accepted": llr >= threshold} for name, llr in found]
        made = {"threshold": threshold, "speakers": rows, "warnings": concerns}
        print(json.dumps(made, ensure_ascii=False))
    else:
        cells = [[n, f"{llr:+.2f}", "yes" if llr >= threshold else "no"] for n, llr in found]
        print(
            f"{len(found)} of {len(verifier.store)} speakers; threshold {threshold:+.2f} for "
            f"P(target) {options['p_target']:g}, C(miss) {options['c_miss']:g}, C(false alarm) "
            f"{options['c_fa']:g}\n\n" + markdown(["speaker", "LLR", "accepted"], cells).rstrip()
        )
    for concern in concerns:
        print(f"warning: {concern}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    run_cli(main)
