"""Distil a finished run into one student encoder, a member like any other.

    acorl distil --run_folder results/my_run [--key value ...]
    acorl distil mine.yaml --run_folder results/my_run [--key value ...]

The run's members are the frozen teachers. Corpus, splits and seed are the run's own; the YAML is
``hparams/distil.yaml`` unless another is named, and every key of ``acorl train`` can be
overridden. ``--run_folder`` must be given; ``output_folder`` is ``distilled`` in it, and the
student is in its ``members/student``. docs/distillation.md explains it.
"""

from __future__ import annotations

import sys

from acorl_sb.cli import train
from acorl_sb.training.distil import train_arguments
from acorl_sb.training.train_options import TrainingRun, TrainOptions
from acorl_sb.utils.errors import UserError, run_cli
from acorl_sb.utils.options import explain


def main(argv: list[str] | None = None) -> int:
    """Run the command; ``argv`` is what follows its name, None: the process's own."""
    argv = [str(word) for word in (sys.argv[1:] if argv is None else argv)]
    if {"-h", "--help"} & set(argv):
        print(explain(TrainOptions, __doc__, TrainingRun))
        return 0
    run_folder, others = take_run_folder(argv)
    return train.main(train_arguments(run_folder, others))


def take_run_folder(argv: list[str]) -> tuple[str, list[str]]:
    """The value of ``--run_folder``, and the other arguments."""
    found, others, words = [], [], list(argv)
    while words:
        word = words.pop(0)
        key, equals, value = word.partition("=")
        if key != "--run_folder":
            others.append(word)
        elif equals or (words and not words[0].startswith("--")):
            found.append(value if equals else words.pop(0))
        else:
            found.append("")
    if len(found) != 1 or not found[0].strip():
        raise UserError("say once which run to distil: --run_folder <output folder of train.py>")
    return found[0], others


if __name__ == "__main__":
    run_cli(main)
