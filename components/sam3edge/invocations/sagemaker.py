"""The endpoint by its name in SageMaker: real-time, or asynchronous by way of S3.

boto3 finds the credentials by itself: on a device those of the token exchange service
(``AWS_CONTAINER_CREDENTIALS_FULL_URI``), elsewhere environment, profile or role. It is loaded only here and only when
an endpoint is named in this way: it is large, and slow to load.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sam3edge.core.backoff import ceiling
from sam3edge.core.errors import EndpointError, SettingsError
from sam3edge.invocations.error_codes import error_message, meaning_of_code, meaning_of_status
from sam3edge.invocations.request import MAX_RESPONSE_BYTES, InvocationRequest

FIRST_POLL, MAX_POLL = 0.3, 2.0
"""Seconds between two polls for an asynchronous response; they double."""


def boto3_client(service: str, seconds: float) -> Any:
    """A client that tries once and gives up after ``seconds``.

    Raises:
        SettingsError: boto3 is not installed, or no region is known.
    """
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise SettingsError(
            "the name of a SageMaker endpoint needs the package boto3: on a device set Install.Packages to boto3, "
            "elsewhere install sam3edge[client]; an http(s) address needs neither"
        ) from error
    once = Config(connect_timeout=min(5.0, seconds), read_timeout=seconds, retries={"total_max_attempts": 1})
    try:
        return boto3.session.Session().client(service, config=once)
    except BotoCoreError as error:
        raise SettingsError(f"no client of {service}: {error}; set AWS_REGION") from error


class SageMakerTransport:
    """A real-time or serverless endpoint.

    Args:
        client: of ``sagemaker-runtime``.
    """

    def __init__(self, name: str, client: Any) -> None:
        self._name = name
        self._client = client

    def send(self, request: InvocationRequest, seconds: float) -> bytes:
        """See ``Transport``. The client's own time-outs apply; ``EndpointWithDeadline`` holds it to ``seconds``."""
        with botocore_errors(f"SageMaker endpoint {self._name}"):
            response = self._client.invoke_endpoint(EndpointName=self._name, Body=request.body, **_headers(request))
            return _read(response["Body"])

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class SageMakerAsyncTransport:
    """An asynchronous endpoint: the request is put into a bucket, the response polled for where SageMaker says.

    The role needs ``s3:PutObject`` and ``s3:DeleteObject`` on the uploads, ``s3:GetObject`` on the endpoint's output,
    ``s3:ListBucket`` on its bucket (without it, a response that is not there yet looks like one that may not be read),
    and ``sagemaker:InvokeEndpointAsync``.

    Args:
        uploads: ``s3://bucket/prefix``.
        client: of ``sagemaker-runtime``.
        storage: of ``s3``.
    """

    def __init__(
        self,
        name: str,
        uploads: str,
        client: Any,
        storage: Any,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._name = name
        self._bucket, self._prefix = split_uri(uploads)
        self._client = client
        self._storage = storage
        self._clock = clock
        self._sleep = sleep

    def send(self, request: InvocationRequest, seconds: float) -> bytes:
        """See ``Transport``."""
        deadline = self._clock() + seconds
        key = "/".join(part for part in (self._prefix, request.id) if part)
        with botocore_errors(f"asynchronous SageMaker endpoint {self._name}"):
            self._storage.put_object(Bucket=self._bucket, Key=key, Body=request.body, ContentType=request.content_type)
            try:
                taken = self._client.invoke_endpoint_async(
                    EndpointName=self._name,
                    InputLocation=f"s3://{self._bucket}/{key}",
                    RequestTTLSeconds=max(60, int(seconds)),
                    **_headers(request),
                )
                return self._await(taken["OutputLocation"], taken.get("FailureLocation", ""), deadline)
            finally:
                self._remove(key)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._storage.close()

    def _await(self, output: str, failure: str, deadline: float) -> bytes:
        attempt = 0
        while True:
            attempt += 1
            body = self._fetch(output)
            if body is not None:
                return body
            problem = self._fetch(failure) if failure else None
            if problem is not None:
                raise EndpointError(f"{self._name} failed: {problem[:300].decode(errors='replace')}")
            pause = ceiling(FIRST_POLL, MAX_POLL, attempt)
            if self._clock() + pause >= deadline:
                raise EndpointError(f"no response of {self._name} in time", failure="timeout")
            self._sleep(pause)

    def _fetch(self, uri: str) -> bytes | None:
        from botocore.exceptions import ClientError

        bucket, key = split_uri(uri)
        try:
            return _read(self._storage.get_object(Bucket=bucket, Key=key)["Body"])
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404"):
                return None
            raise

    def _remove(self, key: str) -> None:
        """A request that was given up is taken back; whatever is left is removed by the bucket's life-cycle rule."""
        from botocore.exceptions import BotoCoreError, ClientError

        with suppress(BotoCoreError, ClientError):
            self._storage.delete_object(Bucket=self._bucket, Key=key)


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``; the key may be empty.

    Raises:
        SettingsError: not such an address.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise SettingsError(f"expected s3://bucket/prefix, got {uri!r}")
    return bucket, key.strip("/")


def _headers(request: InvocationRequest) -> dict[str, str]:
    headers = {"ContentType": request.content_type, "Accept": request.accept}
    return {**headers, "CustomAttributes": request.attributes} if request.attributes else headers


def _read(stream: Any) -> bytes:
    try:
        body = bytes(stream.read(MAX_RESPONSE_BYTES + 1))
    finally:
        stream.close()
    if len(body) > MAX_RESPONSE_BYTES:
        raise EndpointError(f"the response has more than {MAX_RESPONSE_BYTES} bytes")
    return body


@contextmanager
def botocore_errors(what: str) -> Iterator[None]:
    """Map botocore's errors to EndpointError."""
    from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, HTTPClientError, ReadTimeoutError
    from botocore.exceptions import ConnectionError as NoConnection

    try:
        yield
    except ClientError as error:
        raise _refusal(what, error.response) from error
    except ReadTimeoutError as error:
        raise EndpointError(f"{what}: no response in time", failure="timeout") from error
    except ConnectTimeoutError as error:  # the time is spent: not again
        raise EndpointError(f"{what} cannot be reached in time", failure="unreachable") from error
    except (HTTPClientError, NoConnection) as error:  # its text may hold addresses with tokens
        reason = f"{what} cannot be reached: {type(error).__name__}"
        raise EndpointError(reason, failure="unreachable", retryable=True) from error
    except BotoCoreError as error:  # no credentials, no region
        raise EndpointError(f"{what} cannot be asked: {type(error).__name__}", failure="denied") from error


def _refusal(what: str, response: Any) -> EndpointError:
    """What SageMaker, S3 or, inside of a ModelError, the container said."""
    details, metadata = response.get("Error", {}), response.get("ResponseMetadata", {})
    code, said = str(details.get("Code", "")), ""
    meaning, explained = meaning_of_code(code), f"{code}: {details.get('Message', '')}"
    if code == "ModelError":
        status = int(response.get("OriginalStatusCode") or 500)
        said = error_message(str(response.get("OriginalMessage") or ""))
        meaning, explained = meaning_of_status(status), f"{code} {status}: {said or details.get('Message', '')}"
    wait = str(metadata.get("HTTPHeaders", {}).get("retry-after", ""))
    return EndpointError(
        f"{what}: {explained[:300]}",
        failure=meaning.failure,
        said=said,
        retryable=meaning.retryable,
        retry_after=float(wait) if wait.isdecimal() else None,
    )
