"""The study of the term: what is trained, once each; pooled changes and exchange rates by hand."""

from __future__ import annotations

import copy
import importlib.util
import itertools
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import norm

from acorl_sb.complementarity import Objective
from acorl_sb.data.audio import read_audio
from acorl_sb.training.heads import AAMHead
from acorl_sb.training.pair_loss import DLoss
from acorl_sb.training.speech import TrainingSet
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.hparams import build, read_resolved
from tests import tiny

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "Complementarity"
sys.path.insert(0, str(RECIPE))

from terms import (  # noqa: E402
    capacity,
    capacity_tables,
    changes,
    exchange,
    jobs,
    member,
    published,
    sets,
    tables,
)


@pytest.fixture(scope="module")
def tree():
    return read_resolved(RECIPE / "study.yaml")


def test_every_member_can_be_built(tree):
    for spec in tree["members"].values():
        assert spec["encoder"] in tree["encoders"]
        if "objective" not in spec:
            continue
        factory = build({"made": member.objective(tree, spec)}, "study.yaml")["made"]
        objective = factory(dim=8, reference_dims=[8], n_classes=6)
        assert isinstance(objective, Objective)
        term = objective(
            torch.randn(12, 8, requires_grad=True),
            [torch.randn(12, 8)],
            torch.arange(12) % 6,
            0.9,
        )
        assert torch.isfinite(term.loss) and term.loss.requires_grad
        assert term.limit == spec.get("limit")


def test_second_members_differ_from_the_baseline_in_the_term_alone(tree):
    for name, row in tree["rows"].items():
        if not row.get("against", "").startswith(("heterogeneous", "continued", "on_own_dprime")):
            continue
        pair = (row, tree["rows"][row["against"]])
        if len(pair[0]["members"]) == len(pair[1]["members"]):  # not a member more or fewer
            own, other = (tree["members"][r["members"][-1]] for r in pair)
            if "start" in own and "start" not in other:  # the other one, fine-tuned
                assert own["start"] == pair[1]["members"][-1]
                continue
            for key in ("encoder", "seed", "start"):
                assert own.get(key) == other.get(key), (name, key)


def test_each_member_is_trained_once_and_after_what_it_needs(tree):
    wanted = [(row, seed, "dev") for row in tree["rows"] for seed in (1, 2)]
    made = jobs.plan(tree, wanted)
    order = list(made)
    trained = {job[1] for job in made if job[-1] == "train"}
    assert {"first@0", "first@1"} <= trained
    assert not any(job[2] == "test" for job in made)
    for job, needs in made.items():
        assert all(order.index(need) < order.index(job) for need in needs)
    assert made["1", "oof_nontarget", "train"] == {
        ("1", name, "train") for name in ("first", "first@0", "first@1")
    }
    assert order[0] == ("1", "first", "train")
    assert made["1", "third_on_nontarget", "train"] == {
        ("1", name, "train") for name in ("first", "on_nontarget", "middle_3")
    }
    assert made["1", "on_mask", "train"] == {("1", name, "train") for name in ("first", "long_2")}


def test_a_terms_own_batches_are_of_one_corpus_where_it_says_so(tree, tmp_path):
    utterances = [
        replace(u, spk_id=f"{'ab'[i % 2]}-{u.spk_id}") for i, u in enumerate(tiny.hums(tmp_path))
    ]
    heard = TrainingSet(utterances, lambda encoder: 0.1)
    own = tree["members"]["on_fused_dprime"]["own"]
    folds = {u.spk_id: int(u.spk_id[-1]) % 2 for u in utterances}
    term = member.own_batches(heard, {**own, "speeds": [1.0, 0.9]}, tmp_path, folds)
    assert (term.batch_size, term.each) == (own["size"], own["each"]) == (48, 4)
    assert term.groups == [u.spk_id[0] for u in utterances] * 2 and set(term.groups) == {"a", "b"}
    assert len(term.data.labels) == len(term.groups)
    across = tree["members"]["on_own_dprime_across"]["own"]
    assert member.own_batches(heard, across, tmp_path, folds).groups is None
    assert {**across, "one_corpus": True} == own
    honest = tree["members"]["on_fused_dprime_oof"]["own"]
    groups = member.own_batches(heard, honest, tmp_path, folds).groups
    assert groups == [f"{u.spk_id[0]} {folds[u.spk_id]}" for u in utterances]
    assert len(set(groups)) == 4


def test_a_mask_has_the_references_class_vectors_in_the_order_of_the_classes(tmp_path):
    utterances = tiny.hums(tmp_path / "audio", speakers=2, each=1)
    made = [TrainingSet(utterances, lambda encoder: 0.1, speeds) for speeds in ([1, 0.9], [0.9, 1])]
    encoder = tiny.encoder_tree()
    head = AAMHead(12, 4)
    built = made[0].kind.build(encoder, "test")
    record = {"name": "first", "settings": {}, "seconds": 1.0}
    made[0].kind.save(tmp_path / "first", built, head, encoder, made[0], record)
    mask = member.mask(tmp_path / "first", made[1], {"of": "own", "share": 0.2})
    assert torch.equal(mask.class_vectors, head.classifier.weight[[2, 3, 0, 1]])
    assert mask.share == 0.2


def test_a_failure_stops_what_needs_it_alone(tmp_path, monkeypatch):
    a, b, c, d = (("1", name, "train") for name in "abcd")
    runner = jobs.Runner(tmp_path, {a: set(), b: {a}, c: set(), d: {c}}, None)
    ran = []
    monkeypatch.setattr(runner, "work", lambda job: (ran.append(job), job != a)[1])
    with pytest.raises(UserError):
        runner.run(2)
    assert sorted(ran) == [a, c, d]
    assert "failed: 1 a train" in (tmp_path / "progress.txt").read_text()


def study_folder(folder, fused):
    """A study of one row and seed; ``fused``: its replicates."""
    path = folder / "figures" / "seed1" / "dev" / "a.json"
    for kept, text in ((folder / "study.yaml", "rows: {}\n"), (path, '{"a": 1}\n')):
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(text)
    (folder / "data").mkdir()
    (folder / "data" / "prepared.json").write_text('{"speakers": 3}\n')
    np.savez_compressed(path.with_suffix(".npz"), **{"a, clean": fused.astype(np.float32)})
    return path


def test_a_new_folder_begins_with_what_is_published_and_refuses_other_data(tmp_path):
    fused = np.random.default_rng(0).uniform(0.05, 0.1, 1000)
    first = study_folder(tmp_path / "first", fused)
    published.publish(tmp_path / "first", tmp_path / "kept")
    new = tmp_path / "new"
    published.begin(new, tmp_path / "kept")
    again = new / first.relative_to(tmp_path / "first")
    assert again.read_bytes() == first.read_bytes()
    assert (new / "study.yaml").read_text() == "rows: {}\n"
    assert np.load(again.with_suffix(".npz"))["a, clean"] == pytest.approx(fused, rel=1e-3)
    assert sorted(p.name for p in new.iterdir()) == ["figures", "study.yaml"]
    again.write_text("{}")
    published.begin(new, tmp_path / "kept")  # it has figures of its own
    assert again.read_text() == "{}"
    (new / "data").mkdir()
    (new / "data" / "prepared.json").write_text('{"speakers": 3}')
    published.check(new, tmp_path / "kept")
    (new / "data" / "prepared.json").write_text('{"speakers": 4}')
    with pytest.raises(UserError):
        published.check(new, tmp_path / "kept")


def figures(first, last, correlation, fused):
    return {
        "a, clean": {"members": [first, last], "correlation": correlation, "fused": fused},
        "b, clean": {"members": [first, last], "correlation": correlation, "fused": 2 * fused},
    }


def test_pooled_change_and_exchange_rate():
    rng = np.random.default_rng(0)
    drawn = {k: 0.1 * np.exp(0.1 * rng.standard_normal(1000)) for k in ("a, clean", "b, clean")}
    lower = {"a, clean": 0.9 * drawn["a, clean"], "b, clean": 0.8 * drawn["b, clean"]}
    reference = exchange.Row(
        {1: figures(0.08, 0.08, [0.7, 0.8], 0.07), 2: figures(0.08, 0.08, [0.7, 0.8], 0.07)},
        {1: drawn, 2: drawn},
    )
    row = exchange.Row(
        {1: figures(0.08, 0.09, [0.6, 0.7], 0.063), 2: figures(0.08, 0.09, [0.6, 0.7], 0.07)},
        {1: lower, 2: lower},
    )
    share = {"a": 0.25, "b": 0.75}
    value, replicates, of_seeds = changes.change(row, reference, share, "clean")
    assert of_seeds == pytest.approx([np.log(0.9), 0.0])
    assert value == pytest.approx(np.log(0.9) / 2)
    assert replicates == pytest.approx(0.25 * np.log(0.9) + 0.75 * np.log(0.8))
    for one, cllr in ((reference, 0.5), (row, 0.4)):
        for seed in (1, 2):
            for key in ("a, clean", "b, clean"):
                one.figures[seed][key]["cllr"] = cllr
                one.replicates[seed][f"{key}, cllr"] = np.full(1000, 0.9 * cllr)
    value, replicates, of_seeds = changes.change(row, reference, share, "clean", "cllr")
    assert [value, *of_seeds, *replicates] == pytest.approx([np.log(0.8)] * 1003)
    found = exchange.exchange(row, reference, share)
    before, after = -2 * norm.ppf(0.08), -2 * norm.ppf(0.09)
    assert found["removed"] == pytest.approx(0.1)
    assert found["r"] == pytest.approx((before - after) / 0.1)
    assert found["even"] == pytest.approx(2 * before / (2 * 1.75))


def test_both_parts_together_weigh_speakers_alike():
    def row(factor, sets):
        keys = [f"{name}, clean" for name in sets]
        made = {key: {"fused": 0.1 * factor, "cllr": 0.3} for key in keys}
        drawn = {key: np.full(1000, 0.1 * factor) for key in keys}
        drawn |= {f"{key}, cllr": np.full(1000, 0.3) for key in keys}
        return exchange.Row({1: made, 2: made}, {1: drawn, 2: drawn})

    rows = {
        "dev": {"new": row(0.9, "ab"), "old": row(1.0, "ab"), "third": row(0.5, "ab")},
        "test": {"new": row(1.1, "c"), "old": row(1.0, "c")},
    }
    against = {"old": {}, "new": {"against": "old"}, "third": {"against": "old"}}
    table = tables.together_table(
        {"rows": against}, rows, {"dev": {"a": 10, "b": 20}, "test": {"c": 10}}
    )
    (line,) = table.splitlines()[2:]
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    change = 100 * (0.9**0.75 * 1.1**0.25 - 1)
    assert cells[:3] == ["new", "old", f"{change:+.1f} % [{change:+.1f}, {change:+.1f}]"]
    assert cells[4] == "+0.0 % [+0.0, +0.0]"
    del rows["test"]["new"]
    assert (
        tables.together_table({"rows": against}, rows, {"dev": {"a": 1}, "test": {"c": 1}}) is None
    )


def test_ensembles_by_number_of_members(tree):
    kinds = tree["by_number"]
    for names in kinds.values():
        members = [tree["rows"][name]["members"] for name in names]
        assert [len(m) for m in members] == [1, 2, 3, 4]
        for fewer, more in itertools.pairwise(members):
            assert more[: len(fewer)] == fewer
    encoders = [
        [tree["members"][m]["encoder"] for m in tree["rows"][names[-1]]["members"]]
        for names in kinds.values()
    ]
    assert encoders == [["short"] * 4, *[["short", "long", "middle", "brief"]] * 3]
    rows = {
        "single": exchange.Row(
            {1: figures(0.1, 0.1, [1, 1], 0.08), 2: figures(0.1, 0.1, [1, 1], 0.06)}, {}
        ),
        "on_nontarget_3": exchange.Row({2: figures(0.1, 0.1, [1, 1], 0.03)}, {}),
    }
    cells = [
        line.split("|")[2:6]
        for line in tables.number_table(tree, rows, {"a": 0.5, "b": 0.5}).splitlines()
    ]
    assert [cell.strip() for cell in cells[5]] == ["9.00", "", "4.50", ""]  # seed 2 alone


def test_what_a_term_has_to_remove():
    # Without a cost: (1 + rho) falls as the square of d' grows.
    eer = norm.cdf(-(2.0 + 1.8) / np.sqrt(2 * 1.7) / 2)
    wanted = -2 * norm.ppf(0.9 * eer)
    free = exchange.needed(2.0, 1.8, 0.7, 0.0, aim=0.1)
    assert 1.7 - free == pytest.approx(3.8**2 / (2 * wanted**2))
    paid = exchange.needed(2.0, 1.8, 0.7, 0.5, aim=0.1)
    assert (3.8 - 0.5 * paid) / np.sqrt(2 * (1.7 - paid)) == pytest.approx(wanted)
    assert paid > free
    assert exchange.needed(2.0, 1.8, 0.7, 1.3, aim=0.1) == np.inf  # past its break-even, 1.1


def test_the_loss_on_pairs_is_the_same_in_the_task_as_apart(tree):
    """The term's rows beside it are compared with members that have it as their objective."""
    of_term = tree["members"]["on_pairs_nontarget_15"]["pair_loss"]
    alone = tree["members"]["on_own_dprime"]
    loss = build({"made": tree["objectives"][alone["objective"]]}, "own_dprime")["made"](
        dim=8, reference_dims=[], n_classes=6
    )
    pairs = DLoss(**of_term)
    assert (pairs.per_class, pairs.within) == (alone["own"]["each"], "corpus")
    assert alone["own"]["one_corpus"] and alone["own"]["size"] == tree["settings"]["batch_size"]
    z, labels = torch.randn(12, 8), torch.arange(12) % 6
    assert torch.equal(pairs(z, labels, 0.4)[0], loss(z, [], labels, 0.4).loss)


def test_cells_are_the_studys_rows_with_other_encoders_and_fewer_speakers(tree):
    before = {key: list(tree[key]) for key in ("members", "rows")}
    grown = copy.deepcopy(tree)
    capacity.expand(grown)
    assert all(grown[key][name] == tree[key][name] for key in before for name in before[key])
    cells = capacity.cells(grown)
    wanted = tree["capacity"]
    assert len(cells) == len(wanted["sizes"]) * len(wanted["speakers"]) + len(wanted["also"])
    assert len(grown["rows"]) == len(tree["rows"]) + 2 * len(cells)
    assert len({cell.suffix for cell in cells}) == len(cells)
    for cell in cells:
        assert grown["rows"][cell.term]["against"] == cell.without
        for row in (cell.without, cell.term):
            for name in grown["rows"][row]["members"]:
                spec = dict(grown["members"][name])
                suffix = cell.suffix
                old = dict(tree["members"][name.removesuffix(suffix)])
                assert spec.pop("speakers", None) == cell.speakers
                if "start" in spec:
                    assert spec.pop("start") == f"{old.pop('start')}{suffix}"
                else:
                    steps = {"_0.15M_all_400": 400, "_0.15M_60_1200": 1200, "_0.15M_all_3600": 3600}
                    usual = 400 if cell.speakers else None
                    assert spec.pop("steps", None) == steps.get(suffix, usual)
                assert spec.pop("encoder") == f"{old.pop('encoder')}_{cell.size}"
                references = [f"{r}{suffix}" for r in old.pop("references", [])]
                assert (spec.pop("references", []), spec) == (references, old)
    term = f"{tree['capacity']['with']}_0.05M_60"
    made = jobs.plan(grown, [(term, 1, "dev")])
    assert made["1", grown["rows"][term]["members"][-1], "train"] == {
        ("1", f"{name}_0.05M_60", "train") for name in ("first", "long_2")
    }
    assert not any(job[1].partition("@")[0] == "first" for job in made)


def test_cells_have_their_sizes_and_nested_speakers(tree):
    for size, encoders in tree["capacity"]["sizes"].items():
        for name, spec in encoders.items():
            made = build({"made": spec}, f"{size} {name}")["made"]["embedding_model"]
            wanted = 1e6 * float(size.removesuffix("M"))
            assert sum(p.numel() for p in made.parameters()) == pytest.approx(wanted, rel=0.15)
            assert spec["n_mels"] == tree["encoders"][name]["n_mels"]
    names = [f"s{i:03d}" for i in range(200)]
    few, more, every = (capacity.some(names, n) for n in (60, 160, None))
    assert len(few) == 60 and set(few) < set(more) < set(every) == set(names)
    assert few == sorted(few) != names[:60]


def test_the_map_has_the_terms_gain_and_price_by_cell(tree):
    def row(last, correlation, fused):
        made = figures(0.08, last, [correlation] * 2, fused)
        for figure in made.values():
            figure["cllr"] = figure["fused"]
        drawn = {key: np.full(1000, figure["fused"]) for key, figure in made.items()}
        drawn |= {f"{key}, cllr": replicates for key, replicates in drawn.items()}
        return exchange.Row({1: made}, {1: drawn})

    without, term = (tree["capacity"][key] for key in ("without", "with"))
    rows = {
        f"{without}_0.15M_160": row(0.08, 0.8, 0.1),
        f"{term}_0.15M_160": row(0.09, 0.7, 0.09),
        f"{without}_0.15M_all": row(0.08, 0.8, 0.1),
    }
    table = capacity_tables.capacity_table(tree, rows, {"a": 0.5, "b": 0.5}).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table]
    assert len(cells) == 3  # head, rule, and the one cell that has both rows
    assert cells[2][:4] == ["0.15M", "160", "1", "15.00"]
    assert cells[2].count("-10.0 % [-10.0, -10.0]") == 2
    of = dict(zip(cells[0], cells[2], strict=True))
    assert of["r of each seed"] == of["r"]  # of the one that there is
    lost = 2 * (norm.ppf(0.09) - norm.ppf(0.08))  # the d' of an EER, equal variances
    assert [float(of[key]) for key in ("d' lost", "ρ removed", "r")] == pytest.approx(
        [lost, 0.1, lost / 0.1], abs=0.006
    )
    assert float(of["break-even"]) == pytest.approx(-2 * norm.ppf(0.08) / 1.8, abs=0.006)


def test_groups_of_cells_are_compared_by_the_terms_gain(tree):
    def row(fused):
        made = figures(0.08, 0.08, [0.8, 0.8], fused)
        drawn = {}
        for key, figure in made.items():
            figure["cllr"] = figure["fused"] ** 2  # a change of its own
            drawn |= {key: np.full(1000, fused), f"{key}, cllr": np.full(1000, fused**2)}
        return exchange.Row({1: made}, {1: drawn})

    def cell(name, gained):
        rows[f"{tree['capacity']['without']}_{name}"] = row(0.1)
        rows[f"{tree['capacity']['with']}_{name}"] = row(0.1 * gained)

    def compared():
        found = capacity_tables.contrast_table(tree, rows, {"a": 0.5, "b": 0.5})
        lines = [] if found is None else found.splitlines()[2:]
        return {one[0]: one[1:] for one in ([c.strip() for c in x.split("|")[1:-1]] for x in lines)}

    def percents(ratio):
        return [
            f"{x:+.1f} % [{x:+.1f}, {x:+.1f}]" for x in (100 * (ratio - 1), 100 * (ratio**2 - 1))
        ]

    rows = {}
    cell("0.15M_160", 0.9)
    assert compared() == {}
    cell("0.15M_all", 0.8)
    assert compared() == {"all speakers against 160": ["0.15M", *percents(0.8 / 0.9)]}
    cell("0.15M_all_400", 0.85)
    cell("0.15M_60_1200", 0.95)
    cell("0.15M_all_3600", 0.75)
    cell("1.5M_160", 0.5)
    cell("1.5M_all", 0.4)
    cell("0.05M_160", 1.0)
    assert compared() == {
        # the mean over sizes, of log ratios
        "all speakers against 160": ["0.15M, 1.5M", *percents((0.8 / 0.9 * 0.4 / 0.5) ** 0.5)],
        "1.5M against 0.05M, 160 speakers": ["1.5M", *percents(0.5)],
        "all speakers against 160, 400 steps": ["0.15M", *percents(0.85 / 0.9)],
        "all speakers, 1200 steps against 400": ["0.15M", *percents(0.8 / 0.85)],
        "all speakers, 3600 steps against 1200": ["0.15M", *percents(0.75 / 0.8)],
        "all speakers against 60, 1200 steps": ["0.15M", *percents(0.8 / 0.95)],
    }


def test_a_folder_goes_on_with_more_rows_and_not_with_other_ones(tmp_path):
    found = importlib.util.spec_from_file_location("study_of_terms", RECIPE / "study.py")
    study = importlib.util.module_from_spec(found)
    found.loader.exec_module(study)
    path = tmp_path / "small.yaml"
    small = "settings: {steps: 3}\nencoders: {}\nobjectives: {}\nmembers:\n    a: {seed: 1}\n"
    path.write_text(f"{small}rows:\n    one: {{members: [a]}}\n")
    study.settled(path, tmp_path, None)
    path.write_text(f"{small}    # more\n    b: {{seed: 2}}\nrows:\n    one: {{members: [a]}}\n")
    assert list(study.settled(path, tmp_path, None)["members"]) == ["a", "b"]
    path.write_text(path.read_text().replace("seed: 1", "seed: 3"))
    with pytest.raises(UserError, match=r"members\.a"):
        study.settled(path, tmp_path, None)


def test_a_room_delays_nothing_before_its_direct_sound_and_fades():
    response = sets.room_response(np.random.default_rng(3))
    assert np.abs(response).max() == 1
    peak = int(np.abs(response).argmax())
    assert not response[:peak].any()  # nothing is faster than the straight way
    energy = np.cumsum(response[::-1].astype(float) ** 2)[::-1]
    assert 0 < energy[peak + 3200] < 0.1 * energy[peak]


def test_audio_is_decoded_once_and_sounds_the_same(tmp_path):
    first, second = tiny.hums(tmp_path / "audio", speakers=2, each=1)
    given = [first, replace(first, start=100, stop=8000), second]
    made = sets.Decoded(tmp_path / "decoded").of(given)
    assert made[0].wav == made[1].wav != made[2].wav
    assert len(list((tmp_path / "decoded").iterdir())) == 2
    for new, old in zip(made, given, strict=True):
        assert replace(new, wav=old.wav) == old
        found, wanted = (read_audio(u.wav, u.start, u.stop) for u in (new, old))
        assert found == pytest.approx(wanted, abs=2**-15)


def test_noise_has_the_ratio_that_was_asked_for(tmp_path):
    import soundfile

    rng = np.random.default_rng(0)
    (tmp_path / "noise" / "dev").mkdir(parents=True)
    soundfile.write(tmp_path / "noise" / "dev" / "n.wav", 0.1 * rng.standard_normal(80000), 16000)
    hear = sets.hearing(tmp_path, "dev", sets.Condition(snr=10))
    wave = 0.2 * np.sin(np.arange(32000) / 7).astype(np.float32)

    class Named:
        id = "x"

    noise = hear(wave, Named) - wave
    assert 10 * np.log10(np.mean(wave**2) / np.mean(noise**2)) == pytest.approx(10, abs=0.01)
    assert np.array_equal(hear(wave, Named), hear(wave, Named))
