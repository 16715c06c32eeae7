"""Names of members, systems and references: each becomes a folder, a file and a cell of a table."""

from __future__ import annotations

import re

from acorl_sb.utils.errors import UserError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
LONGEST = 100


def check_name(name: object, where: str) -> str:
    """Return ``name``; ``UserError``, saying ``where`` it stands, when it cannot be a name.

    A name begins with a letter or digit and goes on with these, dots, underscores, plus and minus
    signs, so that it is neither a path nor hidden nor an option of a command.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > LONGEST:
        raise UserError(
            f"{where}: {str(name)[:LONGEST]!r} cannot be a name; letters, digits and ._+- are "
            f"taken, a letter or digit first, {LONGEST} characters at most"
        )
    return name
