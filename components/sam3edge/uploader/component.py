"""The uploader as a running component: its parts put together, its settings kept up to date."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sam3edge.budget_file import BudgetFile
from sam3edge.core.errors import ConnectionLost, PublishError, SettingsError, ThreadDied, UploadError
from sam3edge.core.fallback.budget import UNLIMITED, Budget, Limits
from sam3edge.core.messages.errors import component_error
from sam3edge.core.messages.topics import topics_of
from sam3edge.core.messages.uploads import uploader_status
from sam3edge.core.types import Message
from sam3edge.greengrass.heartbeat import HeartbeatThread
from sam3edge.greengrass.nucleus import Nucleus
from sam3edge.greengrass.program import watch_threads
from sam3edge.hard_examples.example import examples_in
from sam3edge.uploader.bucket import Bucket
from sam3edge.uploader.credentials import TokenExchange
from sam3edge.uploader.pace import Pace
from sam3edge.uploader.progress import ProgressFile
from sam3edge.uploader.s3 import S3Bucket, address_of
from sam3edge.uploader.schedule import Schedule, UploadBudget
from sam3edge.uploader.settings import Settings, read_settings
from sam3edge.uploader.transfer import Transfer

logger = logging.getLogger(__name__)

IDLE_SECONDS = 60.0
"""Between two looks at nothing: there is no bucket."""

LOOK_SECONDS = 0.2
"""How long it may take until the end is noticed."""


@dataclass(frozen=True, slots=True)
class UploaderContext:
    """What the nucleus gives the uploader.

    Attributes:
        device: the thing's name.
        work: the component's work folder: progress and quotas.
        examples: where the segmenter keeps its examples.
        region: of the nucleus.
        credentials_uri, authorization: of the token exchange service.
    """

    device: str
    work: Path
    examples: Path
    region: str
    credentials_uri: str
    authorization: str

    def __repr__(self) -> str:
        return f"UploaderContext({self.device!r})"


class Component:
    """One run with one configuration."""

    def __init__(
        self, nucleus: Nucleus, settings: Settings, where: UploaderContext, asked_to_stop: threading.Event
    ) -> None:
        self._nucleus = nucleus
        self._settings = settings
        self._where = where
        self._asked_to_stop = asked_to_stop
        self._leave = threading.Event()
        self._next: Settings | None = None
        self._failure: Exception | None = None
        self._topics = topics_of(where.device, settings.topic_prefix)
        self._folder = Path(settings.folder) if settings.folder else where.examples
        self._examples: Budget
        self._bytes: Budget
        self._schedule: Schedule | None = None

    def run(self) -> Settings | None:
        """Work until stopped, or until there is another configuration.

        Returns:
            The settings to continue with; None when stopped.

        Raises:
            ConnectionLost: the nucleus is gone.
            SettingsError: the configuration cannot be carried out.
        """
        with ExitStack() as stack:
            stack.enter_context(watch_threads(self._on_thread_death))
            self._examples = self._budget("examples", self._settings.examples_per_hour, UNLIMITED, "examples")
            self._bytes = self._budget("bytes", UNLIMITED, self._settings.bytes_per_day, "bytes")
            if self._settings.bucket:
                self._schedule = self._build(stack)
            else:
                logger.info("no Bucket is configured: nothing is uploaded")
            stack.callback(self._nucleus.on_configuration(self._reconfigure).close)
            self._nucleus.update_state("RUNNING")
            beat = HeartbeatThread(self._settings.heartbeat_seconds, self._beat)
            beat.start()
            stack.callback(beat.close)
            while not self._ends():
                self._pause(IDLE_SECONDS if self._schedule is None else self._schedule.step())
        if self._failure is not None:
            raise self._failure
        return None if self._asked_to_stop.is_set() else self._next

    def _build(self, stack: ExitStack) -> Schedule:
        settings, where = self._settings, self._where
        exchange = TokenExchange(where.credentials_uri, where.authorization)
        stack.callback(exchange.close)
        budget = UploadBudget(self._examples, self._bytes, time.time)
        address = address_of(settings.bucket, settings.region or where.region, settings.endpoint)
        bucket: Bucket = S3Bucket(
            address,
            exchange.credentials,
            exchange.forget,
            Pace(settings.bytes_per_second, time.monotonic, self._sleep),
            budget.spend,
        )
        stack.callback(bucket.close)
        file = ProgressFile(where.work / "progress.json")
        transfer = Transfer(bucket, address.root + address.path, file, budget.allow)
        return Schedule(self._folder, transfer, budget, settings.prefix, where.device)

    def _budget(self, name: str, an_hour: int, a_day: int, unit: str) -> Budget:
        file = BudgetFile(self._where.work / "quotas" / f"{name}.json")
        return Budget(Limits(an_hour, a_day), file.read(), file.write, time.time, unit)

    def _ends(self) -> bool:
        return self._asked_to_stop.is_set() or self._leave.is_set()

    def _pause(self, seconds: float) -> None:
        """Wait, but no longer than until the end."""
        until = time.monotonic() + seconds
        while not self._ends() and (left := until - time.monotonic()) > 0:
            self._asked_to_stop.wait(min(left, LOOK_SECONDS))

    def _sleep(self, seconds: float) -> None:
        """Within a request: its end need not be waited for."""
        if seconds:
            self._pause(seconds)
        if self._ends():
            raise UploadError("the program ends; the upload is continued after its next start", failure="stopped")

    def _reconfigure(self, configuration: Mapping[str, Any]) -> None:
        try:
            settings = read_settings(configuration)
        except SettingsError as error:
            logger.error("the new configuration is refused, the one before stays: %s", error)
            self._report(error)
            return
        if settings != self._settings:
            self._next = settings
            self._leave.set()

    def _on_thread_death(self, name: str, error: BaseException) -> None:
        self._failure = ThreadDied(f"the thread {name} has ended: {type(error).__name__}: {error}")
        self._leave.set()

    def _beat(self) -> None:
        schedule = self._schedule
        sizes = [_size(path) for path in examples_in(self._folder)]
        state: Literal["off", "running", "waiting"] = "off"
        if schedule is not None:
            state = "waiting" if schedule.status.waiting else "running"
        message = uploader_status(
            self._where.device,
            self._topics.uploader_status,
            state,
            {
                "waiting": len(sizes),
                "waiting_bytes": sum(sizes),
                "uploaded": 0 if schedule is None else schedule.status.uploaded,
                "failures": 0 if schedule is None else schedule.status.failures,
                "refused": 0 if schedule is None else schedule.status.refused,
                "in_hour": self._examples.spent.in_hour,
                "bytes_in_day": self._bytes.spent.in_day,
            },
            "" if schedule is None else schedule.status.last_error,
        )
        self._publish(message)

    def _report(self, error: Exception) -> None:
        self._publish(component_error(self._where.device, error, self._topics.errors))

    def _publish(self, message: Message) -> None:
        """Best effort: a heartbeat that does not leave now is worth nothing later."""
        try:
            self._nucleus.publish(message.topic, message.payload)
        except ConnectionLost as error:
            self._failure = error
            self._leave.set()
        except PublishError as error:
            logger.debug("not published: %s", error, extra={"topic": message.topic})


def serve(nucleus: Nucleus, where: UploaderContext, stop: threading.Event) -> None:
    """Run the component until it is stopped, with new parts for every new configuration.

    Raises:
        SettingsError: the configuration is refused; it is reported.
        ConnectionLost: the nucleus is gone.
    """
    settings: Settings | None = None
    try:
        settings = read_settings(nucleus.configuration())
        while settings is not None:
            logging.getLogger().setLevel(settings.log_level)
            settings = Component(nucleus, settings, where, stop).run()
    except SettingsError as error:
        report = component_error(where.device, error, topics_of(where.device).errors)
        try:
            nucleus.publish(report.topic, report.payload)
        except PublishError as unsent:
            logger.warning("the refusal cannot be published: %s", unsent)
        raise


def _size(example: Path) -> int:
    try:
        return sum(path.stat().st_size for path in example.iterdir())
    except OSError:  # it is being taken away
        return 0
