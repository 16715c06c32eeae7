"""The command ``acorl``: one sub-command a stage, each a module of this package.

Nothing but the standard library is imported before the sub-command is known: help is instant.
"""

from __future__ import annotations

import difflib
import gc
import importlib
import sys
from types import ModuleType
from typing import NamedTuple

from acorl_sb import __version__
from acorl_sb.utils.errors import UserError, run_cli


class Command(NamedTuple):
    """A sub-command: what it does, in one line, and how it is called."""

    summary: str
    example: str


COMMANDS = {
    "train": Command(
        "train an ensemble of speaker encoders, score it, fuse it",
        "acorl train hparams/acorl_ecapa.yaml",
    ),
    "evaluate": Command(
        "evaluate encoders that exist on trials of your own, without training",
        "acorl evaluate my_encoder other_encoder --trials trials.txt --audio recordings",
    ),
    "embed": Command(
        "embed any number of recordings with any encoder",
        "acorl embed my_recordings --encoder results/my_run/members/second --output e.npz",
    ),
    "score": Command(
        "score trials from embeddings or encoders, with normalisation and intervals",
        "acorl score hparams/score_plda.yaml --run_folder results/my_run",
    ),
    "fuse": Command(
        "fuse score files of several systems into one calibrated system",
        "acorl fuse --dev a/dev.txt b/dev.txt --test a/test.txt b/test.txt",
    ),
    "analyse": Command(
        "show how the members of a run differ, and what their scores rest on",
        "acorl analyse hparams/analyse.yaml --run_folder results/my_run",
    ),
    "report": Command(
        "write the report page of a finished run again",
        "acorl report results/my_run",
    ),
    "groups": Command(
        "error rates by group of speakers: gender, age, any column of a manifest",
        "acorl groups --run_folder results/my_run --groups gender",
    ),
    "distil": Command(
        "distil a finished run into one student encoder",
        "acorl distil --run_folder results/my_run",
    ),
    "export": Command(
        "write a member as ONNX: waves in, embeddings out",
        "acorl export results/my_run/members/second --onnx second.onnx",
    ),
    "verify": Command(
        "say whether two recordings are of one speaker, and why",
        "acorl verify one.wav other.wav",
    ),
    "enrol": Command(
        "enrol a speaker from recordings into a file of speakers",
        "acorl enrol speakers.db ann ann1.wav ann2.wav",
    ),
    "identify": Command(
        "list the enrolled speakers who may have spoken a recording",
        "acorl identify speakers.db who.wav",
    ),
    "speakers": Command(
        "list the speakers of a file, or delete some for good",
        "acorl speakers speakers.db --delete ann",
    ),
    "demo": Command(
        "try a run in the browser, with a microphone",
        "acorl demo --run_folder results/my_run",
    ),
}


def usage() -> str:
    """The text of ``acorl --help``."""
    lines = ["usage: acorl COMMAND [arguments], or acorl COMMAND --help", ""]
    for name, command in COMMANDS.items():
        lines += [f"  {name:<10}{command.summary}", f"{'':12}{command.example}"]
    return "\n".join([*lines, "", "A YAML that is not there is looked for in the package."])


def main(argv: list[str] | None = None) -> int:
    """Run the sub-command that the first argument names.

    Arguments
    ---------
    argv : list of str
        What follows ``acorl`` on the command line; None: the process's own.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    UserError
        When there is no such sub-command, and what the sub-command raises.

    Example
    -------
    >>> main(["--version"])  # doctest: +ELLIPSIS
    acorl_sb ...
    0
    """
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help", "help"):
        print(usage())
        return 0
    if name == "--version":
        print(f"acorl_sb {__version__}")
        return 0
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        meant = "".join(f"; did you mean {word!r}?" for word in near)
        raise UserError(f"acorl has no command {name!r}, only {', '.join(COMMANDS)}{meant}")
    return _imported(name).main(rest)


def _imported(name: str) -> ModuleType:
    """A sub-command's module. Looking for garbage in what is made meanwhile, all of which stays,
    takes a fifth of a short command's time."""
    gc.disable()
    try:
        return importlib.import_module(f"acorl_sb.cli.{name}")
    finally:
        gc.freeze()
        gc.enable()


def run() -> None:
    """The console script: ``main``, and the process ends with its exit code."""
    run_cli(main)
