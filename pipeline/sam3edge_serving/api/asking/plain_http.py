"""The model behind the container's own HTTP, without SageMaker: a laptop, a server in the same house."""

from __future__ import annotations

import logging

import urllib3
from urllib3.exceptions import HTTPError, ReadTimeoutError

from sam3edge_serving.api.asking.failures import problem_of
from sam3edge_serving.api.asking.question import GEOJSON, DetectionQuery, read_answer, to_request
from sam3edge_serving.api.images import Image
from sam3edge_serving.api.problems import GatewayTimeout, NotReady

logger = logging.getLogger(__name__)

ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
CONNECT_SECONDS = 3.0


class HttpModel:
    """See ``Model``.

    Args:
        url: of the container, such as ``http://127.0.0.1:8080``.
        seconds: for its answer.
        retry_after: seconds to wait that clients are told where the container says nothing.
    """

    def __init__(self, url: str, seconds: float, retry_after: int) -> None:
        self._url = url.rstrip("/") + "/invocations"
        self._retry_after = retry_after
        timeout = urllib3.Timeout(connect=min(CONNECT_SECONDS, seconds), read=seconds)
        self._pool = urllib3.PoolManager(timeout=timeout, retries=False)

    def ask(self, image: Image, looking: DetectionQuery) -> str:
        """See ``Model``."""
        asked = to_request(image, looking)
        headers = {"Content-Type": asked.content_type, "Accept": GEOJSON}
        if asked.attributes:
            headers[ATTRIBUTES] = asked.attributes
        try:
            answer = self._pool.request("POST", self._url, body=asked.body, headers=headers, redirect=False)
        except ReadTimeoutError as error:
            raise GatewayTimeout("the model did not answer in time; send a smaller image or fewer phrases") from error
        except HTTPError as error:
            logger.warning("the endpoint could not be asked: %s", type(error).__name__)
            raise NotReady("the model's endpoint cannot be reached", retry_after=self._retry_after) from error
        if answer.status != 200:
            logger.warning("the endpoint answered %s", answer.status)
            raise problem_of(answer.status, answer.data, answer.headers.get("Retry-After"), self._retry_after)
        return read_answer(answer.data)
