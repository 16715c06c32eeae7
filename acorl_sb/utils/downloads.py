"""Downloads that are what they should be: https only, whole or absent, checked against a hash.

pooch and ``torch.hub`` check a hash too, but follow a page that sends them on to plain http.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import shutil
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import atomic_path

logger = logging.getLogger(__name__)


def download(url: str, path: str | Path, algorithm: str = "", digest: str = "") -> None:
    """Download ``url`` to ``path``; ``digest`` is the hash by ``algorithm`` that it must have.

    Raises ``UserError`` for another scheme than https, also of a page that the server sends on
    to, for a download that fails, and for another hash; ``path`` is then as it was.
    """
    _require_https(url)
    logger.info("downloading %s", url)
    with atomic_path(path) as temporary:
        try:
            with open_url(url) as response, open(temporary, "wb") as file:
                shutil.copyfileobj(response, file)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise UserError(
                f"{url}: cannot be downloaded ({getattr(error, 'reason', error)}); "
                "download it by hand and name its path"
            ) from None
        if digest:
            check_hash(temporary, algorithm, digest, url)


def open_url(url: str):
    """The response of an https server; urllib checks its certificate."""
    return urllib.request.build_opener(_HttpsRedirects).open(url, timeout=60)


def check_hash(path: str | Path, algorithm: str, digest: str, name: str = "") -> None:
    """``UserError`` unless the file has the hash ``digest`` (hexadecimal) by ``algorithm``."""
    try:
        found = hashlib.new(algorithm, usedforsecurity=False)
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                found.update(block)
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror})") from None
    if found.hexdigest() != digest.strip().lower():
        raise UserError(
            f"{name or path}: its {algorithm} is {found.hexdigest()}, not {digest}: it is damaged, "
            "or not the file that was meant"
        )


def hub_folder(source: str, revision: object, files: Sequence[str], where: str) -> Path:
    """The local folder of ``files`` of a repository on the Hugging Face hub.

    ``revision`` is a commit, tag or branch; None: the default branch, whatever it holds by then.
    """
    from huggingface_hub import snapshot_download

    revision = None if revision is None else str(revision)
    try:
        return Path(snapshot_download(source, revision=revision, allow_patterns=list(files)))
    except Exception as error:  # of the hub's own kinds, which differ by version
        reason = " ".join(str(error).split())[:200]
        at = "" if revision is None else f" at the revision {revision!r}"
        raise UserError(
            f"{where}: {source!r} is no folder here, and the Hugging Face hub does not give it{at} "
            f"({reason})"
        ) from None


class _HttpsRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req, fp, code, msg, headers, newurl):
        _require_https(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _require_https(url: str) -> None:
    if urlsplit(url).scheme != "https":
        raise UserError(f"{url}: only https is downloaded from; take such a URL, or a file")
