"""Kinds of values in words: what ``--help``, the documentation and the errors say of a key."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterable, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

_NAMES = {int: "whole number", float: "number", bool: "true or false", str: "text"}
_RANGES = ((Ge, "from"), (Gt, "above"), (Le, "to"), (Lt, "below"))


class _NoValue:
    """In place of a default."""

    def __deepcopy__(self, memo):
        return self


REQUIRED: Any = _NoValue()  # a YAML must have the key
ABSENT: Any = _NoValue()  # a YAML may have the key, for its own references, or not


class Said(NamedTuple):
    """Put into ``Annotated``: how a kind of value is called."""

    text: str


def kind(annotation: Any, notes: Iterable[Any] = ()) -> str:
    """What a value must be, in words: ``whole number from 1 to 9, or null``."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    notes = [
        n for note in notes for n in (note.metadata if isinstance(note, FieldInfo) else [note])
    ]
    if origin is Annotated:
        return kind(arguments[0], [*arguments[1:], *notes])
    for note in notes:
        if isinstance(note, Said):
            return note.text
    if origin in (Union, UnionType):
        others = [kind(a, notes) for a in arguments if a is not NoneType]
        return ", or ".join([*others, "null"] if NoneType in arguments else others)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin in (list, Sequence):
        least = next((f" of {n.min_length} or more" for n in notes if isinstance(n, MinLen)), "")
        return f"list{least}, each {article(kind(arguments[0]))}"
    if origin is dict:
        each = f", each {article(kind(arguments[1]))}" if arguments[1] is not Any else ""
        return f"mapping{each}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"mapping with keys of {', '.join(annotation.model_fields)}"
    limits = [
        f" {word} {getattr(note, limit.__name__.lower()):,}"
        for note in notes
        for limit, word in _RANGES
        if isinstance(note, limit)
    ]
    return "".join([_NAMES.get(annotation, "value"), *limits])


def article(said: str) -> str:
    """``said`` with an "a" before it, unless it has an article or needs none."""
    return said if said.startswith(("text", "true", "one of", "an ", "a ")) else f"a {said}"


def choices(annotation: Any) -> list[Any]:
    """The branches of a union, without what ``Annotated`` says of them."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return choices(arguments[0])
    if origin in (Union, UnionType):
        return [choice for argument in arguments for choice in choices(argument)]
    return [annotation]


def inner(annotation: Any, part: Any) -> Any:
    """The annotation of an entry of a list, a mapping or a model; None where it has none."""
    for choice in choices(annotation):
        origin, arguments = get_origin(choice), get_args(choice)
        # Python 3.10 calls list[int] a type, too.
        if origin is None and isinstance(choice, type) and issubclass(choice, BaseModel):
            field = choice.model_fields.get(part)
            if field is not None:
                return Annotated[(field.annotation, *field.metadata, None)]
        if origin in (list, Sequence) and isinstance(part, int):
            return arguments[0]
        if origin is dict:
            return arguments[1]
    return None


def key_kind(annotation: Any) -> str:
    """What the keys of a mapping must be, in words; empty where it is none."""
    mappings = [c for c in choices(annotation) if get_origin(c) is dict]
    return kind(get_args(mappings[0])[0]) if mappings else ""


def words(annotation: Any) -> list[str]:
    """The words that a value may be one of, if any."""
    return [w for c in choices(annotation) if get_origin(c) is Literal for w in get_args(c)]


def takes(annotation: Any, *types: Any) -> bool:
    """Whether a value may be of one of these types."""
    return any((get_origin(choice) or choice) in types for choice in choices(annotation))


def shown(value: Any) -> str:
    """A value much as a YAML would say it, cut where it is long."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def hint(word: Any, known: Iterable[str]) -> str:
    """``; did you mean 'view'?`` or nothing."""
    near = difflib.get_close_matches(str(word), list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def rows(declaration: type[BaseModel]) -> list[tuple[str, str, str, str]]:
    """Key, kind, default ("" where there is none) and meaning of every key of a declaration."""
    made = []
    for key, field in declaration.model_fields.items():
        default = ABSENT if field.is_required() else field.get_default()
        said = "" if default is ABSENT else default if isinstance(default, str) else shown(default)
        values = kind(field.annotation, field.metadata)
        values = values.removesuffix(", or null") if default is None else values
        made.append((key, values, said, field.description or ""))
    return made


def listing(declaration: type[BaseModel]) -> list[str]:
    """The lines of ``--help`` about the keys."""
    lines = []
    for key, said, default, meaning in rows(declaration):
        default = f"; default {default}" if default else ""
        text = f"{meaning} ({said}{default})"
        lines += [f"  {key}", *textwrap.wrap(text, 98, initial_indent=" " * 6,
                                            subsequent_indent=" " * 6)]  # fmt: skip
    return lines


def markdown_table(declaration: type[BaseModel]) -> str:
    """The keys of a declaration as a Markdown table, for the documentation."""
    lines = ["| key | kind | default | meaning |", "|---|---|---|---|"]
    for key, said, default, meaning in rows(declaration):
        default = f"`{default}`" if default else ""
        lines.append(f"| `{key}` | {said} | {default} | {meaning} |")
    return "\n".join(lines)
