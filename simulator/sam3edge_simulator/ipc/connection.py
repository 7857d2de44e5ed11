"""One client's connection: a thread that reads requests and a thread that writes what is to be sent."""

from __future__ import annotations

import json
import logging
import queue
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial

from sam3edge_simulator.ipc.errors import (
    ConnectionDropped,
    InvalidArgumentsError,
    InvalidTokenError,
    IpcError,
    ServiceError,
)
from sam3edge_simulator.ipc.faults import Delay, Drop, Fail, Faults, Silence
from sam3edge_simulator.ipc.service import STREAMING, Answer, Request, Service, Stream
from sam3edge_simulator.ipc.wire import Flag, Frame, MessageType, WireError, encode, read_frame

logger = logging.getLogger(__name__)

VERSION = "0.1.0"
NAMESPACE = "aws.greengrass#"
UNSENT_FRAMES = 10_000
"""A client that leaves this many frames unread is cut off, so that a stopped component cannot exhaust the memory."""

GOODBYE_SECONDS = 5.0
"""How long a client may take to read the last of what was sent to it."""


class Connection:
    """Serves one client until it or the server closes.

    Args:
        peer: the accepted socket; owned from here on.
        service: what answers.
        faults: what goes wrong first.
        ends_streams: whether answers of operations without events end their stream, as the classic nucleus does and
            nucleus lite does not.
        gone: called once, from this connection's thread, after the socket is closed.
    """

    def __init__(
        self,
        peer: socket.socket,
        service: Service,
        faults: Faults,
        *,
        ends_streams: bool,
        gone: Callable[[Connection], None],
    ) -> None:
        self.component = ""
        self._peer = peer
        self._service = service
        self._faults = faults
        self._ends_streams = ends_streams
        self._gone = gone
        self._closing = threading.Event()
        self._outgoing: queue.Queue[Frame | None] = queue.Queue(UNSENT_FRAMES)
        self._streams: dict[int, Stream] = {}
        self._reader = threading.Thread(target=self._read, name="ipc-reader", daemon=True)
        self._writer = threading.Thread(target=self._write, name="ipc-writer", daemon=True)

    def start(self) -> None:
        """Begin to read and write."""
        self._writer.start()
        self._reader.start()

    def drop(self) -> None:
        """Cut the connection now; what was not sent is lost. Callable from every thread."""
        self._closing.set()
        with suppress(OSError):
            self._peer.shutdown(socket.SHUT_RDWR)
        with suppress(queue.Full):
            self._outgoing.put_nowait(None)

    def join(self) -> None:
        """Wait until both threads have ended; not callable from them."""
        self._reader.join()
        self._writer.join()

    # ------------------------------------------------------------------ reading

    def _read(self) -> None:
        try:
            if not self._connect(read_frame(self._receive)):
                # Closing right after the refusal would race with it: the client is to read it and close by itself.
                self._peer.settimeout(GOODBYE_SECONDS)
                self._receive(1)
                return
            while not self._closing.is_set():
                self._dispatch(read_frame(self._receive))
        except (EOFError, OSError, ConnectionDropped):
            pass
        except WireError as error:
            logger.warning("%s: %s", self.component or "unknown client", error)
        finally:
            self._finish()

    def _finish(self) -> None:
        # The writer still sends what is queued (a refusal, for one) before the socket goes.
        with suppress(queue.Full):
            self._outgoing.put_nowait(None)
        self._writer.join(GOODBYE_SECONDS)
        self._closing.set()
        with suppress(OSError):
            self._peer.shutdown(socket.SHUT_RDWR)
        self._writer.join()
        self._peer.close()
        for stream in list(self._streams.values()):
            stream.close()
        self._gone(self)

    def _receive(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self._peer.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return bytes(data)

    def _connect(self, frame: Frame) -> bool:
        """Answer the first frame.

        Returns:
            Whether the client may continue.
        """
        if frame.type is not MessageType.CONNECT or frame.text(":version") != VERSION:
            raise WireError(
                f"expected a connect message with version {VERSION}, "
                f"got {frame.type.name} with version {frame.text(':version')!r}"
            )
        try:
            token = str(_json_object(frame.payload).get("authToken", ""))
            if self._faults.refuses(token):
                raise InvalidTokenError("refused by an injected fault")
            self.component = self._service.authenticate(token)
        except IpcError as error:
            logger.info("connection refused: %s", error)
            self._send(Frame(MessageType.CONNECT_ACK))
            return False
        self._send(Frame(MessageType.CONNECT_ACK, Flag.CONNECTION_ACCEPTED))
        return True

    def _dispatch(self, frame: Frame) -> None:
        if frame.type is MessageType.PING:
            self._send(Frame(MessageType.PING_RESPONSE, payload=frame.payload))
        elif frame.type is not MessageType.APPLICATION_MESSAGE:
            logger.debug("%s: %s ignored", self.component, frame.type.name)
        elif frame.flags & Flag.TERMINATE_STREAM:
            stream = self._streams.pop(frame.stream, None)
            if stream is not None:
                stream.close()
        elif frame.text("operation"):
            self._handle(frame)

    def _handle(self, frame: Frame) -> None:
        operation = frame.text("operation").removeprefix(NAMESPACE)
        stream = Stream(partial(self._event, frame.stream, STREAMING.get(operation, "")))
        if operation in STREAMING:
            self._streams[frame.stream] = stream
        fault = self._faults.next(operation)
        try:
            if isinstance(fault, Fail):
                raise fault.error
            if isinstance(fault, Drop) and not fault.handled:
                raise ConnectionDropped
            if isinstance(fault, Delay) and self._closing.wait(fault.seconds):
                return
            answer = self._service.handle(
                Request(self.component, operation, _json_object(frame.payload), stream),
            )
        except IpcError as error:
            self._refuse(frame.stream, error)
            return
        if isinstance(fault, Drop):
            if isinstance(answer, Future):
                answer.add_done_callback(lambda _: self.drop())
                return
            raise ConnectionDropped
        if isinstance(fault, Silence):
            return
        if isinstance(answer, Future):
            answer.add_done_callback(partial(self._answer_later, frame.stream, operation, stream))
        else:
            self._answer(frame.stream, operation, stream, answer)

    # ------------------------------------------------------------------ writing

    def _answer_later(self, number: int, operation: str, stream: Stream, future: Future[Answer]) -> None:
        if future.cancelled():
            self._refuse(number, ServiceError("the nucleus is stopping"))
            return
        error = future.exception()
        if error is None:
            self._answer(number, operation, stream, future.result())
        elif isinstance(error, IpcError):
            self._refuse(number, error)
        elif isinstance(error, ConnectionDropped):
            self.drop()
        else:
            logger.error("%s: %s failed", self.component, operation, exc_info=error)
            self._refuse(number, ServiceError(f"{operation} failed: {error}"))

    def _answer(self, number: int, operation: str, stream: Stream, answer: Answer) -> None:
        ends = self._ends_streams and operation not in STREAMING
        flags = Flag.TERMINATE_STREAM if ends else Flag.NONE
        self._send(_application_frame(MessageType.APPLICATION_MESSAGE, flags, number, f"{operation}Response", answer))
        stream.opened()

    def _refuse(self, number: int, error: IpcError) -> None:
        name = error.model.removeprefix(NAMESPACE)
        flags = Flag.TERMINATE_STREAM
        self._send(_application_frame(MessageType.APPLICATION_ERROR, flags, number, name, error.fields))
        stream = self._streams.pop(number, None)
        if stream is not None:
            stream.close()

    def _event(self, number: int, shape: str, event: Answer) -> None:
        self._send(_application_frame(MessageType.APPLICATION_MESSAGE, Flag.NONE, number, shape, event))

    def _send(self, frame: Frame) -> None:
        try:
            self._outgoing.put_nowait(frame)
        except queue.Full:
            logger.warning("%s reads nothing: connection closed", self.component)
            self.drop()

    def _write(self) -> None:
        while not self._closing.is_set():
            frame = self._outgoing.get()
            if frame is None:
                return
            try:
                self._peer.sendall(encode(frame))
            except OSError:
                return


def _application_frame(kind: MessageType, flags: Flag, stream: int, shape: str, members: Answer) -> Frame:
    headers = {":content-type": "application/json", "service-model-type": f"{NAMESPACE}{shape}"}
    return Frame(kind, flags, stream, headers, json.dumps(members).encode())


def _json_object(payload: bytes) -> dict[str, object]:
    try:
        decoded = json.loads(payload or b"{}")
    except ValueError as error:
        raise InvalidArgumentsError(f"expected a JSON object as payload: {error}") from error
    if not isinstance(decoded, dict):
        raise InvalidArgumentsError(f"expected a JSON object as payload, got {type(decoded).__name__}")
    return decoded
