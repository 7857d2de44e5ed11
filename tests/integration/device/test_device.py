"""The components on a nucleus: what an operator does to a device, over the real IPC protocol and a real broker."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jsonschema
import pytest

from sam3edge.bundle.golden import EXPECTED
from sam3edge.bundle.manifest import describe_files, read_manifest, write_manifest
from sam3edge.core.messages import topics
from sam3edge.core.messages.schemas import schema
from sam3edge_export.signing import Signer, new_key, sign_bundle
from sam3edge_simulator import supervision
from sam3edge_simulator.deployment_document import DeploymentFailed, FailurePolicy
from sam3edge_simulator.profiles import CLASSIC, LITE, Profile
from sam3edge_simulator.states import State
from support.device_rig import PATIENCE, SEGMENTER, Rig

pytestmark = pytest.mark.long


def release(bundle: Path, target: Path, version: str) -> Path:
    """The same model under another version."""
    copy = shutil.copytree(bundle, target)
    manifest = read_manifest(copy)
    write_manifest(copy, manifest.model_copy(update={"version": version, "files": describe_files(copy)}))
    return copy


@pytest.mark.parametrize("profile", [CLASSIC, LITE], ids=["classic", "lite"])
def test_from_deployment_to_geojson(make_rig: Callable[[Profile], Rig], profile: Profile) -> None:
    rig = make_rig(profile)
    rig.deploy_segmenter(Prompts=["metal tag", "hole", "ship"])  # before any model: it waits for one
    rig.deploy_model()
    rig.put_scene("a.png", 2_000_007)
    rig.put_bytes("b.jpg", b"this is not a picture")
    rig.put_scene("c.png", 2_000_003)
    rig.wait(lambda: set(rig.consumer.names()) == {"a.png", "c.png"} and rig.consumer.on("errors"))
    for topic in (topics.DETECTIONS, topics.ERRORS, topics.STATUS, topics.MODEL_STATUS):
        assert rig.consumer.on(topic)
        for body in rig.consumer.on(topic):
            jsonschema.Draft202012Validator(schema(topic)).validate(body)
    [first] = [b for b in rig.consumer.on("detections") if b["frame"]["name"] == "a.png"]
    labels = {f["properties"]["label"] for f in first["features"]}
    assert "metal tag" in labels
    assert "ship" not in labels
    assert rig.consumer.on("errors")[0]["frame"]["name"] == "b.jpg"
    assert rig.consumer.on("status/model")[0]["message_type"] == "model_activated"
    rig.wait(lambda: rig.consumer.status().get("counts", {}).get("frames") == 2)
    assert not (rig.watched / "b.jpg").exists()


def test_a_new_model_is_taken_over_without_a_restart_and_rolled_back(rig: Rig, demo_bundle: Path) -> None:
    rig.deploy_model()
    rig.deploy_segmenter()
    rig.put("1.png")
    rig.wait(lambda: "1.png" in rig.consumer.names())
    pid = rig.nucleus.component(SEGMENTER).pid
    rig.deploy_model(release(demo_bundle, rig.root / "next", "1.9.0"))
    count = 2

    def another_frame_says(version: str) -> bool:
        nonlocal count
        rig.put(f"{count}.png")
        rig.wait(lambda: f"{count}.png" in rig.consumer.names())
        count += 1
        return bool(rig.consumer.on("detections")[-1]["model"]["version"] == version)

    rig.wait(lambda: another_frame_says("1.9.0"))
    assert rig.nucleus.component(SEGMENTER).pid == pid
    rig.nucleus.rollback()
    before = read_manifest(demo_bundle).version
    rig.wait(lambda: another_frame_says(before))
    assert rig.nucleus.component(SEGMENTER).pid == pid
    rig.wait(lambda: rig.consumer.status()["model"]["version"] == before)


def flip_a_bit(bundle: Path, released: Signer) -> None:
    sign_bundle(bundle, released)
    content = bytearray((bundle / "vision.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / "vision.onnx").write_bytes(content)


def rename_a_file(bundle: Path, released: Signer) -> None:
    sign_bundle(bundle, released)
    (bundle / "masks.onnx").rename(bundle / "mask.onnx")


def sign_with_another_key(bundle: Path, released: Signer) -> None:
    sign_bundle(bundle, new_key(bundle.parent / "another-key.pem"))


def keep_a_stale_golden_result(bundle: Path, released: Signer) -> None:
    """As a careless release does: the weights are other ones than when the golden result was made."""
    expected = json.loads((bundle / EXPECTED).read_text())
    expected["instances"][0]["score"] -= 0.2
    (bundle / EXPECTED).write_text(json.dumps(expected))
    write_manifest(bundle, read_manifest(bundle).model_copy(update={"files": describe_files(bundle)}))
    sign_bundle(bundle, released)


REFUSALS: dict[Callable[[Path, Signer], None], str] = {
    flip_a_bit: "vision.onnx does not have the digest",
    rename_a_file: "'mask.onnx', which its manifest does not name",
    sign_with_another_key: "and this device trusts",
    keep_a_stale_golden_result: "golden run: the .* must score",
}


def test_what_was_not_released_is_refused_with_a_reason_and_the_last_good_model_stays(
    rig: Rig, demo_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "FAILURES_UNTIL_BROKEN", 1)  # the second and third start would say the same
    released = new_key(rig.root / "key.pem")
    good = release(demo_bundle, rig.root / "good", "1.9.0")
    sign_bundle(good, released)
    rig.deploy_model(good, artifact_limit=2_000_000, PublicKey=released.public_key_pem())
    rig.deploy_segmenter()
    policies = [FailurePolicy.ROLLBACK, *(3 * [FailurePolicy.DO_NOTHING])]  # going back takes long: once is enough
    for number, ((spoil, reason), policy) in enumerate(zip(REFUSALS.items(), policies, strict=True)):
        bad = release(demo_bundle, rig.root / spoil.__name__, f"6.6.{number}")
        spoil(bad, released)
        with pytest.raises(DeploymentFailed):
            rig.deploy_model(bad, on_failure=policy)
        rig.wait(partial(rig.consumer.was_told, reason))
    rig.put("1.png")
    rig.wait(lambda: "1.png" in rig.consumer.names())
    assert rig.consumer.on("detections")[-1]["model"]["version"] == "1.9.0"
    assert [e["error"] for e in rig.consumer.on("errors")] == 4 * ["BundleError"]


def test_prompts_change_while_it_runs_and_a_bad_change_is_refused(rig: Rig) -> None:
    rig.deploy_model()
    rig.deploy_segmenter()
    pid = rig.nucleus.component(SEGMENTER).pid
    rig.nucleus.set_configuration(SEGMENTER, merge={"Prompts": ["ship", "car"]})
    rig.wait(lambda: rig.consumer.prompts() == ["ship", "car"])
    rig.nucleus.set_configuration(SEGMENTER, merge={"Threshold": 4})
    rig.wait(lambda: any("Threshold" in e["reason"] for e in rig.consumer.on("errors")))
    rig.put("1.png")
    rig.wait(lambda: "1.png" in rig.consumer.names())
    assert [p["threshold"] for p in rig.consumer.on("detections")[-1]["prompts"]] == [0.5, 0.5]
    assert rig.nucleus.component(SEGMENTER).pid == pid


def test_commands_come_in_over_mqtt(rig: Rig) -> None:
    rig.deploy_model()
    rig.deploy_segmenter()
    rig.wait(rig.consumer.status)  # by its first heartbeat it has subscribed
    command = {"id": "1", "command": "set_prompts", "arguments": {"prompts": ["hole"]}}
    rig.consumer.send("sam3edge/line-7/commands", command)
    rig.wait(lambda: rig.consumer.on("commands/response"))
    [response] = rig.consumer.on("commands/response")
    jsonschema.Draft202012Validator(schema(topics.COMMAND_RESPONSES)).validate(response)
    assert response["status"] == "SUCCEEDED"
    rig.wait(lambda: rig.consumer.prompts() == ["hole"])


def test_it_stops_in_an_orderly_way_and_goes_on_where_it_was(rig: Rig) -> None:
    rig.deploy_model()
    rig.deploy_segmenter()
    rig.put("1.png")
    rig.wait(lambda: "1.png" in rig.consumer.names())
    rig.nucleus.restart(SEGMENTER)
    rig.put("2.png")
    rig.wait(lambda: "2.png" in rig.consumer.names())
    assert rig.consumer.names() == {"1.png": 1, "2.png": 1}
    rig.wait(lambda: any(s["state"] == "stopping" for s in rig.consumer.on("status")))
    assert rig.nucleus.component(SEGMENTER).errors == 0


def test_logs_are_json_with_frame_ids_and_no_configuration_is_needed_to_find_them(rig: Rig) -> None:
    rig.deploy_model()
    rig.deploy_segmenter()
    rig.put("1.png")
    rig.wait(lambda: "1.png" in rig.consumer.names())
    frame = rig.consumer.on("detections")[0]["frame"]["id"]
    entries = [json.loads(line[line.index("{") :]) for line in rig.nucleus.logs(SEGMENTER) if "answered" in line]
    assert entries[0]["frame"] == frame


def test_a_configuration_that_is_refused_is_named_in_the_log_and_the_component_breaks(rig: Rig) -> None:
    rig.deploy_segmenter(Prompts=[])
    assert rig.nucleus.wait(SEGMENTER, State.BROKEN, PATIENCE)
    assert any("Prompts" in line for line in rig.nucleus.logs(SEGMENTER))
