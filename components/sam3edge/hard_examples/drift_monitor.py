"""The detection stage that watches for drift, and what it reports; the distances are in ``drift.py``."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from sam3edge.core.messages.envelope import timestamp
from sam3edge.core.messages.status import DriftAlarmMember, DriftMember
from sam3edge.core.types import Detections, Frame, Prompt
from sam3edge.durable import make_folder, write_file
from sam3edge.hard_examples.drift import Divergence, DriftOptions, Series, read_series, sample_of, write_series
from sam3edge.hard_examples.selection import asked_for

logger = logging.getLogger(__name__)

MAX_SERIES = 512
"""Sources times prompts; of more, the ones that were not seen for longest are forgotten."""

SAVE_SECONDS = 60.0
"""Between two writings of the windows; a power cut loses the frames since the last one."""

CHECKS = 20
"""How often the windows are compared while one fills."""

FORMAT = 1


class DriftMonitor:
    """A ``DetectionStage`` that changes nothing. Frames by one thread, ``summary`` by any.

    Args:
        file: where the windows are kept over restarts; a damaged one counts as empty.
        prompts: what is asked for at present.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        options: DriftOptions,
        file: Path,
        prompts: Callable[[], Sequence[Prompt]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._file = file
        self._prompts = prompts
        self._clock = clock
        self._lock = threading.Lock()
        self._series = _read(file)
        self._counted: OrderedDict[str, datetime] = OrderedDict()  # the last frame of each source that counted
        self._latest: dict[tuple[str, str], list[Divergence]] = {}
        self._saved_at = clock()
        self._complained = False

    def __call__(self, frame: Frame, detections: Detections) -> Detections:
        """See ``DetectionStage``. Frames that the cloud has looked at, with another model, do not count."""
        if detections.origin.by == "device" and self._counts(frame):
            with self._lock:
                for prompt in asked_for(self._prompts(), detections):
                    if prompt.text not in detections.unsupported_prompts:
                        self._add(frame, prompt, detections)
            if self._clock() - self._saved_at >= SAVE_SECONDS:
                self.save()
        return detections

    def summary(self) -> DriftMember:
        """For the heartbeat: alarms, the largest first."""
        with self._lock:
            alarms: list[tuple[float, DriftAlarmMember]] = []
            for (source, text), latest in self._latest.items():
                for one in latest:
                    if one.alarm:
                        since = self._series[source, text].alarms[one.metric]
                        alarms.append((one.bits, _alarm(source, text, one, since)))
            collecting = sum(1 for series in self._series.values() if series.seen < self._options.reference)
            return {
                "series": len(self._series),
                "collecting": collecting,
                "alarm_count": len(alarms),
                "alarms": [alarm for _, alarm in sorted(alarms, key=lambda pair: -pair[0])],
            }

    def save(self) -> None:
        """Write the windows down; a disk that refuses is complained of once."""
        self._saved_at = self._clock()
        with self._lock:
            entries = [[source, text, write_series(series)] for (source, text), series in self._series.items()]
        try:
            make_folder(self._file.parent)
            write_file(self._file, json.dumps({"format": FORMAT, "series": entries}).encode())
        except OSError as error:
            if not self._complained:
                logger.warning("the windows of the drift watch cannot be written: %s", error)
            self._complained = True

    def _counts(self, frame: Frame) -> bool:
        """Whether the frame is far enough from the one before it, whatever order they arrive in."""
        before = self._counted.get(frame.source)
        if before is not None and abs((frame.captured_at - before).total_seconds()) < self._options.seconds:
            return False
        self._counted[frame.source] = frame.captured_at
        if len(self._counted) > MAX_SERIES:
            self._counted.popitem(last=False)
        return True

    def _add(self, frame: Frame, prompt: Prompt, found: Detections) -> None:
        name = (frame.source, prompt.text)
        series = self._series.pop(name, None)
        if series is None or (series.model, series.threshold) != (found.model.digest, prompt.threshold):
            series = Series(found.model.digest, prompt.threshold)
            self._latest.pop(name, None)
        self._series[name] = series
        if len(self._series) > MAX_SERIES:
            forgotten, _ = self._series.popitem(last=False)
            self._latest.pop(forgotten, None)
        series.add(sample_of(frame, prompt, found), self._options)
        series.added += 1
        if series.added % max(1, self._options.window // CHECKS) == 0:
            self._compare(name, series, frame)

    def _compare(self, name: tuple[str, str], series: Series, frame: Frame) -> None:
        latest = series.divergences(self._options)
        self._latest[name] = latest
        alarming = {one.metric: one for one in latest if one.alarm}
        for metric in [metric for metric in series.alarms if metric not in alarming]:
            del series.alarms[metric]
        for metric, one in alarming.items():
            if metric not in series.alarms:
                series.alarms[metric] = timestamp(frame.captured_at)
                logger.warning(
                    "drift of the %s of %s at %s: %.3f bits from the reference, expected less than %.3f",
                    metric, name[1], name[0], one.bits, one.limit,
                    extra={"frame": frame.id},
                )  # fmt: skip


def _alarm(source: str, text: str, one: Divergence, since: str) -> DriftAlarmMember:
    return {
        "source": source,
        "prompt": text,
        "metric": one.metric,
        "divergence": round(one.bits, 4),
        "limit": round(one.limit, 4),
        "since": since,
    }


def _read(file: Path) -> OrderedDict[tuple[str, str], Series]:
    try:
        body = json.loads(file.read_bytes())
        if body["format"] != FORMAT:
            raise ValueError(f"expected format {FORMAT}, got {body['format']!r:.20}")
        return OrderedDict(
            ((str(source), str(text)), read_series(entry)) for source, text, entry in body["series"][-MAX_SERIES:]
        )
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        logger.error("%s cannot be read, the drift watch begins with a new reference: %s", file, error)
    return OrderedDict()
