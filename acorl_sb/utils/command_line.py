"""What stands on a command line: arguments of their own, and keys with values as in a YAML.

SpeechBrain's own parser joins all arguments and splits them again at every ``=``, and knows neither
a key given twice nor one without a value; argparse ends with its usage instead of a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_origin

import ruamel.yaml
from pydantic.fields import FieldInfo

from acorl_sb.utils.errors import UserError
from acorl_sb.utils.option_kinds import choices, inner, shown, takes
from acorl_sb.utils.yaml_dump import to_the_letter

WHERE = "the command line"
_SCALARS = (int, float, bool, str, type(None), Literal)


def split_arguments(
    argv: Sequence[str], fields: Mapping[str, FieldInfo]
) -> tuple[list[str], dict[str, Any]]:
    """Sort the arguments of a command into those that stand alone, and keys with their values.

    ``fields`` are the keys that are declared. A key takes one argument where a plain value is
    declared, and otherwise all up to the next key. ``--key`` and ``--no-key`` will do where it is
    true or false. A text is taken to the letter, unless it is quoted, ``null`` or has a tag; all
    else is YAML.

    Raises ``UserError`` for a key that is given twice or without a value.
    """
    alone: list[str] = []
    given: dict[str, Any] = {}
    waiting = [str(argument) for argument in argv]
    while waiting:
        argument = waiting.pop(0)
        if not argument.startswith("--") or argument == "--":
            alone.append(argument)
            continue
        key, equals, value = argument[2:].partition("=")
        negated = not equals and key not in fields and key.startswith("no-")
        key = key.removeprefix("no-") if negated else key
        annotation = fields[key].annotation if key in fields else Any
        switch = takes(annotation, bool)
        if key in given:
            raise UserError(f"{WHERE}: the key {key!r} is given twice")
        if negated and switch:
            given[key] = False
            continue
        if negated:
            raise UserError(f"{WHERE}: --no-{key}: {key!r} is no key that is true or false")
        texts = [value] if equals else _take(waiting, annotation)
        if not texts and not switch:
            raise UserError(f"{WHERE}: the key {key!r} has no value; give --{key} VALUE")
        given[key] = _value(key, texts, annotation) if texts else True
    return alone, given


def _take(waiting: list[str], annotation: Any) -> list[str]:
    """Take the arguments that belong to a key from those that wait."""
    most = len(waiting)
    if takes(annotation, bool):
        most = int(bool(waiting) and waiting[0].lower() in ("true", "false", "null"))
    elif all((get_origin(choice) or choice) in _SCALARS for choice in choices(annotation)):
        most = 1
    texts = []
    while waiting and len(texts) < most and not waiting[0].startswith("--"):
        texts.append(waiting.pop(0))
    return texts


def _value(key: str, texts: list[str], annotation: Any) -> Any:
    whole = " ".join(texts)
    if takes(annotation, list) and not (whole == "null" or whole.startswith(("[", "!"))):
        item = inner(annotation, 0)
        if takes(item, *_SCALARS):
            return [_scalar(key, text, item) for text in texts]
    return _scalar(key, whole, annotation)


def _scalar(key: str, text: str, annotation: Any) -> Any:
    if not text:  # as from a shell variable that is not set
        raise UserError(f"{WHERE}: the value of {key!r} is empty; give one, or null for none")
    if takes(annotation, str, Literal) and not (
        text in ("null", "~") or text.startswith(('"', "'", "!"))
    ):
        return to_the_letter(text)
    try:
        return ruamel.yaml.YAML().load(text)
    except (ruamel.yaml.error.YAMLError, ValueError, RecursionError):
        raise UserError(f"{WHERE}: --{key}: {shown(text)} is not readable as YAML") from None
