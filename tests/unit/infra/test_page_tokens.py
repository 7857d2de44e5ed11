"""Tokens of the live page: made, used, listed, revoked, by the operator's command line."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import boto3
import pytest
import yaml
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from moto import mock_aws

from sam3edge_infra import page_tokens
from sam3edge_infra.page_tokens import main, make_key, read_key
from sam3edge_infra.stages import files
from sam3edge_infra.stages.files import FOLDER, parse_stage, read_stage
from sam3edge_infra.stages.signing import public_part, read_private_key
from sam3edge_infra.stages.stage import Stage
from sam3edge_serving.environment import read_settings
from sam3edge_serving.live_map.authorizer import AuthorizerSettings, authorize
from sam3edge_serving.live_map.tokens import SecretTokens

SETTINGS = read_settings(AuthorizerSettings, {"SAM3EDGE_PAGE_SECRET": "x", "SAM3EDGE_PAGE_THINGS": "sam3edge-sim-"})


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The operator's key."""
    path = tmp_path_factory.mktemp("operator") / "page-key.pem"
    make_key(path)
    return path


@pytest.fixture
def stage(key: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """The stage sim with that key, and its secret in moto."""
    document = yaml.safe_load((FOLDER / "sim.yaml").read_text())
    document["live_page"]["signing_key"] = public_part(read_private_key(key))
    made = parse_stage(document, "sim")
    monkeypatch.setattr(page_tokens, "read_stage", lambda name: made if name == "sim" else files.read_stage(name))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", made.region)
    monkeypatch.setenv("MOTO_ACCOUNT_ID", made.account)
    with mock_aws():
        boto3.client("secretsmanager").create_secret(Name="sam3edge-sim-page-tokens")
        yield made


def issued(key: Path, capsys: pytest.CaptureFixture[str], owner: str = "ada") -> tuple[dict[str, str], str]:
    """A token: what its user name says, and its secret."""
    assert main(["issue", "--stage", "sim", "--key", str(key), "--owner", owner]) == 0
    found = re.fullmatch(r"user name: page\?(\S+)\ntoken:     (\S+)\n", capsys.readouterr().out)
    assert found is not None
    return {name: values[0] for name, values in parse_qs(found[1], strict_parsing=True).items()}, found[2]


def let_in(token: str, secret: str) -> bool:
    """What the authorizer says of a page that types it."""
    mqtt = {"clientId": "sam3edge-page-1", "password": base64.b64encode(secret.encode()).decode()}
    event = {"token": token, "signatureVerified": True, "protocolData": {"mqtt": mqtt}}
    store = SecretTokens(boto3.client("secretsmanager"), "sam3edge-sim-page-tokens", time.monotonic)
    return bool(authorize(event, store, SETTINGS, "arn:aws:iot:eu-central-1:1", time.time())["isAuthenticated"])


def test_a_token_is_signed_as_aws_iot_core_checks_it_and_opens_the_page(
    key: Path, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    told, secret = issued(key, capsys)
    assert told.keys() == {"x-amz-customauthorizer-name", "token", "x-amz-customauthorizer-signature"}
    assert told["x-amz-customauthorizer-name"] == "sam3edge-sim-page"
    assert stage.live_page is not None
    public = serialization.load_pem_public_key(stage.live_page.signing_key.encode())
    assert isinstance(public, rsa.RSAPublicKey)
    signature = base64.b64decode(told["x-amz-customauthorizer-signature"])
    public.verify(signature, told["token"].encode(), padding.PKCS1v15(), hashes.SHA256())
    with pytest.raises(InvalidSignature):
        public.verify(signature, b"0" * 24, padding.PKCS1v15(), hashes.SHA256())
    assert let_in(told["token"], secret)
    assert not let_in(told["token"], secret[:-1])


def test_the_secret_is_kept_nowhere(key: Path, stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    _, secret = issued(key, capsys)
    kept = boto3.client("secretsmanager").get_secret_value(SecretId="sam3edge-sim-page-tokens")["SecretString"]
    assert secret not in kept
    assert main(["list", "--stage", "sim"]) == 0
    assert secret not in capsys.readouterr().out


def test_a_revoked_token_is_worth_nothing_and_the_others_stay(
    key: Path, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    ada, bob = issued(key, capsys), issued(key, capsys, "bob")
    assert main(["revoke", "--stage", "sim", ada[0]["token"]]) == 0
    assert not let_in(ada[0]["token"], ada[1])
    assert let_in(bob[0]["token"], bob[1])
    assert main(["list", "--stage", "sim"]) == 0
    assert re.fullmatch(rf"{bob[0]['token']}  until \d{{4}}-\d\d-\d\d \d\d:\d\d UTC  bob\n", capsys.readouterr().out)


def test_records_of_expired_tokens_go_with_the_next_one(
    key: Path, stage: Stage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, _ = issued(key, capsys)
    later = time.time() + 31 * 86_400
    monkeypatch.setattr(page_tokens.time, "time", lambda: later)
    new, _ = issued(key, capsys)
    assert main(["list", "--stage", "sim"]) == 0
    told = capsys.readouterr().out
    assert new["token"] in told
    assert old["token"] not in told


def test_a_key_goes_into_the_stage_as_it_is_printed_and_is_its_owners_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "page-key.pem"
    assert main(["key", "--out", str(path)]) == 0
    printed = capsys.readouterr().out
    document = yaml.safe_load((FOLDER / "sim.yaml").read_text()) | yaml.safe_load(printed)
    assert read_key(path, parse_stage(document, "sim")).key_size >= 2048
    assert "PRIVATE" not in printed
    assert path.stat().st_mode & 0o077 == 0
    before = path.read_bytes()
    assert main(["key", "--out", str(path)]) == 2
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["issue", "--stage", "sim", "--key", "missing.pem", "--owner", "ada"],
            "expected a private RSA key in missing.pem",
        ),
        (["issue", "--stage", "sim", "--key", "KEY", "--owner", "ada", "--days", "0"], "expected 1 to 366 days"),
        (["issue", "--stage", "sim", "--key", "OTHER", "--owner", "ada"], "has another"),
        (["issue", "--stage", "sim", "--key", "PUBLIC", "--owner", "ada"], "expected a private RSA key"),
        (["issue", "--stage", "dev", "--key", "KEY", "--owner", "ada"], "dev has none"),
        (["revoke", "--stage", "sim", "nobody"], "expected the id of a token of none; got 'nobody'"),
        (["list", "--stage", "nowhere"], "expected a stage of"),
    ],
)
def test_what_cannot_be_done_is_said(
    key: Path, stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    other, public = tmp_path / "other.pem", tmp_path / "public.pem"
    private = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    other.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    assert stage.live_page is not None
    public.write_text(stage.live_page.signing_key)
    paths = {"KEY": str(key), "OTHER": str(other), "PUBLIC": str(public)}
    assert main([paths.get(one, one) for one in arguments]) == 2
    assert said in capsys.readouterr().err


def refusal(signing_key: str) -> str:
    document: dict[str, Any] = yaml.safe_load((FOLDER / "sim.yaml").read_text())
    document["live_page"]["signing_key"] = signing_key
    with pytest.raises(files.SettingsError) as refused:
        parse_stage(document, "sim")
    return str(refused.value)


def test_a_stage_takes_a_public_rsa_key_and_shows_nothing_of_another(key: Path) -> None:
    for wrong in ("", "x", key.read_text()):
        told = refusal(wrong)
        assert "live_page.signing_key: expected a public RSA key of 2048 bits or more in PEM" in told
        assert not wrong or "PRIVATE" not in told
    weak = rsa.generate_private_key(public_exponent=65_537, key_size=1024)
    assert "got another kind, or fewer" in refusal(public_part(weak))


def test_a_stage_has_no_live_page_unless_it_says_so() -> None:
    assert read_stage("dev").live_page is None
    page = read_stage("sim").live_page
    assert page is not None
    assert (page.commands, page.session_minutes) == ("denied", 60)
