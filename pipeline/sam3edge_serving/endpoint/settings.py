"""What the container is told by environment variables: OSML's with their meaning, SageMaker's, and our own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from sam3edge.images.depth import Depth
from sam3edge.invocations.attributes import BETWEEN_PHRASES
from sam3edge_serving.endpoint.fetching import allowed_hosts
from sam3edge_serving.environment import EnvironmentSettings

SAGEMAKER_MODEL = Path("/opt/ml/model")
"""Where SageMaker unpacks the model; used when CHECKPOINT_PATH is not set."""


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class Settings(EnvironmentSettings):
    """Every setting, under the name of its environment variable (the alias).

    Attributes:
        checkpoint: a bundle (a folder with ``manifest.json``, for ONNX Runtime) or a SAM 3 checkpoint (``sam3.pt`` or a
            transformers folder, for torch).
        default_prompt: asked when a request names none; one phrase or several with bars between them.
        model_name: what features call the model, where devices write the bundle's name.
        ontology_version: what features call the version of the ontology; empty for the bundle's version.
        threshold: an instance is answered when its score is greater; a request may say otherwise.
        lenient: whether a request of which the model can answer no phrase is answered with nothing found and with the
            names of these phrases, where it would be refused with 422.
        polygons_only: whether an object in several parts becomes a feature for each, for readers that know no
            MultiPolygon.
        compile: whether torch compiles the model; by default on a GPU. Bundles are compiled already.
        precision: what the model computes in; by default ``bf16`` on a GPU, else ``fp32``. A bundle has its own.
        compile_mode: as torch calls it; ``reduce-overhead`` records CUDA graphs.
        prewarm: whether every size of batch is run once before the endpoint says it is ready; by default on a GPU.
            One picture is always run first.
        compiled: folder that keeps what torch has compiled when every size is run, so that the next start takes it from
            there. Whoever can write it runs code here. Empty keeps nothing.
        host: address to listen on.
        port: port to listen on; 0 for any that is free.
        public_key: PEM keys, one of which must have signed the bundle; empty to take unsigned ones.
        name: what the endpoint calls itself in answers, where a device writes its own name.
        providers: ONNX Runtime's execution providers in order of preference, commas between them; the model is refused
            where none of them can run it. Empty for the engine's own order, which ends with the CPU. For checkpoints
            ``CUDAExecutionProvider`` means torch on a GPU.
        threads: CPU threads of one operator; 0 leaves it to ONNX Runtime.
        depth: how 16 bits per channel become 8, ``Depth``.
        log_level: the least that is logged.
        max_body: bytes of a request. SageMaker sends 25 MB at most, asynchronously 1 GB.
        max_pixels: pixels of one image.
        max_pending_pixels: pixels of all images that are in memory at once; a request waits until there is room.
        max_prompts: phrases or objects asked of one image.
        max_images: images of one request.
        max_requests: requests in progress or waiting; more are sent away with 429.
        peer_share: of ``max_requests``, at most for one address. SageMaker asks from one: all, the default.
        max_pending_bytes: of all requests that are in memory at once; more are sent away with 429.
        max_batch: different images that are answered together; 1 answers every request alone.
        batch_wait: seconds that the first of a batch waits for others.
        header_time: seconds in which a request's headers must have come.
        body_time: seconds in which a request's body must have come.
        fetch_hosts: hosts, with commas between them, from which images may be fetched by https that a request gives by
            address; ``*.example.org`` means everything below. Empty, the default: nothing is ever fetched.
        fetch_time: seconds in which an image must have been fetched.
        deadline: seconds after which a request is answered with 504; SageMaker gives up after 60.
        drain: seconds that requests in progress may take after SIGTERM; SageMaker kills after 30.
    """

    prefix = "SAM3EDGE_"

    checkpoint: Path = Field(SAGEMAKER_MODEL, alias="CHECKPOINT_PATH")
    default_prompt: str = Field("objects", alias="DEFAULT_TEXT_PROMPT", pattern=r"[^|\s]", max_length=4096)
    model_name: str = Field("sam3", alias="MODEL_NAME", min_length=1, max_length=128)
    ontology_version: str = Field("", alias="ONTOLOGY_VERSION", max_length=128)
    threshold: float = Field(0.6, alias="CONFIDENCE_THRESHOLD", ge=0, le=1, allow_inf_nan=False)
    compile: bool | None = Field(None, alias="ENABLE_TORCH_COMPILE")
    precision: Annotated[Literal["fp16", "bf16", "fp32"] | None, BeforeValidator(_lower)] = Field(
        None, alias="MIXED_PRECISION"
    )
    compile_mode: Literal["reduce-overhead", "max-autotune", "default"] = Field(
        "reduce-overhead", alias="TORCH_COMPILE_MODE"
    )
    prewarm: bool | None = Field(None, alias="PREWARM_GPU")
    compiled: str = Field("", alias="SAM3EDGE_COMPILED_CODE")

    host: str = Field("127.0.0.1", alias="SAM3EDGE_BIND_TO_HOST")
    port: int = Field(8080, alias="SAGEMAKER_BIND_TO_PORT", ge=0, le=65535)

    public_key: str = Field("", alias="SAM3EDGE_PUBLIC_KEY")
    lenient: bool = Field(False, alias="SAM3EDGE_LENIENT_PROMPTS")
    polygons_only: bool = Field(False, alias="SAM3EDGE_POLYGONS_ONLY")
    name: str = Field("endpoint", alias="SAM3EDGE_ENDPOINT_NAME", min_length=1, max_length=128)
    providers: str = Field("", alias="SAM3EDGE_PROVIDERS")
    threads: int = Field(0, alias="SAM3EDGE_THREADS", ge=0)
    depth: Depth = Field(Depth.FULL_RANGE, alias="SAM3EDGE_SIXTEEN_BIT")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", alias="SAM3EDGE_LOG_LEVEL")

    max_body: int = Field(25 * 2**20, alias="SAM3EDGE_MAX_BODY_BYTES", ge=1024)
    max_pixels: int = Field(100_000_000, alias="SAM3EDGE_MAX_PIXELS", ge=1)
    max_pending_pixels: int = Field(400_000_000, alias="SAM3EDGE_MAX_PENDING_PIXELS", ge=1)
    max_prompts: int = Field(32, alias="SAM3EDGE_MAX_PROMPTS", ge=1)
    max_images: int = Field(256, alias="SAM3EDGE_MAX_IMAGES", ge=1)
    max_requests: int = Field(32, alias="SAM3EDGE_MAX_REQUESTS", ge=1)
    peer_share: float = Field(1.0, alias="SAM3EDGE_PEER_SHARE", gt=0, le=1)
    max_pending_bytes: int = Field(800 * 2**20, alias="SAM3EDGE_MAX_PENDING_BYTES", ge=1024)
    max_batch: int = Field(8, alias="SAM3EDGE_MAX_BATCH", ge=1)
    batch_wait: float = Field(0.003, alias="SAM3EDGE_BATCH_WAIT_SECONDS", ge=0, le=1)
    header_time: float = Field(10.0, alias="SAM3EDGE_HEADER_SECONDS", gt=0)
    body_time: float = Field(20.0, alias="SAM3EDGE_BODY_SECONDS", gt=0)
    fetch_hosts: str = Field("", alias="SAM3EDGE_FETCH_HOSTS")
    fetch_time: float = Field(10.0, alias="SAM3EDGE_FETCH_SECONDS", gt=0)
    deadline: float = Field(55.0, alias="SAM3EDGE_DEADLINE_SECONDS", gt=0)
    drain: int = Field(25, alias="SAM3EDGE_DRAIN_SECONDS", ge=1)

    @field_validator("depth")
    @classmethod
    def _needs_no_counts(cls, depth: Depth) -> Depth:
        if depth is Depth.FIXED:
            raise ValueError("expected full-range, min-max or percentiles")
        return depth

    @field_validator("fetch_hosts")
    @classmethod
    def _are_hosts(cls, text: str) -> str:
        allowed_hosts(text)
        return text

    @property
    def phrases(self) -> tuple[str, ...]:
        """What is asked when a request names nothing."""
        return tuple(phrase.strip() for phrase in self.default_prompt.split(BETWEEN_PHRASES) if phrase.strip())

    @property
    def execution_providers(self) -> tuple[str, ...]:
        """What ``providers`` names; empty for the engine's own order."""
        return tuple(name.strip() for name in self.providers.split(",") if name.strip())

    @property
    def sets_default_prompt(self) -> bool:
        """Whether ``default_prompt`` is the operator's."""
        return "default_prompt" in self.model_fields_set
