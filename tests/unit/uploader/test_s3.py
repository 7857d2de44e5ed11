"""S3's REST interface, against a server that checks every signature and checksum and fails as it is told."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import pytest

from sam3edge.core.errors import SettingsError, UploadError
from sam3edge.uploader.credentials import EARLY, TokenExchange
from sam3edge.uploader.pace import Pace
from sam3edge.uploader.s3 import S3Bucket, address_of
from support.fake_s3 import SECRET, TOKEN, FakeS3, fake_s3

KEY = "hard-examples/line-7/2026/01/02/a b+ü/frame.jpg"
PARTS = (b"x" * 300, b"y" * 200, b"z")


@dataclass
class Rig:
    s3: FakeS3
    exchange: TokenExchange
    bucket: S3Bucket
    spent: list[int]

    def in_parts(self) -> None:
        upload = self.bucket.begin(KEY, "image/jpeg")
        parts = [self.bucket.put_part(KEY, upload, number, body) for number, body in enumerate(PARTS, 1)]
        self.bucket.complete(KEY, upload, parts)


def open_rig(s3: FakeS3, region: str = "", bucket: str = "") -> Rig:
    spent: list[int] = []
    exchange = TokenExchange(s3.exchange, TOKEN)
    pace = Pace(0, lambda: 0.0, lambda seconds: None)
    address = address_of(bucket or s3.bucket, region or s3.region, s3.url)
    return Rig(s3, exchange, S3Bucket(address, exchange.credentials, exchange.forget, pace, spent.append), spent)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with fake_s3() as s3:
        one = open_rig(s3)
        yield one
        one.bucket.close()
        one.exchange.close()


def test_an_object_arrives_and_is_confirmed(rig: Rig) -> None:
    rig.bucket.put(KEY, b"pixels", "image/jpeg")
    assert rig.s3.objects == {KEY: b"pixels"}
    assert rig.s3.types[KEY] == "image/jpeg"
    assert sum(rig.spent) == 6


def test_so_does_one_in_parts(rig: Rig) -> None:
    rig.in_parts()
    assert rig.s3.objects == {KEY: b"".join(PARTS)}
    assert rig.s3.uploads == {}


def test_an_upload_can_be_given_up_and_that_twice(rig: Rig) -> None:
    upload = rig.bucket.begin(KEY, "image/jpeg")
    rig.bucket.abort(KEY, upload)
    assert rig.s3.uploads == {}
    rig.bucket.abort(KEY, upload)
    with pytest.raises(UploadError, match="NoSuchUpload") as caught:
        rig.bucket.put_part(KEY, upload, 1, b"x")
    assert caught.value.failure == "unknown_upload"


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        ("500 InternalError", "busy"),
        ("503 SlowDown", "busy"),
        ("429 Throttling", "busy"),
        ("400 RequestTimeout", "busy"),
        ("400 BadDigest", "busy"),
        ("403 AccessDenied", "denied"),
        ("404 NoSuchBucket", "denied"),
        ("301 PermanentRedirect", "denied"),
        ("400 EntityTooLarge", "refused"),
        ("cut", "offline"),
        ("cut after", "offline"),
        ("wrong checksum", "busy"),
    ],
)
def test_failures_are_told_apart_and_nothing_secret_is_quoted(
    rig: Rig, fault: str, failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    rig.s3.faults.append(fault)
    with pytest.raises(UploadError) as caught:
        rig.bucket.put(KEY, b"pixels", "image/jpeg")
    assert caught.value.failure == failure
    for secret in (SECRET, TOKEN, rig.s3.session):
        assert secret not in str(caught.value)
        assert secret not in caplog.text
        assert secret not in repr(rig.exchange.credentials())
    rig.bucket.put(KEY, b"pixels", "image/jpeg")
    assert rig.s3.objects == {KEY: b"pixels"}


def test_an_error_below_a_status_of_200_is_an_error(rig: Rig) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html, "200 OK response can contain
    either a success or an error"."""
    rig.s3.faults.extend(["", "", "", "", "200 InternalError"])
    with pytest.raises(UploadError, match="InternalError") as caught:
        rig.in_parts()
    assert caught.value.failure == "busy"


@pytest.mark.parametrize("hours", [-30, 2])
def test_a_wrong_clock_is_put_right_by_the_buckets(rig: Rig, hours: int) -> None:
    rig.s3.ahead = timedelta(hours=hours)
    rig.in_parts()
    assert rig.s3.objects == {KEY: b"".join(PARTS)}
    assert len(rig.s3.log) == 2 + 4  # only the first request was made twice


def test_stale_credentials_are_renewed(rig: Rig) -> None:
    rig.bucket.put(KEY, b"one", "image/jpeg")
    rig.s3.session = "session-2"
    rig.bucket.put(KEY, b"two", "image/jpeg")
    assert rig.s3.objects == {KEY: b"two"}
    assert rig.s3.credentials_given == 2


def test_credentials_are_kept_until_shortly_before_they_expire(rig: Rig) -> None:
    now = datetime.now(timezone.utc)
    moments = iter([now, now, now + rig.s3.lifetime - EARLY + timedelta(seconds=5)])
    exchange = TokenExchange(rig.s3.exchange, TOKEN, lambda: next(moments))
    for _ in range(4):
        exchange.credentials()
        if rig.s3.credentials_given == 2:
            break
    assert rig.s3.credentials_given == 2
    exchange.close()


@pytest.mark.parametrize(
    ("address", "token", "failure"),
    [("", TOKEN, "denied"), ("http://127.0.0.1:1/", TOKEN, "offline"), (None, "not it", "denied")],
)
def test_without_credentials_nothing_is_sent(rig: Rig, address: str | None, token: str, failure: str) -> None:
    exchange = TokenExchange(rig.s3.exchange if address is None else address, token)
    with pytest.raises(UploadError) as caught:
        exchange.credentials()
    assert caught.value.failure == failure
    exchange.close()


def test_a_wrong_region_and_a_wrong_bucket_are_for_people_to_mend(rig: Rig) -> None:
    for other in (open_rig(rig.s3, region="us-east-1"), open_rig(rig.s3, bucket="elsewhere")):
        with pytest.raises(UploadError) as caught:
            other.bucket.put(KEY, b"pixels", "image/jpeg")
        assert caught.value.failure == "denied"
        other.bucket.close()
        other.exchange.close()


def test_addresses_are_those_of_aws() -> None:
    assert address_of("labels", "eu-central-1").root == "https://labels.s3.eu-central-1.amazonaws.com"
    assert address_of("labels", "cn-north-1").root == "https://labels.s3.cn-north-1.amazonaws.com.cn"
    dotted = address_of("my.labels", "eu-central-1")
    assert (dotted.root, dotted.path) == ("https://s3.eu-central-1.amazonaws.com", "/my.labels")
    for region, endpoint in (("", ""), ("EU", ""), ("eu-central-1", "ftp://x"), ("eu-central-1", "http://a:b@x")):
        with pytest.raises(SettingsError):
            address_of("labels", region, endpoint)


def test_the_pace_is_kept_over_requests() -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    pace = Pace(1000, lambda: now[0], sleep)
    for _ in range(50):
        pace.wait(200)
    assert now[0] == pytest.approx(10.0)
    now[0] += 3600
    before = now[0]
    for _ in range(50):
        pace.wait(200)
    assert now[0] - before == pytest.approx(10.0 - 1.0)  # a pause earns a second's worth, and no more
