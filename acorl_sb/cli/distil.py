"""Distil a finished run into one student encoder, a member like any other.

    acorl distil --run_folder results/my_run [--key value ...]
    acorl distil mine.yaml --run_folder results/my_run [--key value ...]

The run's members are the frozen teachers. Corpus, splits and seed are the run's own; the YAML is
``hparams/distil.yaml`` unless another is named, and every key of ``acorl train`` can be
overridden. ``--run_folder`` must be given; ``output_folder`` is ``distilled`` in it, and the
student is in its ``members/student``. ``--more_unlabelled "{librispeech: DIR}"`` adds speech whose
labels nobody looks at. docs/distillation.md explains it.
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
    folders, argv = take("run_folder", argv)
    if len(folders) != 1 or not folders[0].strip():
        raise UserError("say once which run to distil: --run_folder <output folder of train.py>")
    more, argv = take("more_unlabelled", argv)
    if len(more) > 1:
        raise UserError("--more_unlabelled is given twice; name all corpora in one")
    return train.main(train_arguments(folders[0], argv, more[0] if more else None))


def take(option: str, argv: list[str]) -> tuple[list[str], list[str]]:
    """The values of an option, empty where one lacks, and the other arguments."""
    found, others, words = [], [], list(argv)
    while words:
        word = words.pop(0)
        key, equals, value = word.partition("=")
        if key != f"--{option}":
            others.append(word)
        elif equals or (words and not words[0].startswith("--")):
            found.append(value if equals else words.pop(0))
        else:
            found.append("")
    return found, others


if __name__ == "__main__":
    run_cli(main)
