"""The manifest of a model bundle.

bundle/
  manifest.json     what is below, signed
  vision.onnx  decoder.onnx  masks.onnx  [text.onnx  tokenizer.json]
  prompts.npz       features of the phrases that need no text encoder
  golden/           a small image, and what must be found in it (``golden.py``)
  LICENSE.txt       of the weights; it travels with them
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from sam3edge.bundle.document import read_document
from sam3edge.core.errors import BundleError

MANIFEST = "manifest.json"
REQUIRED = ("vision.onnx", "decoder.onnx", "masks.onnx", "prompts.npz", "golden/expected.json", "LICENSE.txt")

MAX_MANIFEST_BYTES = 16 << 20

Family: TypeAlias = Literal["sam3", "sam3.1"]
FAMILIES: dict[Family, str] = {"sam3": "SAM 3", "sam3.1": "SAM 3.1"}
"""Kinds of checkpoints, and how people call them."""

_SIGNED_AS = b"sam3edge-manifest-v1\n"

_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileEntry(_Strict):
    """Size in bytes and SHA-256 of one file."""

    size: int = Field(ge=0, le=1 << 40)
    sha256: _Sha256


class Signature(_Strict):
    """Who vouches for the manifest.

    Attributes:
        key_id: fingerprint of the public key, see ``signature.fingerprint``. It only tells which key to try.
        value: base64 over ``Manifest.signed_bytes``.
    """

    algorithm: Literal["ed25519"]
    key_id: str = Field(pattern=r"^[0-9a-f]{16}$")
    value: str = Field(max_length=1000)


class Manifest(_Strict):
    """Everything that is known of a bundle before it runs.

    Attributes:
        input_size: side of the square that the vision graph sees, pixels.
        precision: what the graphs compute in.
        weights: what the weights are stored in; half precision is widened when the graphs are loaded.
        family: what kind of checkpoint it was exported from.
        score_rule: how the decoder graph makes scores of what its heads give. It is the same for both families: the
            joint scores that Meta's code for SAM 3.1 works with have presence multiplied in after the heads, once.
        source_sha256: digest of the checkpoint it was exported from.
        vocabulary: phrases in ``prompts.npz``.
        files: every other file, by its path inside the bundle.
        parity: report of the export gate.
    """

    format: Literal[1]
    name: str = Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$")
    version: str = Field(pattern=r"^\d{1,6}\.\d{1,6}\.\d{1,6}$")
    input_size: int = Field(gt=0, le=8192)
    precision: Literal["fp32", "fp16", "bf16", "int8"]
    weights: Literal["fp32", "fp16", "bf16", "int8"]
    score_rule: Literal["sigmoid(logit)*sigmoid(presence)"] = "sigmoid(logit)*sigmoid(presence)"
    family: Family = "sam3"
    source_sha256: _Sha256
    vocabulary: list[Annotated[str, Field(max_length=1000)]] = Field(max_length=100_000)
    files: dict[Annotated[str, Field(max_length=255)], FileEntry] = Field(max_length=1000)
    parity: dict[str, Any] | None = None
    signature: Signature | None = None

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the family where it is SAM 3: bundles made before there was another keep their digests, and devices
        of that time can read new ones."""
        content: dict[str, Any] = dump(self)
        if self.family == "sam3":
            del content["family"]
        return content

    @field_validator("files")
    @classmethod
    def _inside(cls, files: dict[str, FileEntry]) -> dict[str, FileEntry]:
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or path.as_posix() != name or name == MANIFEST:
                raise ValueError(f"{name!r} is not a path inside the bundle")
        missing = [name for name in REQUIRED if name not in files]
        if missing:
            raise ValueError(f"{', '.join(missing)} missing")
        return files

    def digest(self) -> str:
        """``sha256:<hex>`` of the manifest without its signature, keys sorted, no spaces.

        It is the identity of the bundle, since the manifest holds the digest of every file.
        """
        canonical = _canonical(self.model_dump(mode="json", exclude={"signature"}))
        return "sha256:" + hashlib.sha256(canonical).hexdigest()

    def signed_bytes(self) -> bytes:
        """What a signature covers: the digest, and what it is a digest of, so that it is valid for nothing else.

        It covers the digest and not the manifest because AWS KMS signs messages of at most 4096 bytes with Ed25519.
        """
        return _SIGNED_AS + self.digest().encode()


def read_manifest(root: Path) -> Manifest:
    """Read ``root/manifest.json``.

    Raises:
        BundleError: it is not there or not a manifest.
    """
    try:
        return read_document(root, MANIFEST, Manifest, "a manifest", MAX_MANIFEST_BYTES)
    except OSError as error:
        raise BundleError(f"{root.name} is not a bundle: {MANIFEST} cannot be read: {error.strerror}") from error


def write_manifest(root: Path, manifest: Manifest) -> None:
    """Write ``root/manifest.json``."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=1, sort_keys=True) + "\n"
    (root / MANIFEST).write_text(text, encoding="utf-8")


def describe_files(root: Path) -> dict[str, FileEntry]:
    """Entries of every file below ``root`` but the manifest."""
    paths = sorted(p for p in root.rglob("*") if p.is_file() and p.relative_to(root).as_posix() != MANIFEST)
    return {p.relative_to(root).as_posix(): FileEntry(size=p.stat().st_size, sha256=sha256_of(p)) for p in paths}


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
