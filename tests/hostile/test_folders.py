"""Somebody's folder through every door: no code of it runs, and one sentence says why not."""

from __future__ import annotations

import json
import pickle
import textwrap

import pytest
import torch

from acorl_sb.data.manifest import write_manifest
from tests import commands, folders

ON_THE_WAY = "marker"  # what a payload that ran leaves behind

# Each makes the file MARKER by os.system or another process when HyperPyYAML builds it. The first
# ones stand beside the encoder's keys, which nobody needs; the others stand in for one.
BESIDE = {
    "apply": "evil: !apply:os.system ['touch MARKER']",
    "applyref": "evil: !applyref:os.system ['touch MARKER']",
    "python": "evil: !!python/object/apply:os.system ['touch MARKER']",
    "python, spelt out": "evil: !<tag:yaml.org,2002:python/object/apply:os.system> [touch MARKER]",
    "tuple": "evil: (!!python/object/apply:os.system ['touch MARKER'])",
    "tagged tuple": "evil: !tuple x!!python/object/apply:os.system ['touch MARKER']x",
    "process": "evil: !new:subprocess.Popen [[touch, MARKER]]",
    "nested": "evil: [{a: {b: [!apply:os.system ['touch MARKER']]}}]",
    "key": "? !apply:os.system ['touch MARKER']\n: 1",
    "include": "evil: !include:other.yaml",
    "it says so itself": "trust: true\nevil: !apply:os.system ['touch MARKER']",
}
INSTEAD = {
    "in an argument": "embedding_model: !new:torch.nn.Linear [!apply:os.system [touch MARKER], 1]",
    "function": "embedding_model: !name:os.system {command: touch MARKER}",
    "through a module": "embedding_model: !new:torch.nn.functional.torch.os.system [touch MARKER]",
    "imported class": "embedding_model: !new:torch.nn.modules.module.OrderedDict",
    "unlisted class": "embedding_model: !new:speechbrain.lobes.models.beats.BEATs [MARKER]",
    "attribute": "embedding_model: !ref <compute_features.forward>",
}
PAYLOADS = {**BESIDE, **INSTEAD}
FEW = ("apply", "tuple", "process", "in an argument", "unlisted class")


def poison(folder, payload, marker):
    """Write a payload into a folder's YAML."""
    path = folder / "hyperparams.yaml"
    text = path.read_text()
    key = payload.split(":", 1)[0]
    if payload in INSTEAD.values():
        text = text.replace("\nembedding_model:", "\nkept_model:", 1)
        assert f"\n{key}:" not in text
    path.write_text(f"{text}\n{payload.replace('MARKER', str(marker))}\n")
    (folder / "other.yaml").write_text(f"a: !apply:os.system ['touch {marker}']\n")


def poison_weights(path, marker):
    """A pickle that runs a command when it is loaded in full."""

    class Evil:
        def __reduce__(self):
            import os

            return os.system, (f"touch {marker}",)

    torch.save({"a": Evil()}, path, pickle_module=pickle)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run, its utterances' manifest, and a script that loads a verifier."""
    root = tmp_path_factory.mktemp("hostile")
    _, speech = folders.finished_run(root / "run")
    write_manifest(root / "speech.csv", speech)
    (root / "verifier.py").write_text(
        textwrap.dedent(
            """
            import sys
            from acorl_sb.utils.errors import run_cli
            from acorl_sb.inference import Verifier
            run_cli(lambda: print(Verifier.from_run(sys.argv[1], sys.argv[2:] == ["trust"])))
            """
        )
    )
    return root


TRAIN = [
    *("--channels", "8", "--embedding_dim", "16", "--crop_seconds", "0.4", "--batch_size", "8"),
    *("--epochs", "1", "--epoch_steps", "1", "--device", "cpu", "--corpus", "folder"),
    *("--prepare_options", "{dev_speakers: 2, test_speakers: 2}"),
]


def door(name, root, run_folder, out, trust=False):
    """The command that loads ``members/first`` of a run by one of the ways in."""
    member = run_folder / "members" / "first"
    said = ["--trust", "true"] if trust else []
    reference = ", trust: true" if trust else ""
    data = ["--data_folder", root / "speech", "--output_folder", out]
    return {
        "folder": ["train.py", "hparams/acorl_ecapa.yaml", *TRAIN, *data]
        + ["--references", f"[{{name: x, folder: {member}{reference}}}]"],
        "source": ["train.py", "hparams/acorl_ecapa.yaml", *TRAIN, *data]
        + ["--references", f"[{{name: x, source: {member}{reference}}}]"],
        "score": ["-m", "acorl_sb.cli.score", "hparams/score.yaml", "--systems", f"{{x: {member}}}"]
        + ["--trials", run_folder / "manifest" / "test_trials.txt", "--output_folder", out]
        + ["--manifest", root / "speech.csv", "--device", "cpu", "--replicates", "0", *said],
        "export": ["-m", "acorl_sb.cli.export", member, "--onnx", out / "x.onnx", *said],
        "verifier": [root / "verifier.py", run_folder, *(["trust"] if trust else [])],
        "analyse": [
            "-m",
            "acorl_sb.cli.analyse",
            "hparams/analyse.yaml",
            "--run_folder",
            run_folder,
        ]
        + ["--output_folder", out, "--device", "cpu", "--trials", "10", "--crop_seconds", "0.5"]
        + ["--probe_steps", "1", "--folds", "2", "--deletion_trials", "2", *said],
    }[name]


DOORS = ["folder", "source", "score", "export", "verifier", "analyse"]


@pytest.mark.parametrize(
    ("way", "payload"),
    [
        *((way, payload) for way in ("score", "export", "verifier") for payload in PAYLOADS),
        # The others prepare a corpus or read a run first, which takes longer.
        *((way, payload) for way in ("folder", "source", "analyse") for payload in FEW),
    ],
)
def test_a_payload_does_not_run(run, tmp_path, way, payload):
    copy = folders.copied(run / "run", tmp_path / "run")
    marker = tmp_path / ON_THE_WAY
    poison(copy / "members" / "first", PAYLOADS[payload], marker)
    before = commands.checksums(copy)
    line = commands.refused(commands.run(door(way, run, copy, tmp_path / "out")))
    assert not marker.exists()
    if payload not in ("attribute", "key", "through a module"):  # those are nothing at all
        assert "trust" in line
    assert "hyperparams.yaml" in line
    assert commands.checksums(copy) == before


@pytest.mark.parametrize("way", DOORS)
def test_pickled_weights_do_not_run_even_where_trusted(run, tmp_path, way):
    copy = folders.copied(run / "run", tmp_path / "run")
    marker = tmp_path / ON_THE_WAY
    poison_weights(copy / "members" / "first" / "embedding_model.ckpt", marker)
    for trust in (False, True):
        line = commands.refused(commands.run(door(way, run, copy, tmp_path / "out", trust)))
        assert not marker.exists() and "embedding_model.ckpt" in line


@pytest.mark.parametrize("way", DOORS)
def test_what_the_user_trusts_does_run(run, tmp_path, way):
    copy = folders.copied(run / "run", tmp_path / "run")
    marker = tmp_path / ON_THE_WAY
    poison(copy / "members" / "first", BESIDE["apply"], marker)
    with commands.started(door(way, run, copy, tmp_path / "out", trust=True)) as process:
        while process.is_alive() and not marker.exists():
            process.join(0.05)
    assert marker.exists()


@pytest.mark.parametrize("trust", ["", ", trust: true"])
def test_a_runs_own_yaml_gives_no_trust_to_a_verifier(run, tmp_path, trust):
    copy = folders.copied(run / "run", tmp_path / "run")
    marker, yaml = tmp_path / ON_THE_WAY, copy / "hyperparams.yaml"
    member = copy / "members" / "first"
    poison(member, BESIDE["apply"], marker)
    plain = yaml.read_text().replace("- name: first\n", "")
    for reference in (
        f"{{name: x, folder: {member}{trust}}}",
        f"{{name: x, encoder: {{embedding_dim: 3, embedding_model: "
        f"!apply:os.system [touch {marker}]}}{trust}}}",
    ):
        yaml.write_text(plain.replace("references: []", f"references: [{reference}]"))
        line = commands.refused(commands.run([run / "verifier.py", copy]))
        assert "trust" in line and not marker.exists()


@pytest.mark.parametrize("name", ["../../evil", "..", "a/b", "", "-x", "a b", "x" * 101, 3, None])
def test_a_name_in_a_run_is_a_name(run, tmp_path, name):
    copy = folders.copied(run / "run", tmp_path / "run")
    folders.copied(run / "run" / "members" / "first", tmp_path / "evil")
    yaml = copy / "hyperparams.yaml"
    yaml.write_text(yaml.read_text().replace("name: first", f"name: {json.dumps(name)}"))
    line = commands.refused(commands.run([run / "verifier.py", copy]))
    assert "members[0]" in line and str(tmp_path / "evil") not in line


DAMAGED = {
    "hyperparams.yaml": ["", "a: [1", "\xff", "- a\n", "members: 3\n", "members: [3]\n",
                         "a: &a [*a]\nmembers: *a\n", "[" * 3000, "members:\n- name: [first]\n",
                         "members:\n- name: first\n- name: first\n"],
    "results.json": ["", "{", "[]", "{}", "\xff", '{"score_seconds": "long"}', "[" * 3000,
                     '{"score_seconds": -1}', '{"score_seconds": NaN}', '{"score_seconds": true}',
                     '{"score_seconds": 1, "calibrated_on": {}}'],
    "fusion/score-logistic.json": ["", "{", "[]", "{}", "\xff", '{"kind": []}',
                                   '{"kind": "logistic", "weights": 3}'],
    "members/first/hyperparams.yaml": ["", "a: [1", "\xff", "3", "embedding_model: 3\n",
                                       "embedding_model: !new:torch.nn.Nothing\n",
                                       "embedding_model: !new:torch.nn.Linear [a, b]\n",
                                       "embedding_model: !ref <embedding_model>\n",
                                       "embedding_model: !new:torch.nn.Linear\n"],
    "members/first/embedding_model.ckpt": ["", "x", "\x80\x04N.", "PK\x03\x04"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("file", "content"), [(file, content) for file, all_of in DAMAGED.items() for content in all_of]
)
def test_a_damaged_run_is_named(run, tmp_path, file, content):
    copy = folders.copied(run / "run", tmp_path / "run")
    (copy / file).write_bytes(content.encode("latin-1"))
    line = commands.refused(commands.run([run / "verifier.py", copy]))
    assert file.rsplit("/", 1)[-1] in line


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(run, tmp_path, value):
    copy = folders.copied(run / "run", tmp_path / "run")
    path = copy / "members" / "second" / "embedding_model.ckpt"
    state = torch.load(path, weights_only=True)
    key = list(state)[3]
    state[key].view(-1)[0] = value
    torch.save(state, path)
    assert key in commands.refused(commands.run([run / "verifier.py", copy]))


def test_a_whole_run_loads_without_trust(run):
    done = commands.run([run / "verifier.py", run / "run"])
    assert done.code == 0, done.stderr
