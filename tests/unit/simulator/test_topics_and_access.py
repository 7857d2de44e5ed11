"""MQTT topics, and the access control of components."""

from __future__ import annotations

import pytest
from paho.mqtt.client import topic_matches_sub

from sam3edge_simulator.ipc.errors import UnauthorizedError
from sam3edge_simulator.mqtt.topics import TopicError, check_filter, check_topic
from sam3edge_simulator.recipes.access import MQTT_PROXY, PUBSUB, authorize


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/b/c", False),
        ("a/+", "a/b", True),
        ("a/+", "a", False),
        ("a/+", "a/b/c", False),
        ("+/+", "/b", True),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a/b", True),
        ("#", "$aws/x", False),
        ("$aws/#", "$aws/x", True),
        ("a/+/c", "a//c", True),
    ],
)
def test_matching(pattern: str, topic: str, expected: bool) -> None:
    assert topic_matches_sub(pattern, topic) is expected


def test_topics_that_iot_core_takes() -> None:
    check_topic("1/2/3/4/5/6/7/8")
    check_topic("$aws/rules/name/1/2/3/4/5/6/7/8")
    for topic, reason in [
        ("1/2/3/4/5/6/7/8/9", "7 slashes"),
        ("", "at least"),
        ("a/+", "wildcards"),
        ("x" * 257, "256"),
    ]:
        with pytest.raises(TopicError, match=reason):
            check_topic(topic)
    check_filter("a/+/#")
    for pattern in ("a/#/b", "a+", "a/b#"):
        with pytest.raises(TopicError, match="whole levels"):
            check_filter(pattern)


def allowed(pattern: str, resource: str, service: str = MQTT_PROXY, operation: str = "PublishToIoTCore") -> bool:
    policies = {
        service: {
            "empty": {"operations": [], "resources": ["*"]},
            "policy": {"policyDescription": "x", "operations": ["aws.greengrass#" + operation], "resources": [pattern]},
        }
    }
    try:
        authorize("com.example.Thing", policies, service, operation, resource, thing="station-7")
    except UnauthorizedError:
        return False
    return True


@pytest.mark.parametrize(
    ("pattern", "resource", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/bc", False),
        ("*", "anything/at/all", True),
        ("a/*", "a/b/c", True),
        ("a/*/c", "a/x/y/c", True),
        ("a/*/c", "a/x/y/d", False),
        ("a/+/c", "a/x/c", True),
        ("a/+/c", "a/x/y/c", False),
        ("a/#", "a/x/y", True),
        ("a/#", "a", True),
        ("a/#", "ab", False),
        ("a/#", "a/+", True),
        ("{iot:thingName}/x", "station-7/x", True),
        ("{iot:thingName}/x", "station-8/x", False),
        ("a/${*}", "a/*", True),
        ("a/${*}", "a/b", False),
        ("a.b", "axb", False),
    ],
)
def test_resources_of_the_mqtt_proxy(pattern: str, resource: str, expected: bool) -> None:
    assert allowed(pattern, resource) is expected


def test_mqtt_wildcards_are_plain_characters_for_local_topics() -> None:
    assert allowed("a/*", "a/b", PUBSUB, "PublishToTopic")
    assert not allowed("a/+", "a/b", PUBSUB, "PublishToTopic")
    assert allowed("a/+", "a/+", PUBSUB, "PublishToTopic")


@pytest.mark.parametrize("policies", [None, {}, {MQTT_PROXY: {}}, {MQTT_PROXY: "nonsense"}, {PUBSUB: {}}])
def test_nothing_is_allowed_without_a_policy(policies: object) -> None:
    with pytest.raises(UnauthorizedError, match="on resource a/b; allow it in accessControl"):
        authorize("com.example.Thing", policies, MQTT_PROXY, "PublishToIoTCore", "a/b", thing="t")


def test_operations_may_be_a_star() -> None:
    policies = {MQTT_PROXY: {"all": {"operations": ["*"], "resources": ["a"]}}}
    authorize("c", policies, MQTT_PROXY, "SubscribeToIoTCore", "a", thing="t")
