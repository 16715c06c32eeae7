"""VoxCeleb as people have it on disk; official lists; test speakers kept out of training."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import urllib.error

import pytest

from acorl_sb import corpora
from acorl_sb.corpora import listing, voxceleb
from acorl_sb.data.protocols import PROTOCOLS
from acorl_sb.data.trials import read_trials
from acorl_sb.utils import downloads
from acorl_sb.utils.errors import UserError


def files(folder, speakers, extension="wav"):
    return [
        f"{folder}/id{s:05d}/v{v}/{k:05d}.{extension}"
        for s in speakers
        for v in (1, 2)
        for k in (1, 2)
    ]


VOX1 = files("vox1/dev/wav", [10001, 10002, 10003]) + files("vox1/test/wav", [10270, 10271])
O_LIST = [
    "1 id10270/v1/00001.wav id10270/v2/00001.wav",
    "0 id10270/v1/00001.wav id10271/v2/00002.wav",
    "1 id10271/v1/00001.wav id10271/v2/00002.wav",
]
H_LIST = [
    "0 id10001/v1/00001.wav id10270/v1/00001.wav",
    "1 id10001/v1/00001.wav id10001/v2/00001.wav",
]


def put_list(root, lines, name="veri_test2.txt"):
    path = root / "meta" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def root(audio_tree):
    root = audio_tree("data", VOX1 + files("vox2/dev/aac", [12, 13, 14, 15], "flac"))
    put_list(root, O_LIST)
    (root / "meta" / "vox1_meta.csv").write_text(
        "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\nid10001\tA_B\tm\tIreland\tdev\n"
    )
    (root / "meta" / "vox2_meta.csv").write_text(
        "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \nid00012 ,n000012 ,f ,dev \n"
    )
    return root


def test_test_speakers_are_those_of_the_list(root, tmp_path):
    found = voxceleb.collect(root, tmp_path / "out")
    assert {u.spk_id for u in found.train} == {
        *("id00012", "id00013", "id00014", "id00015", "id10001", "id10002", "id10003")
    }
    assert len(found.train) == 28
    assert [u.id for u in found.test] == [
        "id10270/v1/00001.wav",
        "id10270/v2/00001.wav",
        "id10271/v1/00001.wav",
        "id10271/v2/00002.wav",
    ]
    first = found.train[0]
    assert (first.id, first.session, first.gender) == ("id00012/v1/00001.wav", "v1", "f")
    assert first.wav == str(root / "vox2/dev/aac/id00012/v1/00001.flac")
    assert {u.gender for u in found.train if u.spk_id == "id10001"} == {"m"}
    assert not found.dev and not found.more_trials


def test_official_trials_come_out_as_they_are(root, tmp_path):
    splits = corpora.prepare("voxceleb", root, tmp_path / "out")
    assert splits.test_trials.read_text().splitlines() == O_LIST
    speakers = [{u.spk_id for u in corpora.read_manifest(path)} for path in splits[:3]]
    assert [len(part) for part in speakers] == [5, 2, 2]
    assert read_trials(splits.dev_trials).labels.sum() == 8  # across videos


def test_several_lists_are_written_side_by_side(root, tmp_path):
    put_list(root, H_LIST, "list_test_hard2.txt")
    mine = put_list(root, ["1 id10002/v1/00001.wav id10002/v2/00001.wav"], "mine.txt")
    splits = corpora.prepare("voxceleb", root, tmp_path / "out", trials=["O", "H", str(mine)])
    assert splits.test_trials.read_text().splitlines() == O_LIST
    assert (tmp_path / "out" / "test_trials_H.txt").read_text().splitlines() == H_LIST
    assert (tmp_path / "out" / "test_trials_mine.txt").is_file()
    train = {u.spk_id for u in corpora.read_manifest(splits.train)}
    assert not train & {"id10001", "id10002", "id10270", "id10271"}


@pytest.mark.parametrize(
    "names", [("a/list.txt", "b/list.txt"), ("O", "a/O.txt"), ("https://a.org/l.txt", "b/l.txt")]
)
def test_two_lists_of_one_name_are_refused_by_both(root, tmp_path, names):
    for name in names:
        if "/" in name and "://" not in name:
            (root / name).parent.mkdir(exist_ok=True)
            put_list(root, H_LIST, f"../{name}")
    trials = [str(root / name) if name[1:2] == "/" else name for name in names]
    with pytest.raises(UserError) as error:
        corpora.prepare("voxceleb", root, tmp_path / "out", trials=trials)
    assert all(name in str(error.value) for name in trials)
    assert not (tmp_path / "out").exists()


def test_no_list_at_all_is_refused(root, tmp_path):
    with pytest.raises(UserError, match="trials"):
        voxceleb.collect(root, tmp_path / "out", trials=[])


def test_without_lists_speakers_are_held_out(root, tmp_path):
    found = voxceleb.collect(root, tmp_path / "out", trials=None)
    assert len(found.train) == 36 and not found.test


def test_one_speaker_each_way_is_refused_unless_allowed(audio_tree, tmp_path, caplog):
    root = audio_tree("data", VOX1)
    put_list(
        root,
        [*O_LIST, *H_LIST, *(f"1 id{s}/v1/00001.wav id{s}/v2/00001.wav" for s in (10002, 10003))],
    )
    with pytest.raises(UserError):
        corpora.prepare("voxceleb", root, tmp_path / "out")
    options = {"test_speakers_in_training": True, "dev_speakers": 2}
    splits = corpora.prepare("voxceleb", root, tmp_path / "out", **options)
    train, _, test = (corpora.read_manifest(path) for path in splits[:3])
    assert {u.spk_id for u in train} & {u.spk_id for u in test}
    assert not {u.id for u in train} & {u.id for u in test}
    caplog.clear()
    corpora.prepare("voxceleb", root, tmp_path / "out", **options)
    assert "allowed by the settings" in caplog.text


def test_the_lossless_file_is_preferred(audio_tree, tmp_path):
    root = audio_tree("data", files("a", [1, 2], "ogg") + files("b", [1], "flac") + files("c", [1]))
    found = voxceleb.collect(root, tmp_path / "out", trials=None).train
    assert len(found) == 8
    assert {u.wav.split("/")[-4] for u in found if u.spk_id == "id00001"} == {"c"}
    assert {u.wav.split("/")[-4] for u in found if u.spk_id == "id00002"} == {"a"}


def test_the_data_folder_may_be_the_folder_of_speakers(audio_tree, tmp_path):
    root = audio_tree("data", files("wav", [1, 2]))
    assert voxceleb.collect(root / "wav", tmp_path, None) == voxceleb.collect(root, tmp_path, None)


@pytest.mark.parametrize(
    ("names", "where"),
    [
        (["spk1/v/1.wav"], None),
        (["wav/id10001/00001.wav"], "id10001/00001.wav"),
    ],
)
def test_other_layouts_are_named(audio_tree, tmp_path, names, where):
    with pytest.raises(UserError, match=where):
        voxceleb.collect(audio_tree("data", names), tmp_path, trials=None)


def test_trials_of_unknown_utterances_are_named(root, tmp_path):
    put_list(root, [*O_LIST, "0 id10270/v1/00001.wav id10999/v1/00001.wav"])
    with pytest.raises(UserError, match=r"id10999/v1/00001.wav"):
        voxceleb.collect(root, tmp_path)


@pytest.fixture()
def site(root, monkeypatch):
    """The official site, holding the list O that lay in the data folder; its hash is known."""
    content = (root / "meta" / "veri_test2.txt").read_bytes()
    (root / "meta" / "veri_test2.txt").unlink()

    def open_url(url):
        if url.endswith("/veri_test2.txt"):
            return io.BytesIO(content)
        raise urllib.error.URLError("not there")

    monkeypatch.setattr(downloads, "open_url", open_url)
    known = dataclasses.replace(PROTOCOLS["VoxCeleb1-O"], md5=hashlib.md5(content).hexdigest())
    monkeypatch.setitem(PROTOCOLS, "VoxCeleb1-O", known)
    return content


def test_lists_can_be_downloaded(root, site, tmp_path):
    official = voxceleb.collect(root, tmp_path / "a").test
    url = "https://example.org/veri_test2.txt"
    digest = hashlib.sha256(site).hexdigest()
    for number, trials in enumerate((url, f"{url}#sha256={digest}")):
        assert voxceleb.collect(root, tmp_path / str(number), trials=trials).test == official
        (kept,) = (tmp_path / str(number)).glob("veri_test2*.txt")
        assert kept.read_bytes() == site
    with pytest.raises(UserError, match=r"list_test_all2.txt"):
        voxceleb.collect(root, tmp_path / "a", trials="E")
    with pytest.raises(UserError, match=r"none.txt"):
        voxceleb.collect(root, tmp_path / "a", trials="none.txt")


def test_lists_of_one_name_from_several_sites_are_each_ones_own(root, tmp_path, monkeypatch):
    sites = {"https://a.org/test_trials.txt": O_LIST, "https://b.org/test_trials.txt": H_LIST}
    asked = []

    def open_url(url):
        asked.append(url)
        return io.BytesIO("\n".join(sites[url]).encode())

    monkeypatch.setattr(downloads, "open_url", open_url)
    for url, lines in [*sites.items()] * 2:
        splits = corpora.prepare("voxceleb", root, tmp_path / "out", trials=url, dev_speakers=2)
        assert splits.test_trials.read_text().splitlines() == lines
    assert asked == [*sites]  # what is there already is not downloaded again


@pytest.mark.parametrize("key", ["more_training", "more_unlabelled"])
def test_it_is_a_further_corpus_without_its_trials(root, audio_tree, tmp_path, key):
    first = audio_tree("first", [f"spk{s}/{k}.wav" for s in range(9) for k in range(2)])
    splits, alone = (
        corpora.prepare("folder", first, tmp_path / name, **options)
        for name, options in (("out", {key: {"voxceleb": root}}), ("alone", {}))
    )
    train, own = (corpora.read_manifest(paths.train) for paths in (splits, alone))
    added = {u.id: u for u in train[len(own) :]}
    whole = {u.id: u for u in voxceleb.collect(root, tmp_path, trials=None).train}
    assert added.keys() == {f"voxceleb-{name}" for name in whole} and len(whole) == 36
    assert all(added[f"voxceleb-{name}"].wav == u.wav for name, u in whole.items())
    assert [u.id for u in train[: len(own)]] == [u.id for u in own]
    assert [p.read_bytes() for p in splits[1:]] == [p.read_bytes() for p in alone[1:]]


def test_another_list_than_the_official_one_is_refused(root, site, tmp_path, monkeypatch):
    known = dataclasses.replace(PROTOCOLS["VoxCeleb1-O"], md5="0" * 32)
    monkeypatch.setitem(PROTOCOLS, "VoxCeleb1-O", known)
    with pytest.raises(UserError):
        voxceleb.collect(root, tmp_path / "a")
    assert not (tmp_path / "a" / "veri_test2.txt").exists()
    (tmp_path / "a").mkdir(exist_ok=True)
    (tmp_path / "a" / "veri_test2.txt").write_bytes(site)  # as if downloaded before
    with pytest.raises(UserError):
        voxceleb.collect(root, tmp_path / "a")


@pytest.mark.parametrize(
    "trials",
    [
        "http://example.org/veri_test2.txt",
        "file:///etc/hostname",
        f"https://example.org/veri_test2.txt#sha256={'0' * 64}",
    ],
)
def test_lists_from_elsewhere_come_by_https_and_as_meant(root, site, tmp_path, trials):
    with pytest.raises(UserError):
        voxceleb.collect(root, tmp_path / "a", trials=trials)


def test_an_interrupted_preparation_goes_on_where_it_stopped(root, tmp_path, monkeypatch):
    read = []
    original = listing.read_header

    def interrupted(path):
        if len(read) == 20:
            raise KeyboardInterrupt
        read.append(path)
        return original(path)

    monkeypatch.setattr(listing, "_BLOCK", 5)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    monkeypatch.setattr(listing, "read_header", interrupted)
    with pytest.raises(KeyboardInterrupt):
        voxceleb.collect(root, tmp_path / "out")
    done = (tmp_path / "out" / "headers.tsv").read_text().split()
    assert len(done) == 20 * 6

    # The last line was cut off, and one file has changed since.
    journal = tmp_path / "out" / "headers.tsv"
    journal.write_text(journal.read_text()[:-3])
    audio = root / "vox2/dev/aac/id00012/v1/00001.flac"
    audio.write_bytes(audio.read_bytes() + b"tail")
    read.clear()
    monkeypatch.setattr(listing, "read_header", lambda path: read.append(path) or original(path))
    found = voxceleb.collect(root, tmp_path / "out")
    assert len(read) == 32 - 20 + 2 and str(audio) in read
    read.clear()
    again = voxceleb.collect(root, tmp_path / "out")
    assert (again.train, again.test) == (found.train, found.test) and not read
