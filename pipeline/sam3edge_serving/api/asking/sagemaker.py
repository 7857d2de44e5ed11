"""The model behind a SageMaker endpoint."""

from __future__ import annotations

import logging
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    ConnectTimeoutError,
    HTTPClientError,
    ReadTimeoutError,
)

from sam3edge_serving.api.asking.failures import problem_of
from sam3edge_serving.api.asking.question import GEOJSON, DetectionQuery, read_answer, to_request
from sam3edge_serving.api.images import Image
from sam3edge_serving.api.problems import Busy, GatewayTimeout, InternalError, ModelFailed, NotReady, Problem

logger = logging.getLogger(__name__)

_BUSY = frozenset(("ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"))
_NOT_READY = frozenset(("ModelNotReadyException", "ServiceUnavailable", "ServiceUnavailableException"))
_REFUSED = frozenset(("ValidationError", "ValidationException", "AccessDeniedException", "UnrecognizedClientException"))


class SageMakerModel:
    """See ``Model``.

    Args:
        runtime: boto3's ``sagemaker-runtime`` client, with a read timeout and without retries of its own: a request
            that took too long is not asked again in the same time.
        endpoint: its name.
        retry_after: seconds to wait that clients are told.
    """

    def __init__(self, runtime: Any, endpoint: str, retry_after: int) -> None:
        self._runtime = runtime
        self._endpoint = endpoint
        self._retry_after = retry_after

    def ask(self, image: Image, looking: DetectionQuery) -> str:
        """See ``Model``."""
        asked = to_request(image, looking)
        optional = {"CustomAttributes": asked.attributes} if asked.attributes else {}
        try:
            answer = self._runtime.invoke_endpoint(
                EndpointName=self._endpoint,
                Body=asked.body,
                ContentType=asked.content_type,
                Accept=GEOJSON,
                **optional,
            )
            body: bytes = answer["Body"].read()
        except ClientError as error:
            raise service_problem(error, self._retry_after) from error
        except (BotoCoreError, HTTPClientError) as error:
            raise network_problem(error, self._retry_after) from error
        return read_answer(body)


def service_problem(error: ClientError, retry_after: int) -> Problem:
    """What SageMaker said (errors of InvokeEndpoint in its API reference). Account and endpoint are not repeated."""
    code = error.response.get("Error", {}).get("Code", "")
    if code == "ModelError":
        status, message = error.response.get("OriginalStatusCode"), error.response.get("OriginalMessage") or ""
        logger.warning("the endpoint's container answered %s", status)
        return problem_of(int(status or 500), message.encode(), None, retry_after)
    logger.warning("SageMaker answered %s", code)
    if code in _BUSY:
        return Busy("the model has too much to do; try again later", retry_after=retry_after)
    if code in _NOT_READY:
        return NotReady("the model is not ready, it may be starting; try again later", retry_after=retry_after)
    if code in _REFUSED:
        return InternalError("this API may not use the model's endpoint; tell the operator", code="endpoint_refused")
    return ModelFailed("the model's endpoint failed; try again", code="endpoint_failed")


def network_problem(error: Exception, retry_after: int) -> Problem:
    """Why SageMaker could not be asked."""
    logger.warning("SageMaker could not be asked: %s", type(error).__name__)
    if isinstance(error, ReadTimeoutError):
        return GatewayTimeout(
            "the model did not answer in time; send a smaller image or fewer phrases, or use POST /v1/uploads"
        )
    if isinstance(error, (ConnectTimeoutError, ConnectionError, HTTPClientError)):
        return NotReady("the model's endpoint cannot be reached; try again later", retry_after=retry_after)
    return InternalError("the model's endpoint cannot be asked by this API; tell the operator", code="endpoint_refused")
