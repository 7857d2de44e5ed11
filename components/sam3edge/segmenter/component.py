"""The segmenter as a running component: its parts put together, its settings kept up to date."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from sam3edge.bundle.store import Store
from sam3edge.core.errors import ConnectionLost, EngineError, OutboxFull, PublishError, SettingsError, ThreadDied
from sam3edge.core.flow import Flow, LocalDetector
from sam3edge.core.messages.detections import FrameResult, divide
from sam3edge.core.messages.errors import component_error
from sam3edge.core.messages.status import Heartbeat, State, status
from sam3edge.core.messages.topics import topics_of
from sam3edge.core.ports import Engine, Source
from sam3edge.core.types import Message, PassedOver
from sam3edge.greengrass.commands import Command, Commands
from sam3edge.greengrass.heartbeat import HeartbeatThread
from sam3edge.greengrass.nucleus import Nucleus
from sam3edge.greengrass.probe import CloudProbe, ProbeOptions
from sam3edge.greengrass.program import watch_threads
from sam3edge.outbox.delivery import Delivery
from sam3edge.outbox.limits import OutboxOptions, Overflow
from sam3edge.outbox.once import OUTBOX
from sam3edge.outbox.outbox import Outbox
from sam3edge.outbox.retry import DeliveryOptions
from sam3edge.segmenter import wiring
from sam3edge.segmenter.active import ActiveEngine
from sam3edge.segmenter.context import ComponentContext
from sam3edge.segmenter.either_event import EitherEvent
from sam3edge.segmenter.feedback import Feedback, build_feedback
from sam3edge.segmenter.last_configuration import LastConfiguration
from sam3edge.segmenter.places import Places
from sam3edge.segmenter.settings import Settings, read_settings
from sam3edge.segmenter.status import Statistics, snapshot_of
from sam3edge.segmenter.tracking import Tracking, build_tracking
from sam3edge.tracking.stage import EventChannel

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 5.0
"""How long an orderly shutdown waits for the outbox to empty; what is left goes out after the next start."""

DISK_FULL_PAUSE = 10.0
"""Seconds between two attempts to open the outbox on a full disk."""

REFUSAL_PAUSE = 60.0
"""Seconds between two reports of messages that do not leave; ``status`` counts all of them."""

Outcome = Literal["stopped", "ended", "rebuild"]


class Component:
    """One run of the segmenter with one set of parts.

    Args:
        nucleus: configuration, commands and publishing.
        settings: checked.
        where: surroundings.
        stop: set from outside to end in an orderly way.
        last: is given every configuration that worked.
        refusal: why a configuration before this one could not be carried out; it is reported.
    """

    def __init__(
        self,
        nucleus: Nucleus,
        settings: Settings,
        where: ComponentContext,
        stop: threading.Event,
        last: LastConfiguration,
        refusal: SettingsError | None = None,
    ) -> None:
        self._nucleus = nucleus
        self._settings = settings
        self._where = where
        self._asked_to_stop = stop
        self._last = last
        self._refusal = refusal
        self.is_built = False
        self._leave = threading.Event()
        self._rebuild: Settings | None = None
        self._failure: Exception | None = None
        self._topics = topics_of(where.device, settings.topic_prefix)
        self._max_payload = settings.max_payload_bytes or where.limits.max_payload
        self._options = settings.detection_options(self._max_payload)
        self._rules = settings.rules()
        self._statistics = Statistics()
        self._places = Places(self._report)
        self._source: Source
        self._outbox: Outbox
        self._delivery: Delivery
        self._feedback: Feedback
        self._tracking: Tracking
        self._fallback: wiring.Fallback | None = None
        self._refusal_due = 0.0
        self._passed_over: tuple[PassedOver, ...] = ()

    def run(self) -> tuple[Outcome, Settings]:
        """Work until stopped, until the source ends, or until a changed configuration needs other parts.

        Returns:
            Why it ended, and the settings to continue with.

        Raises:
            EngineError: the model cannot run.
            ConnectionLost: the nucleus is gone.
            SettingsError: a part refuses what the configuration asks for.
        """
        with ExitStack() as stack:
            try:
                flow, engine = self._build(stack)
            except (ConnectionLost, EngineError, SettingsError):
                raise
            except Exception as error:  # whatever a part refuses, it was the configuration that asked for it
                reason = f"the configuration cannot be carried out: {type(error).__name__}: {error}"
                raise SettingsError(reason) from error
            self.is_built = True
            self._keep_configuration()
            if self._refusal is not None:
                self._report(self._refusal)
            self._nucleus.update_state("RUNNING")
            beat = HeartbeatThread(self._settings.heartbeat_seconds, lambda: self._beat("running", engine))
            beat.start()
            stack.callback(beat.close)
            leave = EitherEvent(self._asked_to_stop, self._leave)
            self._await_model(engine, leave)
            try:
                flow.run(leave)
            except Exception as error:
                self._report(error)
                self._delivery.drain(DRAIN_SECONDS)
                raise
            beat.close()
            if self._failure is not None:
                raise self._failure
            self._beat("stopping" if self._rebuild is None else "restarting", engine)
            self._delivery.drain(DRAIN_SECONDS)
        if self._rebuild is not None:
            return "rebuild", self._rebuild
        return ("stopped" if self._asked_to_stop.is_set() else "ended"), self._settings

    def _build(self, stack: ExitStack) -> tuple[Flow, ActiveEngine]:
        """Build and start the parts; ``stack`` closes them, the last one first."""
        settings, where = self._settings, self._where
        stack.enter_context(watch_threads(self._on_thread_death))
        source = self._source = settings.source.build(where.work)
        stack.callback(source.close)
        options = settings.outbox.options(where.limits.replay_messages)
        self._outbox = self._open_outbox(options, wiring.overflow_of(source))
        stack.callback(self._outbox.close)
        publisher = settings.publisher.build(self._nucleus, self._max_payload)
        stack.callback(publisher.close)
        self._delivery = Delivery(
            self._outbox,
            publisher,
            DeliveryOptions(settings.in_flight or where.limits.in_flight, where.limits.in_flight_bytes),
            on_lost=self._on_lost,
            split=divide,
            report=self._on_refused,
        )
        self._delivery.start()
        stack.callback(self._delivery.close)
        self._feedback = build_feedback(settings, where.device, where.work, lambda: self._options.prompts)
        stack.callback(self._feedback.close)
        self._tracking = build_tracking(
            settings.tracking,
            EventChannel(where.device, self._topics.events, self._max_payload),
            where.work,
            lambda: self._rules,
            lambda: self._options.prompts,
        )
        self._fallback = wiring.build_fallback(
            settings, where.work, lambda: source.backlog, self._feedback.disagreements
        )
        if self._fallback is not None:
            stack.callback(self._fallback.close)
        self._places.use(settings)
        store = Store(where.store)
        wiring.require_provider(settings)
        engine = ActiveEngine(store.current, lambda bundle: self._load_engine(bundle, store), self._report)
        engine.start()
        stack.callback(engine.close)
        self._listen(stack)
        detector = LocalDetector() if self._fallback is None else self._fallback.detector
        flow = Flow(
            where.device,
            source,
            self._tracking.gate(settings.source.build_gate()),
            engine,
            lambda: self._options,
            self._outbox,
            self._topics,
            self._statistics,
            detector,
            [self._places, *self._feedback.stages, *self._tracking.stages],
        )
        return flow, engine

    def _load_engine(self, bundle: Path, store: Store) -> Engine:
        """On the first provider that is proven; those before it are reported: nothing runs on the CPU in silence."""
        proven = wiring.load_engine(bundle, self._settings, store)
        self._passed_over = proven.passed_over
        for one in proven.passed_over:
            runs = proven.engine.model.provider
            self._report(EngineError(f"{bundle.name} runs on {runs} and not on {one.provider}: {one.reason}"))
        return proven.engine

    def _open_outbox(self, options: OutboxOptions, overflow: Overflow) -> Outbox:
        """Open it; on a disk that has no room even for that, wait: a restart would change nothing.

        Raises:
            SettingsError: the program shall end.
        """
        while True:
            try:
                return Outbox(self._where.work / OUTBOX, options, overflow=overflow)
            except OutboxFull as error:
                logger.error("%s; trying again in %.0f s", error, DISK_FULL_PAUSE)
                if self._asked_to_stop.wait(DISK_FULL_PAUSE):
                    raise SettingsError("stopped while the disk was full") from error

    def _listen(self, stack: ExitStack) -> None:
        """Follow the configuration and commands; where subscriptions can go deaf, have them probed."""
        stack.callback(self._nucleus.on_configuration(self._reconfigure).close)
        commands = Commands(
            self._where.device,
            self._topics.command_responses,
            {"set_prompts": self._change, "set_threshold": self._change, "snapshot": self._request_snapshot},
            self._outbox.put,
        )
        subscription = self._nucleus.subscribe(self._topics.commands, commands.handle)
        stack.callback(subscription.close)
        seconds = self._settings.probe_seconds
        seconds = self._where.limits.probe_seconds if seconds is None else seconds
        if seconds:
            probe = CloudProbe(
                self._nucleus, self._where.device, self._topics.ping, [subscription], ProbeOptions(seconds)
            )
            probe.start()
            stack.callback(probe.close)

    def _keep_configuration(self) -> None:
        """What the nucleus has now may be another one already, which its watcher reports soon."""
        configuration = self._nucleus.configuration()
        try:
            same = read_settings(configuration) == self._settings
        except SettingsError:
            return
        if same:
            self._last.keep(configuration)

    def _await_model(self, engine: ActiveEngine, leave: threading.Event) -> None:
        """Wait for the first model; where the cloud may stand in for it, not for ever."""
        patience = None if self._fallback is None else self._fallback.model_wait
        until = float("inf") if patience is None else time.monotonic() + patience
        while not leave.is_set() and not engine.wait(min(0.5, max(0.0, until - time.monotonic()))):
            if time.monotonic() >= until:
                logger.warning("there is no model after %.0f s; the cloud stands in for it", patience)
                return

    def _on_lost(self, error: Exception) -> None:
        """Without the nucleus frames continue into the outbox, until the program may end for another start."""
        pause = self._where.restarts.pause()
        logger.error("the connection to the nucleus is lost; the program ends in %.0f s: %s", pause, error)
        self._end_with(error, pause)

    def _on_thread_death(self, name: str, error: BaseException) -> None:
        """A part without its thread would do nothing for ever: a new process has all of them."""
        pause = self._where.restarts.pause()
        failure = ThreadDied(f"the thread {name} has ended: {type(error).__name__}: {error}")
        logger.error("%s; the program ends in %.0f s", failure, pause)
        self._report(failure)
        self._end_with(failure, pause)

    def _end_with(self, error: Exception, pause: float) -> None:
        if self._failure is not None:
            return
        self._failure = error
        timer = threading.Timer(pause, self._leave.set)
        timer.daemon = True
        timer.start()

    def _reconfigure(self, configuration: Mapping[str, Any]) -> None:
        """Take a changed configuration over, or refuse it and go on as before."""
        try:
            settings = read_settings(configuration)
            rebuild = settings.needs_rebuild(self._settings)
            if not rebuild:
                self._places.use(settings)
        except SettingsError as error:
            logger.error("the new configuration is refused, the one before stays: %s", error)
            self._report(error)
            return
        if rebuild:
            logger.info("the new configuration needs other parts")
            self._rebuild = settings
            self._leave.set()
            return
        self._settings = settings
        self._options = settings.detection_options(self._max_payload)
        self._rules = settings.rules()
        self._last.keep(configuration)
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

        def serve(result: FrameResult) -> None:
            try:
                message = snapshot_of(result.frame, self._where.device, topic, command.id, self._max_payload)
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
            {"backlog": self._source.backlog, "unfinished": self._source.unfinished},
            self._settings.heartbeat_seconds,
            None if self._fallback is None else self._fallback.report(),
            self._passed_over if current is not None else (),
            self._feedback.kept(),
            self._feedback.drifted(),
            self._places.status(),
            self._tracking.report(),
        )
        self._put(status(self._where.device, self._topics.status, beat, self._max_payload))

    def _on_refused(self, error: PublishError, message: Message) -> None:
        """Tell of a message that does not leave; not of a message that tells of one, nor of each of hundreds."""
        now = time.monotonic()
        if message.topic != self._topics.errors and now >= self._refusal_due:
            self._refusal_due = now + REFUSAL_PAUSE
            self._report(error)

    def _put(self, message: Message) -> None:
        """Queue a message that is not about a frame; when the outbox is full, it is dropped and logged."""
        try:
            self._outbox.put([message])
        except OutboxFull:
            logger.warning("the outbox is full; a message is dropped", extra={"topic": message.topic})
