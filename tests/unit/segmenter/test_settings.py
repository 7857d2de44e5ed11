"""Configurations as they come from deployments: by cloud JSON, or by lite's YAML where everything is text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import sam3edge
from sam3edge.core.errors import SettingsError
from sam3edge.core.types import Prompt
from sam3edge.segmenter.settings import read_settings
from sam3edge.segmenter.sources import FolderSettings

FOLDER = {"Type": "folder", "Path": "/images"}


def configuration(**keys: Any) -> dict[str, Any]:
    return {"Prompts": ["scratch"], "Source": FOLDER, **keys}


def test_the_recipes_default_configuration_is_valid() -> None:
    recipe = yaml.safe_load((Path(sam3edge.__file__).parent / "segmenter" / "recipe.yaml").read_text())
    settings = read_settings(recipe["ComponentConfiguration"]["DefaultConfiguration"])
    assert isinstance(settings.source, FolderSettings)


def test_text_is_read_as_numbers_and_truth() -> None:
    settings = read_settings(
        {
            "Prompts": "scratch, deep dent",
            "Threshold": "0.4",
            "MaxPayloadBytes": "7000",
            "HeartbeatSeconds": "5",
            "Providers": "CUDAExecutionProvider, CPUExecutionProvider",
            "Source": {"Type": "folder", "Path": "/images", "Recursive": "true", "MaxPixels": "1000"},
        }
    )
    assert [p.text for p in settings.prompts] == ["scratch", "deep dent"]
    assert settings.threshold == 0.4
    assert settings.max_payload_bytes == 7000
    assert settings.providers == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert isinstance(settings.source, FolderSettings)
    assert settings.source.recursive is True


def test_prompts_have_their_own_values_or_the_components() -> None:
    settings = read_settings(
        configuration(Prompts=["a  b", {"Text": "c", "Threshold": 0.9, "Label": "C"}], Threshold=0.3, MinArea=25)
    )
    assert settings.detection_options(1000).prompts == (Prompt("a b", 0.3, 25.0, ""), Prompt("c", 0.9, 25.0, "C"))


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"Prompts": []}, "Prompts"),
        ({"Prompts": [""]}, "Prompts.0.Text"),
        ({"Prompts": [{"Text": "a", "Treshold": 0.5}]}, "Prompts.0.Treshold"),
        ({"Threshold": 1.5}, "Threshold.*got 1.5"),
        ({"Threshold": "high"}, "Threshold.*got .high'"),
        ({"Tolerence": 2}, "Tolerence"),
        ({"Source": {"Type": "floppy"}}, "Source"),
        ({"Source": {"Type": "folder"}}, "Path"),
        ({"Source": {**FOLDER, "OnProcessed": "move"}}, "MoveTo is needed"),
        ({"TopicPrefix": "a/#"}, "TopicPrefix"),
        ({"TopicPrefix": "a/b/c/d/e/f/g"}, "TopicPrefix"),
        ({"MaxPayloadBytes": 200_000}, "MaxPayloadBytes"),
        ({"Publisher": {"Type": "files"}}, "Publisher.Folder: Field required"),
        (
            {"Publisher": {"Type": "pigeon"}},
            "Publisher: expected a mapping whose Type is one of files, greengrass, got pigeon",
        ),
        ({"Outbox": {"MaxBytes": 9_999}}, "Outbox.MaxBytes.*10000"),
        ({"Fallback": {"Failures": 0}}, "Fallback.Failures"),
        ({"HardExamples": {"Kinds": "uncertain, boring"}}, "HardExamples.Kinds.1"),
        ({"HardExamples": {"RandomShare": 1.1}}, "HardExamples.RandomShare"),
        ({"Drift": {"WindowFrames": 10}}, "Drift.WindowFrames"),
        ({"Drift": {"Threshold": 0}}, "Drift.Threshold"),
        ({"Fallback": {"Reasons": ["boredom"]}}, "Fallback.Reasons"),
        ({"Fallback": {"Reasons": []}}, "Fallback.Reasons"),
        ({"Fallback": {"UncertainScores": [0.6, 0.4]}}, "lower first"),
        ({"Fallback": {"Presence": 0.4}}, "Fallback.Presence"),
        ({"Fallback": {"Asynchronous": {"Endpoint": "a", "Uploads": "b/c"}}}, "Fallback.Asynchronous.Uploads"),
    ],
)
def test_what_is_wrong_is_refused_by_name(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        read_settings(configuration(**keys))


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({"Threshold": 7, "Source": FOLDER})
    assert "Threshold" in str(caught.value)
    assert "Prompts" in str(caught.value)


def test_a_cameras_password_is_in_no_message() -> None:
    camera = {"Type": "camera", "Uri": "rtsp://admin:secret@cam/1", "MaxFps": -1}
    with pytest.raises(SettingsError) as caught:
        read_settings(configuration(Source=camera))
    assert "secret" not in str(caught.value)
    good = read_settings(configuration(Source={**camera, "MaxFps": 1}))
    assert "secret" not in repr(good)


def test_what_prompts_and_thresholds_change_needs_no_rebuild_and_a_source_does() -> None:
    before = read_settings(configuration())
    assert not before.needs_rebuild(read_settings(configuration(Prompts=["dent"], Threshold=0.7, SimplifyTolerance=1)))
    assert before.needs_rebuild(read_settings(configuration(Source={"Type": "folder", "Path": "/elsewhere"})))


def test_the_nucleuss_own_keys_are_left_alone() -> None:
    read_settings(configuration(accessControl={"x": 1}, Install={"Interpreter": ""}))


def test_fallback_is_off_until_there_is_an_endpoint_and_text_is_read() -> None:
    assert read_settings(configuration()).fallback.endpoint == ""
    keys = {"Endpoint": "sam3", "Reasons": "slow, uncertain", "UncertainScores": ["0.3", "0.7"], "RequestsPerHour": "5"}
    fallback = read_settings(configuration(Fallback=keys)).fallback
    assert fallback.reasons == ["slow", "uncertain"]
    assert fallback.uncertain_scores == (0.3, 0.7)
    assert fallback.requests_per_hour == 5
    assert read_settings(configuration()).needs_rebuild(read_settings(configuration(Fallback=keys)))
