"""Embed recordings: any encoder, any number of files, one table of embeddings.

    acorl embed my_recordings --encoder results/my_run/members/second --output mine.npz
    acorl embed data/wav.scp more.csv a.wav --encoder encoders/ge2e.yaml --output mine.scp
    torchrun --nproc_per_node=4 -m acorl_sb embed my_recordings --encoder ... --output mine.npz

An embedding does not depend on what else is embedded. A killed run goes on where it was when the
same command is run again. ``acorl score`` reads what is written; docs/embeddings.md says more.
"""

from __future__ import annotations

import sys
from pathlib import Path

from acorl_sb.corpora.audio_inputs import read_inputs
from acorl_sb.data.embedding_files import check_output
from acorl_sb.data.vad import require_detector
from acorl_sb.encoders.embed_options import EmbedOptions
from acorl_sb.encoders.named import load_named
from acorl_sb.encoders.shards import Settings, embed_to_file
from acorl_sb.utils import distributed
from acorl_sb.utils.errors import run_cli
from acorl_sb.utils.logs import log_to_screen
from acorl_sb.utils.memory import keep_freed_memory
from acorl_sb.utils.options import Device, read

SETTINGS = ("seconds", "batch_size", "batch_seconds", "shard_size", "workers", "vad")


def main(argv: list[str] | None = None) -> int:
    """Run the command; ``argv`` is what follows its name, None: the process's own."""
    loaded = read(EmbedOptions, sys.argv[1:] if argv is None else argv, __doc__, Device)
    options = loaded.hparams
    output = Path(options["output"])
    check_output(output)
    log_to_screen()
    keep_freed_memory()
    given = (options[key] for key in ("encoder", "weights", "revision", "trust"))
    if options["vad"]:
        require_detector()
    encoder = load_named(*given)
    utterances = read_inputs(options["inputs"])
    _, device = distributed.start(loaded.run_opts)
    settings = Settings(**{key: options[key] for key in SETTINGS})
    embed_to_file(encoder, utterances, output, settings, device)
    if distributed.rank_and_world()[0] == 0:
        print(f"{output}: {len(utterances):,} embeddings of {encoder.embedding_dim} dimensions")
    return 0


if __name__ == "__main__":
    run_cli(main)
