"""Greengrass IPC as a server: what the unmodified SDK client talks to.

In a test, on a socket in a temporary folder::

    from awsiot.greengrasscoreipc.clientv2 import GreengrassCoreIPCClientV2
    from sam3edge_simulator.ipc import Delay, Drop, Fail, FakeNucleus, IpcServer, ServiceError, Silence

    nucleus = FakeNucleus({"com.example.Thing": {"rate": 5}})       # configuration by component
    with IpcServer(tmp_path / "ipc.socket", nucleus) as server:
        # The client is told the socket and its token by the environment; the token is the component's name here.
        monkeypatch.setenv("AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT", str(server.path))
        monkeypatch.setenv("SVCUID", "com.example.Thing")
        client = GreengrassCoreIPCClientV2()
        client.publish_to_iot_core(topic_name="a/b", qos="1", payload=b"...")
        assert nucleus.published[-1].payload == b"..."
        client.close().result()

What can be seen: ``nucleus.published`` (component, topic, payload, qos), ``nucleus.states``, ``nucleus.subscriptions``,
``nucleus.configuration.read(component)``, ``server.components``; ``nucleus.wait(lambda n: len(n.published) == 3)`` and
``server.wait_connections(0, timeout)`` wait for it.

What can be done: ``nucleus.deliver("commands/x", b"...")`` sends a message from the cloud,
``nucleus.configuration.merge(component, {...})`` changes values and tells subscribers, ``nucleus.online = False`` takes
the broker away, ``FakeNucleus(largest_publish=7300, drops_large=True)`` has nucleus lite's limit.

What can go wrong, in ``server.faults`` (see there)::

    server.faults.inject("PublishToIoTCore", Fail(ServiceError("busy")), times=3)
    server.faults.inject("PublishToIoTCore", Drop(handled=True))    # it took place, and the client cannot know
    server.faults.inject("*", Delay(2.0), times=None)               # every request, until faults.clear()
    server.faults.inject("GetConfiguration", Silence())             # never answered
    server.faults.refuse_token()                                    # every new connection is refused
    server.drop_connections()                                       # cut now; server.stop() and .start() restart it

A lost connection shows in the SDK as ``ConnectionClosedError``, ``StreamClosedError``, a plain ``RuntimeError``
("4104 (AWS_ERROR_EVENT_STREAM_RPC_CONNECTION_CLOSED)") or ``AwsCrtError``, depending on how far the client has noticed;
the first two are RuntimeErrors as well. A request that is never answered stays open for ever.

``sam3edge_simulator.nucleus.Nucleus`` serves the same operations for real, with processes and a broker; its server is
``nucleus.ipc``, with the same faults.
"""

from sam3edge_simulator.ipc.errors import (
    ConflictError,
    ConnectionDropped,
    FailedUpdateConditionCheckError,
    InvalidArgumentsError,
    InvalidTokenError,
    IpcError,
    ResourceNotFoundError,
    ServiceError,
    UnauthorizedError,
)
from sam3edge_simulator.ipc.fake import FakeNucleus, Published
from sam3edge_simulator.ipc.faults import Delay, Drop, Fail, Fault, Faults, Silence
from sam3edge_simulator.ipc.server import IpcServer
from sam3edge_simulator.ipc.service import STREAMING, Answer, Request, Service, Stream

__all__ = [
    "STREAMING",
    "Answer",
    "ConflictError",
    "ConnectionDropped",
    "Delay",
    "Drop",
    "Fail",
    "FailedUpdateConditionCheckError",
    "FakeNucleus",
    "Fault",
    "Faults",
    "InvalidArgumentsError",
    "InvalidTokenError",
    "IpcError",
    "IpcServer",
    "Published",
    "Request",
    "ResourceNotFoundError",
    "Service",
    "ServiceError",
    "Silence",
    "Stream",
    "UnauthorizedError",
]
