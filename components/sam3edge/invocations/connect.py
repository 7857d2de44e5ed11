"""From what an operator writes to a client: an address, or a name in SageMaker."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sam3edge.core.errors import SettingsError
from sam3edge.core.ports import Endpoint
from sam3edge.invocations.client import EndpointClient, Larger, UploadOptions
from sam3edge.invocations.deadline import EndpointWithDeadline
from sam3edge.invocations.request import Transport

_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
"""By SageMaker's API."""


@dataclass(frozen=True, slots=True)
class Asynchronous:
    """An asynchronous endpoint for what is too large for the first one.

    Attributes:
        name: in SageMaker.
        uploads: ``s3://bucket/prefix`` where requests are put.
        max_body: bytes of a request.
    """

    name: str
    uploads: str
    max_body: int


def open_endpoint(
    where: str, options: UploadOptions, seconds: float, asynchronous: Asynchronous | None = None
) -> Endpoint:
    """A client that keeps to the time it is given.

    Args:
        where: ``http(s)://host[:port][/path]``, or the name of a SageMaker endpoint.
        seconds: that one request may take.

    Raises:
        SettingsError: neither, or boto3 is needed and missing.
    """
    larger = None
    if asynchronous is not None:
        from sam3edge.invocations.sagemaker import SageMakerAsyncTransport, boto3_client

        clients = (boto3_client(service, seconds) for service in ("sagemaker-runtime", "s3"))
        transport = SageMakerAsyncTransport(_checked(asynchronous.name), asynchronous.uploads, *clients)
        larger = Larger(transport, asynchronous.max_body)
    return EndpointWithDeadline(EndpointClient(_transport(where, seconds), options, larger))


def _transport(where: str, seconds: float) -> Transport:
    if "/" in where or ":" in where:
        from sam3edge.invocations.http import HttpTransport

        return HttpTransport(where)
    from sam3edge.invocations.sagemaker import SageMakerTransport, boto3_client

    return SageMakerTransport(_checked(where), boto3_client("sagemaker-runtime", seconds))


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise SettingsError(
            "an endpoint is named by its address, http(s)://host[:port], or by its name in SageMaker: "
            f"letters, digits and hyphens, got {name[:63]!r}"
        )
    return name
