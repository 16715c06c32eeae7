"""One way for bad input to end: a clear sentence, exit code 2, no traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn


class UserError(Exception):
    """Something a user brought is wrong.

    The message is one sentence that says what is wrong, where (file, line or key), and what to do.
    """


def run_cli(main: Callable[[], int | None]) -> NoReturn:
    """Run a script's ``main`` and leave the process with its exit code.

    A ``UserError`` is printed to standard error as ``error: <sentence>`` and exits with 2; an
    interrupt (Ctrl-C) exits with 130. Any other exception is a bug and keeps its traceback.
    """
    try:
        code = main()
    except UserError as error:
        sys.stdout.flush()
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted; finished work is kept, run the same command to resume", file=sys.stderr)
        sys.exit(130)
    sys.exit(code or 0)
