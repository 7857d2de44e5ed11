"""What is counted, as Prometheus reads it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from sam3edge.core.types import ModelInfo

SECONDS = (0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2)
COUNTS = (1, 2, 4, 8, 16, 32)


class Metrics:
    """Counters of one endpoint; a ``BatchObserver``."""

    def __init__(self) -> None:
        to = self._registry = CollectorRegistry()
        requests, seconds = "Requests by format and status", "From a request's head to its response"
        self._requests = Counter("sam3edge_requests", requests, ("format", "status"), registry=to)
        self._seconds = Histogram("sam3edge_request_seconds", seconds, buckets=SECONDS, registry=to)
        self._inside = Gauge("sam3edge_requests_in_progress", "Requests in progress or waiting", registry=to)
        self._waiting = Gauge("sam3edge_requests_waiting", "Requests that the model has not begun", registry=to)
        self._batch_requests = Histogram("sam3edge_batch_requests", "Requests in a batch", buckets=COUNTS, registry=to)
        self._images = Histogram("sam3edge_batch_images", "Images in a batch", buckets=COUNTS, registry=to)
        self._batch_seconds = Histogram("sam3edge_batch_seconds", "Time of a batch", buckets=SECONDS, registry=to)
        self._model = Info("sam3edge_model", "The model", registry=to)

    def request(self, form: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(form, str(status)).inc()
        if status < 400:
            self._seconds.observe(seconds)

    def batch(self, requests: int, images: int, seconds: float) -> None:
        """See ``BatchObserver``."""
        self._batch_requests.observe(requests)
        self._images.observe(images)
        self._batch_seconds.observe(seconds)

    def write(self, inside: int, waiting: int, model: ModelInfo | None) -> bytes:
        """Everything, in the text format of ``prometheus_client.CONTENT_TYPE_LATEST``."""
        self._inside.set(inside)
        self._waiting.set(waiting)
        if model is not None:
            self._model.info({"name": model.name, "version": model.version, "provider": model.provider})
        return generate_latest(self._registry)
