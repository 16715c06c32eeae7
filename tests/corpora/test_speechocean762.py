"""speechocean762's layout: Kaldi tables and WAVE/."""

from __future__ import annotations

import pytest

from acorl_sb import corpora
from acorl_sb.corpora import speechocean762
from acorl_sb.utils.errors import UserError


@pytest.fixture
def root(audio_tree):
    names = {"train": ["0001", "0002"], "test": ["0003"]}
    files = [f"WAVE/SPEAKER{s}/{s}{k}.ogg" for part in names.values() for s in part for k in "12"]
    root = audio_tree("so", files)
    for split, speakers in names.items():
        (root / split).mkdir()
        keys = [(s, f"{s}{k}") for s in speakers for k in "12"]
        lines = {
            "wav.scp": [f"{u}\tWAVE/SPEAKER{s}/{u}.ogg" for s, u in keys],
            "utt2spk": [f"{u}\t{s}" for s, u in keys],
            "spk2gender": [f"{s}\tf" for s in speakers],
        }
        for name, rows in lines.items():
            (root / split / name).write_text("\n".join(rows) + "\n")
    return root


def test_tables_become_utterances(root):
    found = speechocean762.collect(root)
    assert [(u.id, u.spk_id, u.session, u.gender) for u in found.train] == [
        ("00011", "0001", "", "f"),
        ("00012", "0001", "", "f"),
        ("00021", "0002", "", "f"),
        ("00022", "0002", "", "f"),
    ]
    assert {u.spk_id for u in found.test} == {"0003"} and not found.dev
    assert found.train[0].wav == str(root / "WAVE" / "SPEAKER0001" / "00011.ogg")


def test_converted_audio_is_found_and_genders_may_be_absent(root):
    table = root / "train" / "wav.scp"
    table.write_text(table.read_text().replace(".ogg", ".WAV"))
    (root / "train" / "spk2gender").unlink()
    found = speechocean762.collect(root).train
    assert found[0].wav == str(root / "WAVE" / "SPEAKER0001" / "00011.ogg")
    assert {u.gender for u in found} == {""}


def test_ages_are_further_columns(root):
    (root / "train" / "spk2age").write_text("0001 9\n0002 31\n")
    found = speechocean762.collect(root)
    assert [u.attributes for u in found.train] == 2 * [{"age": "9"}] + 2 * [{"age": "31"}]
    assert not found.test[0].attributes


def test_faults_are_named(root):
    table = root / "train" / "utt2spk"
    table.write_text("00011\t0001\n00012\n")
    with pytest.raises(UserError, match=r"utt2spk line 2.*'00012'"):
        speechocean762.collect(root)
    table.write_text("00011\t0001\n00012\t0001\n00011\t0002\n")
    with pytest.raises(UserError, match=r"utt2spk line 3.*'00011'.*line 1"):
        speechocean762.collect(root)
    table.write_text("00011\t0001\n")
    with pytest.raises(UserError, match="train/utt2spk"):
        speechocean762.collect(root)
    table.write_text("")
    with pytest.raises(UserError, match="train/utt2spk"):
        speechocean762.collect(root)
    table.unlink()
    with pytest.raises(UserError, match="train/utt2spk"):
        speechocean762.collect(root)


def test_a_missing_recording_is_named(root):
    (root / "WAVE" / "SPEAKER0003" / "00031.ogg").unlink()
    with pytest.raises(UserError, match=r"SPEAKER0003/00031.ogg"):
        speechocean762.collect(root)


def test_the_real_corpus(real_data, tmp_path):
    splits = corpora.prepare("speechocean762", real_data / "speechocean762", tmp_path)
    parts = [corpora.read_manifest(path) for path in splits[:3]]
    assert [len({u.spk_id for u in part}) for part in parts] == [105, 20, 63]
    assert {u.gender for part in parts for u in part} == {"m", "f"}
