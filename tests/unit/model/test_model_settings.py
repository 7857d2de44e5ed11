"""The model component's configuration, and what all components' configurations have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import sam3edge
from sam3edge.core.errors import SettingsError
from sam3edge.model.settings import read_settings as read_model_settings
from sam3edge.segmenter.settings import read_settings as read_segmenter_settings

SEGMENTER = {"Prompts": ["scratch"], "Source": {"Type": "folder", "Path": "/images"}}


def test_the_recipes_default_configuration_is_valid() -> None:
    recipe = yaml.safe_load((Path(sam3edge.__file__).parent / "model" / "recipe.yaml").read_text())
    settings = read_model_settings(recipe["ComponentConfiguration"]["DefaultConfiguration"])
    assert settings.public_key == ""


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"PublicKey": 7}, "PublicKey: .*, got 7"),
        ({"Bundle": "1.2.3"}, "Bundle: .*, got '1.2.3'"),
        ({"Publickey": "x"}, "Publickey"),
        ({"TopicPrefix": "a/#"}, "TopicPrefix: .*, got 'a/#'"),
        ({"Providers": 1}, "Providers: .*, got 1"),
    ],
)
def test_what_is_wrong_is_refused_by_name(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        read_model_settings(keys)


def test_components_share_their_keys_and_the_words_of_a_refusal() -> None:
    common = {"TopicPrefix": "plant/line-7", "Providers": "CUDAExecutionProvider, CPUExecutionProvider", "Install": {}}
    model, segmenter = read_model_settings(common), read_segmenter_settings({**SEGMENTER, **common})
    assert model.providers == segmenter.providers == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert model.topic_prefix == segmenter.topic_prefix == "plant/line-7"
    bad = {"TopicPrefix": "/starts/with/a/slash"}
    with pytest.raises(SettingsError) as by_model:
        read_model_settings(bad)
    with pytest.raises(SettingsError) as by_segmenter:
        read_segmenter_settings({**SEGMENTER, **bad})
    assert str(by_model.value) == str(by_segmenter.value)


def test_the_value_of_a_misspelt_key_is_in_no_message() -> None:
    camera = {"Type": "camera", "Uri": "0", "Url": "rtsp://admin:secret@cam/1"}
    with pytest.raises(SettingsError, match="Url") as caught:
        read_segmenter_settings({**SEGMENTER, "Source": camera})
    assert "secret" not in str(caught.value)
