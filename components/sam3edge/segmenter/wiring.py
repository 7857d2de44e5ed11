"""From settings to parts: which source, gate, engine and outbox a configuration asks for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sam3edge.bundle.manifest import read_manifest
from sam3edge.bundle.verify import model_files
from sam3edge.core.gate import ChangeGate, ChangeGateOptions, Gate, OpenGate
from sam3edge.core.ports import Engine, Publisher, Source
from sam3edge.engines.onnx import OnnxEngine, OnnxOptions
from sam3edge.greengrass.nucleus import Nucleus
from sam3edge.images.decoding import DecodeOptions
from sam3edge.outbox.limits import Block, DropOldest, OutboxOptions, Overflow, Window
from sam3edge.publishers.files import FilesPublisher
from sam3edge.publishers.greengrass import GreengrassPublisher
from sam3edge.segmenter.settings import (
    CameraSettings,
    FolderSettings,
    GateSettings,
    OutboxSettings,
    PublisherSettings,
    Settings,
)
from sam3edge.sources.camera.source import CameraOptions, open_camera
from sam3edge.sources.folder.disposition import Delete, Keep, MoveTo, OnProcessed
from sam3edge.sources.folder.source import FolderOptions, FolderSource


def build_source(keys: FolderSettings | CameraSettings, work: Path) -> Source:
    """The source; its journal and quarantine are in the component's work folder unless told otherwise."""
    if isinstance(keys, CameraSettings):
        return open_camera(
            CameraOptions(
                keys.uri,
                keys.name,
                keys.max_fps,
                keys.width,
                keys.height,
                keys.realtime,
                keys.open_timeout_seconds,
                keys.read_timeout_seconds,
            )
        )
    on_processed: dict[str, OnProcessed] = {"keep": Keep(), "delete": Delete()}
    if keys.move_to is not None:
        on_processed["move"] = MoveTo(keys.move_to)
    return FolderSource(
        FolderOptions(
            keys.path,
            journal=work / "journal.sqlite",
            quarantine=keys.quarantine or work / "quarantine",
            on_processed=on_processed[keys.on_processed],
            recursive=keys.recursive,
            max_bytes=keys.max_bytes,
            decode=DecodeOptions(max_pixels=keys.max_pixels),
            settle_seconds=keys.settle_seconds,
            rescan_seconds=keys.rescan_seconds,
        )
    )


def backlog_of(source: Source) -> Callable[[], int]:
    """How many frames wait at a source. Of a camera's none do: those that came meanwhile are let go."""
    return (lambda: source.waiting) if isinstance(source, FolderSource) else (lambda: 0)


def build_gate(keys: FolderSettings | CameraSettings) -> Gate:
    """Files are all looked at; of a camera's frames those that differ."""
    gate = keys.gate if isinstance(keys, CameraSettings) else GateSettings(enabled=False)
    if not gate.enabled:
        return OpenGate()
    return ChangeGate(ChangeGateOptions(gate.delta, gate.fraction, gate.max_interval_seconds))


def build_overflow(keys: FolderSettings | CameraSettings) -> Overflow:
    """A folder waits when the outbox is full; of a camera's answers the oldest go."""
    return DropOldest() if isinstance(keys, CameraSettings) else Block()


def outbox_options(keys: OutboxSettings) -> OutboxOptions:
    """Bounds of the outbox."""
    return OutboxOptions(
        keys.max_bytes, keys.max_age_seconds or None, Window(keys.replay_messages, keys.replay_seconds)
    )


def build_publisher(keys: PublisherSettings, nucleus: Nucleus, max_payload: int) -> Publisher:
    """Where the outbox delivers to; ``max_payload`` is what the nucleus carries, in bytes."""
    if keys.folder is not None:
        return FilesPublisher(keys.folder)
    return GreengrassPublisher(nucleus, largest_payload=max_payload)


def load_engine(bundle: Path, settings: Settings) -> Engine:
    """Load a bundle that the model component has verified and put into the store."""
    options = OnnxOptions(
        tuple(settings.providers),
        threads=settings.threads,
        max_instances=settings.max_instances,
        prompts_per_run=settings.prompts_per_run,
        cache=bundle.parents[1] / "engine-cache",  # the store's, which the model component's golden run filled
    )
    return OnnxEngine(model_files(bundle, read_manifest(bundle)), options)
