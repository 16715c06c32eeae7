"""List the speakers of a file, or delete some for good.

    acorl speakers speakers.db
    acorl speakers speakers.db --delete ann "Ben M."

Deletion overwrites the speakers in the file. docs/store.md says more.
"""

from __future__ import annotations

import json
import sys
import warnings

from acorl_sb.store import open_store
from acorl_sb.store.speaker_store import StoreWarning
from acorl_sb.store.store_options import SpeakersOptions
from acorl_sb.utils.errors import run_cli
from acorl_sb.utils.options import read
from acorl_sb.utils.tables import markdown


def main(argv: list[str] | None = None) -> int:
    """Run the command; ``argv`` is what follows its name, None: the process's own."""
    options = read(SpeakersOptions, sys.argv[1:] if argv is None else argv, __doc__).hparams
    store = open_store(options["store"])
    if options["delete"]:
        store.speakers()  # a damaged store stays as it is
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", StoreWarning)
            store.delete(options["delete"])
        for warning in said:
            print(f"warning: {warning.message}", file=sys.stderr)
    rows, model = store.speakers(), store.model
    if options["format"] == "json":
        speakers = [row._asdict() for row in rows]
        print(json.dumps({"model": model.hash, "speakers": speakers}, ensure_ascii=False))
    else:
        cells = [
            [row.name, row.enrolled, str(row.utterances), f"{row.seconds:.1f}"] for row in rows
        ]
        print(
            f"{len(rows)} speaker{'s' * (len(rows) != 1)}, enrolled with {', '.join(model.names)} "
            f"({model.hash[:12]})"
        )
        if cells:
            header = ["speaker", "enrolled", "recordings", "seconds"]
            print("\n" + markdown(header, cells).rstrip())
    return 0


if __name__ == "__main__":
    run_cli(main)
