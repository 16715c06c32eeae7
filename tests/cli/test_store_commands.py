"""``acorl verify``, ``enrol``, ``identify`` and ``speakers``: one command after another."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from acorl_sb.cli.main import main
from acorl_sb.fusion import models as fusion
from acorl_sb.inference import Verifier
from tests import folders


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run, and its utterances' files by id."""
    folder, speech = folders.finished_run(tmp_path_factory.mktemp("store") / "run")
    return folder, {u.id: u.wav for u in speech}


@pytest.fixture()
def acorl(run, capsys):
    """A command of this run: its JSON, or its text."""

    def call(*words, text=False):
        words = [str(word) for word in words]
        if words[0] != "speakers":
            words += ["--run_folder", str(run[0])]
        assert main(words if text else [*words, "--format", "json"]) == 0
        out = capsys.readouterr().out
        return out if text else json.loads(out)

    return call


def test_verify_is_the_fusion_of_the_cosines_of_the_members(run, acorl):
    folder, files = run
    a, *_, b = list(files)[:6]
    made = acorl("verify", files[a], files[b], "--p_target", "0.02", "--c_fa", "3")
    verifier = Verifier.from_run(folder)
    cosines = {
        name: float(np.dot(x.double(), y.double()))
        for name, x, y in zip(
            ("first", "second"), verifier.embed(files[a]), verifier.embed(files[b]), strict=True
        )
    }
    assert made["cosines"] == pytest.approx(cosines, abs=1e-6)
    model = fusion.load(folder / "fusion" / "score-logistic.json")
    llr = float(model(np.array(list(cosines.values()))[:, None])[0])
    assert made["llr"] == pytest.approx(llr, abs=1e-5)
    assert made["threshold"] == pytest.approx(math.log(3 * 0.98 / 0.02))
    assert made["accepted"] == (llr >= made["threshold"])
    assert (made["p_target"], made["c_miss"], made["c_fa"]) == (0.02, 1, 3)
    parts = [made["weights"][name] * cosines[name] for name in cosines]
    assert made["llr"] == pytest.approx(made["bias"] + sum(parts), abs=1e-5)
    text = acorl("verify", files[a], files[b], text=True)
    assert all(word in text for word in ("first", "second", "bias", f"{made['llr']:+.2f}"))


def test_enrol_identify_verify_speakers_delete(run, acorl, tmp_path):
    _, files = run
    store, ids = tmp_path / "speakers.db", list(files)
    speakers = [files[i] for i in ids[:6:2]]
    for number, file in enumerate(speakers):
        made = acorl("enrol", store, f"speaker {number}", file)
        assert (made["name"], made["utterances"]) == (f"speaker {number}", 1)
        assert made["seconds"] == pytest.approx(0.5) and made["speakers"] == number + 1
    found = acorl("identify", store, speakers[1], "--top", "2")
    best = found["speakers"][0]
    assert len(found["speakers"]) == 2 and best["name"] == "speaker 1"
    same = acorl("verify", "speaker 1", speakers[1], "--store", store)
    assert same["llr"] == pytest.approx(best["llr"], abs=1e-5)
    assert same["cosines"] == pytest.approx({"first": 1, "second": 1}, abs=1e-6)
    assert acorl("enrol", store, "speaker 1", *speakers[:2], "--replace")["utterances"] == 2
    listed = acorl("speakers", store)
    assert [row["utterances"] for row in listed["speakers"]] == [1, 2, 1]
    assert {row["model"] for row in listed["speakers"]} == {listed["model"]}
    left = acorl("speakers", store, "--delete", "speaker 0", "speaker 2")
    assert [row["name"] for row in left["speakers"]] == ["speaker 1"]
    assert "speaker 1" in acorl("speakers", store, text=True)
    assert "speaker 1" in acorl("identify", store, speakers[0], text=True)
    assert "holds 2" in acorl("enrol", store, "another", speakers[2], text=True)
