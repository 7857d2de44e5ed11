"""Clients that others have written, as they ask and read, before the served demo bundle and the served checkpoint."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import cv2
import numpy as np
import pytest
from botocore.config import Config
from moto import mock_aws
from shapely.geometry import shape

from sam3edge.invocations.request import InvocationRequest
from sam3edge.invocations.sagemaker import SageMakerAsyncTransport
from sam3edge_serving.api.dependencies import Large
from sam3edge_serving.api.uploads.jobs import Jobs
from sam3edge_serving.api.uploads.offers import Uploads
from sam3edge_serving.api.uploads.storage import Storage
from support.api_rig import Api
from support.async_endpoint import AsyncWorker
from support.endpoint_server import Server, launch
from support.gdal_files import by_gdal
from support.sagemaker_front import sagemaker

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

ASSETS = Path(__file__).parents[3] / "assets"
SCENE = (ASSETS / "scenes" / "scene-08.jpg").read_bytes()
ASKED = "car|building|tree"
KINDS = ("demo-bundle", "demo-checkpoint")


@pytest.fixture(
    scope="module",
    params=[pytest.param(kind, marks=pytest.mark.xdist_group(f"clients of {kind}")) for kind in KINDS],
)
def served(request: pytest.FixtureRequest) -> Iterator[Server]:
    """As the README says for OversightML."""
    server = launch(
        ASSETS / request.param, SAM3EDGE_THREADS="1", CONFIDENCE_THRESHOLD="0.4", SAM3EDGE_POLYGONS_ONLY="true"
    )
    try:
        server.wait_until_ready()
        yield server
    finally:
        assert server.stop() == 0


@pytest.fixture(scope="module")
def runtime(served: Server) -> Iterator[Any]:
    """boto3's client of SageMaker's runtime."""
    with sagemaker(served.url) as url:
        client = boto3_client(url)
        yield client
        client.close()


def boto3_client(url: str) -> Any:
    return boto3.client(
        "sagemaker-runtime", endpoint_url=url, region_name="eu-west-1", aws_access_key_id="x",
        aws_secret_access_key="x", config=Config(retries={"total_max_attempts": 1}),
    )  # fmt: skip


def pixels() -> Any:
    """uint8 [H, W, 3], RGB."""
    decoded = cv2.imdecode(np.frombuffer(SCENE, np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def tile(driver: str, **options: str) -> bytes:
    """A tile as osml-model-runner cuts it with GDAL."""
    return by_gdal(pixels(), driver, **options)


TILES = {
    "NITF": ("NITF", {"IC": "NC"}),
    "NITF, JPEG 2000": ("NITF", {"IC": "C8"}),
    "NITF, JPEG": ("NITF", {"IC": "C3"}),
    "JPEG": ("JPEG", {}),
    "PNG": ("PNG", {}),
    "TIFF": ("GTiff", {"COMPRESS": "LZW"}),
}


# -- OversightML ------------------------------------------------------------------------------------------------------


def check_osml(body: bytes) -> list[dict[str, Any]]:
    """What osml-model-runner reads of an answer."""
    collection = json.loads(body)
    assert collection["type"] == "FeatureCollection"
    for feature in collection["features"]:
        properties = feature["properties"]
        assert feature["type"] == "Feature"
        assert properties["imageGeometry"]["type"] in ("Polygon", "Point")
        assert shape(properties["imageGeometry"]).is_valid
        assert len(properties["imageBBox"]) == 4
        assert properties["modelMetadata"]["modelName"] == "sam3"
        for found in properties["featureClasses"]:
            assert isinstance(found["iri"], str)
            assert 0 <= found["score"] <= 1
    features: list[dict[str, Any]] = collection["features"]
    return features


@pytest.mark.parametrize("name", TILES)
def test_osml_sends_tiles_by_boto3(runtime: Any, name: str) -> None:
    driver, options = TILES[name]
    body = tile(driver, **options)
    found = runtime.invoke_endpoint(EndpointName="sam3", Body=body, CustomAttributes=f"text_prompt={ASKED}")
    assert len(check_osml(found["Body"].read())) > 3
    other = runtime.invoke_endpoint(EndpointName="sam3", Body=body, CustomAttributes="text_prompt=aircraft")
    check_osml(other["Body"].read())
    assert "CustomAttributes" not in other  # any phrase is answered


def test_osml_sends_no_prompt_or_a_mock_latency(runtime: Any, served: Server) -> None:
    found = check_osml(runtime.invoke_endpoint(EndpointName="sam3", Body=tile("NITF"))["Body"].read())
    assert found or "bundle" not in str(served.process.args)  # a checkpoint is asked for objects, as OSML's is
    started = time.monotonic()
    latency = "mock_latency_mean=300,mock_latency_std=0"
    runtime.invoke_endpoint(EndpointName="sam3", Body=SCENE, CustomAttributes=latency)["Body"].read()
    assert time.monotonic() - started >= 0.3


def test_a_refusal_by_boto3(runtime: Any) -> None:
    with pytest.raises(runtime.exceptions.ModelError) as refused:
        runtime.invoke_endpoint(EndpointName="sam3", Body=b"no image")
    assert refused.value.response["OriginalStatusCode"] == 422
    assert json.loads(refused.value.response["OriginalMessage"])["error"]["code"] == "unanswerable"


@pytest.mark.xdist_group("endpoint")
def test_boto3_shows_what_could_not_be_answered(closed_server: Server) -> None:
    with sagemaker(closed_server.url) as url:
        attributes = "text_prompt=car|zebra"
        answer = boto3_client(url).invoke_endpoint(EndpointName="sam3", Body=SCENE, CustomAttributes=attributes)
    assert answer["CustomAttributes"] == "unsupported_prompts=zebra"
    answer["Body"].close()


# -- Azure ------------------------------------------------------------------------------------------------------------


def test_azures_client_reads_the_masks(served: Server) -> None:
    """Encoded with line breaks and read from lists below ``response``, as Azure's notebook does."""
    image = base64.encodebytes(SCENE).decode("utf-8")
    asked = {
        "input_data": {"columns": ["image", "text_prompt"], "index": [0], "data": [[image, '["car", "tree"]']]},
        "params": {},
    }
    response = served.post(json.dumps(asked).encode(), "application/json")
    assert response.status == 200, response.data[:300]
    height, width = pixels().shape[:2]
    masks = 0
    for prediction in json.loads(response.data)[0]["response"]["predictions"]:
        for one in prediction["masks_per_prediction"]:
            decoded = np.frombuffer(base64.b64decode(one["encoded_binary_mask"]), np.uint8)
            assert cv2.imdecode(decoded, cv2.IMREAD_GRAYSCALE).shape == (height, width)
            assert 0 <= one["iou_score"] <= 1
            masks += 1
    assert masks > 1


# -- Roboflow ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["polygon", "rle"])
def test_roboflows_client_reads_the_answers(served: Server, form: str) -> None:
    """The sample of Roboflow's documentation."""
    payload = {
        "image": {"type": "base64", "value": base64.b64encode(SCENE).decode("utf-8")},
        "prompts": [{"type": "text", "text": "car"}, {"type": "text", "text": "tree"}],
        "output_prob_thresh": 0.4,
        "format": form,
    }
    path = "/sam3/concept_segment?api_key=mine"
    response = served.post(json.dumps(payload).encode(), "application/json", path=path)
    assert response.status == 200, response.data[:300]
    data = response.json()
    assert set(data) == {"prompt_results", "time"}
    results = data["prompt_results"]
    assert [(r["prompt_index"], r["echo"]["text"]) for r in results] == [(0, "car"), (1, "tree")]
    predictions = [p for r in results for p in r["predictions"]]
    assert len(predictions) > 1
    for one in predictions:
        assert 0.4 < one["confidence"] <= 1
        assert one["format"] == form
        if form == "polygon":
            assert all(len(point) == 2 for polygon in one["masks"] for point in polygon)
        else:
            assert one["masks"]["size"] == list(pixels().shape[:2])


# -- asynchronous endpoints -------------------------------------------------------------------------------------------


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, served: Server) -> Iterator[tuple[Any, str, AsyncWorker]]:
    """S3 in memory, a bucket, and an asynchronous endpoint before the container."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        s3 = boto3.client("s3", region_name="eu-west-1", config=Config(signature_version="s3v4"))
        bucket = f"bucket-{uuid.uuid4()}"
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        worker = AsyncWorker(s3, bucket, served.url)
        yield s3, bucket, worker
        worker.close()


def test_an_upload_is_answered_from_end_to_end(cloud: tuple[Any, str, AsyncWorker], served: Server) -> None:
    """Through the API: a form, an upload, a question, and polls until the result is there."""
    s3, bucket, worker = cloud
    storage = Storage(s3, bucket)
    large = Large(Uploads(storage, 10**7, 900), Jobs(storage, worker, "sam3-async", 600, 1200, 900, 5))
    api = Api(large=large)

    def ask(data: bytes) -> dict[str, Any]:
        offer = api.post("/v1/uploads", {"content_type": "image/tiff", "bytes": len(data)}).json
        s3.put_object(Bucket=bucket, Key=offer["fields"]["key"], Body=data, ContentType="image/tiff")
        asked = {
            "upload": offer["id"],
            "text_prompt": ["car", "building", "tree"],
            "threshold": 0.4,
            "image_id": "yard",
        }
        started = api.post("/v1/detections", asked)
        assert started.status == 202, started.text
        deadline = time.monotonic() + 60
        while (state := api.get(f"/v1/detections/{started.json['id']}").json)["status"] == "queued":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return dict(state)

    data = tile("GTiff", COMPRESS="ZSTD")
    succeeded = ask(data)
    assert (succeeded["status"], succeeded["error"]) == ("succeeded", None)
    direct = served.post(data, "image/tiff", f"text_prompt={ASKED},threshold=0.4,image_id=yard").json()
    assert succeeded["result"]["features"] == direct["features"]
    assert len(direct["features"]) > 3
    assert succeeded["result"]["frame"]["name"] == "yard"
    failed = ask(b"II*\0 cut short")
    assert (failed["status"], failed["result"]) == ("failed", None)
    assert "the image cannot be used" in failed["error"]["message"]


def test_a_device_asks_the_asynchronous_endpoint(cloud: tuple[Any, str, AsyncWorker]) -> None:
    s3, bucket, worker = cloud
    transport = SageMakerAsyncTransport("sam3-async", f"s3://{bucket}/uploads", worker, s3)
    answer = json.loads(transport.send(InvocationRequest("frame-1", SCENE, "image/jpeg", f"text_prompt={ASKED}"), 60))
    assert answer["type"] == "FeatureCollection"
    assert len(answer["features"]) > 3
    left = s3.list_objects_v2(Bucket=bucket, Prefix="uploads/")
    assert left["KeyCount"] == 0
