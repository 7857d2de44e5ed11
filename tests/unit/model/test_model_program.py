"""The model component's program over a nucleus in memory: what it publishes, and its exit status."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sam3edge.bundle.manifest import read_manifest, write_manifest
from sam3edge.core.messages.schemas import schema
from sam3edge.greengrass import program as shared
from sam3edge.greengrass.fake import FakeNucleus
from sam3edge.model import __main__ as program


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "configure_logs", lambda level: None)
    monkeypatch.setattr(shared.signal, "signal", lambda number, handler: None)


def run(
    monkeypatch: pytest.MonkeyPatch, root: Path, artifacts: Path, **keys: Any
) -> tuple[int, list[tuple[str, dict[str, Any]]]]:
    """The exit status, and topic and body of what was published."""
    nucleus = FakeNucleus({"Providers": ["CPUExecutionProvider"], **keys})
    (root / "work").mkdir()
    places = ["--artifacts", str(artifacts), "--store", str(root / "store"), "--work", str(root / "work")]
    monkeypatch.setattr(sys, "argv", ["model", *places])
    monkeypatch.setenv("AWS_IOT_THING_NAME", "line-7")
    monkeypatch.setattr(shared, "GreengrassClient", lambda on_lost: nucleus)
    status = program.main()
    return status, [(topic, json.loads(payload)) for topic, payload in nucleus.published]


def test_an_activation_is_published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bundle: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    bundle.rename(tmp_path / "artifacts" / "bundle")
    status, published = run(monkeypatch, tmp_path, tmp_path / "artifacts")
    assert status == 0
    [(topic, body)] = published
    assert topic == "sam3edge/line-7/status/model"
    jsonschema.validate(body, schema("status/model"))
    assert body["model"]["version"] == read_manifest(tmp_path / "artifacts" / "bundle").version


def test_a_refused_bundle_is_published_below_the_configured_prefix(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "artifacts").mkdir()
    status, published = run(monkeypatch, tmp_path, tmp_path / "artifacts", TopicPrefix="plant/hall-2")
    assert status == 6
    [(topic, body)] = published
    assert topic == "plant/hall-2/errors"
    jsonschema.validate(body, schema("errors"))
    assert (body["kind"], body["error"]) == ("model", "BundleError")


def test_a_refused_configuration_is_published_below_the_default_prefix(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    status, published = run(monkeypatch, tmp_path, tmp_path, TopicPrefix="plant/#")
    assert status == 5
    [(topic, body)] = published
    assert topic == "sam3edge/line-7/errors"
    assert (body["error"], "TopicPrefix" in body["reason"]) == ("SettingsError", True)


def test_a_configuration_that_names_the_bundle_before_goes_back_to_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bundle: Path
) -> None:
    first = read_manifest(bundle)
    artifacts = tmp_path / "artifacts"
    artifacts.mkdir()
    bundle.rename(artifacts / "bundle")
    run(monkeypatch, tmp_path, artifacts)
    write_manifest(artifacts / "bundle", first.model_copy(update={"version": "9.9.9"}))
    (tmp_path / "work").rename(tmp_path / "work-before")
    run(monkeypatch, tmp_path, artifacts)
    (tmp_path / "work").rename(tmp_path / "work-newer")
    status, [(topic, body)] = run(monkeypatch, tmp_path, artifacts, Bundle=first.digest())
    assert (status, topic) == (0, "sam3edge/line-7/status/model")
    assert (body["model"]["version"], body["model"]["digest"]) == (first.version, first.digest())
    (tmp_path / "work").rename(tmp_path / "work-back")
    status, [(topic, body)] = run(monkeypatch, tmp_path, artifacts, Bundle="sha256:" + "0" * 64)
    assert (status, topic, body["kind"]) == (6, "sam3edge/line-7/errors", "model")
