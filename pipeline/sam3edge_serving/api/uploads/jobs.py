"""Questions to the asynchronous endpoint. Their state is what is in S3: an answer, a failure, or nothing yet."""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from sam3edge.core.errors import EndpointError
from sam3edge.invocations.attributes import MAX_HEADER, write_attributes
from sam3edge.invocations.error_codes import error_message
from sam3edge.invocations.request import ACCEPT
from sam3edge.invocations.sagemaker import botocore_errors
from sam3edge_serving.api.model import DetectionQuery, error_of, read_detections
from sam3edge_serving.api.uploads.storage import Address, Storage
from sam3edge_serving.http.errors import BadGateway, BadRequest, ErrorMember, GatewayTimeout, NotFound, Unanswerable

logger = logging.getLogger(__name__)

_ID = re.compile(r"det-[0-9a-f]{32}")

INLINE_BYTES = 2**20
"""Results up to this size are in the reply itself; every answer has an address, too."""


class Job(BaseModel):
    """What is kept of a job.

    Attributes:
        created: seconds since 1970.
        answer: where the endpoint writes it.
        failure: where it writes why there is none; empty when its configuration names no place.
    """

    model_config = ConfigDict(frozen=True)
    id: str
    created: int
    answer: str
    failure: str


@dataclass(frozen=True, slots=True)
class Jobs:
    """Starts jobs and looks how they are.

    Attributes:
        runtime: boto3's ``sagemaker-runtime`` client.
        endpoint: name of the asynchronous endpoint.
        job_seconds: that the model may take.
        queue_seconds: that a job may wait before.
        url_seconds: that the address of an answer is valid.
        retry_after: seconds to wait that clients are told.
    """

    storage: Storage
    runtime: Any
    endpoint: str
    job_seconds: int
    queue_seconds: int
    url_seconds: int
    retry_after: int
    clock: Callable[[], float] = time.time

    def start(self, key_id: str, image: Address, media_type: str, query: DetectionQuery) -> dict[str, Any]:
        """Ask about an uploaded image.

        Raises:
            HttpError: it cannot be asked.
        """
        attributes = write_attributes(query.attributes())
        if len(attributes) > MAX_HEADER:
            raise BadRequest(
                f"phrases, threshold and image_id together take {len(attributes)} characters, URL-encoded, and at most "
                f"{MAX_HEADER} can be sent with an upload; ask for fewer phrases",
                param="text_prompt",
            )
        job_id = f"det-{uuid.uuid4().hex}"
        try:
            with botocore_errors("the asynchronous endpoint"):
                started = self.runtime.invoke_endpoint_async(
                    EndpointName=self.endpoint,
                    InputLocation=str(image),
                    ContentType=media_type,
                    Accept=ACCEPT,
                    CustomAttributes=attributes,
                    InferenceId=job_id,
                    InvocationTimeoutSeconds=self.job_seconds,
                    RequestTTLSeconds=self.queue_seconds,
                )
        except EndpointError as error:
            raise error_of(error, self.retry_after) from error
        failure = started.get("FailureLocation", "")
        job = Job(id=job_id, created=int(self.clock()), answer=started["OutputLocation"], failure=failure)
        self.storage.write(self._at(key_id, job_id), job.model_dump_json().encode(), "application/json")
        return _state(job, "queued")

    def look(self, key_id: str, job_id: str) -> dict[str, Any]:
        """How a job is: ``queued``, ``succeeded`` with ``result`` and ``result_url``, or ``failed`` with ``error``.

        Raises:
            NotFound: no such job of this key.
        """
        kept = self.storage.read(self._at(key_id, job_id)) if _ID.fullmatch(job_id) else None
        if kept is None:
            raise NotFound("there is no such detection of this API key", code="detection_not_found")
        job = Job.model_validate_json(kept)
        answer = Address.parse(job.answer)
        stored = self.storage.look(answer)
        if stored is not None:
            return self._succeeded(job, answer, stored.size)
        failure = self.storage.read(Address.parse(job.failure)) if job.failure else None
        if failure is not None:
            return _state(job, "failed", error=_why(failure))
        if self.clock() > job.created + self.queue_seconds + self.job_seconds:
            late = GatewayTimeout("the model did not answer in time; ask again, or send a smaller image")
            return _state(job, "failed", error=late.body()["error"])
        return _state(job, "queued")

    def _succeeded(self, job: Job, answer: Address, size: int) -> dict[str, Any]:
        result = None
        if size <= INLINE_BYTES:
            try:
                result = json.loads(read_detections(self.storage.read(answer) or b""))
            except BadGateway as error:
                return _state(job, "failed", error=error.body()["error"])
        url = self.storage.download_url(answer, self.url_seconds)
        return _state(job, "succeeded", result=result, result_url=url)

    def _at(self, key_id: str, job_id: str) -> Address:
        return self.storage.at("jobs", key_id, f"{job_id}.json")


def _state(
    job: Job,
    status: str,
    result: object = None,
    result_url: str | None = None,
    error: ErrorMember | None = None,
) -> dict[str, Any]:
    return {
        "id": job.id,
        "object": "detection",
        "status": status,
        "created_at": job.created,
        "result": result,
        "result_url": result_url,
        "error": error,
    }


def _why(failure: bytes) -> ErrorMember:
    """What the endpoint wrote. Only its own error messages are repeated: the rest may be a stack trace."""
    message = error_message(failure)
    error = Unanswerable(message) if message else BadGateway("the model failed on this image; tell the operator")
    return error.body()["error"]
