"""Settings that make no sense: each command ends in one sentence that names the key, before work.

All cases run in this process; one of each key runs as a command of its own as well.
"""

from __future__ import annotations

import importlib.util
import itertools
import sys
from pathlib import Path

import pytest

from acorl_sb.cli import analyse, evaluate, export, groups, report, score
from acorl_sb.utils.errors import UserError
from tests.commands import ROOT, checksums, refused, run

RECIPES = ROOT / "recipes"
NAN = ["x", "null", "[]", "{}", ".nan", ".inf", "true", "2.5", "-1", "1e30"]
NOT_NUMBERS = ["x", "null", "[]", "{}", ".nan", ".inf", "true", "!apply:os.getcwd []"]
NO_TEXT = ['""', "' '", "!apply:abs [-3]"]


def cases(table: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(key, value) for key, values in table.items() for value in values]


TRAIN = cases(
    {
        "seed": [*NAN, "!foo bar", "99999999999"],
        "batch_size": [*NAN, "0"],
        "epochs": [*NAN, "0"],
        "epoch_steps": [*NAN, "0"],
        "workers": NAN,
        "crop_seconds": [*NOT_NUMBERS, "-1", "0", "1e9"],
        "cache_mb": [*NOT_NUMBERS, "-1"],
        "lr": [*NOT_NUMBERS, "-1", "0", "abc"],
        "dev_seconds": ["x", "-1", "0", ".nan", "[]"],
        "score_seconds": ["long", "-1", "0", ".nan", "[]"],
        "speeds": ["[]", "null", "[1, x]", "[9]", "[1.0, 1.0]", "{}", "x", "[null]"],
        "view": ["all", "null", "[crop]", "!apply:abs [-3]"],
        "channels": ["0", "x", "null", "2.5"],
        "embedding_dim": ["0", "x", "null", "2.5"],
        "optimizer": ["null", "x", "3", "!new:collections.Counter {}", "!name:torch.optim.Adm"],
        "adversary_optimizer": ["null", "x", "3"],
        "lr_schedule": ["null", "x", "3", "!new:collections.Counter {}"],
        "head": ["null", "x", "3"],
        "augment": ["x", "3", "!new:collections.Counter {}"],
        "references": [
            "x",
            "{}",
            "[x]",
            "[{}]",
            "[{name: a}]",
            "[{name: a, folder: b, source: c}]",
        ],
        "members": ["[]", "null", "x", "{}", "[x]", "[{name: a}]", "!new:collections.Counter {}"],
        "prepare_options": ["null", "x", "[]", "{n_voice: 3}", "{n_voices: x}", "{sessions: 2.5}"],
        "corpus": ["null", "voicess", '""', "!apply:abs [-3]"],
        "output_folder": [*NO_TEXT, "null"],
        "data_folder": NO_TEXT,
        "noise_folder": ["''", "nowhere"],
        "total_steps": ["0", "x", "null"],
        "device": ["toaster", "cuda:x", "meta", "''"],
        "precision": ["nonsense", "fp64"],
        "max_grad_norm": ["x", ".nan"],
        "grad_accumulation_factor": ["0", "x", "2.5", "7"],
        "ckpt_interval_steps": ["x", "0.5"],
        "debug_epochs": ["0"],
        "report": ["x", "2.5", "null"],
        "train_logger": ["x", "3"],
        "average_checkpoints": ["x", "1", "2.5", "9"],
        "per_class": ["x", "0", "2.5", "7"],
        "objective_per_class": ["x", "1", "2.5", "7"],
        "objective_within": ["3", "[]", "{}", "gender"],
        "pair_loss": [
            "x",
            "3",
            "!new:collections.Counter {}",
            "!name:acorl_sb.training.pair_loss.DLoss",
            "!new:acorl_sb.training.pair_loss.DLoss {per_class: 1}",
            "!new:acorl_sb.training.pair_loss.DLoss {per_class: 5}",
            "!new:acorl_sb.training.pair_loss.DLoss {weight: x}",
        ],
        "balance": ["x", "[]", "{}", "{age: 2}", "{age: x}", "{age: 1, gender: 1}"],
        "trials": NO_TEXT,
        "dev_trials": NO_TEXT,
        "test_only": ["true"],
        "jit": ["true"],
        "nonfinite_patience": ["3"],
        "optimizer_step_limit": ["3"],
        "lamda": ["3"],
    }
)
SCORE = cases(
    {
        "part": ["train", "null", "[dev]"],
        "systems": ["x", "[]", "{a: null}", "{a: []}", "{a/b: x}", "{..: x}", "{concatenation: x}"],
        "training": ["x", "[]"],
        "concatenate": ["2.5", "x"],
        "seconds": ["x", "-1", "0", ".nan"],
        "duplicate_trials": ["drop", "null"],
        "cohort_size": ["1", "x", "2.5"],
        "backends": ["{}", "null", "x", "{a: null}", "{a: 1}", "{a: !new:collections.Counter {}}"],
        "normalisations": ["{}", "null", "x", "{a: 1}", "{a: !new:collections.Counter {}}"],
        "points": ["[]", "null", "[1.5]", "[x]", "[0]", "[0.1, 0.1]"],
        "c_miss": [*NOT_NUMBERS, "0", "-1"],
        "c_fa": [*NOT_NUMBERS, "0", "-1"],
        "replicates": NAN,
        "level": [*NOT_NUMBERS, "0", "1", "95"],
        "seed": NAN,
        "score_form": ["kald", "[]"],
        "top_k": ["x", "[]", "{}", ".nan", ".inf", "true", "2.5", "-1", "1e30", "1"],
        "memory": ["0", "x", "2.5"],
        "output_folder": [*NO_TEXT, "null"],
        "device": ["toaster"],
        "precision": ["bf16"],
        "sytems": ["1"],
    }
)
ANALYSE = cases(
    {
        "run_folder": ["null", '""'],
        "part": ["train", "null"],
        "members": ["[[]]", "[null]", "''"],
        "reference_members": ["[a]", "[a, b, c]"],
        **{
            key: [*NAN, "0"]
            for key in ("folds", "probe_steps", "max_utterances", "trials", "steps")
        },
        "deletion_trials": ["1", "x"],
        "occlusion_trials": ["1", "x"],
        "seed": NAN,
        "crop_seconds": [*NOT_NUMBERS, "0", "1e9"],
        "neighbourhood": ["5", "[5]", "[5, x]", "[0, 3]", "[5, 3, 1]", "null"],
        "attributes": ["x", "[]", "{age: null}"],
        "device": ["toaster"],
        "trails": ["5"],
    }
)
FUSE = cases(
    {
        "fusion": ["logistics", "null"],
        "calibration": ["x", "null"],
        "criterion": ["x", "null"],
        "prior": [*NOT_NUMBERS, "0", "1", "1.5"],
        "l2": [*NOT_NUMBERS, "-1"],
        "quality": ["size", "null", "[duration, duration]"],
        "uncertainty": ["x", "3", "null"],
        "cohort_top": [*NAN, "0"],
        "points": ["[]", "null", "x", "2", "[0.1, 0.1]"],
        "c_miss": [*NOT_NUMBERS, "0"],
        "c_fa": [*NOT_NUMBERS, "0"],
        "replicates": [*NAN, "3"],
        "level": [*NOT_NUMBERS, "0", "1"],
        "folds": [*NAN, "2"],
        "seed": NAN,
        "exhaustive": [*NAN, "0", "100"],
        "systems": ["x", "[]", "{a: x}", "{a: {}}", "{a: {tset: x}}"],
        "output_folder": [*NO_TEXT, "null"],
        "run_folder": ["''"],
        "names": ["''"],
        "device": ["cpu"],
        "priors": ["0.1"],
    }
)
STUDY = cases(
    {
        "jobs": [*NAN, "0"],
        "seeds": ["[]", "x", "[x]", "[-1]", "null"],
        "screening_seeds": ["x", "[x]"],
        "chosen": ["[nobody]", "null", "[1]"],
        "conditions": ["{}", "null", "{a: {seconds: x}}", "{a: {seconds: 1, loud: 2}}", "{a: 1}"],
        "candidates": ["{}", "null", "{a: 1}", "{a: {batchsize: 3}}", "{a: {batch_size: x}}"],
        "common": ["null", "x", "{epochs: x}", "{epoch: 3}"],
        "references": ["x", "{a: 1}", "{a: {folder: 3}}"],
        "base": ["null", "nowhere.yaml", "''"],
        "data_folder": ["''"],
        "lr": ["3"],
    }
)
RECIPE = cases(
    {
        "margin": ["x", "null", "-1", ".nan"],
        "warmup_steps": ["x", "-1", "2.5"],
        "encoder": ["null", "x", "[]", "{}", "{channels: 3}"],
        "rir_folder": ["nowhere", "''"],
        "start_first": ["''"],
        "lr": ["null", "x"],
        "batch_size": ["2.5"],
    }
)
EVALUATE = cases(
    {
        "encoders": ["null", "''", "[]", "[[]]"],
        "names": ["''", "[a, b]", "a/b"],
        "trials": ["null", "''", "nowhere"],
        "dev_audio": ["x"],
        "cohort": ["''"],
        "top_k": ["x", "1", "2.5", "0"],
        "seconds": ["x", "-1", "0", ".nan"],
        "trust": ["x", "null"],
        "folds": ["2", "x"],
        "replicates": ["3", "-1"],
        "quality": ["size", "cohort"],
        "points": ["[]", "[0.1, 0.1]"],
        "output_folder": NO_TEXT,
        "precision": ["bf16"],
        "auido": ["x"],
    }
)
REPORT = cases({"run_folder": ["null", "''"], "x": ["1"]})
GROUPS = cases(
    {
        "groups": ["null", "[]", "''", "[[]]"],
        "bands": ["x", "[]", "null", "{age: []}", "{age: x}", "{age: [x]}"],
        "threshold": ["x", "[]", ".nan", ".inf"],
        "points": ["[]", "null", "x", "2"],
        "prior": [*NOT_NUMBERS, "0", "1"],
        "c_miss": [*NOT_NUMBERS, "0"],
        "c_fa": [*NOT_NUMBERS, "0"],
        "replicates": [*NAN, "3"],
        "level": [*NOT_NUMBERS, "0", "1"],
        "least_speakers": [*NAN, "4"],
        "seed": NAN,
        "system": ["''"],
        "calibrate_by": ["gender"],
        "output_folder": NO_TEXT,
        "gruops": ["age"],
    }
)
EXPORT = cases({"onnx": ["null", "''"], "member": ["null", "''"], "x": ["1"]})


class Command:
    """A script with arguments that are good, and a module whose ``main`` runs it."""

    def __init__(self, script, yaml, usual, table, module=None):
        self.script, self.table, self.usual = script, table, usual
        self.yaml = [str(ROOT / yaml)] if yaml else []
        self.module = module

    def arguments(self, key: str) -> list[str]:
        usual = {k: v for k, v in self.usual.items() if k != key}
        return [*self.yaml, *(text for k, v in usual.items() for text in (f"--{k}", v))]


def module(path: str):
    """A script as a module."""
    sys.path.insert(0, str(Path(ROOT, path).parent))
    spec = importlib.util.spec_from_file_location("a_script", ROOT / path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


RECIPE_FOLDER, STUDY_FOLDER = "recipes/VoxCeleb/SpeakerRec/ACoRL", "recipes/speechocean762"
SMALL = {"channels": "8", "embedding_dim": "8", "crop_seconds": "0.5"}
COMMANDS = {
    "train": Command(["train.py"], "hparams/acorl_ecapa.yaml", SMALL, TRAIN, module("train.py")),
    "score": Command(["-m", score.__name__], "hparams/score_plda.yaml", {}, SCORE, score),
    "analyse": Command(
        ["-m", analyse.__name__], "hparams/analyse.yaml", {"run_folder": "x"}, ANALYSE, analyse
    ),
    "fuse": Command(["fuse.py"], None, {"scores": "a.txt"}, FUSE, module("fuse.py")),
    "study": Command(
        [f"{STUDY_FOLDER}/study.py"],
        f"{STUDY_FOLDER}/hparams/study.yaml",
        {"data_folder": "x"},
        STUDY,
        module(f"{STUDY_FOLDER}/study.py"),
    ),
    "recipe": Command(
        [f"{RECIPE_FOLDER}/train.py"],
        f"{RECIPE_FOLDER}/hparams/ecapa1024.yaml",
        {"channels": "8", "crop_seconds": "0.5"},
        RECIPE,
        module(f"{RECIPE_FOLDER}/train.py"),
    ),
    "evaluate": Command(
        ["-m", evaluate.__name__], None, {"encoders": "a", "trials": "b"}, EVALUATE, evaluate
    ),
    "report": Command(["-m", report.__name__], None, {"run_folder": "a"}, REPORT, report),
    "groups": Command(
        ["-m", groups.__name__], None, {"test": "a.txt", "groups": "age"}, GROUPS, groups
    ),
    "export": Command(["-m", export.__name__], None, {"member": "a", "onnx": "b"}, EXPORT, export),
}
TABLE = [(name, key, value) for name in COMMANDS for key, value in COMMANDS[name].table]
FIRST = [next(group) for _, group in itertools.groupby(TABLE, lambda case: case[:2])]


def names(key: str, sentence: str) -> bool:
    """Whether the sentence is about the key; what is not there is named itself."""
    return "\n" not in sentence and (key in sentence or "nowhere" in sentence)


@pytest.fixture(autouse=True)
def no_work(monkeypatch):
    """What a script starts with good settings fails the test."""
    for command in COMMANDS.values():
        for work in ("run_experiment", "run_all"):
            monkeypatch.setitem(command.module.main.__globals__, work, pytest.fail)


@pytest.mark.parametrize(("name", "key", "value"), TABLE)
def test_a_value_is_refused_by_the_name_of_its_key(tmp_path, monkeypatch, name, key, value):
    command = COMMANDS[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["x", *command.arguments(key), f"--{key}={value}"])
    with pytest.raises(UserError) as error:
        command.module.main()
    assert names(key, str(error.value)), error.value
    assert checksums(tmp_path) == {}


@pytest.mark.parametrize(("name", "key", "value"), FIRST)
def test_a_command_with_a_bad_value_leaves_finished_work_alone(tmp_path, name, key, value):
    command = COMMANDS[name]
    (tmp_path / "out" / "members").mkdir(parents=True)
    for finished in ("hyperparams.yaml", "results.json", "members/weights"):
        (tmp_path / "out" / finished).write_text("of a finished run")
    before = checksums(tmp_path)
    arguments = [*command.arguments(key), f"--{key}", value]
    if name not in ("export", "analyse", "report") and key != "output_folder":
        arguments += ["--output_folder", "out"]
    refused(run([*command.script, *arguments], cwd=tmp_path, timeout=60))
    assert checksums(tmp_path) == before


YAML = {
    "nothing": b"",
    "a list": b"- 1\n",
    "a word": b"word\n",
    "binary": bytes(range(256)),
    "not UTF-8": "naïve: 1\n".encode("latin-1"),
    "a key twice": b"seed: 1\nseed: 2\n",
    "a bracket open": b"seed: [1\n",
    "very large": b"seed: 1 # " + b"x" * 2_000_000,
    "very deep": b"seed: " + b"[" * 5000,
    "inherits itself": b"inherit: mine.yaml\n",
    "inherits a circle": b"inherit: other.yaml\n",
    "inherits what is missing": b"inherit: none.yaml\n",
    "inherits a folder": b"inherit: .\n",
    "inherits a number": b"inherit: 3\n",
    "inherits a list": b"inherit: [a]\n",
    "includes itself": b"seed: !include:mine.yaml\n",
    "includes a circle": b"seed: !include:includes.yaml\n",
    "includes what is missing": b"seed: !include:none.yaml\n",
    "includes a folder": b"seed: !include:.\n",
    "includes binary": b"seed: !include:binary.yaml\n",
    "a reference to itself": b"seed: !ref <seed>\n",
    "references in a circle": b"seed: !ref <lr>\nlr: !ref <seed>\n",
    "a reference to nothing": b"seed: !ref <nothing>\n",
    "an alias of itself": b"seed: &a [*a]\n",
    "aliases that explode": b"".join(
        [b"a0: &a0 [x, x, x, x, x, x, x, x, x]\n"]
        + [b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 12)]
    ),
    "no alias": b"seed: *a\n",
    "a tag of nobody's": b"seed: !nobody 3\n",
    "a Python object": b"seed: !!python/object/apply:os.getcwd []\n",
    "a key that is a list": b"? [1, 2]\n: 3\n",
    "a key that is null": b"null: 3\n",
    "a key that is a number": b"3: 3\n",
    "two documents": b"seed: 1\n---\nseed: 2\n",
    "a place holder": b"seed: !PLACEHOLDER\n",
}


@pytest.mark.parametrize("name", ["train", "fuse", "study"])
@pytest.mark.parametrize("damage", YAML)
def test_a_damaged_yaml_is_named(tmp_path, monkeypatch, name, damage):
    command = COMMANDS[name]
    mine = tmp_path / "mine.yaml"
    mine.write_bytes(YAML[damage])
    (tmp_path / "other.yaml").write_text("inherit: mine.yaml\n")
    (tmp_path / "includes.yaml").write_text("seed: !include:mine.yaml\n")
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)))
    before = checksums(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["x", "mine.yaml"])
    with pytest.raises(UserError) as error:
        command.module.main()
    assert ".yaml" in str(error.value) or "nothing" in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    assert checksums(tmp_path) == before


LINES = {
    "no YAML": [],
    "a YAML that is not there": ["none.yaml"],
    "a folder for a YAML": ["."],
    "two YAMLs": ["YAML", "YAML"],
    "a key without a value": ["YAML", "--lr"],
    "a key before another": ["YAML", "--lr", "--seed", "1"],
    "a key twice": ["YAML", "--lr", "0.1", "--lr", "0.1"],
    "a key twice, once with =": ["YAML", "--lr=0.1", "--lr", "0.1"],
    "a run option twice": ["YAML", "--device", "cpu", "--device", "cpu"],
    "a value too many": ["YAML", "--lr", "0.1", "0.2"],
    "a word alone": ["YAML", "word", "--lr", "0.1"],
    "two hyphens alone": ["YAML", "--"],
    "no key before =": ["YAML", "--=3"],
    "one hyphen": ["YAML", "-lr", "0.1"],
    "no- before what is no switch": ["YAML", "--no-lr"],
    "two values as one": ["YAML", "--lr", "1\nseed: 3"],
    "--test_only": ["YAML", "--test_only"],
    "--jit": ["YAML", "--jit"],
    "--data_parallel_backend": ["YAML", "--data_parallel_backend"],
    "two words for a key of one": ["YAML", "--view", "crop", "crop"],
}


@pytest.mark.parametrize("line", LINES)
def test_a_command_line_that_makes_no_sense(tmp_path, monkeypatch, line):
    command = COMMANDS["train"]
    monkeypatch.chdir(tmp_path)
    words = [word.replace("YAML", *command.yaml) for word in LINES[line]]
    monkeypatch.setattr(sys, "argv", ["x", *words])
    with pytest.raises(UserError) as error:
        command.module.main()
    assert "\n" not in str(error.value)
    assert checksums(tmp_path) == {}
