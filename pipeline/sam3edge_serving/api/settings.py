"""What the API is told by environment variables."""

from __future__ import annotations

from pydantic import Field, model_validator
from typing_extensions import Self

from sam3edge_serving.environment import EnvironmentSettings

PREFIX = "SAM3EDGE_API_"


class Settings(EnvironmentSettings):
    """Every setting of the API function, under the name of its environment variable (the alias).

    Attributes:
        endpoint: name of the SageMaker endpoint that answers.
        endpoint_url: or address of the endpoint's container, asked by plain HTTP.
        async_endpoint: name of the asynchronous SageMaker endpoint, for uploads, and alone for nothing else.
        bucket: S3 bucket of uploads, jobs and long answers.
        idempotency_table: DynamoDB table with partition key ``id`` and time to live on ``expiration``.
        model_id: what ``model`` in requests must be.
        model_created: when that model was made, seconds since 1970.
        image_hosts: names that images may be fetched from, commas between them; empty for none.
        max_image_bytes: of an image in a request, or fetched.
        max_upload_bytes: of an uploaded image; the asynchronous endpoint takes 1 GB.
        upload_seconds: how long an upload address and the address of a long answer are valid.
        model_seconds: for the model's answer; API Gateway gives up after 29 in all.
        fetch_seconds: for the image's host.
        job_seconds: for one uploaded image; SageMaker allows 3600.
        queue_seconds: that it may wait before; SageMaker allows 21600.
        max_prompts: phrases asked of one image.
        idempotency_seconds: how long an answer is remembered.
        retry_after: seconds that are told where the model is busy or starting and says nothing itself.
    """

    prefix = PREFIX

    endpoint: str = Field("", alias="SAM3EDGE_API_ENDPOINT_NAME")
    endpoint_url: str = Field("", alias="SAM3EDGE_API_ENDPOINT_URL", pattern=r"^(https?://\S+)?$")
    async_endpoint: str = Field("", alias="SAM3EDGE_API_ASYNC_ENDPOINT_NAME")
    bucket: str = Field("", alias="SAM3EDGE_API_BUCKET")
    idempotency_table: str = Field("", alias="SAM3EDGE_API_IDEMPOTENCY_TABLE")
    model_id: str = Field("sam3edge", alias="SAM3EDGE_API_MODEL_ID", pattern=r"^[\w.:-]{1,128}$")
    model_created: int = Field(0, alias="SAM3EDGE_API_MODEL_CREATED", ge=0)
    image_hosts: str = Field("", alias="SAM3EDGE_API_IMAGE_HOSTS")
    max_image_bytes: int = Field(20 * 2**20, alias="SAM3EDGE_API_MAX_IMAGE_BYTES", ge=1024, le=25 * 10**6)
    max_upload_bytes: int = Field(256 * 2**20, alias="SAM3EDGE_API_MAX_UPLOAD_BYTES", ge=1024, le=10**9)
    upload_seconds: int = Field(900, alias="SAM3EDGE_API_UPLOAD_SECONDS", ge=60, le=3600)
    model_seconds: float = Field(22.0, alias="SAM3EDGE_API_MODEL_SECONDS", gt=0, le=60)
    fetch_seconds: float = Field(4.0, alias="SAM3EDGE_API_FETCH_SECONDS", gt=0, le=30)
    job_seconds: int = Field(3600, alias="SAM3EDGE_API_JOB_SECONDS", ge=1, le=3600)
    queue_seconds: int = Field(21600, alias="SAM3EDGE_API_QUEUE_SECONDS", ge=60, le=21600)
    max_prompts: int = Field(32, alias="SAM3EDGE_API_MAX_PROMPTS", ge=1)
    idempotency_seconds: int = Field(86400, alias="SAM3EDGE_API_IDEMPOTENCY_SECONDS", ge=60)
    retry_after: int = Field(5, alias="SAM3EDGE_API_RETRY_AFTER_SECONDS", ge=1, le=60)

    @model_validator(mode="after")
    def _one_endpoint(self) -> Self:
        if self.endpoint and self.endpoint_url:
            raise ValueError("set one of SAM3EDGE_API_ENDPOINT_NAME and SAM3EDGE_API_ENDPOINT_URL")
        if not self.answers_at_once and not self.async_endpoint:
            raise ValueError(
                "set SAM3EDGE_API_ENDPOINT_NAME, SAM3EDGE_API_ENDPOINT_URL or, for uploads only, "
                "SAM3EDGE_API_ASYNC_ENDPOINT_NAME"
            )
        if self.async_endpoint and not self.bucket:
            raise ValueError("SAM3EDGE_API_ASYNC_ENDPOINT_NAME needs SAM3EDGE_API_BUCKET")
        return self

    @property
    def answers_at_once(self) -> bool:
        """Whether there is an endpoint that answers; without one the API takes uploads only."""
        return bool(self.endpoint or self.endpoint_url)


class AuthorizerSettings(EnvironmentSettings):
    """What the authorizer function is told.

    Attributes:
        key_table: DynamoDB table with partition key ``id``, see ``keys.py``.
    """

    prefix = PREFIX
    key_table: str = Field(alias="SAM3EDGE_API_KEY_TABLE", min_length=3)
