"""Common Voice's accounts: split by speaker, languages on all sides, impostors of one language."""

from __future__ import annotations

import pytest

from acorl_sb import corpora
from acorl_sb.corpora import commonvoice
from acorl_sb.utils.errors import UserError

FILES = [
    f"{part}/{language}__{first}{number:07x}/{session}/{clip}.wav"
    for part, first, sessions in (("one", "0", "0"), ("several", "a", "01"))
    for language in ("xx", "yy")
    for number in range(8)
    for session in sessions
    for clip in (11, 12)
]


@pytest.fixture
def root(audio_tree):
    folder = audio_tree("CommonVoice", FILES)
    rows = ["xx__00000000,xx,female,twenties,1", "yy__a0000001,yy,male,,2"]
    (folder / "speakers.csv").write_text("\n".join(["speaker,language,gender,age,sessions", *rows]))
    return folder


def speakers(part):
    return {u.spk_id for u in part}


def test_speakers_are_split_and_every_language_is_on_every_side(root):
    found = commonvoice.collect(root)
    parts = [speakers(p) for p in (found.train, found.dev, found.test)]
    assert [len(p) for p in parts] == [8, 12, 12]
    assert len(set.union(*parts)) == 32
    for part in parts:
        assert sum(name.startswith("xx") for name in part) == len(part) / 2
    assert all(len({u.session for u in found.train if u.spk_id == s}) == 1 for s in parts[0])
    genders = {u.spk_id: u.gender for p in (found.train, found.dev, found.test) for u in p}
    assert genders["xx__00000000"] == "f" and genders["yy__a0000001"] == "m"
    known = {u.spk_id: u.attributes for p in (found.train, found.dev, found.test) for u in p}
    assert known["xx__00000000"] == {"language": "xx", "age": "twenties"}
    assert known["yy__a0000001"] == {"language": "yy"} and not known["xx__00000001"]
    assert commonvoice.collect(root.parent) == found


def test_impostors_speak_the_same_language_and_targets_change_the_session(root, tmp_path):
    splits = corpora.prepare("commonvoice", root, tmp_path / "out", nontargets_per_target=2.0)
    utterances = {u.id: u for u in corpora.read_manifest(splits.test)}
    found = {True: 0, False: 0}
    for line in splits.test_trials.read_text().splitlines():
        label, *names = line.split()
        a, b = (utterances[name] for name in names)
        found[label == "1"] += 1
        if label == "1":
            assert a.spk_id == b.spk_id and a.session != b.session
        else:
            assert a.spk_id != b.spk_id and a.spk_id[:2] == b.spk_id[:2]
    assert found == {True: 8 * 4, False: 2 * 8 * 4}


def test_the_dropped_are_left_out(root, tmp_path):
    (tmp_path / "dropped.txt").write_text("# a comment\nxx__00000003  # why\n\nyy__a0000002\n")
    found = commonvoice.collect(root, str(tmp_path / "dropped.txt"))
    left = speakers([*found.train, *found.dev, *found.test])
    assert len(left) == 30 and not left & {"xx__00000003", "yy__a0000002"}


def test_what_is_wrong_is_named(root, audio_tree, tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.txt"):
        commonvoice.collect(root, str(tmp_path / "nowhere.txt"))
    with pytest.raises(UserError, match=r"speakers\.csv"):
        commonvoice.collect(audio_tree("other", FILES[:2]))
    (root / "one" / "zz__1").mkdir()
    (root / "one" / "zz__1" / "clip.wav").write_bytes(b"")
    with pytest.raises(UserError, match=r"zz__1"):
        commonvoice.collect(root)


@pytest.mark.parametrize(
    "text", ["speaker,gender\nxx__00000000,fé\n", 'speaker,gender\n"' + "a" * 200_000]
)
def test_tables_of_another_form_are_named_with_the_line(root, text):
    (root / "speakers.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"speakers\.csv"):
        commonvoice.collect(root)


def test_a_list_in_another_encoding_is_named_with_the_line(root, tmp_path):
    (tmp_path / "dropped.txt").write_bytes("xx__00000003\nyy__a0000002 # é\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"dropped\.txt line 2"):
        commonvoice.collect(root, str(tmp_path / "dropped.txt"))


def test_tables_may_begin_with_a_byte_order_mark(root, tmp_path):
    found = commonvoice.collect(root)
    for path in (root / "speakers.csv", tmp_path / "dropped.txt"):
        text = path.read_text() if path.exists() else "xx__00000003\n"
        path.write_text(text, encoding="utf-8-sig")
    assert commonvoice.collect(root) == found
    left = commonvoice.collect(root, str(tmp_path / "dropped.txt"))
    assert "xx__00000003" not in speakers([*left.train, *left.dev, *left.test])


def test_the_real_corpus(real_data):
    found = commonvoice.collect(real_data / "CommonVoice")
    parts = [speakers(p) for p in (found.train, found.dev, found.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 121 + 486
    assert sum(len(p) for p in (found.train, found.dev, found.test)) == 708 + 1894
