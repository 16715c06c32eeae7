"""The script on a tiny finished run, and what people bring wrong."""

import dataclasses
import json
import re
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from acorl_sb.analysis.run_inputs import read_inputs
from acorl_sb.cli import analyse
from acorl_sb.report import analysis_figures
from acorl_sb.report.analysis_page import link_from
from acorl_sb.utils.errors import UserError
from tests.analysis import runs

pytest.importorskip("captum")
ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    *("--trials", "10", "--crop_seconds", "0.5", "--deletion_trials", "6"),
    *(
        "--occlusion_trials",
        "2",
        "--steps",
        "8",
        "--folds",
        "3",
        "--device",
        "cpu",
        "--probe_steps",
        "20",
    ),
]


def run(*args):
    options = dict(zip(SMALL[::2], SMALL[1::2], strict=True))
    options |= dict(zip(args[::2], map(str, args[1::2]), strict=True))
    flags = [part for option in options.items() for part in option]
    arguments = ["analyse", str(ROOT / "hparams" / "analyse.yaml"), *flags]
    before = sys.argv
    sys.argv = arguments
    try:
        return analyse.main()
    finally:
        sys.argv = before


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A run of two members, and a reference run that shares the first of them."""
    root = tmp_path_factory.mktemp("runs")
    speech = runs.utterances(root / "speech", speakers=6, each=4)
    (root / "age").write_text("".join(f"s{s} {20 + 5 * s}\n" for s in range(6)))
    return (
        runs.finished(root / "acorl", speech, {"first": 1, "second": 2}),
        runs.finished(root / "independent", speech, {"first": 1, "second": 3}),
    )


@pytest.fixture(scope="module")
def done(folders):
    main, reference = folders
    (main / "fusion").mkdir()
    report = main / "fusion" / "report.html"
    report.write_text("<html><body><main><p>table</p></main></body></html>")
    ages = f"{{age: {main.parent / 'age'}}}"
    assert run("--run_folder", main, "--baseline_run", reference, "--attributes", ages) == 0
    return main / "analysis"


def test_results(done):
    results = json.loads((done / "analysis.json").read_text())
    assert list(results["members"]) == ["first", "second", "reference second"]
    assert [(p["name"], p["role"]) for p in results["pairs"]] == [
        ("first + second", "examined"),
        ("first + reference second", "reference"),
    ]
    for pair in results["pairs"]:
        assert -0.5 < pair["embeddings"]["cka"] <= 1
        assert len(pair["embeddings"]["canonical_spectrum"]) == 12
        assert pair["embeddings"]["r2"]["first_from_second"]["mlp"]["value"] <= 1
        assert 0 <= pair["scores"]["error_overlap"]["share"] <= 1
        assert pair["scores"]["bounds"]["linear"] <= pair["scores"]["eer"]["first"]
    attributes = results["members"]["first"]["attributes"]
    assert set(attributes) == {"gender", "age", "session", "log duration"}
    assert attributes["gender"]["measure"] == "auc" and attributes["age"]["measure"] == "r2"
    made = results["attribution"]
    assert made["trials"] == 10 and not made["skipped"]
    for member in made["members"].values():
        assert member["completeness"]["largest_gap"] <= 0.01
        assert sum(member["frequency"]["all"]) == pytest.approx(1)
        assert sum(kind["share"] for kind in member["time"]["all"].values()) == pytest.approx(1)
        assert len(member["deletion"]["curves"]["map"]) == len(member["deletion"]["shares"])
    assert set(made["against_reference"]) == {"first + second"}


def test_score_measures_are_those_of_the_embeddings(done, folders):
    """Correlation of non-target scores, from the files alone."""
    main, _ = folders
    vectors = {}
    for name in ("first", "second"):
        folder = main / "embeddings" / name / "test"
        rows = np.load(folder / "embeddings.npy").astype(float)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        vectors[name] = dict(zip((folder / "ids.txt").read_text().split(), rows, strict=True))
    lines = (main / "manifest" / "test_trials.txt").read_text().splitlines()
    trials = [line.split() for line in lines]
    scores = [
        [np.dot(v[enrol], v[test]) for label, enrol, test in trials if label == "0"]
        for v in vectors.values()
    ]
    results = json.loads((done / "analysis.json").read_text())
    found = results["pairs"][0]["scores"]["correlation"]["nontarget"]
    assert found == pytest.approx(np.corrcoef(*scores)[0, 1], abs=1e-4)


def test_page_and_pictures(done):
    text, html = (done / "analysis.md").read_text(), (done / "analysis.html").read_text()
    assert "first + second (examined)" in text and "minus the independent pair" in text
    pictures = {path.stem for path in (done / "figures").glob("*.svg")}
    assert pictures == {
        *(f"similarity-{n}" for n in range(5)), "canonical-whole", "canonical-within",
        "deletion-first", "deletion-second", "deletion-reference-second",
        "profile-frequency", "profile-time",
        *(f"maps-{kind}-{side}" for kind in ("target", "non-target")
          for side in ("enrolment", "test")),
    }  # fmt: skip
    for name in pictures:
        assert f"(figures/{name}.svg)" in text and f'data-figure="{name}"' in html
        ElementTree.parse(done / "figures" / f"{name}.svg")
    assert html.count("<table>") == text.count("\n|---|") > 3
    assert "nan" not in re.sub(r"<image.*?>", "", html, flags=re.S).lower()


def test_deletion_plot_and_table_are_of_the_same_trials(done):
    """The loss of score in the table is that of the plotted curve: both of all trials."""
    members = json.loads((done / "analysis.json").read_text())["attribution"]["members"]
    pictures = analysis_figures.deletion(members)
    assert len({picture.figure.axes[0].get_ylim() for picture in pictures}) == 1
    for member, picture in zip(members.values(), pictures, strict=True):
        (axis,) = picture.figure.axes
        line = next(li for li in axis.lines if li.get_label().endswith("by the map"))
        score, *masked = line.get_ydata()
        assert score - np.mean(masked) == pytest.approx(member["deletion"]["drop"]["map"], abs=1e-5)


def test_the_report_links_to_it_once(done):
    report = done.parent / "fusion" / "report.html"
    link_from(report, done / "analysis.html")
    html = report.read_text()
    assert html.count('href="../analysis/analysis.html"') == 1
    assert html.index("table") < html.index("href") < html.index("</main>")


def test_the_same_run_gives_the_same_figures(done, folders, tmp_path):
    main, _ = folders
    for folder in ("a", "b"):
        run("--run_folder", main, "--output_folder", tmp_path / folder, "--trials", "4")
    first, second = (json.loads((tmp_path / f / "analysis.json").read_text()) for f in "ab")
    first["settings"].pop("output_folder"), second["settings"].pop("output_folder")
    assert first == second
    assert first["baseline_run"] is None and first["attribution"]["against_reference"] == {}


def test_a_third_gender_is_left_out_and_said_in_the_log(tmp_path):
    speech = runs.utterances(tmp_path / "speech", speakers=6, each=2)
    speech[0] = dataclasses.replace(speech[0], gender="x")
    main = runs.finished(tmp_path / "run", speech, {"first": 1, "second": 2})
    assert run("--run_folder", main, "--trials", "4") == 0
    results = json.loads((main / "analysis" / "analysis.json").read_text())
    assert "gender" not in results["members"]["first"]["attributes"]
    assert "log duration" in results["members"]["first"]["attributes"]
    (line,) = (
        line
        for line in (main / "analysis" / "analyse_log.txt").read_text().splitlines()
        if "warning" in line
    )
    assert "gender" in line


def test_a_reference_of_the_run_is_a_member_too(folders, tmp_path):
    """As train.py leaves it: embeddings of the reference, weights where the YAML says."""
    main, _ = folders
    later = tmp_path / "later"
    for part in ("manifest", "embeddings", "members/second"):
        shutil.copytree(main / part, later / part)
    with pytest.raises(UserError, match="'first'"):
        read_inputs(later)
    yaml = f"references:\n- {{name: first, folder: {main / 'members' / 'first'}}}\n"
    (later / "hyperparams.yaml").write_text(yaml)
    inputs = read_inputs(later)
    assert inputs.members["first"].folder == main / "members" / "first"
    assert inputs.members["second"].folder == later / "members" / "second"


def test_what_people_bring_wrong(folders, tmp_path):
    main, _ = folders
    odd = tmp_path / "odd"
    odd.write_text("s0 twenty five\n")
    strangers = tmp_path / "strangers"
    strangers.write_text("x 1\n")
    words = tmp_path / "words"
    words.write_text("s0 red\ns1 green\ns2 blue\n")
    elsewhere = runs.utterances(tmp_path / "speech", speakers=3, each=2)
    renamed = [type(u)(f"x{u.id}", *list(_values(u))[1:]) for u in elsewhere]
    other = runs.finished(tmp_path / "other", renamed, {"first": 1, "second": 2})
    few = [u for u in elsewhere if u.spk_id != "s2"]
    small = runs.finished(tmp_path / "small", few, {"first": 1, "second": 2})
    lone = runs.finished(tmp_path / "lone", elsewhere, {"first": 1})
    cases = {
        "run_folder": [],
        tmp_path.name: ["--run_folder", tmp_path],
        "'part'": ["--run_folder", main, "--part", "train"],
        "'third'": ["--run_folder", main, "--members", "[third]"],
        "lone": ["--run_folder", lone],
        "small": ["--run_folder", small],
        other.name: ["--run_folder", main, "--baseline_run", other],
        "none": ["--run_folder", main, "--baseline_run", tmp_path / "none"],
        "odd line 1": ["--run_folder", main, "--attributes", f"{{age: {odd}}}"],
        "strangers": ["--run_folder", main, "--attributes", f"{{age: {strangers}}}"],
        "words": [*("--run_folder", main, "--attributes", f"{{colour: {words}}}")],
        "'trials'": ["--run_folder", main, "--trials", "many"],
        "'crop_seconds'": ["--run_folder", main, "--crop_seconds", "0"],
        "'neighbourhood'": ["--run_folder", main, "--neighbourhood", "5"],
        "'trails'": ["--run_folder", main, "--trails", "5"],
    }
    for where, args in cases.items():
        with pytest.raises(UserError, match=where):
            run(*args)


def _values(utterance):
    return (getattr(utterance, name) for name in utterance.__slots__)


@pytest.mark.parametrize(("name", "data"), [("gone.html", None), ("latin.html", b"<p>\xe9</main>")])
def test_a_report_that_cannot_be_read_is_said_before_the_work(
    folders, tmp_path, monkeypatch, name, data
):
    if data is not None:
        (tmp_path / name).write_bytes(data)

    def late(*arguments):
        raise AssertionError("the work has begun")

    monkeypatch.setattr(analyse, "read_inputs", late)
    with pytest.raises(UserError, match=name):
        run(
            "--run_folder", folders[0], "--output_folder", tmp_path / "out",
            "--report", tmp_path / name,
        )  # fmt: skip
    assert [p.name for p in tmp_path.iterdir()] == [name] * (data is not None)
