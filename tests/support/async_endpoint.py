"""An asynchronous SageMaker endpoint that writes into S3 when it is told to.

Requests are checked by botocore's model of the service.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import botocore.session
import urllib3
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from sam3edge.invocations.attributes import HEADER


class AsyncEndpoint:
    """Stands for boto3's ``sagemaker-runtime`` client.

    Attributes:
        asked: parameters of every request.
    """

    def __init__(self, s3: Any, bucket: str, failure: ClientError | None = None) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._failure = failure
        self._shape = (
            botocore.session.get_session()
            .get_service_model("sagemaker-runtime")
            .operation_model("InvokeEndpointAsync")
            .input_shape
        )
        self.asked: list[dict[str, Any]] = []

    def invoke_endpoint_async(self, **parameters: Any) -> dict[str, str]:
        """As boto3's."""
        report = ParamValidator().validate(parameters, self._shape)
        assert not report.has_errors(), report.generate_report()
        if self._failure is not None:
            raise self._failure
        self.asked.append(parameters)
        name = parameters["InferenceId"]
        return {
            "InferenceId": name,
            "OutputLocation": f"s3://{self._bucket}/async/{name}.out",
            "FailureLocation": f"s3://{self._bucket}/async/{name}-error.out",
        }

    def write(self, suffix: str, body: str) -> None:
        """Finish the last request: ``.out`` or ``-error.out``."""
        key = f"async/{self.asked[-1]['InferenceId']}{suffix}"
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=body.encode())


class AsyncWorker(AsyncEndpoint):
    """An asynchronous endpoint that does its work: as SageMaker, it fetches the request from S3, hands it to the
    container, and puts what the container says into S3.

    Args:
        url: of the container.
    """

    def __init__(self, s3: Any, bucket: str, url: str) -> None:
        super().__init__(s3, bucket)
        self._url = url
        self._http = urllib3.PoolManager(retries=False, timeout=60)
        self._threads = ThreadPoolExecutor(2)

    def invoke_endpoint_async(self, **parameters: Any) -> dict[str, str]:
        """As boto3's."""
        parameters.setdefault("InferenceId", f"inference-{len(self.asked)}")
        started = super().invoke_endpoint_async(**parameters)
        self._threads.submit(self._work, parameters, started)
        return started

    def close(self) -> None:
        """Wait for all work."""
        self._threads.shutdown()
        self._http.clear()

    def _work(self, asked: dict[str, Any], started: dict[str, str]) -> None:
        body = self._s3.get_object(**_place(asked["InputLocation"]))["Body"].read()
        headers = {
            "Content-Type": asked.get("ContentType", "application/octet-stream"),
            "Accept": asked.get("Accept", ""),
            HEADER: asked.get("CustomAttributes", ""),
            "X-Amzn-SageMaker-Inference-Id": asked["InferenceId"],
        }
        sent = {name: value for name, value in headers.items() if value}
        response = self._http.request("POST", f"{self._url}/invocations", body=body, headers=sent)
        where = started["OutputLocation" if response.status == 200 else "FailureLocation"]
        self._s3.put_object(**_place(where), Body=response.data)


def _place(uri: str) -> dict[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": key}
