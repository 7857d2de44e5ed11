"""What the uploader does next, and how long it waits: the oldest example first, within quotas, patiently."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sam3edge.core.backoff import Backoff
from sam3edge.core.errors import Sam3EdgeError, UploadError
from sam3edge.core.fallback.budget import DAY, HOUR, Budget
from sam3edge.hard_examples.example import DamagedExample, examples_in, read_example, remove
from sam3edge.uploader.transfer import Transfer

logger = logging.getLogger(__name__)

IDLE_SECONDS = 5.0
"""Between two looks into a folder that is empty."""

RETRY_SECONDS = 5.0, 900.0
"""The shortest and the longest wait after a failure that may pass by itself."""

DENIED_SECONDS = 60.0, 3600.0
"""The same for what somebody has to mend first: permissions, the bucket's name, its region."""

DISK_SECONDS = 300.0
"""After a failure of this device's own disk."""


class QuotaSpent(Sam3EdgeError):
    """Nothing may be uploaded for some time.

    Args:
        seconds: until it may.
    """

    def __init__(self, reason: str, seconds: float) -> None:
        super().__init__(reason)
        self.seconds = seconds


class UploadBudget:
    """Examples of an hour, and bytes of a day, over restarts.

    Args:
        examples: counted when one has arrived.
        sent_bytes: counted after each request, whether or not it succeeded, since they have left. A kill forgets those
            of one request at most.
        clock: seconds since 1970.
    """

    def __init__(self, examples: Budget, sent_bytes: Budget, clock: Callable[[], float]) -> None:
        self.examples = examples
        self.sent_bytes = sent_bytes
        self._clock = clock

    def allow_example(self) -> None:
        """Raises ``QuotaSpent``."""
        reason = self.examples.refusal()
        if reason:
            raise QuotaSpent(reason, HOUR - self._clock() % HOUR)

    def allow(self, size: int) -> None:
        """Raises ``QuotaSpent``."""
        reason = self.sent_bytes.refusal(size)
        if reason:
            raise QuotaSpent(reason, DAY - self._clock() % DAY)

    def spend(self, size: int) -> None:
        """Count what a request has sent."""
        if size:
            self.sent_bytes.take(size)


@dataclass(frozen=True, slots=True)
class UploadStatus:
    """Since the start, and how it is now.

    Attributes:
        uploaded: examples that the bucket has and that are deleted here.
        failures: requests that failed.
        refused: examples that stay here, because they are damaged or the bucket does not take them.
        waiting: whether the last step ended with a failure or a quota.
    """

    uploaded: int = 0
    failures: int = 0
    refused: int = 0
    waiting: bool = False
    last_error: str = ""


class Schedule:
    """Used by one thread; ``status`` by any. An example is deleted here only after the bucket has confirmed both of its
    objects; one that cannot be deleted is not uploaded again before a restart.

    Args:
        folder: where the segmenter keeps examples; it need not exist yet.
        prefix: of all keys.
        thing: the device's name.
        backoff, denied: waits after failures that pass by themselves, and after others.
    """

    def __init__(
        self,
        folder: Path,
        transfer: Transfer,
        budget: UploadBudget,
        prefix: str,
        thing: str,
        backoff: Backoff | None = None,
        denied: Backoff | None = None,
    ) -> None:
        self._folder = folder
        self._transfer = transfer
        self._budget = budget
        self._prefix = prefix
        self._thing = thing
        self._backoff = backoff or Backoff(*RETRY_SECONDS)
        self._denied = denied or Backoff(*DENIED_SECONDS)
        self._left: set[str] = set()
        self.status = UploadStatus()

    def step(self) -> float:
        """Upload one example, or try to.

        Returns:
            Seconds to wait before the next step.
        """
        try:
            pause = self._step()
        except QuotaSpent as error:
            return self._wait(error, error.seconds)
        except UploadError as error:
            if error.failure == "stopped":
                return 0.0
            self.status = replace(self.status, failures=self.status.failures + 1)
            pause = (self._denied if error.failure == "denied" else self._backoff).next()
            return self._wait(error, max(pause, error.retry_after or 0.0))
        except OSError as error:
            return self._wait(error, DISK_SECONDS)
        self._backoff.reset()
        self._denied.reset()
        self.status = replace(self.status, waiting=False)
        return pause

    def _step(self) -> float:
        names = {path.name for path in examples_in(self._folder)}
        self._left &= names
        if self._transfer.example and self._transfer.example not in names:
            self._transfer.abandon()
        todo = sorted(names - self._left, key=lambda name: (name != self._transfer.example, name))
        if not todo:
            return IDLE_SECONDS
        self._upload(self._folder / todo[0])
        return 0.0

    def _upload(self, folder: Path) -> None:
        self._budget.allow_example()
        try:
            example = read_example(folder)
            self._transfer.send(example, example.key(self._prefix, self._thing))
        except FileNotFoundError:
            if folder.is_dir():  # not taken away but incomplete
                self._leave(folder, DamagedExample("expected a frame and a document, one is missing"))
            return
        except DamagedExample as error:
            self._leave(folder, error)
            return
        except UploadError as error:
            if error.failure != "refused":
                raise
            self._leave(folder, error)
            return
        self._budget.examples.take()
        self._left.add(folder.name)  # whatever happens next, the bucket has it
        remove(folder)
        self._transfer.finished()
        self.status = replace(self.status, uploaded=self.status.uploaded + 1)
        logger.info("uploaded %s", folder.name, extra={"frame": example.frame_id})

    def _leave(self, folder: Path, error: Sam3EdgeError) -> None:
        logger.error("the example %s stays on the device: %s", folder.name, error)
        self._left.add(folder.name)
        self.status = replace(self.status, refused=self.status.refused + 1, last_error=str(error))

    def _wait(self, error: Exception, seconds: float) -> float:
        if str(error) != self.status.last_error or not self.status.waiting:
            level = logging.INFO if isinstance(error, QuotaSpent) else logging.WARNING
            logger.log(level, "%s; continuing in %.0f s", error, seconds)
        self.status = replace(self.status, waiting=True, last_error=str(error))
        return seconds
