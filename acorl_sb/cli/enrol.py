"""Enrol a speaker from recordings into a file of speakers.

    acorl enrol speakers.db ann ann1.wav ann2.wav --run_folder results/my_run
    acorl enrol speakers.db ann new.wav --replace --run_folder results/my_run

The file is made if it is not there. docs/store.md says more.
"""

from __future__ import annotations

import json
import sys

from acorl_sb.data.recording_range import out_of_range
from acorl_sb.inference import Verifier
from acorl_sb.store.store_options import EnrolOptions
from acorl_sb.utils.errors import run_cli
from acorl_sb.utils.options import read


def main(argv: list[str] | None = None) -> int:
    """Run the command; ``argv`` is what follows its name, None: the process's own."""
    options = read(EnrolOptions, sys.argv[1:] if argv is None else argv, __doc__).hparams
    verifier = Verifier.from_options(options)
    verifier.open(options["store"])
    with out_of_range() as concerns:
        made = verifier.enrol(options["name"], options["files"], options["replace"])
    held = len(verifier.store)
    if options["format"] == "json":
        print(
            json.dumps(
                {**made._asdict(), "speakers": held, "warnings": concerns}, ensure_ascii=False
            )
        )
    else:
        print(
            f"{made.name}: enrolled by {made.utterances} recording{'s' * (made.utterances != 1)}, "
            f"{made.seconds:.1f} s; {options['store']} holds {held} speaker{'s' * (held != 1)}"
        )
    for concern in concerns:
        print(f"warning: {concern}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    run_cli(main)
