"""What the segmenter learns of its own work: frames that are worth a label, and drift."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sam3edge.core.errors import SettingsError
from sam3edge.core.fallback.detector import Examples, NoExamples
from sam3edge.core.messages.status import DriftMember
from sam3edge.core.stages import DetectionStage
from sam3edge.core.types import Prompt
from sam3edge.hard_examples.drift_monitor import DriftMonitor
from sam3edge.hard_examples.folder import HardExamples
from sam3edge.hard_examples.quotas import QuotaLimits, Quotas
from sam3edge.hard_examples.selection import Selector
from sam3edge.hard_examples.stage import KeepHardExamples
from sam3edge.segmenter.settings import HardExampleSettings, Settings

EXAMPLES = "hard-examples"
"""The folder in the segmenter's work folder from which the uploader takes them."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """The parts, and the detection stages that feed them.

    Attributes:
        disagreements: keeps frames about which device and cloud disagree, or does not.
    """

    stages: Sequence[DetectionStage]
    disagreements: Examples
    examples: HardExamples | None
    drift: DriftMonitor | None

    def kept(self) -> dict[str, Any] | None:
        """Counters of hard examples, for the heartbeat; None where none are kept."""
        return None if self.examples is None else asdict(self.examples.counts())

    def drifted(self) -> DriftMember | None:
        """What the drift watch says, for the heartbeat; None where there is none."""
        return None if self.drift is None else self.drift.summary()

    def close(self) -> None:
        """Write the examples that wait, and the windows of the drift watch."""
        if self.examples is not None:
            self.examples.close()
        if self.drift is not None:
            self.drift.save()


def build_feedback(settings: Settings, device: str, work: Path, prompts: Callable[[], Sequence[Prompt]]) -> Feedback:
    """The parts that a configuration asks for.

    Args:
        device: the thing's name.
        work: the component's work folder.
        prompts: what is asked for at present.

    Raises:
        SettingsError: the folder of the examples cannot be used.
    """
    stages: list[DetectionStage] = []
    drift: DriftMonitor | None = None
    if settings.drift.enabled:
        drift = DriftMonitor(settings.drift.options(), work / "drift.json", prompts)
        stages.append(drift)
    examples: HardExamples | None = None
    keys = settings.hard_examples
    if keys.enabled:
        examples = _open_examples(keys, device, work)
        stages.append(KeepHardExamples(Selector(keys.options()), examples, prompts))
    disagreements = NoExamples() if examples is None or "disagreement" not in keys.kinds else examples
    return Feedback(stages, disagreements, examples, drift)


def _open_examples(keys: HardExampleSettings, device: str, work: Path) -> HardExamples:
    limits = QuotaLimits(keys.per_hour, keys.bytes_per_day, keys.max_bytes)
    folder = Path(keys.folder) if keys.folder else work / EXAMPLES
    if not folder.is_absolute():
        raise SettingsError(f"HardExamples.Folder: expected an absolute path, got {keys.folder!r}")
    examples = HardExamples(folder, device, limits.max_bytes, Quotas(limits, work / "hard-example-quotas", time.time))
    examples.start()
    return examples
