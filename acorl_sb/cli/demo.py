"""A page in the browser to try a run: enrol by microphone or file, verify, identify.

    acorl demo --run_folder results/my_run
    acorl demo --run_folder results/my_run --store speakers.db --vad true --port 8080

It is served on this machine alone, at http://127.0.0.1:7860, until it is interrupted. Needs the
package gradio: pip install 'acorl_sb[demo]'. docs/demo.md says more.
"""

from __future__ import annotations

import sys
from typing import Annotated

from pydantic import Field

from acorl_sb.demo import build, launch
from acorl_sb.inference import Verifier
from acorl_sb.store.store_options import RunKeys
from acorl_sb.utils.errors import run_cli
from acorl_sb.utils.options import Text, read


class DemoOptions(RunKeys):
    """All keys of ``acorl demo``."""

    store: Text | None = Field(None, description="file of enrolled speakers; null: in memory")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(7860, description="where it is served")
    browser: bool = Field(False, description="open the page in a browser at once")


def main(argv: list[str] | None = None) -> int:
    """Run the command; ``argv`` is what follows its name, None: the process's own."""
    options = read(DemoOptions, sys.argv[1:] if argv is None else argv, __doc__).hparams
    verifier = Verifier.from_options(options, store=options["store"])
    page = build(verifier, **{key: options[key] for key in ("p_target", "c_miss", "c_fa")})
    print(f"http://127.0.0.1:{options['port']} until Ctrl+C", flush=True)
    launch(page, options["port"], options["browser"])
    return 0


if __name__ == "__main__":
    run_cli(main)
