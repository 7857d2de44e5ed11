"""Configuration, states, updates, local deployments and local messages, with the real SDK client."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest
from awsiot.greengrasscoreipc import model

from sam3edge_simulator.deployment_document import ConfigurationUpdate, DeploymentFailed, DeploymentStatus
from sam3edge_simulator.nucleus import Nucleus
from sam3edge_simulator.profiles import CLASSIC, LITE
from sam3edge_simulator.states import State
from support.waiting import lines_of, until, until_reads

NAME = "com.example.Thing"
BOTH = pytest.mark.parametrize("profile", [CLASSIC, LITE], ids=lambda profile: profile.name)
LOCAL = {
    "aws.greengrass.Cli": {
        "all": {
            "operations": ["aws.greengrass#CreateLocalDeployment", "aws.greengrass#RestartComponent"],
            "resources": ["*"],
        }
    }
}


@BOTH
def test_get_configuration(device: Callable[..., Nucleus], build, clients, profile) -> None:
    nucleus = device(profile)
    build.idle(NAME, {}, defaults={"rate": 5, "camera": {"gain": 1.5, "names": ["a"]}})
    build.idle("com.example.Other", {}, defaults={"mine": True})
    nucleus.deploy(build.deployment(NAME, "com.example.Other"))
    client = clients.connect(nucleus, NAME)

    whole = client.get_configuration()
    assert whole.component_name == NAME
    assert whole.value == {"rate": 5, "camera": {"gain": 1.5, "names": ["a"]}, "accessControl": {}}
    assert client.get_configuration(key_path=["camera"]).value == {"gain": 1.5, "names": ["a"]}
    assert client.get_configuration(key_path=["camera", "gain"]).value == {"gain": 1.5}
    assert client.get_configuration(component_name="com.example.Other", key_path=["mine"]).value == {"mine": True}
    for request in ({"key_path": ["nothing"]}, {"component_name": "com.example.Nobody"}):
        with pytest.raises(model.ResourceNotFoundError):
            client.get_configuration(**request)


def test_update_configuration_keeps_the_newer_value(device: Callable[..., Nucleus], build, clients) -> None:
    nucleus = device()
    nucleus.deploy(build.idle(NAME, {}, defaults={"rate": 5, "camera": {"gain": 1}}).deployment(NAME))
    client = clients.connect(nucleus, NAME)
    now = datetime.now(timezone.utc)

    client.update_configuration(key_path=[], timestamp=now, value_to_merge={"rate": 6, "new": {"a": [1]}})
    client.update_configuration(key_path=["camera"], timestamp=now, value_to_merge={"gain": 2})
    with pytest.raises(model.FailedUpdateConditionCheckError):
        client.update_configuration(key_path=["camera"], timestamp=now - timedelta(hours=1), value_to_merge={"gain": 3})
    for forbidden in ({"accessControl": {}},):
        with pytest.raises(model.InvalidArgumentsError):
            client.update_configuration(key_path=[], timestamp=now, value_to_merge=forbidden)
    with pytest.raises(model.InvalidArgumentsError):
        client.update_configuration(key_path=[], timestamp=now, value_to_merge={"camera": 1})
    values = nucleus.configuration.read(NAME)
    assert (values["rate"], values["camera"], values["new"]) == (6, {"gain": 2}, {"a": [1]})

    nucleus.stop()
    again = device()
    assert again.configuration.read(NAME, ["rate"]) == 6


def test_subscribers_hear_of_every_changed_value(device: Callable[..., Nucleus], build, clients) -> None:
    nucleus = device()
    nucleus.deploy(build.idle(NAME, {}, defaults={"rate": 5, "camera": {"gain": 1, "names": []}}).deployment(NAME))
    client = clients.connect(nucleus, NAME)
    whole: queue.Queue[tuple[str, list[str]]] = queue.Queue()
    camera: queue.Queue[tuple[str, list[str]]] = queue.Queue()
    client.subscribe_to_configuration_update(on_stream_event=_into(whole))
    _, operation = client.subscribe_to_configuration_update(key_path=["camera"], on_stream_event=_into(camera))

    nucleus.set_configuration(NAME, merge={"rate": 6, "camera": {"gain": 1, "names": ["x"]}})
    assert sorted([whole.get(timeout=30), whole.get(timeout=30)]) == [(NAME, ["camera", "names"]), (NAME, ["rate"])]
    assert camera.get(timeout=30) == (NAME, ["camera", "names"])

    operation.close().result(30)
    client.update_configuration(timestamp=datetime.now(timezone.utc), value_to_merge={"camera": {"gain": 7}})
    assert whole.get(timeout=30) == (NAME, ["camera", "gain"])
    assert camera.empty()
    with pytest.raises(model.ResourceNotFoundError):
        client.subscribe_to_configuration_update(key_path=["nothing"], on_stream_event=print)


@BOTH
def test_local_messages(device: Callable[..., Nucleus], build, clients, profile) -> None:
    access = {
        "aws.greengrass.ipc.pubsub": {
            "all": {
                "operations": ["aws.greengrass#PublishToTopic", "aws.greengrass#SubscribeToTopic"],
                "resources": ["local/*"],
            }
        }
    }
    nucleus = device(profile)
    nucleus.deploy(build.idle(NAME, access).idle("com.example.Other", access).deployment(NAME, "com.example.Other"))
    sender, receiver = clients.connect(nucleus, NAME), clients.connect(nucleus, "com.example.Other")
    got: queue.Queue[model.SubscriptionResponseMessage] = queue.Queue()
    own: queue.Queue[model.SubscriptionResponseMessage] = queue.Queue()
    receiver.subscribe_to_topic(topic="local/+", on_stream_event=got.put)
    sender.subscribe_to_topic(topic="local/a", receive_mode="RECEIVE_MESSAGES_FROM_OTHERS", on_stream_event=own.put)

    json_message = model.PublishMessage(json_message=model.JsonMessage(message={"n": [1, 2]}))
    sender.publish_to_topic(topic="local/a", publish_message=json_message)
    sender.publish_to_topic(
        topic="local/b", publish_message=model.PublishMessage(binary_message=model.BinaryMessage(message=b"\x00\xff"))
    )
    first, second = got.get(timeout=30), got.get(timeout=30)
    assert (first.json_message.message, first.json_message.context.topic) == ({"n": [1, 2]}, "local/a")
    assert (second.binary_message.message, second.binary_message.context.topic) == (b"\x00\xff", "local/b")
    assert own.empty()
    with pytest.raises(model.UnauthorizedError):
        sender.publish_to_topic(topic="elsewhere", publish_message=json_message)


def test_startup_component_says_itself_when_it_runs_and_when_it_failed(
    device: Callable[..., Nucleus], build, clients
) -> None:
    nucleus = device()
    build.add(NAME, lifecycle={"startup": "printenv SVCUID > token; echo x >> starts; sleep 600"})
    done: list[BaseException | None] = []

    def deploy() -> None:
        try:
            nucleus.deploy(build.deployment(NAME))
        except DeploymentFailed as error:
            done.append(error)
        else:
            done.append(None)

    thread = threading.Thread(target=deploy)
    thread.start()
    assert nucleus.wait(NAME, State.STARTING, timeout=30)
    work = nucleus.root / "work" / NAME
    until(lambda: (work / "starts").exists())
    client = clients.connect(nucleus, NAME)
    client.update_state(state="RUNNING")
    thread.join()
    assert done == [None]
    assert nucleus.component(NAME).state is State.RUNNING

    client.update_state(state="ERRORED")
    until_reads(work / "starts", "x\nx\n")
    assert nucleus.component(NAME).reason == "the component reported ERRORED"


@BOTH
def test_local_deployment_restart_and_tokens(device: Callable[..., Nucleus], build, clients, profile) -> None:
    nucleus = device(profile)
    nucleus.deploy(build.idle(NAME, LOCAL).idle("com.example.Other", {}).deployment(NAME, "com.example.Other"))
    client, other = clients.connect(nucleus, NAME), clients.connect(nucleus, "com.example.Other")
    build.idle("com.example.Third", {}, defaults={"rate": 1})

    answer = client.create_local_deployment(
        root_component_versions_to_add={"com.example.Third": "1.0.0"},
        component_to_configuration={"com.example.Third": {"MERGE": {"rate": 2}}},
        recipe_directory_path=str(build.recipes),
        artifacts_directory_path=str(build.artifacts),
    )
    until(lambda: answer.deployment_id in [record.id for record in nucleus.deployments])
    assert nucleus.component("com.example.Third").state is State.RUNNING
    assert nucleus.configuration.read("com.example.Third", ["rate"]) == 2

    before = nucleus.component("com.example.Third").pid
    assert client.restart_component(component_name="com.example.Third").restart_status == "SUCCEEDED"
    until(lambda: nucleus.component("com.example.Third").pid not in (before, None))
    with pytest.raises(model.ResourceNotFoundError):
        client.restart_component(component_name="com.example.Nobody")
    with pytest.raises(model.UnauthorizedError):
        other.restart_component(component_name=NAME)
    with pytest.raises(model.UnauthorizedError):
        other.create_local_deployment(root_components_to_remove=[NAME])

    token = lines_of(nucleus.root / "work" / NAME / "token")[0]
    assert client.validate_authorization_token(token=token).is_valid
    with pytest.raises(model.InvalidTokenError):
        client.validate_authorization_token(token="forged")


def test_metrics_are_for_amazons_own_components(device: Callable[..., Nucleus], build, clients) -> None:
    nucleus = device()
    nucleus.deploy(build.idle(NAME).idle("aws.example.Own").deployment(NAME, "aws.example.Own"))
    metric = model.Metric(name="frames", unit="Count", value=1.0)
    with pytest.raises(model.UnauthorizedError):
        clients.connect(nucleus, NAME).put_component_metric(metrics=[metric])
    clients.connect(nucleus, "aws.example.Own").put_component_metric(metrics=[metric])


def test_a_component_puts_an_update_off(device: Callable[..., Nucleus], build, clients) -> None:
    nucleus = device()
    nucleus.deploy(build.idle(NAME, {}).deployment(NAME))
    client = clients.connect(nucleus, NAME)
    asked: list[str] = []
    after: queue.Queue[str] = queue.Queue()

    def answer(event: model.ComponentUpdatePolicyEvents) -> None:
        if event.post_update_event is not None:
            after.put(event.post_update_event.deployment_id)
            return
        number = event.pre_update_event.deployment_id
        asked.append(number)
        client.defer_component_update(
            deployment_id=number, message="busy", recheck_after_ms=50 if len(asked) < 3 else 0
        )

    client.subscribe_to_component_updates(on_stream_event=answer)
    build.idle("com.example.Other", {})
    result = nucleus.deploy(build.deployment("com.example.Other", notify_seconds=30.0))
    assert asked == [result.id] * 3
    assert after.get(timeout=30) == result.id
    with pytest.raises(model.ServiceError):
        client.defer_component_update(deployment_id=result.id, recheck_after_ms=0)


def test_a_component_that_does_not_answer_is_not_waited_for_long(
    device: Callable[..., Nucleus], build, clients
) -> None:
    nucleus = device()
    nucleus.deploy(build.idle(NAME, {}).deployment(NAME))
    clients.connect(nucleus, NAME).subscribe_to_component_updates(on_stream_event=lambda _event: None)
    build.idle("com.example.Other", {})
    result = nucleus.deploy(build.deployment("com.example.Other", notify_seconds=0.2))
    assert result.status is DeploymentStatus.SUCCESSFUL


def test_a_component_rejects_its_new_configuration(device: Callable[..., Nucleus], build, clients) -> None:
    nucleus = device()
    nucleus.deploy(build.idle(NAME, {}, defaults={"rate": 1}).deployment(NAME))
    client = clients.connect(nucleus, NAME)

    def judge(event: model.ValidateConfigurationUpdateEvents) -> None:
        asked = event.validate_configuration_update_event
        good = asked.configuration["rate"] < 10
        client.send_configuration_validity_report(
            configuration_validity_report=model.ConfigurationValidityReport(
                status="ACCEPTED" if good else "REJECTED", deployment_id=asked.deployment_id, message="rate too high"
            )
        )

    client.subscribe_to_validate_configuration_updates(on_stream_event=judge)
    nucleus.set_configuration(NAME, merge={"rate": 9})
    with pytest.raises(DeploymentFailed, match="rejected its new configuration: rate too high") as failure:
        nucleus.deploy(build.deployment(NAME, configuration={NAME: ConfigurationUpdate(merge={"rate": 10})}))
    assert failure.value.result.status is DeploymentStatus.FAILED_NO_STATE_CHANGE
    assert nucleus.configuration.read(NAME, ["rate"]) == 9


@BOTH
def test_a_whole_component_with_the_unmodified_client(
    device: Callable[..., Nucleus], build, clients, cloud, profile
) -> None:
    """A real program in its own process: reads its configuration, publishes, and follows a change."""
    program = """
import time
from awsiot.greengrasscoreipc.clientv2 import GreengrassCoreIPCClientV2
client = GreengrassCoreIPCClientV2()
def rate():
    return str(client.get_configuration(key_path=["rate"]).value["rate"])
def changed(event):
    client.publish_to_iot_core(topic_name="rates", qos="1", payload=rate().encode())
client.subscribe_to_configuration_update(on_stream_event=changed)
while True:
    try:
        client.publish_to_iot_core(topic_name="rates", qos="1", payload=rate().encode())
        break
    except Exception:
        time.sleep(0.1)
time.sleep(600)
"""
    access = {
        "aws.greengrass.ipc.mqttproxy": {
            "rates": {"operations": ["aws.greengrass#PublishToIoTCore"], "resources": ["rates"]}
        }
    }
    build.python(NAME, program, defaults={"rate": 1, "accessControl": access})
    nucleus = device(profile)
    nucleus.deploy(build.deployment(NAME))
    assert cloud.wait(1)[0] == ("rates", b"1")
    nucleus.set_configuration(NAME, merge={"rate": 2})
    assert cloud.wait(2)[1] == ("rates", b"2")


def _into(events: queue.Queue[tuple[str, list[str]]]) -> Callable[[model.ConfigurationUpdateEvents], None]:
    def put(event: model.ConfigurationUpdateEvents) -> None:
        changed = event.configuration_update_event
        events.put((changed.component_name, changed.key_path))

    return put
