"""Train an ensemble of image classifiers one member after another, and fuse it.

    python recipes/ImageClassification/train.py recipes/ImageClassification/hparams/digits.yaml \
        [--key value ...]

``torchrun --nproc_per_node=N`` in place of ``python`` trains on N GPUs. A finished member is not
trained again and an interrupted one goes on where it was.
"""

from __future__ import annotations

from images.ensembles import fused, measure
from images.run import ImageOptions, run

from acorl_sb.utils.errors import run_cli


def plan(hparams, members, settings):
    return [(members, settings, "members")]


def report(said, data, hparams, members):
    """Each member alone, and the first 2, 3, ... together, with differences to the first."""
    (said,), first = said, str(members[0]["name"])
    alone = {str(m["name"]): one.probabilities for m, one in zip(members, said, strict=True)}
    systems = {name: p[None] for name, p in {**alone, **fused(said, data)}.items()}
    against = dict.fromkeys([name for name in systems if name != first], first)
    results = measure(systems, against, data.test.labels, hparams["replicates"])
    return results, f"{len(data.test.labels)} test images; intervals over images", first


def main(argv: list[str] | None = None) -> int:
    return run(argv, ImageOptions, __doc__, plan, report)


if __name__ == "__main__":
    run_cli(main)
