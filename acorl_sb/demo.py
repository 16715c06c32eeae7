"""A page in the browser to try a finished run: enrol, verify, identify (Gradio).

Everything stays on the machine that runs it. The functions of a ``Desk`` know nothing of Gradio.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from html import escape
from typing import Any

from acorl_sb.data.audio import SAMPLE_RATE, read_audio
from acorl_sb.data.recording_range import out_of_range
from acorl_sb.data.vad import speech_spans
from acorl_sb.inference import Verifier
from acorl_sb.metrics import bayes_threshold
from acorl_sb.report.style import Picture, css
from acorl_sb.report.voice_figures import llr_scale, waveform
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.tables import markdown

HEAD = (
    f"<style>{css()} .acorl-figure{{max-width:46rem}} .acorl-said{{font-size:1.15rem}}"
    ".acorl-note{color:var(--bad)}</style>"
)
_ENDS = 1e-3, 0.5  # of the slider of the prior


class Desk:
    """What the page's buttons do: recordings in, pieces of HTML and Markdown out.

    Arguments
    ---------
    verifier : Verifier
    """

    def __init__(self, verifier: Verifier):
        self.verifier = verifier
        self._lock = threading.Lock()  # a page can be open twice

    @property
    def names(self) -> list[str]:
        """Enrolled speakers."""
        return [row.name for row in self.verifier.store.speakers()]

    def show(self, file: str | None, key: str = "wave") -> str:
        """A recording and where speech was found in it; ``key`` is the picture's id."""
        if file is None:
            return ""
        try:
            samples = read_audio(file)
            try:
                spans = speech_spans(samples)
            except UserError:  # without the package
                spans = None
            return _figure(waveform(samples, SAMPLE_RATE, spans, key))
        except UserError as error:
            return _note(error)

    def enrol(self, name: str, file: str | None, replace: bool) -> str:
        """Enrol a speaker by one recording."""
        with self._asked() as said:
            made = self.verifier.enrol((name or "").strip(), [_given(file)], replace)
            said.append(f"<b>{escape(made.name)}</b> is enrolled by {made.seconds:.1f} s.")
        return _said(said)

    def forget(self, name: str | None) -> str:
        """Delete a speaker for good."""
        with self._asked() as said:
            if not name:
                raise UserError("choose a speaker")
            self.verifier.store.delete(name)
            said.append(f"<b>{escape(name)}</b> is deleted.")
        return _said(said)

    def verify(self, name: str | None, file: str | None) -> tuple[float | None, str]:
        """The LLR of a recording against a speaker, None where there is none; and remarks."""
        llr = None
        with self._asked() as said:
            if not name:
                raise UserError("enrol a speaker first, then choose one")
            llr = self.verifier.verify(name, _given(file)).llr
        return llr, _said(said)

    def identify(self, file: str | None) -> tuple[list[tuple[str, float]], str]:
        """The ten speakers of the highest LLRs, best first; and remarks."""
        found: list[tuple[str, float]] = []
        with self._asked() as said:
            found = self.verifier.identify(_given(file), 10)
            if not found:
                raise UserError("nobody is enrolled yet")
        return found, _said(said)

    @contextmanager
    def _asked(self) -> Iterator[list[str]]:
        """Collects remarks on what is done in the block, what was refused among them."""
        said: list[str] = []
        with self._lock, out_of_range() as concerns:
            try:
                yield said
            except UserError as error:
                said.append(_note(error))
        said += [_note(concern) for concern in concerns]


def threshold_of(p_target: float, c_miss: float, c_fa: float) -> str:
    """The threshold that follows from prior and costs, in words."""
    threshold = bayes_threshold(p_target, c_miss, c_fa)
    return f"Accepted from an LLR of **{threshold:+.2f}** on."


def decided(llr: float | None, p_target: float, c_miss: float, c_fa: float) -> str:
    """A decision in words and as a picture; nothing where there is no LLR."""
    if llr is None:
        return ""
    picture = llr_scale(llr, bayes_threshold(p_target, c_miss, c_fa))
    return f'<p class="acorl-said">{picture.description}</p>{_figure(picture, words=False)}'


def ranked(found: list[tuple[str, float]], p_target: float, c_miss: float, c_fa: float) -> str:
    """Speakers with their LLRs and decisions, a Markdown table."""
    if not found:
        return ""
    threshold = bayes_threshold(p_target, c_miss, c_fa)
    rows = [
        [name, f"{llr:+.2f}", "accepted" if llr >= threshold else "rejected"] for name, llr in found
    ]
    return markdown(["speaker", "LLR", "decision"], rows)


def build(
    verifier: Verifier, p_target: float = 0.05, c_miss: float = 1.0, c_fa: float = 1.0
) -> Any:
    """The page, a ``gradio.Blocks``; the sliders begin at the prior and costs given.

    Raises ``UserError`` without the package gradio.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio as gr
    except ImportError:
        raise UserError("the page needs the package gradio: pip install 'acorl_sb[demo]'") from None
    desk = Desk(verifier)

    def recorder(label: str, key: str) -> Any:
        """An input of audio with a picture below."""
        audio = gr.Audio(
            sources=["microphone", "upload"],
            type="filepath",
            label=label,
            editable=False,
            buttons=["download"],  # without the one that shares it on a server of Gradio's makers
        )
        picture = gr.HTML()
        shown = partial(desk.show, key=f"wave-{key}")
        audio.change(shown, audio, picture, api_name=False, show_progress="hidden")
        return audio

    def chooser(label: str) -> Any:
        return gr.Dropdown(desk.names, label=label, value=None)

    def refreshed(chosen: str | None = None) -> tuple[Any, Any]:
        names = desk.names
        value = chosen if chosen in names else names[-1] if names else None
        # Nobody is deleted for good who was not chosen for it.
        return gr.Dropdown(names, value=value), gr.Dropdown(names, value=None)

    with gr.Blocks(title="acorl_sb", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.HTML(HEAD, padding=False)
        gr.Markdown(
            "# Speaker verification\nEncoders: "
            + ", ".join(f"`{name}`" for name in verifier.ensemble.names)
            + ". Recordings stay on the machine that runs this page."
        )
        with gr.Accordion("When to accept", open=True):
            with gr.Row():
                low, high = min(_ENDS[0], p_target), max(_ENDS[1], p_target)
                least, most = min(1.0, c_miss, c_fa), max(100.0, c_miss, c_fa)
                point = [
                    gr.Slider(low, high, p_target, step=0.001, label="Prior of a target"),
                    gr.Slider(least, most, c_miss, label="Cost of a miss"),
                    gr.Slider(least, most, c_fa, label="Cost of a false alarm"),
                ]
            line = gr.Markdown(threshold_of(p_target, c_miss, c_fa))
        with gr.Tab("Enrol"):
            name = gr.Textbox(label="Name", max_lines=1)
            recording = recorder("Some seconds of the speaker", "enrol")
            replace = gr.Checkbox(label="Replace what is enrolled by this name")
            button = gr.Button("Enrol", variant="primary", elem_id="enrol")
            enrolled = gr.HTML(elem_id="enrolled")
            with gr.Accordion("Forget a speaker", open=False):
                leaving = chooser("Speaker to forget")
                forget = gr.Button("Delete for good", variant="stop")
        with gr.Tab("Verify"):
            claimed = chooser("Who is it said to be?")
            tested = recorder("A recording to verify", "verify")
            verify = gr.Button("Verify", variant="primary", elem_id="verify")
            llr = gr.State(None)
            decision, remarks = gr.HTML(elem_id="decision"), gr.HTML()
        with gr.Tab("Identify"):
            unknown = recorder("A recording to identify", "identify")
            identify = gr.Button("Identify", variant="primary", elem_id="identify")
            found = gr.State([])
            ranking, notes = gr.Markdown(elem_id="ranking"), gr.HTML()

        one_at_a_time = {"concurrency_limit": 1, "concurrency_id": "verifier"}
        choosers = [claimed, leaving]
        button.click(
            desk.enrol, [name, recording, replace], enrolled, api_name="enrol", **one_at_a_time
        ).then(lambda who: refreshed((who or "").strip()), name, choosers, api_name=False)
        forget.click(desk.forget, leaving, enrolled, api_name="forget", **one_at_a_time).then(
            lambda: refreshed(), None, choosers, api_name=False
        )
        verify.click(
            desk.verify, [claimed, tested], [llr, remarks], api_name=False, **one_at_a_time
        ).then(decided, [llr, *point], decision, api_name=False)
        identify.click(
            desk.identify, unknown, [found, notes], api_name=False, **one_at_a_time
        ).then(ranked, [found, *point], ranking, api_name=False)
        for slider in point:
            slider.change(threshold_of, point, line, api_name=False, show_progress="hidden")
            slider.change(decided, [llr, *point], decision, api_name=False, show_progress="hidden")
            slider.change(ranked, [found, *point], ranking, api_name=False, show_progress="hidden")
        page.load(lambda: refreshed(), None, choosers, api_name=False)
    return page


def launch(page: Any, port: int, browser: bool = False, wait: bool = True) -> str:
    """Serve a page on this machine alone; returns its address, at the end where it ``wait``s."""
    import gradio as gr

    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    try:
        _, address, _ = page.launch(
            server_name="127.0.0.1",
            server_port=port,
            inbrowser=browser,
            prevent_thread_lock=not wait,
            share=False,
            ssr_mode=False,
            quiet=True,
            theme=theme,
            footer_links=[],
        )
    except OSError as error:
        raise UserError(f"port {port}: the page cannot be served there ({error})") from None
    return address


def _given(file: str | None) -> str:
    if not file:
        raise UserError("record something or choose a file first")
    return file


def _figure(picture: Picture, words: bool = True) -> str:
    below = f"<p>{picture.description}</p>" if words else ""
    return f'<div class="acorl-figure">{picture.svg}{below}</div>'


def _note(what: object) -> str:
    return f'<p class="acorl-note">{escape(str(what))}</p>'


def _said(said: list[str]) -> str:
    return "".join(part if part.startswith("<p") else f"<p>{part}</p>" for part in said)
