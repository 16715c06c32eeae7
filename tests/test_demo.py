"""The page of ``acorl demo``: what its buttons do, and all of it in a browser with a microphone."""

from __future__ import annotations

import math
import re
import socket
import warnings

import numpy as np
import pytest
import soundfile

from acorl_sb.demo import Desk, build, decided, launch, ranked, threshold_of
from acorl_sb.inference import Verifier
from acorl_sb.utils.errors import UserError
from tests import folders, spoken
from tests.report.test_browser import BROWSER, needs_browser


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run, and recordings of two voices."""
    root = tmp_path_factory.mktemp("demo")
    folder, _ = folders.finished_run(root / "run")
    files = []
    for n, voice in enumerate(("en-us+m3", "en-us+f2")):
        files.append(str(root / f"{n}.wav"))
        soundfile.write(files[-1], spoken.sentence(voice), 16000)
    return folder, files


def test_the_buttons_give_what_the_verifier_gives(run):
    folder, (one, other) = run
    desk, verifier = Desk(Verifier.from_run(folder)), Verifier.from_run(folder)
    assert "<b>a&amp;b</b>" in desk.enrol(" a&b ", one, False) and desk.names == ["a&b"]
    assert "acorl-note" in desk.enrol("a&b", other, False)  # is enrolled already
    assert "acorl-note" not in desk.enrol("other", other, False)
    verifier.enrol("a&b", [one])
    verifier.enrol("other", [other])
    llr, said = desk.verify("a&b", other)
    assert llr == pytest.approx(verifier.verify("a&b", other).llr) and said == ""
    found, _ = desk.identify(other)
    assert found == [(name, pytest.approx(llr)) for name, llr in verifier.identify(other)]
    desk.forget("a&b")
    assert desk.names == ["other"]


def test_what_is_missing_is_said_and_nothing_done(run, tmp_path):
    folder, (one, _) = run
    desk = Desk(Verifier.from_run(folder))
    soundfile.write(tmp_path / "silent.wav", np.zeros(16000), 16000)
    silent = str(tmp_path / "silent.wav")
    for said in (
        *(desk.enrol("", one, False), desk.enrol("ann", None, False)),
        *(desk.enrol("ann", silent, False), desk.forget(None), desk.forget("ann")),
        *(desk.verify("ann", one)[1], desk.verify(None, one)[1], desk.identify(one)[1]),
        *(desk.show(str(tmp_path / "gone.wav")),),
    ):
        assert "acorl-note" in said
    assert desk.names == [] and desk.verify("ann", one)[0] is None and desk.show(None) == ""


def test_a_recording_is_shown_with_the_speech_in_it(run, tmp_path):
    desk = Desk(Verifier.from_run(run[0]))
    speech = spoken.sentence()
    wave = np.concatenate([np.zeros(32000, np.float32), speech])
    soundfile.write(tmp_path / "late.wav", wave, 16000)
    seconds, found = map(
        float, re.findall(r"([\d.]+) s", desk.show(str(tmp_path / "late.wav")))[-2:]
    )
    assert seconds == pytest.approx(len(wave) / 16000, abs=0.06)
    assert 0.6 * len(speech) / 16000 < found < len(speech) / 16000 + 0.1


def test_the_threshold_follows_from_prior_and_costs():
    assert f"{math.log(2 / 3 * 0.98 / 0.02):+.2f}" in threshold_of(0.02, 3, 2)
    assert "accepted" in decided(0.1, 0.5, 1, 1) and "rejected" in decided(-0.1, 0.5, 1, 1)
    assert decided(None, 0.5, 1, 1) == "" and ranked([], 0.5, 1, 1) == ""
    table = ranked([("ann", 3.0), ("bob", -1.0)], 0.5, 1, 1).splitlines()[2:]
    assert ["accepted" in line for line in table] == [True, False]


def test_gradio_is_asked_for_where_it_is_missing(run, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gradio", None)
    with pytest.raises(UserError, match="demo"):
        build(Verifier.from_run(run[0]))


# --- In a browser --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address(run):
    """Where the page is served while these tests run."""
    pytest.importorskip("gradio")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        page = build(Verifier.from_run(run[0]))
        yield launch(page, port, wait=False)
        page.close()


@pytest.fixture()
def browser(run):
    """Chromium, whose microphone hears the first recording again and again."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=BROWSER,
            args=[
                *("--no-sandbox", "--use-fake-device-for-media-stream"),
                *("--use-fake-ui-for-media-stream", "--disable-gpu"),
                f"--use-file-for-fake-audio-capture={run[1][0]}",
            ],
        )
        yield chromium
        chromium.close()


@needs_browser
def test_enrol_verify_and_identify_in_a_browser(run, address, browser):
    page = browser.new_page(viewport={"width": 390, "height": 900})
    page.set_default_timeout(120_000)
    faults, elsewhere = [], []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: elsewhere.append(request.url))
    page.goto(address)

    figure = page.locator("svg.figure").locator("visible=true")

    def record():
        page.get_by_role("button", name="Record", exact=True).click()
        page.wait_for_timeout(2500)  # of speech
        page.get_by_role("button", name="Stop", exact=True).click()
        figure.first.wait_for()

    page.get_by_label("Name", exact=True).fill("ann")
    record()
    page.locator("#enrol").click()
    page.locator("#enrolled b", has_text="ann").wait_for()

    page.get_by_role("tab", name="Verify").click()
    record()
    page.locator("#verify").click()
    said = page.locator("#decision .acorl-said")
    said.wait_for()
    llr, before = re.findall(r"[+−-]\d+\.\d+", said.inner_text())
    prior = page.get_by_label(re.compile("number input for Prior"))
    prior.fill("0.5")
    prior.press("Enter")
    page.locator("#decision .acorl-said", has_text="threshold +0.00").wait_for()
    after = re.findall(r"[+−-]\d+\.\d+", said.inner_text())
    assert before == f"{math.log(0.95 / 0.05):+.2f}" and after == [llr, "+0.00"]
    assert ("accepted" in said.inner_text()) == (float(llr) >= 0)

    page.get_by_role("tab", name="Identify").click()
    page.get_by_role("button", name="Upload file").click()
    page.locator("input[type=file]").set_input_files(run[1][1])
    figure.first.wait_for()
    page.locator("#identify").click()
    page.locator("#ranking td", has_text="ann").wait_for()

    # Nobody is preselected to be deleted for good.
    page.get_by_role("tab", name="Enrol").click()
    page.get_by_text("Forget a speaker").click()
    leaving = page.get_by_label("Speaker to forget")
    leaving.wait_for()
    assert leaving.input_value() == ""

    for width in (390, 1600):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert faults == []
    assert all(url.startswith((address, "data:", "blob:")) for url in elsewhere)
