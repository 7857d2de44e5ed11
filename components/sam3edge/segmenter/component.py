"""The segmenter as a running component: its parts put together, its settings kept up to date."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from sam3edge.bundle.store import Store
from sam3edge.core.errors import OutboxFull, SettingsError
from sam3edge.core.flow import Flow, LocalDetector
from sam3edge.core.messages.detections import FrameResult
from sam3edge.core.messages.errors import component_error
from sam3edge.core.messages.status import Heartbeat, State, status
from sam3edge.core.messages.topics import topics_of
from sam3edge.core.types import Message
from sam3edge.greengrass.commands import Command, Commands
from sam3edge.greengrass.nucleus import Nucleus
from sam3edge.outbox.delivery import Delivery
from sam3edge.outbox.outbox import Outbox
from sam3edge.outbox.retry import DeliveryOptions
from sam3edge.segmenter import wiring
from sam3edge.segmenter.active import ActiveEngine
from sam3edge.segmenter.fallback_wiring import Fallback, build_fallback
from sam3edge.segmenter.settings import Settings, read_settings
from sam3edge.segmenter.status import HeartbeatThread, Statistics, snapshot_of

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 5.0
"""How long an orderly shutdown waits for the outbox to empty; what is left goes out after the next start."""

Outcome = Literal["stopped", "ended", "rebuild"]


@dataclass(frozen=True, slots=True)
class ComponentContext:
    """What the nucleus gives a component.

    Attributes:
        device: the thing's name.
        work: the component's work folder: outbox, journal, quarantine.
        store: where the model component puts bundles.
        max_payload: bytes of one message that this nucleus carries, unless the configuration says otherwise.
        in_flight: messages that it takes at once, likewise.
    """

    device: str
    work: Path
    store: Path
    max_payload: int
    in_flight: int


class Component:
    """One run of the segmenter with one set of parts.

    Args:
        nucleus: configuration, commands and publishing.
        settings: checked.
        where: surroundings.
        stop: set from outside to end in an orderly way.
        refusal: why a configuration before this one could not be carried out; it is reported.
    """

    def __init__(
        self,
        nucleus: Nucleus,
        settings: Settings,
        where: ComponentContext,
        stop: threading.Event,
        refusal: SettingsError | None = None,
    ) -> None:
        self._nucleus = nucleus
        self._settings = settings
        self._where = where
        self._asked_to_stop = stop
        self._refusal = refusal
        self._leave = threading.Event()
        self._rebuild: Settings | None = None
        self._lost: Exception | None = None
        self._topics = topics_of(where.device, settings.topic_prefix)
        self._max_payload = settings.max_payload_bytes or where.max_payload
        self._options = settings.detection_options(self._max_payload)
        self._statistics = Statistics()
        self._outbox: Outbox
        self._delivery: Delivery
        self._fallback: Fallback | None = None

    def run(self) -> tuple[Outcome, Settings]:
        """Work until stopped, until the source ends, or until a changed configuration needs other parts.

        Returns:
            Why it ended, and the settings to go on with.

        Raises:
            EngineError: the model cannot run.
            ConnectionLost: the nucleus is gone.
            SettingsError: a part refuses what the configuration asks for.
        """
        settings, where = self._settings, self._where
        with ExitStack() as stack:
            self._outbox = Outbox(
                where.work / "outbox.sqlite",
                wiring.outbox_options(settings.outbox),
                overflow=wiring.build_overflow(settings.source),
            )
            stack.callback(self._outbox.close)
            publisher = wiring.build_publisher(settings.publisher, self._nucleus, self._max_payload)
            stack.callback(publisher.close)
            in_flight = settings.in_flight or where.in_flight
            self._delivery = Delivery(
                self._outbox, publisher, DeliveryOptions(in_flight=in_flight), on_lost=self._on_lost
            )
            self._delivery.start()
            stack.callback(self._delivery.close)
            source = wiring.build_source(settings.source, where.work)
            stack.callback(source.close)
            self._fallback = build_fallback(settings, where.device, where.work, wiring.backlog_of(source))
            if self._fallback is not None:
                stack.callback(self._fallback.close)
            engine = ActiveEngine(Store(where.store).current, lambda b: wiring.load_engine(b, settings), self._report)
            engine.start()
            stack.callback(engine.close)
            stack.callback(self._nucleus.on_configuration(self._reconfigure).close)
            commands = Commands(
                where.device,
                self._topics.command_responses,
                {"set_prompts": self._change, "set_threshold": self._change, "snapshot": self._request_snapshot},
                self._outbox.put,
            )
            stack.callback(self._nucleus.subscribe(self._topics.commands, commands.handle).close)
            beat = HeartbeatThread(settings.heartbeat_seconds, lambda: self._beat("running", engine))
            beat.start()
            stack.callback(beat.close)
            if self._refusal is not None:
                self._report(self._refusal)
            self._nucleus.update_state("RUNNING")
            flow = Flow(
                where.device,
                source,
                wiring.build_gate(settings.source),
                engine,
                lambda: self._options,
                self._outbox,
                self._topics,
                self._statistics,
                LocalDetector() if self._fallback is None else self._fallback.detector,
            )
            leave = _Either(self._asked_to_stop, self._leave)
            self._await_model(engine, leave)
            try:
                flow.run(leave)
            except Exception as error:
                self._report(error)
                self._delivery.drain(DRAIN_SECONDS)
                raise
            beat.close()
            if self._lost is not None:
                raise self._lost
            self._beat("stopping" if self._rebuild is None else "restarting", engine)
            self._delivery.drain(DRAIN_SECONDS)
        if self._rebuild is not None:
            return "rebuild", self._rebuild
        return ("stopped" if self._asked_to_stop.is_set() else "ended"), self._settings

    def _await_model(self, engine: ActiveEngine, leave: threading.Event) -> None:
        """Wait for the first model; where the cloud may stand in for it, not for ever."""
        patience = None if self._fallback is None else self._fallback.model_wait
        until = float("inf") if patience is None else time.monotonic() + patience
        while not leave.is_set() and not engine.wait(min(0.5, max(0.0, until - time.monotonic()))):
            if time.monotonic() >= until:
                logger.warning("there is no model after %.0f s; the cloud stands in for it", patience)
                return

    def _on_lost(self, error: Exception) -> None:
        self._lost = error
        self._leave.set()

    def _reconfigure(self, configuration: Mapping[str, Any]) -> None:
        """Take a changed configuration over, or refuse it and go on as before."""
        try:
            settings = read_settings(configuration)
        except SettingsError as error:
            logger.error("the new configuration is refused, the one before stays: %s", error)
            self._report(error)
            return
        if settings.needs_rebuild(self._settings):
            logger.info("the new configuration needs other parts")
            self._rebuild = settings
            self._leave.set()
            return
        self._settings = settings
        self._options = settings.detection_options(self._max_payload)
        logger.info("now looking for %s", ", ".join(p.text for p in self._options.prompts))

    def _change(self, command: Command) -> dict[str, Any]:
        """Carry a command's change into the component's configuration, whose watcher then takes it over: so it outlives
        a restart and is seen where every other change is seen."""
        key = {"set_prompts": "Prompts", "set_threshold": "Threshold"}[command.name]
        if set(command.arguments) != {key.lower()}:
            raise SettingsError(f"expected one argument, {key.lower()}; got {', '.join(command.arguments) or 'none'}")
        change = {key: command.arguments[key.lower()]}
        read_settings({**self._nucleus.configuration(), **change})
        self._nucleus.update_configuration(change)
        return change

    def _request_snapshot(self, command: Command) -> dict[str, Any]:
        topic = self._topics.snapshots

        def serve(answer: FrameResult) -> None:
            try:
                message = snapshot_of(answer.frame, self._where.device, topic, command.id, self._max_payload)
            except SettingsError as error:
                self._report(error)
            else:
                self._put(message)

        self._statistics.request_snapshot(serve)
        return {"topic": topic}

    def _report(self, error: Exception) -> None:
        """Publish an error that belongs to no frame."""
        self._statistics.failed(error)
        self._put(component_error(self._where.device, error, self._topics.errors))

    def _beat(self, state: State, engine: ActiveEngine) -> None:
        current = engine.current()
        beat = Heartbeat(
            state if current is not None else "waiting for a model",
            current.model if current is not None else None,
            self._options.prompts,
            self._statistics.report(),
            asdict(self._delivery.statistics()),
            None if self._fallback is None else self._fallback.report(),
        )
        self._put(status(self._where.device, self._topics.status, beat, self._max_payload))

    def _put(self, message: Message) -> None:
        """Queue a message that is not about a frame; when the outbox is full, it is dropped and logged."""
        try:
            self._outbox.put([message])
        except OutboxFull:
            logger.warning("the outbox is full; a message is dropped", extra={"topic": message.topic})


class _Either(threading.Event):
    """Set when one of two events is."""

    def __init__(self, first: threading.Event, second: threading.Event) -> None:
        super().__init__()
        self._events = (first, second)

    def is_set(self) -> bool:
        return any(event.is_set() for event in self._events)


def serve(nucleus: Nucleus, where: ComponentContext, stop: threading.Event) -> None:
    """Run the component until it is stopped or its source ends, with new parts whenever that is needed."""
    settings = read_settings(nucleus.configuration())
    working: Settings | None = None
    refusal: SettingsError | None = None
    outcome: Outcome = "rebuild"
    while outcome == "rebuild":
        logging.getLogger().setLevel(settings.log_level)
        try:
            outcome, following = Component(nucleus, settings, where, stop, refusal).run()
        except SettingsError as error:
            if working is None or working is settings:
                raise
            logger.error("the new configuration cannot be carried out, the one before goes on: %s", error)
            settings, refusal = working, error
        else:
            working, settings, refusal = settings, following, None
            logger.info("%s", outcome)
