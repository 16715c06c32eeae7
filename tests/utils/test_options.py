"""Declared keys: what they accept, what they say of themselves, and where they must stand."""

from __future__ import annotations

import io
import re
import runpy
import sys
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
import ruamel.yaml
import torch
from hypothesis import HealthCheck, given, settings, strategies
from pydantic import Field

from acorl_sb.analysis.analyse_options import AnalyseOptions
from acorl_sb.cli.export import ExportOptions
from acorl_sb.fusion.fuse_options import FuseOptions
from acorl_sb.scoring.score_options import ScoreOptions
from acorl_sb.training.train_options import TrainingRun, TrainOptions
from acorl_sb.utils import options
from acorl_sb.utils.command_line import split_arguments
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.hparams import read_tree
from acorl_sb.utils.option_kinds import ABSENT, listing, markdown_table
from acorl_sb.utils.options import Fraction, Name, Options, Several, Text, built, read, validate

ROOT = Path(__file__).resolve().parents[2]
STUDY, RECIPE = ROOT / "recipes/speechocean762", ROOT / "recipes/VoxCeleb/SpeakerRec/ACoRL"
sys.path.insert(0, str(STUDY))

from pairs.keys import StudyOptions  # noqa: E402

RecipeOptions = runpy.run_path(str(RECIPE / "train.py"))["RecipeOptions"]


Counting = built("!new: of a Counter, or null", lambda v: v is None or hasattr(v, "most_common"))


class Part(Options):
    name: Name = Field(description="what it is called")
    size: int = Field(3, ge=1, description="how large it is")


class Keys(Options):
    """A declaration with a key of every kind."""

    lazy: ClassVar[tuple[str, ...]] = ("parts",)

    count: int = Field(ge=1, le=9, description="how many")
    share: Fraction = Field(0.5, description="how much")
    word: Literal["red", "green"] = Field("red", description="which")
    text: Text | None = Field(None, description="what")
    flag: bool = Field(False, description="whether")
    many: Several[Text] = Field([], description="several")
    numbers: list[Annotated[float, Field(gt=0)]] = Field([1.0], description="more of them")
    named: dict[Name, int] = Field({}, description="how many, by name")
    thing: built(
        "!new: of a Counter, or null", lambda v: v is None or hasattr(v, "most_common")
    ) = Field(None, description="an object")
    parts: list[Part] = Field([], description="parts, built later")
    used: float = Field(ABSENT, gt=0, description="for references in the YAML")

    def check(self) -> None:
        if self.flag and self.text is None:
            raise UserError("flag needs text")


@pytest.fixture()
def load(tmp_path):
    def load(text: str, *arguments: str):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return read(Keys, [str(path), *arguments])

    return load


@pytest.mark.parametrize(
    "text",
    [
        *("no", "on", "12:30", "1e3", "(ann)", "a: b #c", "-", "x\x85y"),
        f"{'word' * 22}/ann  1.wav",
        f"{'many words ' * 20}  and spaces",
    ],
)
def test_a_text_of_the_command_line_is_taken_to_the_letter(load, text):
    """Whatever YAML, its older version or HyperPyYAML would make of it; so is what is saved."""
    path = "many: [!ref <text>]\ncount: 1\n"
    loaded = load(path, f"--text={text}")
    assert loaded.hparams["text"] == text and loaded.hparams["many"] == [text]
    assert ruamel.yaml.YAML().load(loaded.text)["text"] == text
    assert load(path, "--many", text, "other").hparams["many"] == [text, "other"]


def test_values_defaults_references_and_objects(load):
    loaded = load(
        "used: 2.0\nown: 7\ncount: !ref <own>\nnumbers: [!ref <used>, 3]\nmany: one\n"
        "thing: !new:collections.Counter {a: !ref <own>}\nparts: [{name: x}]\n"
    )
    assert loaded.hparams["count"] == 7 and loaded.hparams["numbers"] == [2.0, 3.0]
    assert loaded.hparams["many"] == ["one"] and loaded.hparams["thing"]["a"] == 7
    assert loaded.hparams["share"] == 0.5 and loaded.hparams["word"] == "red"
    assert loaded.lazy["parts"][0]["name"] == "x"
    # Defaults stand in the YAML that is kept; what the YAML may leave out altogether does not.
    kept = ruamel.yaml.YAML().load(loaded.text)
    assert kept["share"] == 0.5 and kept["text"] is None
    assert "used" not in ruamel.yaml.YAML().load(load("count: 1\n").text)


def test_an_object_is_built_only_where_all_values_are_good(load, tmp_path):
    made = tmp_path / "made"
    text = f"thing: !apply:os.mkdir [{made}]\n"
    with pytest.raises(UserError, match="'count'"):
        load(f"count: 0\n{text}")
    assert not made.exists()
    load(f"count: 1\n{text}")
    assert made.exists()


def test_a_plain_value_that_is_computed_is_checked_too(load):
    assert load("count: !apply:abs [-3]\n").hparams["count"] == 3
    with pytest.raises(UserError, match="'count'"):
        load("count: !apply:abs [-30]\n")
    with pytest.raises(UserError, match=r"'parts\[0\].size'"):
        load("count: 1\nparts: [{name: a, size: !apply:abs [-3]}]\n")  # would be built too late


def test_a_number_with_an_exponent_stays_a_number(load):
    loaded = load("count: 1\nused: 1e-3\nthing: !new:collections.Counter {a: !ref <used>}\n")
    assert loaded.hparams["thing"]["a"] == loaded.hparams["used"] == 0.001


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("word: red\n", ["'count'", "missing"]),
        ("count: 10\n", ["'count'", "1 to 9", "10"]),
        ("count: true\n", ["'count'", "true"]),
        ("count: 1\nshare: .nan\n", ["'share'"]),
        ("count: 1\nword: rde\n", ["'word'", "red, green", "did you mean 'red'"]),
        ("count: 1\nnumbers: [1, -2]\n", ["'numbers[1]'", "above 0", "-2"]),
        ("count: 1\nnamed: {a: x}\n", ["'named.a'", "whole number"]),
        ("count: 1\nnamed: {a/b: 1}\n", ["'named.a/b'", "letters"]),
        ("count: 1\nthing: 3\n", ["'thing'", "Counter"]),
        ("count: 1\nthing: !new:pathlib.Path {}\n", ["'thing'", "Counter"]),
        ("count: 1\nparts: [{name: x, sise: 3}]\n", ["parts[0]", "'sise'", "'size'"]),
        ("count: 1\nparts: [{name: a/b}]\n", ["'parts[0].name'", "a/b"]),
        ("count: 1\nparts: [{}]\n", ["'parts[0].name'", "missing"]),
        ("count: 1\nparts: !new:collections.Counter {}\n", ["'parts'"]),
        ("count: 1\nflag: true\n", ["flag needs text"]),
        ("count: 1\nthing: !new:collections.Counter [1, 2, 3]\n", ["'thing'"]),
    ],
)
def test_a_wrong_value_is_named_with_what_it_must_be(load, text, words):
    with pytest.raises(UserError) as error:
        load(text)
    sentence = str(error.value)
    assert [word for word in words if word not in sentence] == [] and "\n" not in sentence
    assert "mine.yaml" in sentence or "flag" in sentence


def test_the_command_line_is_named_where_it_is_wrong(load):
    with pytest.raises(UserError, match="command line"):
        load("count: 1\n", "--count", "x")
    with pytest.raises(UserError, match=r"mine\.yaml"):
        load("count: x\n", "--share", "0.3")


@pytest.mark.parametrize(
    ("line", "given", "alone"),
    [
        (["--count", "3", "a", "b"], {"count": 3}, ["a", "b"]),
        (["a", "--many", "b", "c", "--flag"], {"many": ["b", "c"], "flag": True}, ["a"]),
        (["--no-flag", "a"], {"flag": False}, ["a"]),
        (["--flag", "a"], {"flag": True}, ["a"]),
        (["--flag", "false", "a"], {"flag": False}, ["a"]),
        (["--many", "[b, c]"], {"many": ["b", "c"]}, []),
        (["--numbers", "1", "2.5"], {"numbers": [1, 2.5]}, []),
        (["--numbers=[1,", "a"], None, None),
        (["--text", "a # b: [c"], {"text": "a # b: [c"}, []),
        (["--text=a=b"], {"text": "a=b"}, []),
        (["--text", "12"], {"text": "12"}, []),
        (["--text", "null"], {"text": None}, []),
        (["--text", '"null"'], {"text": "null"}, []),
        (["--text", '""'], {"text": ""}, []),
        (["--text", ""], None, None),  # a shell variable that is not set
        (["--count="], None, None),
        (["--many", "a", ""], None, None),
        (["--thing", "{a:", "1}"], {"thing": {"a": 1}}, []),
        (["--own", "[1,", "2]"], {"own": [1, 2]}, []),
        (["--count", "-1"], {"count": -1}, []),
        (["--count"], None, None),
        (["--count", "1", "--count=2"], None, None),
    ],
)
def test_arguments_are_sorted_by_the_kinds_of_their_keys(line, given, alone):
    if given is None:
        with pytest.raises(UserError):
            split_arguments(line, Keys.model_fields)
    else:
        assert split_arguments(line, Keys.model_fields) == (alone, given)


def test_help_and_documentation_have_every_key_with_its_meaning(capsys):
    with pytest.raises(SystemExit) as end:
        read(Keys, ["--help"], "What it does.")
    said = capsys.readouterr().out
    assert end.value.code == 0 and said.startswith("What it does.")
    for key, field in Keys.model_fields.items():
        assert re.search(rf"^  {key}$", said, re.M) and field.description in said
        assert f"| `{key}` |" in markdown_table(Keys) and field.description in markdown_table(Keys)
    assert "whole number from 1 to 9" in said and "default 0.5" in said


DECLARED = {
    TrainOptions: [
        path
        for path in sorted((ROOT / "hparams").glob("*.yaml"))
        if path.stem.startswith(
            ("acorl", "independent", "heterogeneous", "finetuned", "complement")
        )
    ],
    ScoreOptions: [ROOT / "hparams/score.yaml", ROOT / "hparams/score_plda.yaml"],
    AnalyseOptions: [ROOT / "hparams/analyse.yaml"],
    FuseOptions: [ROOT / "hparams/fuse.yaml"],
    StudyOptions: [STUDY / "hparams/study.yaml"],
    RecipeOptions: sorted((RECIPE / "hparams").glob("*.yaml")),
    ExportOptions: [],
}


@pytest.mark.parametrize("declaration", DECLARED, ids=lambda d: d.__name__)
def test_every_key_is_explained_and_stands_in_a_yaml(declaration):
    for field in declaration.model_fields.values():
        assert field.description
    assert len(listing(declaration)) >= 2 * len(declaration.model_fields)
    paths = DECLARED[declaration]
    present = set().union(*(read_tree(path) for path in paths))
    declared = set(declaration.model_fields)
    if declaration is RecipeOptions:  # its encoders say the size themselves, it trains from scratch
        declared -= {"embedding_dim"}
        present -= {f"tuning_{key}" for key in ("steps", "pair_loss", "schedule", "objective")}
    if declaration in (StudyOptions, TrainOptions):  # pieces that members share have free names
        present &= declared
    assert not paths or present == declared


@pytest.mark.parametrize(
    ("declaration", "path"), [(d, p) for d, paths in DECLARED.items() for p in paths], ids=str
)
def test_the_yamls_are_what_is_declared(declaration, path):
    more = {AnalyseOptions: ["--run_folder", "x"], StudyOptions: ["--data_folder", "x"]}
    loaded = read(declaration, [str(path), *more.get(declaration, [])])
    for key, field in declaration.model_fields.items():
        if declaration in (ScoreOptions, AnalyseOptions, FuseOptions) and key in loaded.hparams:
            default = field.get_default()
            given = key in ("run_folder", "top_k", "memory", "normalisations")
            assert given or loaded.hparams[key] == default, key


def test_run_options_become_speechbrains():
    path = str(ROOT / "hparams/acorl_ecapa.yaml")
    line = ["--precision", "bf16", "--max_grad_norm=2", "--noprogressbar", "--device", "cpu"]
    run_opts = read(TrainOptions, [path, *line], run=TrainingRun).run_opts
    assert (run_opts.precision, run_opts.max_grad_norm, run_opts.device) == ("bf16", 2.0, "cpu")
    assert run_opts.noprogressbar and run_opts.grad_accumulation_factor == 1
    assert run_opts.overridden_args == {"precision", "max_grad_norm", "noprogressbar", "device"}


def test_debug_is_a_short_training_that_the_record_shows():
    path = str(ROOT / "hparams/acorl_ecapa.yaml")
    loaded = read(TrainOptions, [path, "--debug", "--debug_batches", "3"], run=TrainingRun)
    assert loaded.plain(["epochs", "epoch_steps", "total_steps"]) == {
        **{"epochs": 2, "epoch_steps": 3, "total_steps": 6}
    }
    assert not loaded.run_opts.debug


def test_a_device_that_is_not_there():
    absent = "cuda" if not torch.cuda.is_available() else f"cuda:{torch.cuda.device_count()}"
    for name in (absent, "toaster", "cuda:x", "meta", ""):
        with pytest.raises(UserError, match="device"):
            validate(options.Device, {"device": name})


SCALARS = strategies.one_of(
    strategies.none(),
    strategies.booleans(),
    strategies.integers(),
    strategies.floats(),
    strategies.text(max_size=8),
    strategies.sampled_from(["!new:collections.Counter {}", "!ref <lr>", "!ref <seed> * 2", "nan"]),
)
VALUES = strategies.recursive(
    SCALARS,
    lambda inner: (
        strategies.lists(inner, max_size=3)
        | strategies.dictionaries(strategies.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
FRONT_DOORS: list[tuple[type[Options], list[str]]] = [
    (TrainOptions, [str(ROOT / "hparams/acorl_ecapa.yaml")]),
    (ScoreOptions, [str(ROOT / "hparams/score_plda.yaml")]),
    (AnalyseOptions, [str(ROOT / "hparams/analyse.yaml")]),
    (FuseOptions, []),
    (StudyOptions, [str(STUDY / "hparams/study.yaml")]),
]


def as_yaml(value: Any) -> str:
    if isinstance(value, str) and value.startswith("!"):
        return value
    yaml = ruamel.yaml.YAML()
    yaml.default_flow_style = True
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue().removesuffix("...\n").strip()


@settings(
    max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
@given(data=strategies.data())
def test_nothing_but_a_user_error_leaves_a_front_door(data):
    declaration, arguments = data.draw(strategies.sampled_from(FRONT_DOORS))
    keys = data.draw(
        strategies.lists(
            strategies.sampled_from([*declaration.model_fields, "unknown"]), min_size=1, max_size=3
        )
    )
    line = list(arguments)
    for key in keys:
        value = data.draw(VALUES)
        text = value if isinstance(value, str) else as_yaml(value)
        line += [f"--{key}={text}"] if data.draw(strategies.booleans()) else [f"--{key}", text]
    try:
        loaded = read(declaration, line)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert set(loaded.hparams) | set(loaded.lazy) <= {*declaration.model_fields}
