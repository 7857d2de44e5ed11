"""Checkpoints are brought whole, with consent, and without the token going anywhere it should not."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from sam3edge_export.checkpoint import read_record
from sam3edge_export.checkpoint.record import record_path
from sam3edge_export.download import FetchError, License, fetch_from_hub, fetch_from_s3, s3_client
from support.fake_hub import COMMIT, TOKEN, Hub, serve

WEIGHTS = bytes(range(256)) * 20_000  # 5 MB: several chunks
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A Hub with the repository that we fetch from."""
    with serve(Hub({"sam3.pt": WEIGHTS, "LICENSE": b"SAM License\nDo no harm.", "tokenizer.json": b"{}"})) as running:
        yield running


def agree(_: License) -> str | None:
    """Somebody who agrees to anything."""
    return "Ada"


def fetch(hub: Hub, folder: Path, token: str | None = TOKEN, **others: Any) -> Any:
    """Fetch from that Hub."""
    consent = others.pop("consent", agree)
    return fetch_from_hub(hub.repository, folder, token, consent, endpoint=hub.endpoint, **others)


def refuse(hub: Hub, folder: Path, reason: str, **others: Any) -> None:
    """Fetching must fail with that reason, a regular expression, and leave nothing under the final name."""
    with pytest.raises(FetchError, match=reason) as raised:
        fetch(hub, folder, **others)
    assert not (folder / "sam3.pt").exists()
    assert not record_path(folder / "sam3.pt").exists()
    assert TOKEN not in str(raised.value)


def test_weights_licence_and_tokenizer_are_brought_and_recorded(hub: Hub, tmp_path: Path) -> None:
    shown: list[License] = []
    steps: list[tuple[int, int]] = []
    record = fetch(
        hub,
        tmp_path / "weights",
        consent=lambda terms: shown.append(terms) or "Ada",  # type: ignore[func-returns-value]
        progress=lambda done, total: steps.append((done, total)),
    )
    path = tmp_path / "weights" / "sam3.pt"
    assert path.read_bytes() == WEIGHTS
    assert (path.parent / "sam3.LICENSE.txt").read_text() == "SAM License\nDo no harm."
    assert (path.parent / "tokenizer.json").read_bytes() == b"{}"
    assert steps[0] == (0, len(WEIGHTS))
    assert steps[-1] == (len(WEIGHTS), len(WEIGHTS))
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    (terms,) = shown
    assert terms.name == "SAM License"
    assert terms.text.endswith("Do no harm.")
    assert COMMIT in terms.url
    assert read_record(path) == record
    assert (record.sha256, record.size) == (DIGEST, len(WEIGHTS))
    assert record.source.endswith(f"/facebook/sam3/resolve/{COMMIT}/sam3.pt")
    assert record.consent is not None
    assert record.consent.accepted_by == "Ada"


def test_sam_3_1_is_brought_with_the_licence_beside_it_that_export_looks_for(tmp_path: Path) -> None:
    with serve(Hub({"sam3.1_multiplex.pt": WEIGHTS, "LICENSE": b"SAM License"}, "facebook/sam3.1")) as hub:
        record = fetch(hub, tmp_path)
    assert record.source.endswith(f"/facebook/sam3.1/resolve/{COMMIT}/sam3.1_multiplex.pt")
    assert (tmp_path / "sam3.1_multiplex.pt").read_bytes() == WEIGHTS
    assert (tmp_path / "sam3.1_multiplex.LICENSE.txt").read_text() == "SAM License"


def test_another_repository_is_refused_before_the_token_goes_anywhere(hub: Hub, tmp_path: Path) -> None:
    hub.repository = "somebody/sam3"
    refuse(hub, tmp_path, "expected one of facebook/sam3, facebook/sam3.1, or s3://bucket/key; got 'somebody/sam3'")
    assert not hub.seen


def test_the_token_reaches_the_hub_only(hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    fetch(hub, tmp_path)
    assert {role for role, *_ in hub.seen} == {"hub", "storage"}
    assert all(authorization == f"Bearer {TOKEN}" for role, _, authorization, _ in hub.seen if role == "hub")
    assert all(authorization is None for role, _, authorization, _ in hub.seen if role == "storage")
    assert TOKEN not in caplog.text
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 4
    assert all(TOKEN.encode() not in path.read_bytes() for path in written)


def test_what_is_here_is_not_brought_again(hub: Hub, tmp_path: Path) -> None:
    first = fetch(hub, tmp_path)
    hub.seen.clear()
    assert fetch(hub, tmp_path, consent=lambda _: "Somebody else") == first
    assert not [role for role, *_ in hub.seen if role == "storage"]


def test_another_file_under_the_name_is_not_overwritten(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "sam3.pt").write_bytes(b"mine")
    with pytest.raises(FetchError, match="already exists and is another file"):
        fetch(hub, tmp_path)
    assert (tmp_path / "sam3.pt").read_bytes() == b"mine"


def test_an_interrupted_fetch_goes_on_where_it_was(hub: Hub, tmp_path: Path) -> None:
    hub.stop_after = 3_000_000
    refuse(hub, tmp_path, "interrupted: .*run again to resume")
    (part,) = tmp_path.glob(".sam3.pt.*.part")
    came = part.stat().st_size
    assert 0 < came <= 3_000_000
    assert fetch(hub, tmp_path).sha256 == DIGEST
    assert (tmp_path / "sam3.pt").read_bytes() == WEIGHTS
    assert hub.seen[-2][3] == f"bytes={came}-"  # the last request is the tokenizer's
    assert not part.exists()


def test_a_storage_that_cannot_go_on_sends_all_again(hub: Hub, tmp_path: Path) -> None:
    hub.stop_after, hub.resumes = 3_000_000, False
    refuse(hub, tmp_path, "interrupted")
    assert fetch(hub, tmp_path).sha256 == DIGEST
    assert (tmp_path / "sam3.pt").read_bytes() == WEIGHTS


def test_wrong_content_is_removed(hub: Hub, tmp_path: Path) -> None:
    hub.announced = "0" * 64
    refuse(hub, tmp_path, "is not what its source announced.*was removed")
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize("token", [None, "", "  \n"])
def test_without_a_token_nothing_is_asked(hub: Hub, tmp_path: Path, token: str | None) -> None:
    refuse(hub, tmp_path, "put it into the environment as HF_TOKEN", token=token)
    assert not hub.seen


def test_a_token_that_the_hub_refuses(hub: Hub, tmp_path: Path) -> None:
    hub.accounts.clear()
    refuse(hub, tmp_path, "does not accept this token.*is HF_TOKEN still valid")


def test_an_account_without_access(hub: Hub, tmp_path: Path) -> None:
    hub.gated = True
    refuse(hub, tmp_path, "has no access to facebook/sam3 yet: agree to the licence at https")


def test_without_consent_nothing_is_brought(hub: Hub, tmp_path: Path) -> None:
    refuse(hub, tmp_path, "nobody agreed to the SAM License", consent=lambda _: None)
    assert "storage" not in {role for role, *_ in hub.seen}


def test_a_full_disk_is_noticed_before(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 10**6, 10**6))  # type: ignore[attr-defined]
    refuse(hub, tmp_path, r"sam3\.pt needs 0\.01 GB more in .*, where 0\.00 GB are free")
    assert "storage" not in {role for role, *_ in hub.seen}


def test_a_hub_that_is_not_there(hub: Hub, tmp_path: Path) -> None:
    hub.endpoint = "http://127.0.0.1:9"
    refuse(hub, tmp_path, "interrupted: .*run again")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an imitated S3 with one bucket, in which a checkpoint lies."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        made = s3_client()
        made.create_bucket(Bucket="mine", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        made.put_object(Bucket="mine", Key="models/sam3.pt", Body=WEIGHTS)
        yield made


URI = "s3://mine/models/sam3.pt"


def test_an_object_is_brought_and_recorded(client: Any, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    path = tmp_path / "weights" / "sam3.pt"
    record = fetch_from_s3(URI, path, client, DIGEST.upper(), progress=lambda done, total: steps.append((done, total)))
    assert path.read_bytes() == WEIGHTS
    assert read_record(path) == record
    assert (record.source, record.sha256, record.consent) == (URI, DIGEST, None)
    assert steps[-1] == (len(WEIGHTS), len(WEIGHTS))
    assert json.loads(record_path(path).read_text())["size"] == len(WEIGHTS)
    assert fetch_from_s3(URI, path, client, DIGEST) == record


def test_an_object_with_another_digest_is_removed(client: Any, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="is not what its source announced"):
        fetch_from_s3(URI, tmp_path / "sam3.pt", client, "0" * 64)
    assert not list(tmp_path.iterdir())


def test_the_digest_that_s3_keeps_is_held_against_the_file(client: Any, tmp_path: Path) -> None:
    client.put_object(Bucket="mine", Key="kept.pt", Body=WEIGHTS, ChecksumAlgorithm="SHA256")
    path = tmp_path / "sam3.pt"
    assert fetch_from_s3("s3://mine/kept.pt", path, client).sha256 == DIGEST
    path.write_bytes(b"mine")
    with pytest.raises(FetchError, match="already exists and is another file"):
        fetch_from_s3("s3://mine/kept.pt", path, client)


class Stumbling:
    """A client whose first download breaks off."""

    def __init__(self, client: Any, kept: int) -> None:
        self.client, self.kept = client, kept
        self.ranges: list[str | None] = []

    def head_object(self, **what: Any) -> Any:
        """As S3."""
        return self.client.head_object(**what)

    def get_object(self, **what: Any) -> Any:
        """As S3, but for the body of the first answer."""
        self.ranges.append(what.get("Range"))
        answer = self.client.get_object(**what)
        if len(self.ranges) == 1:
            answer["Body"] = Breaking(answer["Body"], self.kept)
        return answer


class Breaking:
    """A body that ends in an error of the connection."""

    def __init__(self, body: Any, kept: int) -> None:
        self.body, self.kept = body, kept

    def iter_chunks(self, size: int) -> Iterator[bytes]:
        """Some, then the error."""
        from botocore.exceptions import ReadTimeoutError

        yield self.body.read(self.kept)
        raise ReadTimeoutError(endpoint_url="https://mine.s3")

    def close(self) -> None:
        """As S3."""
        self.body.close()


def test_an_interrupted_object_goes_on_where_it_was(client: Any, tmp_path: Path) -> None:
    stumbling, path = Stumbling(client, kept=1234), tmp_path / "sam3.pt"
    with pytest.raises(FetchError, match=r"was interrupted: .*run again to resume"):
        fetch_from_s3(URI, path, stumbling)
    assert not path.exists()
    fetch_from_s3(URI, path, stumbling)
    assert path.read_bytes() == WEIGHTS
    assert stumbling.ranges == [None, "bytes=1234-"]


def test_an_object_that_changed_meanwhile_starts_anew(client: Any, tmp_path: Path) -> None:
    stumbling, path = Stumbling(client, kept=1234), tmp_path / "sam3.pt"
    with pytest.raises(FetchError, match="was interrupted"):
        fetch_from_s3(URI, path, stumbling)
    client.put_object(Bucket="mine", Key="models/sam3.pt", Body=WEIGHTS[::-1])
    fetch_from_s3(URI, path, stumbling)
    assert path.read_bytes() == WEIGHTS[::-1]
    assert stumbling.ranges == [None, None]


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("s3://mine/other.pt", "s3://mine/other.pt is not there"),
        ("s3://nobodys/sam3.pt", "is not there"),
        ("https://mine/sam3.pt", "expected the address of one object"),
        ("s3://mine", "expected the address of one object"),
        ("s3://mine/models/", "expected the address of one object"),
    ],
)
def test_what_is_no_object_is_refused(client: Any, tmp_path: Path, uri: str, reason: str) -> None:
    with pytest.raises(FetchError, match=reason):
        fetch_from_s3(uri, tmp_path / "sam3.pt", client)


def test_credentials_without_permission_are_told_what_they_need(tmp_path: Path) -> None:
    from botocore.stub import Stubber

    client = boto3.client("s3", "eu-central-1", aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(client) as stubber:
        stubber.add_client_error("head_object", "403", "Forbidden", 403)
        with pytest.raises(FetchError, match=r"may not read s3://mine/sam3.pt; they need s3:GetObject"):
            fetch_from_s3("s3://mine/sam3.pt", tmp_path / "sam3.pt", client)


def test_without_boto3_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(FetchError, match=r"needs the package boto3; install sam3edge\[export\]"):
        s3_client()
