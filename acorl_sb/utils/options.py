"""A script's keys, declared once: the declaration validates, explains and documents them.

A script's declaration is a subclass of :class:`Options` with a pydantic field for each key of its
YAML: type, range, default where a YAML may leave the key out, and a sentence of meaning.
:func:`read` reads the command line and the YAML by it. Objects (``!new:``, ``!name:``) are built
only after all plain values have been found good.

pydantic checks the values. Hydra and jsonargparse, which would bring command line and help as well,
read no YAML with HyperPyYAML's tags.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from acorl_sb.utils import hparams, option_kinds
from acorl_sb.utils.command_line import WHERE, split_arguments
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.hparams import Loaded, Tagged
from acorl_sb.utils.names import check_name
from acorl_sb.utils.option_kinds import REQUIRED, Said
from acorl_sb.utils.reading import shown
from acorl_sb.utils.yaml_dump import to_the_letter


def _refuse(wrong: Callable[[Any], Any]) -> AfterValidator:
    def check(value: Any) -> Any:
        if wrong(value):
            raise ValueError
        return value

    return AfterValidator(check)


def built(said: str, right: Callable[[Any], Any]) -> Any:
    """The kind of an object of the YAML; ``right`` is asked once it is built."""
    return Annotated[Any, _refuse(lambda v: not isinstance(v, Tagged) and not right(v)), Said(said)]


def _is_name(text: str) -> str:
    try:
        return check_name(text, "")
    except UserError:
        raise ValueError from None


def _is_text(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise ValueError
    try:
        text.encode()
    except UnicodeEncodeError:  # bytes of a file name, which no text that is written could hold
        raise ValueError(
            f"{shown(text)} is not UTF-8; give it another name (convmv renames many files)"
        ) from None
    return text


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) or value is None else [value]


Text = Annotated[str, AfterValidator(_is_text), Said("text")]
Name = Annotated[
    str, AfterValidator(_is_name), Said("name of letters, digits and ._+-, a letter or digit first")
]
Fraction = Annotated[float, Field(gt=0, lt=1)]
T = TypeVar("T")
Several = Annotated[list[T], BeforeValidator(_as_list)]  # a value alone is a list of one
Seconds = Annotated[float, Field(ge=0.1, le=3600)]  # from the least that an utterance may last
Factory = built("!name: of something that can be called", callable)


class Options(BaseModel):
    """Base of the declarations; a mapping inside the YAML is a field of such a type again."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    lazy: ClassVar[tuple[str, ...]] = ()  # keys whose objects are built when their time comes
    yaml: ClassVar[Literal["needed", "allowed", "none"]] = "needed"
    # The key, or keys in order, that other arguments standing alone are of; the last may be a list.
    positional: ClassVar[str | tuple[str, ...] | None] = None

    @field_validator("*", mode="wrap")
    @classmethod
    def _wait_for_what_is_not_built(
        cls, value: Any, validate: Callable[[Any], Any], info: ValidationInfo
    ) -> Any:
        return value if isinstance(value, Tagged) and not info.context else validate(value)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, values: Any) -> Any:
        for key in values if isinstance(values, dict) else ():
            if key not in cls.model_fields:
                hint = option_kinds.hint(key, cls.model_fields)
                raise ValueError(f"unknown key {key!r}{hint or '; remove it'}")
        return values

    def check(self) -> None:
        """Raise ``UserError`` for values that are good alone but not together."""

    def run_options(self, given: set[str]) -> tuple[Any, dict[str, Any]]:
        """Of a declaration of run options: SpeechBrain's object, and keys of the YAML instead."""
        return None, {}


class NoRunOptions(Options):
    """Of a script that heeds none of SpeechBrain's run options."""


def _device(name: str) -> str:
    import torch  # takes a second; not all commands need it

    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"{name!r} is no device; use cpu, cuda or cuda:0") from None
    if device.type not in ("cpu", "meta") and not torch.get_device_module(device).is_available():
        raise ValueError(f"no {device.type.upper()} device here for {name!r}; use --device cpu")
    if device.type == "meta":
        raise ValueError("'meta' is no device to run on; use cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"{name!r}: there are {torch.cuda.device_count()} CUDA devices, from 0 on")
    return name


DeviceName = Annotated[Text, AfterValidator(_device)]


class Device(Options):
    """Of a script that only asks where to compute."""

    device: DeviceName | None = Field(
        None, description="where to compute, such as cpu or cuda:0; null: a GPU where there is one"
    )

    def run_options(self, given: set[str]) -> tuple[Any, dict[str, Any]]:
        from speechbrain.utils.run_opts import RunOptions  # takes seconds; not all scripts need it

        return RunOptions(**dict(self), overridden_args=given), {}


def read(
    declaration: type[Options],
    argv: Sequence[str],
    description: str | None = None,
    run: type[Options] = NoRunOptions,
) -> Loaded:
    """Read ``[hparams.yaml] [--key value ...]`` as the declaration says; ``--help`` ends here.

    ``run`` declares the run options of SpeechBrain that the script heeds.

    Raises ``UserError`` naming the key for one that is unknown, given twice or missing, and for a
    value of the wrong kind or out of range, before any object of the YAML is built.
    """
    if {"-h", "--help"} & set(argv):
        print(explain(declaration, description or "", run))
        sys.exit(0)
    fields = declaration.model_fields
    _refuse_run_options(argv, {*fields, *run.model_fields})
    alone, given = split_arguments(argv, {**run.model_fields, **fields})
    run_given = {key: given.pop(key) for key in run.model_fields if key in given}
    run_opts, instead = validate(run, run_given, lambda key: WHERE).run_options(set(run_given))
    path = _take_yaml(alone, declaration.yaml)
    named = declaration.positional or ()
    for key in (named,) if isinstance(named, str) else named:
        if not alone:
            break
        if key in given:
            raise UserError(f"{WHERE}: both {alone[0]!r} and --{key} are given")
        whole = option_kinds.takes(fields[key].annotation, list)
        letters = [to_the_letter(word) for word in alone]
        given[key], alone = (letters, []) if whole else (letters[0], alone[1:])
    if alone:
        raise UserError(f"{WHERE}: {alone[0]!r} stands alone; keys are given as --key VALUE")
    given = {**instead, **given}

    def check(values: Mapping[str, Any], built: bool = False) -> Any:
        declared = {key: value for key, value in values.items() if key in fields}
        return validate(declaration, declared, lambda k: WHERE if k in given else str(path), built)

    known = {key: _default(field) for key, field in fields.items()}
    loaded = hparams.load(path, given, known, declaration.lazy, check)
    later = {key: hparams.untagged(tree) for key, tree in loaded.lazy.items()}
    valid = check({**loaded.hparams, **later}, built=True)
    valid.check()
    for key in loaded.hparams.keys() & fields.keys():
        loaded.hparams[key] = getattr(valid, key)
    return loaded._replace(run_opts=run_opts)


def _refuse_run_options(argv: Sequence[str], known: Collection[str]) -> None:
    """UserError for a run option of SpeechBrain that the script does not heed."""
    named = {word[2:].partition("=")[0] for word in argv if word.startswith("--")}
    unknown = named - {*known} - {f"no-{key}" for key in known}
    if unknown:
        from speechbrain.utils.run_opts import HELP_TEXTS  # takes seconds

        for key in sorted(unknown & HELP_TEXTS.keys()):
            raise UserError(f"{WHERE}: --{key}: this command does not heed that run option")


def validate(
    declaration: type[Options],
    values: Mapping[str, Any],
    where: Callable[[str], str] = lambda key: "",
    built: bool = False,
) -> Any:
    """The values as an object of the declaration; ``UserError`` names the first key that is wrong.

    ``where`` says for a top-level key where its value comes from. Until all that can be is
    ``built``, what is ``Tagged`` may still become anything.
    """
    try:
        return declaration.model_validate(dict(values), context=built)
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
    except RecursionError:
        raise UserError("the settings are nested too deeply") from None
    place = where(str(found["loc"][0])) if found["loc"] else where("")
    sentence = _sentence(declaration, values, found)
    raise UserError(f"{place}: {sentence}" if place else sentence)


def _sentence(declaration: type[Options], values: Any, found: Any) -> str:
    """What pydantic has found wrong: the path of the key, and the kind that it must have."""
    path, annotation, value, holder = "", declaration, values, None
    for part in found["loc"]:
        if part == "[key]" and (named := option_kinds.key_kind(holder)):
            return f"the key {path!r} must have {option_kinds.article(named)}"
        step = option_kinds.inner(annotation, part)
        if step is None:  # the name that pydantic gives to a branch of a union
            break
        holder, annotation = annotation, step
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
        value = None if found["type"] == "missing" and part not in (value or {}) else value[part]
    kind = option_kinds.kind(annotation)
    if found["type"] == "missing":
        return f"the key {path!r} is missing; it is {option_kinds.article(kind)}"
    if reason := str(found.get("ctx", {}).get("error", "")):
        return f"{path}: {reason}" if path else reason
    near = option_kinds.hint(value, option_kinds.words(annotation))
    shown = option_kinds.shown(value)
    return f"the key {path!r} must be {option_kinds.article(kind)}, not {shown}{near}"


def _default(field: Any) -> Any:
    return REQUIRED if field.is_required() else field.get_default()


def _take_yaml(alone: list[str], yaml: str) -> Path | None:
    """Take the YAML out of the arguments that stand alone."""
    if yaml == "needed" and not alone:
        raise UserError("no YAML is given; --help shows how the command is used")
    one = len(alone) == 1 and alone[0].endswith((".yaml", ".yml"))
    return Path(alone.pop(0)) if yaml == "needed" or (yaml == "allowed" and one) else None


def explain(declaration: type[Options], description: str, run: type[Options]) -> str:
    """The text of ``--help``: the keys with meaning, kind and default, and the run options."""
    text = f"{description.strip()}\n\nkeys, each of them --key VALUE on the command line:\n"
    text += "\n".join(option_kinds.listing(declaration))
    if run.model_fields:
        text += "\n\nrun options of SpeechBrain:\n" + "\n".join(option_kinds.listing(run))
    return text
