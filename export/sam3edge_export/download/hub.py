"""SAM 3 and SAM 3.1 from the Hugging Face Hub, where they are behind a licence.

Two agreements are needed: with the Hub, which gives the account of the token access to the repository, and here, by
whoever runs this, which is recorded beside the file. The token goes to the Hub only: not to the storage that the Hub
redirects to, nor into a message, a log or the record.

Why not ``hf_hub_download`` (version 2.4, tried against ``tests/support/fake_hub.py``): it keeps the token from other
hosts, but accepts content whose SHA-256 is not the one that the Hub announced, loses what arrived of a chunk of 10 MB,
and leaves a folder of its own beside the weights. The rest of that library is used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,  # the base of all errors of its HTTP library, httpx or httpx2
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from sam3edge_export.checkpoint.record import Consent, FetchRecord
from sam3edge_export.download.resumable import (
    FetchError,
    Progress,
    arrived,
    gather,
    is_here,
    land,
    no_progress,
    part_path,
    remember,
    require_space,
)

RELEASES = {"facebook/sam3": "sam3.pt", "facebook/sam3.1": "sam3.1_multiplex.pt"}
"""Meta's repositories, and the file in each that holds the weights."""

TOKENIZER = "tokenizer.json"
LICENSE = "LICENSE"
CHUNK = 1 << 20
TIMEOUT = 60.0
"""Seconds without a byte after which an attempt ends."""


@dataclass(frozen=True, slots=True)
class License:
    """What has to be agreed to.

    Attributes:
        name: what it is called.
        url: its address, in the version that belongs to the weights.
        text: the whole of it; empty where the repository has none.
    """

    name: str
    url: str
    text: str


AskConsent = Callable[[License], str | None]
"""Shows a licence, and says who agrees to it; None when nobody does."""


@dataclass(frozen=True, slots=True)
class _Remote:
    """One file of the repository, at one commit."""

    name: str
    url: str
    size: int
    sha256: str | None
    git_blob: str | None


def fetch_from_hub(
    repository: str,
    target: Path,
    token: str | None,
    consent: AskConsent,
    progress: Progress = no_progress,
    endpoint: str | None = None,
) -> FetchRecord:
    """Bring weights, their licence and their tokenizer into the folder ``target``; resumes after an interruption.

    Args:
        repository: one of ``RELEASES``.
        token: of a Hub account that has been given access.
        consent: asked before anything but the licence is brought.
        progress: told of the weights.
        endpoint: address of the Hub; the usual one when None.

    Returns:
        The record, now beside the weights.

    Raises:
        FetchError: no such repository, token, access, consent or room; interrupted, or not what was announced.
    """
    name = RELEASES.get(repository)
    if name is None:
        raise FetchError(f"expected one of {', '.join(RELEASES)}, or s3://bucket/key; got {repository!r}")
    token = (token or "").strip()
    if not token:
        raise FetchError(
            f"{repository} on the Hub is behind a licence: ask for access at https://huggingface.co/{repository}, make "
            "a token at https://huggingface.co/settings/tokens, and put it into the environment as HF_TOKEN"
        )
    with _explained(repository, token):
        files, commit = _list(repository, token, endpoint)
        weights = files.get(name)
        if weights is None or weights.sha256 is None:
            raise FetchError(
                f"{repository} at {commit} has no {name} with a SHA-256; expected the weights of the model"
            )
        text = _read(files[LICENSE], token) if LICENSE in files else b""
        address = f"https://huggingface.co/{repository}/blob/{commit}/{LICENSE}"
        agreed = _ask(consent, License("SAM License", address, text.decode("utf-8", "replace")))
        path = target / name
        if not is_here(path, weights.sha256):
            _bring(weights, path, token, progress)
        if text:
            path.with_suffix(".LICENSE.txt").write_bytes(text)
        if TOKENIZER in files:
            (target / TOKENIZER).write_bytes(_read(files[TOKENIZER], token))
    return remember(path, weights.url, weights.sha256, agreed)


def _list(repository: str, token: str, endpoint: str | None) -> tuple[dict[str, _Remote], str]:
    info = HfApi(endpoint=endpoint, token=token).model_info(repository, files_metadata=True, timeout=TIMEOUT)
    commit = str(info.sha)
    files = {}
    for sibling in info.siblings or []:
        url = hf_hub_url(repository, sibling.rfilename, revision=commit, endpoint=endpoint)
        sha256 = sibling.lfs.sha256 if sibling.lfs is not None else None
        files[sibling.rfilename] = _Remote(sibling.rfilename, url, int(sibling.size or 0), sha256, sibling.blob_id)
    return files, commit


def _ask(consent: AskConsent, terms: License) -> Consent:
    who = consent(terms)
    if not who:
        raise FetchError(f"nobody agreed to the {terms.name} ({terms.url}); nothing was fetched")
    now = datetime.now(timezone.utc)
    return Consent(license=terms.name, url=terms.url, accepted_by=who, accepted_at=now)


def _bring(remote: _Remote, path: Path, token: str, progress: Progress) -> None:
    assert remote.sha256 is not None
    part = part_path(path, remote.sha256)
    require_space(path, remote.size - arrived(part))
    if arrived(part) < remote.size:
        with _stream(remote, token, arrived(part)) as (start, chunks):
            if start == 0:  # storage that cannot continue in the middle sends all of it again
                part.unlink(missing_ok=True)
            gather(part, chunks, remote.size, progress)
    land(part, path, remote.size, remote.sha256)


def _read(remote: _Remote, token: str) -> bytes:
    """A small file, checked."""
    with _stream(remote, token, 0) as (_, chunks):
        content = b"".join(chunks)
    if remote.sha256 is not None:
        right = hashlib.sha256(content).hexdigest() == remote.sha256
    else:
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)  # as git names its content
        right = blob.hexdigest() == remote.git_blob
    if not right:
        raise FetchError(f"{remote.name} is not what the Hub announced; run again")
    return content


@contextmanager
def _stream(remote: _Remote, token: str, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
    """Open a file from byte ``start`` on; says where it really starts. A redirection to another host, as to the Hub's
    storage, is followed without the token."""
    headers = build_hf_headers(token=token)
    if start:
        headers["Range"] = f"bytes={start}-"
    headers["Accept-Encoding"] = "identity"
    opened = get_session().stream("GET", remote.url, headers=headers, follow_redirects=True, timeout=TIMEOUT)
    with opened as response:
        hf_raise_for_status(response)
        yield start if response.status_code == 206 else 0, response.iter_bytes(CHUNK)


@contextmanager
def _explained(repository: str, token: str) -> Iterator[None]:
    """Errors of the Hub and of the connection, in words that say what to do."""
    refused = f"the Hub does not accept this token for {repository}; is HF_TOKEN still valid?"
    try:
        yield
    except GatedRepoError as error:
        raise FetchError(
            f"the account of this token has no access to {repository} yet: agree to the licence at "
            f"https://huggingface.co/{repository} and wait until access is granted"
        ) from error
    except RepositoryNotFoundError as error:
        raise FetchError(refused) from error
    except OfflineModeIsEnabled as error:
        raise FetchError("HF_HUB_OFFLINE is set in the environment; unset it to fetch from the Hub") from error
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "an error")
        if status in (401, 403):
            raise FetchError(refused) from error
        raise FetchError(f"the Hub answered {status}: {_without(token, error)}; try again later") from error
    except HTTPError as error:
        raise FetchError(f"interrupted: {_without(token, error)}; run again to resume") from error


def _without(token: str, error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].replace(token, "***")
