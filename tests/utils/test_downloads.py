"""Downloads: only by https, whole or absent, and the file that was meant."""

from __future__ import annotations

import hashlib
import io
import urllib.error
import urllib.request

import pytest

from acorl_sb.utils import downloads
from acorl_sb.utils.errors import UserError

URL = "https://example.org/list.txt"
CONTENT = b"1 a b\n0 a c\n"


@pytest.fixture()
def site(monkeypatch):
    """A site that holds ``CONTENT`` under every name; the list grows by what is asked for."""
    asked = []
    monkeypatch.setattr(downloads, "open_url", lambda url: asked.append(url) or io.BytesIO(CONTENT))
    return asked


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_a_file_of_the_right_hash_is_kept(site, tmp_path, algorithm):
    digest = hashlib.new(algorithm, CONTENT).hexdigest()
    downloads.download(URL, tmp_path / "new" / "list.txt", algorithm, digest.upper())
    assert (tmp_path / "new" / "list.txt").read_bytes() == CONTENT and site == [URL]


def test_a_file_of_another_hash_leaves_nothing(site, tmp_path):
    with pytest.raises(UserError, match=URL):
        downloads.download(URL, tmp_path / "list.txt", "sha256", "0" * 64)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "url", ["http://example.org/a", "ftp://example.org/a", "file:///etc/hosts"]
)
def test_only_https_is_asked(site, tmp_path, url):
    with pytest.raises(UserError):
        downloads.download(url, tmp_path / "a")
    assert not site and not list(tmp_path.iterdir())


def test_a_redirect_to_http_is_not_followed():
    handler = downloads._HttpsRedirects()
    request = urllib.request.Request(URL)
    with pytest.raises(UserError):
        handler.redirect_request(request, None, 302, "Found", {}, "http://example.org/list.txt")
    onward = handler.redirect_request(request, None, 302, "Found", {}, "https://example.net/a")
    assert onward.full_url == "https://example.net/a"


def test_a_site_that_is_not_there_is_said(monkeypatch, tmp_path):
    def broken(url):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(downloads, "open_url", broken)
    with pytest.raises(UserError):
        downloads.download(URL, tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_the_hub_is_asked_for_the_revision(monkeypatch, tmp_path):
    import huggingface_hub

    asked = {}

    def snapshot(source, **options):
        asked.update(options, source=source)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert downloads.hub_folder("a/b", "v1", ["x.yaml"], "references[0]") == tmp_path
    assert asked == {"source": "a/b", "revision": "v1", "allow_patterns": ["x.yaml"]}
