"""From settings to parts that need more than their own settings: the engine, and the cloud behind the device."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sam3edge.budget_file import BudgetFile
from sam3edge.bundle.proof import ProvenEngine
from sam3edge.bundle.store import Store
from sam3edge.bundle.verify import model_files, verify
from sam3edge.core.errors import EngineError, SettingsError
from sam3edge.core.fallback.breaker import Breaker, BreakerOptions, Retry
from sam3edge.core.fallback.budget import Budget, Limits
from sam3edge.core.fallback.detector import Examples, FallbackDetector, RequestLimits
from sam3edge.core.fallback.policy import CPU, FallbackOptions, Policy
from sam3edge.core.ports import Endpoint, Source
from sam3edge.engines.runtime import OnnxOptions, choose_providers
from sam3edge.outbox.limits import Block, DropOldest, Overflow
from sam3edge.proven import open_on_this_machine
from sam3edge.segmenter.settings import FallbackSettings, Settings


def overflow_of(source: Source) -> Overflow:
    """A full outbox holds up a source whose frames wait; of one whose frames pass by, the oldest messages go."""
    return Block() if source.traits.waits else DropOldest()


def require_provider(settings: Settings) -> None:
    """Refuse a configuration of which this ONNX Runtime has no provider at all, before any model is there.

    Raises:
        SettingsError: it says which ones there are.
    """
    try:
        choose_providers(settings.providers)
    except EngineError as error:
        raise SettingsError(f"Providers: {error}") from error


def load_engine(bundle: Path, settings: Settings, store: Store) -> ProvenEngine:
    """Load a bundle that the model component has verified and put into the store; since then a disk may have decayed,
    and the GPU's driver or the runtime may be others, with which it is proven again.

    Args:
        store: its engine cache and its proofs are those that the model component's golden run has filled.
    """
    options = OnnxOptions(
        tuple(settings.providers),
        threads=settings.threads,
        max_instances=settings.max_instances,
        prompts_per_run=settings.prompts_per_run,
        cache=store.engine_cache,
    )
    return open_on_this_machine(model_files(bundle, verify(bundle, None)), options, store.proofs)


@dataclass(frozen=True, slots=True)
class Fallback:
    """What falls back, and what it needs.

    Attributes:
        model_wait: seconds that a starting device waits for its own model before the cloud stands in; None where it
            does not.
    """

    detector: FallbackDetector
    endpoint: Endpoint
    model_wait: float | None

    def report(self) -> dict[str, Any]:
        """Counters, breaker and budget, for the heartbeat."""
        status = self.detector.status()
        return {
            **asdict(status.counts),
            "breaker": status.breaker,
            "in_hour": status.spent.in_hour,
            "in_day": status.spent.in_day,
            "last_failure": status.last_failure,
        }

    def close(self) -> None:
        """Release the connection."""
        self.endpoint.close()


def build_fallback(settings: Settings, work: Path, backlog: Callable[[], int], examples: Examples) -> Fallback | None:
    """The fallback that a configuration asks for; None when it asks for none.

    Args:
        work: the component's work folder, where the budget is kept.
        backlog: frames that wait at the source.
        examples: keeps frames about which device and cloud disagree.

    Raises:
        SettingsError: the endpoint is not valid, or boto3 is needed and missing.
    """
    keys = settings.fallback
    if not keys.endpoint:
        return None
    from sam3edge.invocations.client import UploadOptions  # nothing of it is loaded where there is no fallback
    from sam3edge.invocations.connect import Asynchronous, open_endpoint

    upload = UploadOptions(keys.longest_side, keys.max_body_bytes)
    asynchronous = None
    if keys.asynchronous is not None:
        asynchronous = Asynchronous(
            keys.asynchronous.endpoint, keys.asynchronous.uploads, keys.asynchronous.max_body_bytes
        )
    policy = Policy(_options(keys), accelerator=any(provider != CPU for provider in settings.providers))
    endpoint = open_endpoint(keys.endpoint, upload, keys.timeout_seconds, asynchronous)
    spent = BudgetFile(work / "fallback" / "budget.json")
    limits = RequestLimits(
        Budget(Limits(keys.requests_per_hour, keys.requests_per_day), spent.read(), spent.write, time.time),
        Breaker(BreakerOptions(keys.failures, keys.pause_seconds), time.monotonic),
        Retry(),
        keys.timeout_seconds,
    )
    detector = FallbackDetector(endpoint, policy, limits, examples, backlog)
    stands_in = "unavailable" in keys.reasons
    return Fallback(detector, endpoint, keys.model_wait_seconds if stands_in else None)


def _options(keys: FallbackSettings) -> FallbackOptions:
    return FallbackOptions(
        frozenset(keys.reasons),
        keys.max_seconds,
        keys.recheck_seconds,
        keys.max_backlog,
        keys.uncertain_scores,
        keys.presence,
    )
