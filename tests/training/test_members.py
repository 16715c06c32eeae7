"""Training of members: order, freezing, repetition, interruption."""

from __future__ import annotations

import functools
import json
from dataclasses import replace

import pytest
import ruamel.yaml
import torch

from acorl_sb.encoders.ensemble import FrozenEnsemble
from acorl_sb.encoders.member_folder import build_encoder, load_member
from acorl_sb.encoders.start import load_start
from acorl_sb.training import one_member
from acorl_sb.training.brain import SpeakerBrain
from acorl_sb.training.member_options import check_specs
from acorl_sb.training.members import check_members, train_members
from acorl_sb.training.one_member import train_member
from acorl_sb.training.speech import TrainingSet, dev_error_function
from acorl_sb.utils.errors import UserError
from tests import tiny

ACORL = """
objective: !name:acorl_sb.complementarity.Adversarial
    schedule: !new:acorl_sb.complementarity.Ramp
        weight: 2.0
    target: !name:acorl_sb.complementarity.ResidualTarget
    adversary_steps: 2
    hidden: 16
"""


def spec(name, objective=None, encoder="ecapa", **more):
    tree = ruamel.yaml.YAML().load(objective) if objective else {"objective": None}
    return {"name": name, "encoder": tiny.encoder_tree(encoder), **tree, **more}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    utterances = tiny.hums(tmp_path_factory.mktemp("hums"))
    return TrainingSet(utterances, fake_error)


def fake_error(encoder):
    """A development error that falls with every look at an encoder that still changes."""
    ones = torch.ones(1, 8000, device=next(encoder.parameters()).device)
    with torch.no_grad():
        return 0.1 + 0.1 * float(encoder(ones).tanh().mean())


def train(folder, data, specs, references=(), **changes):
    return train_members(
        specs,
        list(references),
        data,
        tiny.settings(**changes),
        tiny.CPU,
        torch.device("cpu"),
        folder,
    )


def weights(folder):
    return torch.load(folder / "embedding_model.ckpt", weights_only=True)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data):
    """An ECAPA, then an ECAPA and a ResNet that each complement what came before."""
    folder = tmp_path_factory.mktemp("trained")
    specs = [spec("a"), spec("b", ACORL), spec("c", ACORL, "resnet")]
    ensemble = train(folder, data, specs)
    return folder, specs, ensemble


def test_members_train_in_order_and_priors_keep_every_bit(trained, data, tmp_path):
    folder, _, ensemble = trained
    assert ensemble.names == ["a", "b", "c"]
    record = json.loads((folder / "c" / "member.json").read_text())
    assert record["settings"]["references"] == ["a", "b"]
    before = {k: v.clone() for k, v in ensemble.members[0].encoder.state_dict().items()}
    brains = []

    class Watched(one_member.ComplementaryBrain):
        def fit_batch(self, batch):
            result = super().fit_batch(batch)
            brains.append(self)
            return result

    original, one_member.ComplementaryBrain = one_member.ComplementaryBrain, Watched
    try:
        train_member(
            spec("d", ACORL),
            3,
            ensemble,
            [0.1],
            data,
            tiny.settings(),
            tiny.CPU,
            torch.device("cpu"),
            tmp_path / "d",
        )
    finally:
        one_member.ComplementaryBrain = original
    brain = brains[-1]
    optimizers = [
        p for o in brain.optimizers_dict.values() for g in o.param_groups for p in g["params"]
    ]
    frozen = {id(p) for m in ensemble.members for p in m.parameters()}
    assert not frozen & {id(p) for p in optimizers}
    assert not frozen & {id(p) for p in brain.modules.parameters()}
    assert not any(m.encoder.training for m in ensemble.members)
    after = ensemble.members[0].encoder.state_dict()
    assert same(before, after)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("view", ["crop", "utterance"])
def test_members_train_where_they_are_told_to(data, tmp_path, device, view, precision):
    given = {"device": str(device), "precision": precision}
    options = tiny.RunOptions(**given, overridden_args=set(given))
    specs = [spec("a"), spec("b", ACORL)]
    workers = 1 if device.type == "cuda" and view == "crop" else 0
    settings = tiny.settings(view=view, epochs=1, workers=workers)
    ensemble = train_members(specs, [], data, settings, options, device, tmp_path)
    assert ensemble.names == ["a", "b"]
    state = weights(tmp_path / "b")
    assert all(v.device.type == "cpu" and bool(torch.isfinite(v).all()) for v in state.values())
    again = train_members(specs, [], data, settings, options, device, tmp_path)
    assert same(again.members[1].encoder.embedding_model.state_dict(), state)


def test_a_finished_member_is_not_trained_again(trained, data, caplog):
    folder, specs, _ = trained
    stamps = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    ensemble = train(folder, data, specs)
    assert ensemble.names == ["a", "b", "c"]
    assert stamps == {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_changed_settings_are_refused_and_named(trained, data):
    folder, specs, _ = trained
    with pytest.raises(UserError, match=r"training\.lr"):
        train(folder, data, specs, plain={"lr": 3})


def test_one_seed_repeats_and_two_differ(trained, data, tmp_path):
    folder, specs, _ = trained
    train(tmp_path / "again", data, specs[:2])
    for name in "ab":
        assert same(weights(folder / name), weights(tmp_path / "again" / name))
    train(tmp_path / "other", data, specs[:1], seed=2)
    assert not same(weights(folder / "a"), weights(tmp_path / "other" / "a"))


@pytest.mark.parametrize("stop_at", [1, 3, 4, 6])
@pytest.mark.parametrize("view", ["crop", "utterance"])
def test_stop_and_resume_equals_the_uninterrupted_run(trained, data, tmp_path, stop_at, view):
    folder, specs, _ = trained
    specs = specs[:2]
    opts = tiny.RunOptions(
        device="cpu", ckpt_interval_steps=1, overridden_args={"device", "ckpt_interval_steps"}
    )
    device = torch.device("cpu")
    whole = tmp_path / "whole"
    ensemble = FrozenEnsemble()
    ensemble.add("a", load_member(folder / "a"))
    args = (ensemble, [0.1], data, tiny.settings(view=view), opts, device)
    train_member(specs[1], 1, *args, whole)
    tiny.cut_and_resumed(
        SpeakerBrain, lambda: train_member(specs[1], 1, *args, tmp_path / "cut"), at=stop_at
    )
    assert same(weights(whole), weights(tmp_path / "cut"))
    logs = [(p / "train_log.jsonl").read_text() for p in (whole, tmp_path / "cut")]
    assert logs[0] == logs[1] and len(logs[0].splitlines()) == 2


def test_the_log_has_a_line_per_epoch_with_every_figure(trained):
    folder, *_ = trained
    lines = [
        json.loads(line) for line in (folder / "b" / "train_log.jsonl").read_text().splitlines()
    ]
    assert [line["epoch"] for line in lines] == [1, 2] and [line["step"] for line in lines] == [
        3,
        6,
    ]
    for line in lines:
        assert {"loss", "task_loss", "adversary_loss", "weight", "dev_eer"} <= line.keys()
        assert line["loss"] == pytest.approx(line["task_loss"] + line["adversary_loss"], rel=1e-5)
    assert 0 < lines[0]["weight"] < lines[1]["weight"] <= 2.0


def test_the_best_epoch_is_kept_not_the_last(data, tmp_path):
    errors = iter([0.1, 0.3])
    seen = []

    def dev_error(encoder):
        seen.append({k: v.clone() for k, v in encoder.embedding_model.state_dict().items()})
        return next(errors)

    chosen = TrainingSet(data.utterances, dev_error)
    train(tmp_path, chosen, [spec("a")])
    assert same(weights(tmp_path / "a"), seen[0]) and not same(seen[0], seen[1])
    assert json.loads((tmp_path / "a" / "member.json").read_text())["best_epoch"] == 1


def test_nan_loss_stops_in_one_sentence_and_keeps_the_last_checkpoint(data, tmp_path):
    class Breaking(tiny.AAMHead):
        calls = 0

        def forward(self, z, labels):
            Breaking.calls += 1
            return super().forward(z, labels) * (float("nan") if Breaking.calls == 5 else 1)

    with pytest.raises(UserError, match="'a'"):
        train(tmp_path, data, [spec("a")], head=Breaking)
    kept = list((tmp_path / "a" / "save").glob("CKPT*"))
    assert len(kept) == 1 and not (tmp_path / "a" / "member.json").exists()
    train(tmp_path, data, [spec("a")])  # and goes on from there
    lines = (tmp_path / "a" / "train_log.jsonl").read_text().splitlines()
    assert len(lines) == 2


def test_a_prior_that_the_user_owns(trained, data, tmp_path):
    folder, *_ = trained
    references = [{"name": "mine", "folder": str(folder / "c")}]
    ensemble = train(tmp_path, data, [spec("a", ACORL)], references)
    assert ensemble.names == ["mine", "a"]
    missing = [{"name": "mine", "folder": str(tmp_path / "nowhere")}]
    with pytest.raises(UserError, match="nowhere"):
        train(tmp_path / "x", data, [spec("a", ACORL)], missing)


def test_a_prior_of_any_kind(trained, data, tmp_path, monkeypatch):
    folder, specs, ensemble = trained
    kept = torch.load(folder / "a" / "embedding_model.ckpt", weights_only=True)
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda source, **_: {"you/b": folder / "b"}[source]
    )
    references = [
        {"name": "hub", "source": "you/b"},
        {"name": "local", "source": str(folder / "b")},
        {
            "name": "built",
            "encoder": specs[0]["encoder"],
            "weights": str(folder / "a" / "embedding_model.ckpt"),
        },
    ]
    made = train(tmp_path, data, [spec("x", ACORL)], references)
    assert made.names == ["hub", "local", "built", "x"]
    assert same(made.members[0].encoder.state_dict(), ensemble.members[1].encoder.state_dict())
    assert same(made.members[1].encoder.state_dict(), ensemble.members[1].encoder.state_dict())
    assert same(made.members[2].encoder.embedding_model.state_dict(), kept)
    with pytest.raises(UserError, match=r"references\[0\].*'you/c'"):
        train(tmp_path / "n", data, [spec("x", ACORL)], [{"name": "p", "source": "you/c"}])


def test_training_goes_on_from_a_members_weights_by_speaker(data, tmp_path):
    faster = TrainingSet(data.utterances, fake_error, (1.1, 1.0))
    assert len(faster.classes) == 12 and faster.classes[:1] == ["s0 x1.1"]
    train(tmp_path / "one", faster, [spec("a")], speeds=[1.1, 1.0])
    start = tmp_path / "one" / "a"
    head = tiny.AAMHead(12, 6)
    encoder = build_encoder(tiny.encoder_tree(), "x")
    load_start(start, encoder, head.classifier, data.classes)
    assert same(encoder.embedding_model.state_dict(), weights(start))
    old = torch.load(start / "classifier.ckpt", weights_only=True)["weight"]
    assert torch.equal(head.classifier.weight, old[6:])
    still = functools.partial(torch.optim.SGD, lr=0.0)
    train(
        tmp_path / "two",
        data,
        [spec("a", start=str(start))],
        optimizer=still,
        lr_schedule=lambda optimizer, step: None,
    )
    for name, tensor in weights(tmp_path / "two" / "a").items():
        if name.endswith(("weight", "bias")):
            assert torch.equal(tensor, weights(start)[name]), name
    unlike = [tiny.encoder_tree(win_length=20), tiny.encoder_tree(), tiny.encoder_tree()]
    unlike[1]["mean_var_norm"] = None
    unlike[2]["mean_var_norm"]["std_norm"] = True
    for tree in unlike:  # weights of the same shapes
        other = build_encoder(tree, "x")
        with pytest.raises(UserError, match="start"):
            load_start(start, other, head.classifier, data.classes)
    strangers = ["s0", "nobody"]
    with pytest.raises(UserError, match="nobody"):
        load_start(start, encoder, head.classifier, strangers)


def chain():
    return [
        spec("a"),
        spec("b"),
        spec("b2", ACORL, start="b"),
        spec("a2", ACORL, start="a"),
        spec("a3", start="a2"),
    ]


def test_members_go_on_from_earlier_ones_and_take_their_place(data, tmp_path):
    folder, specs = tmp_path / "run", chain()
    still = {
        "optimizer": functools.partial(torch.optim.SGD, lr=0.0),
        "lr_schedule": lambda optimizer, step: None,
    }
    assert train(folder, data, specs[:3], **still).names == ["a", "b2"]
    assert train(folder, data, specs, **still).names == ["a3", "b2"]
    records = {n: json.loads((folder / n / "member.json").read_text()) for n in ("b2", "a2", "a3")}
    told = {n: record["settings"] for n, record in records.items()}
    assert [told[n]["references"] for n in told] == [["a"], ["b2"], []]
    assert [set(told[n]["reference_weights"]) for n in told] == [{"a", "b"}, {"a", "b2"}, {"a2"}]
    assert records["a3"]["seconds"] > records["a2"]["seconds"]
    for new, old in (("b2", "b"), ("a2", "a"), ("a3", "a")):
        for name, tensor in weights(folder / new).items():
            if name.endswith(("weight", "bias")):
                assert torch.equal(tensor, weights(folder / old)[name]), (new, name)
    settings, rest = tiny.settings(**still), (data.kind,)
    assert check_members(specs, [], *rest, settings, tiny.CPU, folder) == [
        *("a", "b", "b2", "a2", "a3")
    ]
    changed = weights(folder / "b")
    changed[next(iter(changed))] += 1
    torch.save(changed, folder / "b" / "embedding_model.ckpt")
    with pytest.raises(UserError, match=r"b2.*'b'"):
        train(folder, data, specs, **still)
    with pytest.raises(UserError, match=r"b2.*'b'"):
        check_members(specs, [], *rest, settings, tiny.CPU, folder)


def test_an_interrupted_member_goes_on_from_the_same_one(data, tmp_path, monkeypatch):
    whole = train(tmp_path / "whole", data, chain()[:3])

    class Cut(Exception):
        pass

    class Cutting(one_member.ComplementaryBrain):
        def on_stage_end(self, stage, stage_loss, epoch):
            super().on_stage_end(stage, stage_loss, epoch)
            raise Cut

    with monkeypatch.context() as patch, pytest.raises(Cut):
        patch.setattr(one_member, "ComplementaryBrain", Cutting)
        train(tmp_path / "cut", data, chain()[:3])
    rest = (data.kind, tiny.settings(), tiny.CPU, tmp_path / "cut")
    assert check_members(chain()[:3], [], *rest) == ["a", "b", "b2"]
    again = train(tmp_path / "cut", data, chain()[:3])
    for one, other in zip(whole.members, again.members, strict=True):
        assert same(one.encoder.state_dict(), other.encoder.state_dict())


def test_a_member_goes_on_from_one_of_its_own_speakers(data, tmp_path):
    specs = [spec("a"), spec("b"), spec("b2", ACORL, start="b", training={"speeds": [1.1]})]
    with pytest.raises(UserError, match=r"members\[2\].*'b'.*speeds"):
        train(tmp_path, data, specs)
    with pytest.raises(UserError, match=r"members\[2\].*'b'"):  # before there are data
        check_members(specs, [], data.kind, tiny.settings(), tiny.CPU, tmp_path)
    assert not any(tmp_path.iterdir())


def test_all_that_a_start_needs_is_there(trained, data, tmp_path):
    folder = tmp_path / "run"
    train(folder, data, [spec("a")])
    on = [spec("a"), spec("a2", start="a")]
    rest = (data.kind, tiny.settings(), tiny.CPU, folder)
    assert check_members(on, [], *rest) == ["a"]
    for name in ("classifier.ckpt", "label_encoder.ckpt"):
        (folder / "a" / name).rename(tmp_path / name)
        with pytest.raises(UserError, match=name):
            check_members(on, [], *rest)
        (tmp_path / name).rename(folder / "a" / name)
    with pytest.raises(UserError, match="nobody"):
        check_members([spec("a"), spec("b", start="nobody")], [], *rest)


def test_a_folder_to_start_from_is_looked_at_before_any_training(data, tmp_path):
    strangers = [replace(u, spk_id=f"x{u.spk_id}") for u in data.utterances]
    train(tmp_path / "theirs", TrainingSet(strangers, fake_error), [spec("a")])
    start, folder = tmp_path / "theirs" / "a", tmp_path / "run"
    specs = [spec("a"), spec("b", start=str(start))]
    rest = (data.kind, tiny.settings(), tiny.CPU, folder)
    check_members(specs, [], *rest)  # whose speakers they are shows with the data
    with pytest.raises(UserError, match="theirs/a"):
        train(folder, data, specs)
    assert not folder.exists()
    record = json.loads((start / "member.json").read_text())
    no_seconds = {key: value for key, value in record.items() if key != "seconds"}
    for name, damage in (
        ("label_encoder.ckpt", b"\x00 garbage"),
        ("classifier.ckpt", (start / "classifier.ckpt").read_bytes()[:200]),
        ("member.json", b"{"),
        ("member.json", json.dumps(no_seconds).encode()),
    ):
        whole = (start / name).read_bytes()
        (start / name).write_bytes(damage)
        with pytest.raises(UserError, match=name):
            check_members(specs, [], *rest)
        (start / name).write_bytes(whole)


def test_a_file_in_the_place_of_a_later_member_is_found_at_once(data, tmp_path):
    (tmp_path / "b").write_text("mine")
    with pytest.raises(UserError, match=r"/b"):
        check_members([spec("a"), spec("b")], [], data.kind, tiny.settings(), tiny.CPU, tmp_path)


def test_the_weights_of_a_folder_to_start_from_are_known(data, tmp_path):
    train(tmp_path / "one", data, [spec("a")])
    start, folder = tmp_path / "one" / "a", tmp_path / "two"
    on = [spec("b", start=str(start))]
    train(folder, data, on)
    record = json.loads((folder / "b" / "member.json").read_text())
    assert [*record["settings"]["reference_weights"]] == [str(start)]
    seconds = json.loads((start / "member.json").read_text())["seconds"]
    assert record["seconds"] >= seconds
    changed = weights(start)
    changed[next(iter(changed))] += 1
    torch.save(changed, start / "embedding_model.ckpt")
    for call in (
        lambda: train(folder, data, on),
        lambda: check_members(on, [], data.kind, tiny.settings(), tiny.CPU, folder),
    ):
        with pytest.raises(UserError, match="two/b"):
            call()
    start.rename(tmp_path / "elsewhere")  # nothing is asked of it any more
    assert train(folder, data, on).names == ["b"]


def test_a_member_may_train_in_its_own_way(data, tmp_path):
    own = {"speeds": [0.9, 1.1], "crop_seconds": 0.3}
    specs = [spec("a"), {**spec("b"), "training": own}]
    train(tmp_path / "own", data, specs)
    all_alike = TrainingSet(data.utterances, fake_error, own["speeds"])
    train(tmp_path / "all", all_alike, [spec("a"), spec("b")], **own)
    assert same(weights(tmp_path / "own" / "b"), weights(tmp_path / "all" / "b"))
    assert not same(weights(tmp_path / "own" / "a"), weights(tmp_path / "all" / "a"))
    specs[1]["training"] = {"speeds": [9]}
    with pytest.raises(UserError, match=r"members\[1\].training.*speeds"):
        train(tmp_path / "fast", data, specs)
    assert not (tmp_path / "fast" / "a").exists()
    specs[1]["training"] = {**own, "lr": 1}
    with pytest.raises(UserError, match=r"members\[1\].training.*'lr'"):
        train(tmp_path / "lr", data, specs)


@pytest.mark.parametrize(
    ("members", "references", "where"),
    [
        ([], [], "members"),
        ([{"name": "a"}], [], r"members\[0\].encoder"),
        ([{"name": "a", "encoder": {}, "lamda": 1}], [], r"members\[0\].*'lamda'"),
        ([{"name": "a", "encoder": {}}] * 2, [], r"members\[1\].*'a'"),
        ([{"name": n, "encoder": {}} for n in "aA"], [], r"members\[1\].*'A'"),
        ([{"name": "score-mean", "encoder": {}}], [], "score-mean"),
        *(
            ([{"name": name, "encoder": {}}], [], r"members\[0\].name")
            for name in ("a/b", "..", ".a", "", " ", "a\n", "-a", "a" * 101)
        ),
        (
            [{"name": "a", "encoder": {}, "training": {"lr": 1}}],
            [],
            r"members\[0\].training.*'lr'",
        ),
        ([{"name": "a", "encoder": {}, "objective": print}], [], None),
        ([{"name": "a", "encoder": {}, "start": "a"}], [], r"members\[0\].*'a'"),
        (
            [{"name": "a", "encoder": {}, "start": "b"}, {"name": "b", "encoder": {}}],
            [],
            r"members\[0\].*'b'",
        ),
        (
            [{"name": n, "encoder": {}, "start": None if n == "a" else "a"} for n in "abc"],
            [],
            r"members\[2\].*'a'",
        ),
        (
            [
                {"name": "a", "encoder": {}},
                {"name": "b", "encoder": {}, "start": "a", "objective": print},
            ],
            [],
            r"members\[1\].*objective",
        ),
        ([{"name": "a", "encoder": {}, "objective": 1}], [], r"members\[0\].objective"),
        (
            [{"name": "a", "encoder": {}}],
            [{"name": "p"}],
            r"references\[0\]",
        ),
    ],
)
def test_specs_that_make_no_sense(members, references, where):
    with pytest.raises(UserError, match=where):
        check_specs(members, references)


def test_one_speaker_is_not_enough(data):
    with pytest.raises(UserError):
        TrainingSet(data.utterances[:4], fake_error)


@pytest.mark.parametrize(
    ("key", "value"), [("view", "whole"), ("epochs", 0), ("crop_seconds", -1.0)]
)
def test_bad_settings_name_the_key(key, value):
    with pytest.raises(UserError, match=f"'{key}'"):
        tiny.settings(**{key: value})


def test_weights_are_averaged_over_the_best_epochs(data, tmp_path, monkeypatch):
    monkeypatch.setattr(one_member.shutil, "rmtree", lambda *args, **options: None)
    train(tmp_path, data, [spec("a")], epochs=5, average_checkpoints=2)
    saved = []
    for path in tmp_path.glob("a/save/CKPT*"):
        meta = ruamel.yaml.YAML(typ="safe").load(path / "CKPT.yaml")
        saved.append((meta["dev_eer"], meta["epoch"], torch.load(path / "encoder.ckpt")))
    best = sorted(saved, key=lambda found: found[0])[:2]
    record = json.loads((tmp_path / "a" / "member.json").read_text())
    assert record["averaged_epochs"] == sorted(epoch for _, epoch, _ in best)
    encoder = load_member(tmp_path / "a")
    for key, value in encoder.embedding_model.state_dict().items():
        wanted = sum(state[f"embedding_model.{key}"].double() for *_, state in best) / 2
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), wanted, atol=1e-6, rtol=1e-5)
    log = (tmp_path / "a" / "train_log.jsonl").read_text().splitlines()
    errors = sorted(json.loads(line)["dev_eer"] for line in log)
    assert [error for error, *_ in best] == pytest.approx(errors[:2])
    assert record["dev_eer"] == pytest.approx(fake_error(encoder), rel=1e-5)


def test_more_epochs_than_there_are_cannot_be_averaged():
    with pytest.raises(UserError, match="average_checkpoints"):
        tiny.settings(epochs=2, average_checkpoints=3)


def test_a_speaker_whose_name_would_end_a_label_is_refused(data):
    named = [replace(u, spk_id=f"a => {u.spk_id}") for u in data.utterances]
    with pytest.raises(UserError, match="'a => s0'"):
        TrainingSet(named, fake_error)


def test_voices_at_other_speeds_have_names_of_their_own(data):
    """A label file could not tell them apart."""
    named = [replace(u, spk_id="s0 x0.9") if u.spk_id == "s1" else u for u in data.utterances]
    with pytest.raises(UserError, match=r"'s0 x0\.9'"):
        TrainingSet(named, fake_error, speeds=[1.0, 0.9])
    with pytest.raises(UserError, match=r"0\.9001"):
        TrainingSet(data.utterances, fake_error, speeds=[1.0, 0.9, 0.9001])
    assert len(TrainingSet(named, fake_error, speeds=[1.0, 1.1]).classes) == 2 * len(data.classes)


def test_embeddings_that_are_not_finite_end_the_training_in_words(data):
    class Diverged(torch.nn.Module):
        sample_rate, embedding_dim = 16000, 2

        def forward(self, waves):
            return torch.full((len(waves), 2), float("nan"))

    check = dev_error_function(data.utterances, lambda z: 0.1, None, "cpu")
    with pytest.raises(UserError, match="output_folder"):
        check(Diverged().eval())


def test_what_makes_no_objective_is_named(trained):
    ensemble = trained[2]
    other = spec("x", "objective: !name:torch.nn.Identity")
    encoder = build_encoder(other["encoder"], "x")
    with pytest.raises(UserError, match=r"members\[1\]\.objective"):
        one_member.make_objective(other, 1, encoder, ensemble, 3)
