"""Bundles are signed by a key file or by KMS, and a device with the public half takes either."""

from __future__ import annotations

import logging
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sam3edge.bundle.manifest import MANIFEST, read_manifest
from sam3edge.bundle.signature import fingerprint, read_public_keys
from sam3edge.bundle.verify import verify
from sam3edge.core.errors import BundleError
from sam3edge_export.signing import KeyFileSigner, KmsSigner, Signer, SigningError, new_key, sign_bundle

ALIAS = "alias/bundles"


def test_a_device_takes_what_a_new_key_signed(bundle: Path, tmp_path: Path) -> None:
    signer = new_key(tmp_path / "key.pem")
    keys = read_public_keys(signer.public_key_pem())
    signed = sign_bundle(bundle, signer)
    assert verify(bundle, keys) == signed == read_manifest(bundle)
    assert signed.signature is not None
    assert signed.signature.key_id == fingerprint(keys[0])
    assert {p.name for p in tmp_path.iterdir()} == {"bundle", "key.pem"}


def test_signing_again_replaces_the_signature(bundle: Path, tmp_path: Path) -> None:
    sign_bundle(bundle, new_key(tmp_path / "old.pem"))
    new = new_key(tmp_path / "new.pem")
    sign_bundle(bundle, new)
    verify(bundle, read_public_keys(new.public_key_pem()))


def test_only_what_is_whole_is_signed(bundle: Path, tmp_path: Path) -> None:
    before = (bundle / MANIFEST).read_bytes()
    (bundle / "masks.onnx").write_bytes(b"something else")
    with pytest.raises(BundleError, match=r"masks\.onnx"):
        sign_bundle(bundle, new_key(tmp_path / "key.pem"))
    assert (bundle / MANIFEST).read_bytes() == before


def test_a_new_key_is_its_owners_alone_and_replaces_none(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    new_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(SigningError, match="already exists"):
        new_key(path)
    with pytest.raises(SigningError, match="No such file"):
        new_key(tmp_path / "nowhere" / "key.pem")


def test_a_key_file_may_have_a_password(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    pem = new_key(path, b"secret").public_key_pem()
    assert KeyFileSigner(path, b"secret").public_key_pem() == pem
    assert b"ENCRYPTED" in path.read_bytes()
    with pytest.raises(SigningError, match=r"[Pp]assword"):
        KeyFileSigner(path)
    with pytest.raises(SigningError, match="its password is wrong"):
        KeyFileSigner(path, b"guess")


def test_a_file_that_is_no_key_of_ours_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    with pytest.raises(SigningError, match="cannot be read: No such file"):
        KeyFileSigner(path)
    path.write_text("hello")
    path.chmod(0o600)
    with pytest.raises(SigningError, match="not a private key in PEM"):
        KeyFileSigner(path)
    rsa = generate_private_key(65537, 2048)
    path.write_bytes(rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(SigningError, match="must be an Ed25519 key, it is RSA"):
        KeyFileSigner(path)


def test_a_key_that_others_can_read_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "key.pem"
    new_key(path).sign(b"x")
    path.chmod(0o640)
    with caplog.at_level(logging.WARNING):
        KeyFileSigner(path)
    assert "can be read by other users" in caplog.text


class Kms:
    """A KMS whose requests and answers botocore checks against the service's own model."""

    def __init__(self) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.client = boto3.client(
            "kms", region_name="eu-central-1", aws_access_key_id="none", aws_secret_access_key="none"
        )
        self.stubber = Stubber(self.client)

    def will_tell_its_key(self, **changes: Any) -> None:
        der = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        answer = {"PublicKey": der, "KeySpec": "ECC_NIST_EDWARDS25519", "KeyUsage": "SIGN_VERIFY", **changes}
        self.stubber.add_response("get_public_key", answer, {"KeyId": ALIAS})

    def will_sign(self, message: bytes, signature: bytes | None = None) -> None:
        asked = {
            "KeyId": ALIAS,
            "Message": message,
            "MessageType": "RAW",
            "SigningAlgorithm": "ED25519_SHA_512",
        }
        answer = {"Signature": signature or self.key.sign(message), "SigningAlgorithm": "ED25519_SHA_512"}
        self.stubber.add_response("sign", answer, asked)


@pytest.fixture
def kms() -> Iterator[Kms]:
    stand_in = Kms()
    with stand_in.stubber:
        yield stand_in
        stand_in.stubber.assert_no_pending_responses()


def test_a_device_takes_what_kms_signed(bundle: Path, kms: Kms) -> None:
    kms.will_tell_its_key()
    kms.will_sign(read_manifest(bundle).signed_bytes())
    kms.will_tell_its_key()
    signer: Signer = KmsSigner(ALIAS, kms.client)
    sign_bundle(bundle, signer)
    verify(bundle, read_public_keys(signer.public_key_pem()))


def test_the_names_are_in_the_service_model() -> None:
    sign = Kms().client.meta.service_model.operation_model("Sign").input_shape
    create = Kms().client.meta.service_model.operation_model("CreateKey").input_shape
    assert "ED25519_SHA_512" in sign.members["SigningAlgorithm"].enum
    assert "ECC_NIST_EDWARDS25519" in create.members["KeySpec"].enum


def test_a_signature_by_another_key_is_noticed_before_it_is_written(bundle: Path, kms: Kms) -> None:
    before = (bundle / MANIFEST).read_bytes()
    message = read_manifest(bundle).signed_bytes()
    kms.will_tell_its_key()
    kms.will_sign(message, Ed25519PrivateKey.generate().sign(message))
    with pytest.raises(SigningError, match="is not a signature by its key"):
        sign_bundle(bundle, KmsSigner(ALIAS, kms.client))
    assert (bundle / MANIFEST).read_bytes() == before


def test_a_kms_key_of_another_kind_is_refused(kms: Kms) -> None:
    kms.will_tell_its_key(KeySpec="ECC_NIST_P256")
    with pytest.raises(SigningError, match=r"must be of specification ECC_NIST_EDWARDS25519 .*, it is ECC_NIST_P256"):
        KmsSigner(ALIAS, kms.client).public_key_pem()


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("AccessDeniedException", "the caller needs kms:Sign"),
        ("NotFoundException", "check the key's id and the region"),
        ("LimitExceededException", "LimitExceededException: no"),
    ],
)
def test_what_kms_refuses_is_said_with_what_to_do(kms: Kms, code: str, says: str) -> None:
    kms.stubber.add_client_error("sign", code, "no")
    with pytest.raises(SigningError, match=f"KMS refused sign with the key {ALIAS}: {code}: no") as caught:
        KmsSigner(ALIAS, kms.client).sign(b"x")
    assert says in str(caught.value)


def test_a_client_without_credentials_or_region_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(SigningError, match="set AWS_REGION"):
        KmsSigner(ALIAS)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with pytest.raises(SigningError, match="Unable to locate credentials"):
        KmsSigner(ALIAS).sign(b"x")
