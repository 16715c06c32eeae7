"""Files that a corpus's own options name are watched like the data folder."""

from __future__ import annotations

import json

import pytest

from acorl_sb import corpora
from acorl_sb.utils.errors import UserError


def trial_list(*speakers):
    """A target trial of every speaker, and a non-target one between the first two."""
    pairs = [(1, s, s) for s in speakers] + [(0, *speakers[:2])]
    return "".join(f"{label} id{a:05d}/v1/1.wav id{b:05d}/v2/1.wav\n" for label, a, b in pairs)


@pytest.fixture(params=["voxceleb", "commonvoice"])
def named(request, audio_tree, tmp_path):
    """Corpus, data folder, an option that names a file, the file, and what it may hold else."""
    if request.param == "voxceleb":
        data = audio_tree("vox", [f"id{s:05d}/v{v}/1.wav" for s in range(1, 10) for v in (1, 2)])
        file, text, other = tmp_path / "list.txt", trial_list(1, 2), trial_list(3, 4)
        options = {"trials": [str(file)]}
    else:
        data = audio_tree("cv", [
            f"{part}/xx__{part}{n}/{session}/{clip}.wav"
            for part, sessions in (("one", "0"), ("several", "01"))
            for n in range(8) for session in sessions for clip in "12"
        ])  # fmt: skip
        (data / "speakers.csv").write_text("speaker,gender\n")
        file, text, other = tmp_path / "dropped.txt", "xx__one1\n", "xx__several2\n"
        options = {"dropped": str(file)}
    file.write_text(text)
    return request.param, data, options, file, other


def contents(splits):
    return [path.read_bytes() for path in splits]


def test_an_edited_file_prepares_again(named, tmp_path):
    corpus, data, options, file, other = named
    before = contents(corpora.prepare(corpus, data, tmp_path / "out", **options))
    file.write_text(other)
    after = contents(corpora.prepare(corpus, data, tmp_path / "out", **options))
    assert after != before
    assert after == contents(corpora.prepare(corpus, data, tmp_path / "anew", **options))


def test_the_same_content_is_no_change(named, tmp_path):
    corpus, data, options, file, _ = named
    splits = corpora.prepare(corpus, data, tmp_path / "out", **options)
    before = [path.stat().st_mtime_ns for path in splits]
    file.write_text(file.read_text())
    corpora.prepare(corpus, data, tmp_path / "out", **options)
    assert [path.stat().st_mtime_ns for path in splits] == before


def test_a_file_that_is_gone_is_missed(named, tmp_path):
    corpus, data, options, file, _ = named
    before = contents(splits := corpora.prepare(corpus, data, tmp_path / "out", **options))
    file.unlink()
    with pytest.raises(UserError, match=file.name):
        corpora.prepare(corpus, data, tmp_path / "out", **options)
    assert contents(splits) == before


def test_what_a_member_was_trained_on_is_not_replaced_for_an_edited_file(named, tmp_path):
    corpus, data, options, file, other = named
    out = tmp_path / "out"
    corpora.prepare(corpus, data, out, **options)
    before = {path: path.read_bytes() for path in out.iterdir()}
    text = file.read_text()
    file.write_text(other)
    with pytest.raises(UserError) as error:
        corpora.prepare(corpus, data, out, trained_on_it="first", **options)
    assert str(file) in str(error.value) and str(data) not in str(error.value)
    assert {path: path.read_bytes() for path in before} == before
    file.write_text(text)
    corpora.prepare(corpus, data, out, trained_on_it="first", **options)
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("edited", [False, True])
def test_a_record_without_the_file_is_made_anew_unless_a_member_would_be_contradicted(
    named, tmp_path, edited
):
    """Records were once of folders alone, so they do not tell whether the file has changed."""
    corpus, data, options, file, other = named
    out = tmp_path / "out"
    before = contents(splits := corpora.prepare(corpus, data, out, **options))
    whole = (out / "prepared.json").read_text()
    record = json.loads(whole)
    record["data"] = record["data"][:1]
    (out / "prepared.json").write_text(json.dumps(record))
    if edited:
        file.write_text(other)
        with pytest.raises(UserError, match=file.name):
            corpora.prepare(corpus, data, out, trained_on_it="first", **options)
    else:
        corpora.prepare(corpus, data, out, trained_on_it="first", **options)
        assert (out / "prepared.json").read_text() == whole
    assert contents(splits) == before
