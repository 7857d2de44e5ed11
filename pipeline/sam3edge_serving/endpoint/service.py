"""What happens to one request: from bytes to an answer, in whichever format."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from datetime import timezone
from typing import TypeVar

import numpy as np

from sam3edge.core.errors import EngineError, FrameError, PromptError
from sam3edge.core.types import Frame, ModelInfo
from sam3edge.images.decoding import MIN_SIDE, DecodeOptions
from sam3edge.images.depth import DepthOptions
from sam3edge.invocations.attributes import Attributes, AttributesError, read_attributes
from sam3edge_serving.endpoint import everything, images
from sam3edge_serving.endpoint.admission import PixelBudget
from sam3edge_serving.endpoint.batching import Batcher
from sam3edge_serving.endpoint.fetching import Fetcher, NoFetcher
from sam3edge_serving.endpoint.formats import azure, coco, geojson, roboflow, segmentations
from sam3edge_serving.endpoint.formats.queries import (
    DetectionQuery,
    DetectionResult,
    EncodedImage,
    VisualQuery,
    VisualResult,
    prompts_of,
    require_supported,
)
from sam3edge_serving.endpoint.formats.requests import FORMAT_PATHS, read_line, read_request, split_lines
from sam3edge_serving.endpoint.negotiation import COCO_RLE, GEOJSON, JSON, JSON_LINES, LINES, Body, body_of, choose
from sam3edge_serving.endpoint.settings import Settings
from sam3edge_serving.http.errors import BadRequest, HttpError, ModelFailed, NotReady, Unanswerable

SOURCE = "endpoint"
"""``Frame.source`` of what came by request."""

COMES_BACK = 5
"""Seconds after which it is worth asking again whether the model is there."""

T = TypeVar("T")
Q = TypeVar("Q")


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A request, read: its body, the headers that matter, and its path; a header that is missing is empty."""

    body: bytes
    content_type: str = ""
    accept: str = ""
    attributes: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """An answer, its media type, and the prompts that it could not answer."""

    body: bytes
    media_type: str
    unsupported_prompts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Workers:
    """Threads for what would keep the event loop.

    Attributes:
        compute: parsing, decoding and writing; as many as there are cores.
        fetch: waiting for other servers.
    """

    compute: Executor
    fetch: Executor


class Service:
    """Answers calls. Used on the event loop only.

    Every method raises ``HttpError``.
    """

    def __init__(self, settings: Settings, batcher: Batcher, fetcher: Fetcher | NoFetcher, workers: Workers) -> None:
        self._settings = settings
        self._batcher = batcher
        self._fetcher = fetcher
        self._workers = workers
        self._geojson = geojson.GeoJsonOptions(
            settings.name, settings.model_name, settings.ontology_version, settings.polygons_only
        )
        self._pixels = PixelBudget(settings.max_pending_pixels)
        self._decoding = DecodeOptions(settings.max_pixels, DepthOptions(settings.depth), timezone.utc, MIN_SIDE)

    async def answer(self, call: Call) -> Reply:
        """Answer in the format that the request asks for, by default in that which belongs to its own."""
        kind = Body.JSON if call.path in FORMAT_PATHS else body_of(call.content_type)
        attributes = _attributes(call.attributes)
        await _pretend(attributes)
        if kind is Body.IMAGE:
            return await self._phrases(self._by_attributes(call.body, attributes), call.accept)
        if kind is Body.LINES:
            return await self._lines(call, attributes)
        request = await self._compute(read_request, call.body, call.path, call.content_type)
        if isinstance(request, azure.AzureRequest):
            return await self._table(request, call.accept, attributes)
        if isinstance(request, roboflow.RoboflowRequest):
            return await self._prompts(request, call.accept)
        if isinstance(request, roboflow.RoboflowVisualRequest):
            return await self._objects(request, call.accept)
        if isinstance(request, segmentations.SegmentationRequest):
            return await self._segmentations(request, call.accept, attributes)
        return await self._phrases(await self._compute(self._by_request, request, attributes), call.accept)

    async def _phrases(self, query: DetectionQuery, accept: str) -> Reply:
        media_type = choose(accept, (GEOJSON, JSON, COCO_RLE, segmentations.MEDIA_TYPE))
        found = await self._detect(query)
        if media_type == COCO_RLE:
            body = await self._compute(coco.write, found, self._settings.name)
        elif media_type == segmentations.MEDIA_TYPE:
            body = await self._compute(segmentations.write, found, segmentations.Written(self._settings.model_name))
        else:
            body = await self._compute(geojson.write, found, self._geojson)
        return Reply(body, media_type, tuple(found.output.unsupported_prompts))

    async def _prompts(self, request: roboflow.RoboflowRequest, accept: str) -> Reply:
        media_type = choose(accept, (JSON,))
        found = await self._detect(await self._compute(request.query, self._settings.max_prompts))
        body = await self._compute(roboflow.write, request, found)
        return Reply(body, media_type, tuple(found.output.unsupported_prompts))

    async def _objects(self, request: roboflow.RoboflowVisualRequest, accept: str) -> Reply:
        media_type = choose(accept, (JSON,))
        query, started = await self._compute(request.query, self._settings.max_prompts), time.perf_counter()
        found = await self._predict(query)
        seconds = time.perf_counter() - started
        return Reply(await self._compute(roboflow.write_visual, request, found, seconds), media_type)

    async def _segmentations(
        self, request: segmentations.SegmentationRequest, accept: str, attributes: Attributes
    ) -> Reply:
        media_type = choose(accept, (JSON, segmentations.MEDIA_TYPE))
        limits = (self._threshold(attributes), self._settings.max_prompts)
        found = await self._detect(await self._compute(request.query, *limits))
        written = segmentations.Written(self._settings.model_name, request.n)
        body = await self._compute(segmentations.write, found, written)
        return Reply(body, media_type, tuple(found.output.unsupported_prompts))

    async def _table(self, request: azure.AzureRequest, accept: str, attributes: Attributes) -> Reply:
        media_type = choose(accept, (JSON,))
        threshold, limits = self._threshold(attributes), (self._settings.max_prompts, self._settings.max_images)
        queries = await self._compute(request.queries, threshold, *limits)

        rows = await self._together(self._row, list(enumerate(queries)))
        refused = [row for row in rows if isinstance(row, HttpError)]
        if len(refused) == len(rows):
            raise refused[0]
        whole = [azure.refused_row(n, row) if isinstance(row, HttpError) else row for n, row in enumerate(rows)]
        return Reply(await self._compute(azure.write, whole), media_type)

    async def _row(self, numbered: tuple[int, DetectionQuery | VisualQuery | HttpError]) -> azure.AzureRow | HttpError:
        """One row of a table; a bad one does not take the others with it."""
        _, query = numbered
        if isinstance(query, HttpError):
            return query
        seen: DetectionResult | VisualResult
        try:
            if isinstance(query, DetectionQuery):
                seen = await self._detect(query)
            else:
                seen = await self._predict(query)
        except HttpError as error:
            return error
        return await self._compute(azure.row_of, seen)

    async def _lines(self, call: Call, attributes: Attributes) -> Reply:
        media_type = choose(call.accept, (JSON_LINES, *LINES, JSON))
        lines = split_lines(call.body, self._settings.max_images)

        async def answer(line: bytes) -> bytes:
            try:
                query = await self._compute(lambda: self._by_request(read_line(line), attributes))
                return await self._compute(geojson.write, await self._detect(query), self._geojson)
            except HttpError as error:  # the other lines are answered nevertheless
                return error.json().encode()

        answers = await self._together(answer, lines)
        return Reply(b"".join(answer + b"\n" for answer in answers), media_type)

    def _by_attributes(self, image: bytes, attributes: Attributes) -> DetectionQuery:
        phrases = attributes.phrases or self._default_phrases()
        prompts = prompts_of(phrases, self._threshold(attributes), self._settings.max_prompts)
        return DetectionQuery(image, prompts, attributes.image_id)

    def _by_request(self, request: geojson.PhraseRequest, attributes: Attributes) -> DetectionQuery:
        phrases = attributes.phrases or self._default_phrases()
        query = request.query(phrases, self._threshold(attributes), self._settings.max_prompts)
        return query if query.name else replace(query, name=attributes.image_id)

    def _default_phrases(self) -> tuple[str, ...]:
        """What is asked when nothing is named: what the operator set. A model that was not made for that is asked for
        all that it was made for, in the order of its export and as many as may be asked; unless the operator did set it
        and the model reads any phrase."""
        phrases, vocabulary = self._settings.phrases, self._batcher.vocabulary
        if not vocabulary or any(phrase.lower() in vocabulary for phrase in phrases):
            return phrases
        if self._settings.sets_default_prompt and self._batcher.reads_any:
            return phrases
        return vocabulary[: self._settings.max_prompts]

    def _threshold(self, attributes: Attributes) -> float:
        return self._settings.threshold if attributes.threshold is None else attributes.threshold

    async def _detect(self, query: DetectionQuery) -> DetectionResult:
        picture = await self._inspect(query.image)
        async with self._pixels.hold(picture.cost):
            frame = await self._compute(images.to_frame, picture, self._decoding, SOURCE, query.name)
            found = await self._answered(self._batcher.segment(frame, query.prompts))
        result = DetectionResult(_without_pixels(frame), self._model(), query.prompts, found)
        return result if self._settings.lenient else require_supported(result)

    async def _predict(self, query: VisualQuery) -> VisualResult:
        picture = await self._inspect(query.image)
        async with self._pixels.hold(picture.cost):
            frame = await self._compute(images.to_frame, picture, self._decoding, SOURCE, "")
            prompts = query.prompts or everything.grid(frame.width, frame.height)
            predicted = await self._answered(self._batcher.predict(frame, prompts))
            predictions = tuple(predicted)
            if not query.prompts:
                predictions = await self._compute(everything.distinct, predictions)
            return VisualResult(_without_pixels(frame), predictions)

    async def _inspect(self, image: EncodedImage) -> images.Picture:
        if not isinstance(image, bytes):
            loop = asyncio.get_running_loop()
            image = await loop.run_in_executor(self._workers.fetch, self._fetcher.fetch, image.url)
        return await self._compute(images.inspect, image, self._settings.max_pixels)

    async def _answered(self, future: Future[T]) -> T:
        try:
            return await asyncio.wrap_future(future)
        except (FrameError, PromptError) as error:
            raise Unanswerable(str(error)) from error
        except EngineError as error:
            self._model()
            raise ModelFailed(f"the model failed: {error}") from error

    def _model(self) -> ModelInfo:
        model = self._batcher.model
        if model is None:
            raise NotReady(f"the endpoint is not ready: {self._batcher.not_ready_reason}", retry_after=COMES_BACK)
        return model

    async def _together(self, answer: Callable[[Q], Awaitable[T]], queries: Sequence[Q]) -> list[T]:
        """As many at a time as share a batch; when one fails, the others are given up."""
        room = asyncio.Semaphore(self._settings.max_batch)

        async def one(query: Q) -> T:
            async with room:
                return await answer(query)

        tasks = [asyncio.ensure_future(one(query)) for query in queries]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()

    async def _compute(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._workers.compute, function, *arguments)


def _attributes(header: str) -> Attributes:
    try:
        return read_attributes(header)
    except AttributesError as error:
        raise BadRequest(str(error), param=error.param) from error


async def _pretend(attributes: Attributes) -> None:
    """OSML's mock latency."""
    if attributes.latency_mean or attributes.latency_std:
        milliseconds = random.gauss(attributes.latency_mean, attributes.latency_std)
        await asyncio.sleep(max(0.0, milliseconds) / 1000)


def _without_pixels(frame: Frame) -> Frame:
    """The same frame, whose image takes no memory: what is written of it is its size."""
    return replace(frame, image=np.broadcast_to(np.uint8(0), frame.image.shape))
