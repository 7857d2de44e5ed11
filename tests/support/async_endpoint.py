"""An asynchronous SageMaker endpoint that writes into S3 when it is told to.

Requests are checked by botocore's model of the service.
"""

from __future__ import annotations

from typing import Any

import botocore.session
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator


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
