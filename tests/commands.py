"""The commands as a user runs them: own process, own working folder, exit code and output.

Importing torch and SpeechBrain takes seconds, so a server process imports them once and forks a
child for each command; the child is a process like any other, signals and exit codes included.
"""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Finished:
    """How a command ended; ``code`` is None where it was stopped because it took too long."""

    code: int | None
    stdout: str
    stderr: str


def run(
    command: Sequence[object],
    cwd: Path | None = None,
    timeout: float = 120,
    env: dict[str, str] | None = None,
) -> Finished:
    """Run ``train.py ...``, ``fuse.py ...`` or ``-m module ...`` to its end.

    ``cwd`` is the working folder, by default the checkout; relative script names are of the
    checkout. A command that takes longer than ``timeout`` s is killed.
    """
    with started(command, cwd, env) as process:
        process.join(timeout)
        hung = process.is_alive()
        if hung:
            process.kill()
            process.join()
        return Finished(
            None if hung else process.exitcode,
            Path(process.stdout).read_text(errors="replace"),
            Path(process.stderr).read_text(errors="replace"),
        )


@contextlib.contextmanager
def started(
    command: Sequence[object], cwd: Path | None = None, env: dict[str, str] | None = None
) -> Iterator[multiprocessing.Process]:
    """Start a command and go on; its ``stdout`` and ``stderr`` are paths of files.

    What still runs at the end of the block is killed.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err = f"{folder}/stdout", f"{folder}/stderr"
        arguments = ([str(part) for part in command], str(cwd or ROOT), out, err, env or {})
        process = _server().Process(target=_child, args=arguments)
        process.stdout, process.stderr = out, err
        process.start()
        try:
            yield process
        finally:
            if process.is_alive():
                process.kill()
                process.join()


def refused(done: Finished) -> str:
    """The one sentence of a command that bad input ended; AssertionError for any other end."""
    assert done.code == 2, f"exit code {done.code}\n{done.stdout[-500:]}\n{done.stderr[-3000:]}"
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.stderr.rstrip().endswith(line), f"more follows the sentence: {done.stderr[-500:]}"
    return line


def checksums(folder: Path) -> dict[str, str]:
    """Name -> SHA-256 of every file below ``folder``, to show that nothing has changed."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def _server():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.commands_preload"])
    return context


def _child(command: list[str], cwd: str, out: str, err: str, env: dict[str, str]) -> None:
    """Become the command: own streams, own folder, signals as a shell would leave them."""
    for path, stream in ((out, 1), (err, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, stream)
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(env)
    os.chdir(cwd)
    if command[0] == "-m":
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        script = Path(ROOT, command[0])
        sys.argv = [str(script), *command[1:]]
        runpy.run_path(str(script), run_name="__main__")
