"""Compare complementary with independent training, over several seeds.

    python recipes/ImageClassification/compare.py recipes/ImageClassification/hparams/compare.yaml \
        [--key value ...]

The YAML is one of ``train.py`` with the key ``seeds``. For each seed its members are trained as it
says, and again with their objectives null; initial weights and order of images are the same. It
can be stopped and started at any point.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
from images.ensembles import fused, measure
from images.run import ImageOptions, run
from pydantic import Field

from acorl_sb.training.member_options import Seed
from acorl_sb.utils.errors import UserError, run_cli
from acorl_sb.utils.option_kinds import ABSENT


class CompareOptions(ImageOptions):
    """All keys of ``compare.py``."""

    seeds: Annotated[list[Seed], Field(min_length=1)] = Field(
        description="an ensemble of each kind is trained for each; the key seed is not used"
    )

    def check(self) -> None:
        super().check()
        own = any(member.seed is not ABSENT for member in self.members)
        if own or len(set(self.seeds)) < len(self.seeds):
            raise UserError("the key 'seeds' must list each seed once, and no member have its own")
        if len(self.members) < 2 or all(member.objective is None for member in self.members):
            raise UserError("the key 'members' needs two members or more, one with an objective")


def independent(spec):
    """The member without its objective; one that has none is the same in both ensembles."""
    if spec.get("objective") is None:
        return spec
    return {**spec, "name": f"{spec['name']}-independent", "objective": None}


def plan(hparams, members, settings):
    """For each seed the complementary members, then for each seed the independent ones."""
    made = []
    for specs in (members, [independent(spec) for spec in members]):
        for seed in hparams["seeds"]:
            own = replace(settings, seed=seed, plain={**settings.plain, "seed": seed})
            made.append((specs, own, f"seed{seed}"))
    return made


def report(said, data, hparams, members):
    """The first 2, 3, ... members together, and complementary minus independent ones."""
    labels, count = data.test.labels, len(hparams["seeds"])
    ways = {"complementary": said[:count], "independent": said[count:]}
    systems = {}
    for way, runs in ways.items():
        made = [fused(one, data) for one in runs]
        systems |= {f"{name}, {way}": np.stack([one[name] for one in made]) for name in made[0]}
    against = {f"{name}, complementary": f"{name}, independent" for name in made[0]}
    results = measure(dict(sorted(systems.items())), against, labels, hparams["replicates"])
    return results, f"{count} seeds, {len(labels)} test images; intervals over both", "independent"


def main(argv: list[str] | None = None) -> int:
    return run(argv, CompareOptions, __doc__, plan, report)


if __name__ == "__main__":
    run_cli(main)
