"""The parts of the API function as AWS has them. Clients are made here and nowhere else."""

from __future__ import annotations

import boto3
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer
from botocore.config import Config

from sam3edge.invocations.http import HttpTransport
from sam3edge.invocations.request import Transport
from sam3edge.invocations.sagemaker import SageMakerTransport
from sam3edge_serving.api.dependencies import Large, Parts
from sam3edge_serving.api.idempotency import IdempotencyStore
from sam3edge_serving.api.images import Images
from sam3edge_serving.api.model import EndpointModel, Model, UploadsOnly
from sam3edge_serving.api.settings import Settings
from sam3edge_serving.api.uploads.jobs import Jobs
from sam3edge_serving.api.uploads.offers import Uploads
from sam3edge_serving.api.uploads.storage import Storage
from sam3edge_serving.http.remote_images import FetchRules, RemoteImages, read_hosts

CONNECT_SECONDS = 2
ONE_TRY = {"total_max_attempts": 1, "mode": "standard"}


def assemble(settings: Settings) -> Parts:
    """Build them; nothing is asked of AWS yet."""
    storage = _storage(settings.bucket) if settings.bucket else None
    records = DynamoDBPersistenceLayer(table_name=settings.idempotency_table) if settings.idempotency_table else None
    rules = FetchRules(read_hosts(settings.image_hosts), settings.max_image_bytes, settings.fetch_seconds)
    return Parts(
        model=_model(settings),
        images=Images(settings.max_image_bytes, RemoteImages(rules)),
        once=IdempotencyStore(records, storage, settings.idempotency_seconds),
        large=_large(settings, storage) if settings.async_endpoint and storage else None,
        model_id=settings.model_id,
        model_created=settings.model_created,
        max_prompts=settings.max_prompts,
    )


def _model(settings: Settings) -> Model:
    if not settings.answers_at_once:
        return UploadsOnly()
    return EndpointModel(_transport(settings), settings.model_seconds, settings.retry_after)


def _transport(settings: Settings) -> Transport:
    if settings.endpoint_url:
        return HttpTransport(settings.endpoint_url)
    config = Config(connect_timeout=CONNECT_SECONDS, read_timeout=settings.model_seconds, retries=ONE_TRY)
    return SageMakerTransport(settings.endpoint, boto3.client("sagemaker-runtime", config=config))


def _storage(bucket: str) -> Storage:
    config = Config(signature_version="s3v4", connect_timeout=CONNECT_SECONDS, read_timeout=5)
    return Storage(boto3.client("s3", config=config), bucket)


def _large(settings: Settings, storage: Storage) -> Large:
    runtime = boto3.client(
        "sagemaker-runtime", config=Config(connect_timeout=CONNECT_SECONDS, read_timeout=10, retries=ONE_TRY)
    )
    jobs = Jobs(
        storage,
        runtime,
        settings.async_endpoint,
        settings.job_seconds,
        settings.queue_seconds,
        settings.upload_seconds,
        settings.retry_after,
    )
    return Large(Uploads(storage, settings.max_upload_bytes, settings.upload_seconds), jobs)
