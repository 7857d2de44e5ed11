"""Tasks of Step Functions that call Lambda functions: which failures are Lambda's own, and how those are tried again.

All our functions are container images. One that nobody has called for some weeks is inactive: its first call is refused
(``CodeArtifactUserPendingException``) and only makes Lambda prepare the image again. A minute or two has been seen, so
the retries go on for five. What a function raises is never tried again here: Step Functions calls that by the name of
the exception, and those of the service by ``Lambda.`` and a name.

- https://docs.aws.amazon.com/lambda/latest/dg/invocation-images.html, "Function lifecycle"
- https://docs.aws.amazon.com/step-functions/latest/dg/bp-lambda-serviceexception.html
- https://github.com/aws-solutions-library-samples/accelerated-intelligent-document-processing-on-aws/issues/801:
  40 to 106 s until the image was there
"""

from __future__ import annotations

from typing import Any

TRANSIENT = (
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
    "Lambda.CodeArtifactUserPendingException",  # inactive until now
    "Lambda.ResourceNotReadyException",
    "Lambda.ResourceConflictException",  # a deployment is exchanging the function
)
"""Errors that pass by themselves."""

RETRIES, FIRST_SECONDS, BACKOFF = 5, 10, 2

RETRY_SECONDS = sum(FIRST_SECONDS * BACKOFF**retry for retry in range(RETRIES))
"""That all retries of a task wait together."""


def retries() -> list[dict[str, Any]]:
    """Member ``Retry`` of a task that calls a function."""
    return [
        {
            "ErrorEquals": list(TRANSIENT),
            "IntervalSeconds": FIRST_SECONDS,
            "MaxAttempts": RETRIES,
            "BackoffRate": BACKOFF,
        }
    ]
