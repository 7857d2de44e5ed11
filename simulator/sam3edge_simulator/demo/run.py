"""Build, deploy, feed, receive: the demo from one end to the other."""

from __future__ import annotations

import shutil
import sys
import threading
import time
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

import sam3edge
from sam3edge.bundle.manifest import read_manifest
from sam3edge.images.files import IMAGE_SUFFIXES, is_image_name
from sam3edge.images.overlay import save_overlay
from sam3edge.subscriber.names import one_line
from sam3edge_pipeline.greengrass_build.build import NAMES, build_component
from sam3edge_serving.live_map.configuration import PageConfiguration
from sam3edge_serving.live_map.finished import PICTURES, FinishedFrame, write_finished_page
from sam3edge_serving.live_map.server import PageServer
from sam3edge_simulator.demo.display import Display
from sam3edge_simulator.demo.receiver import Received, Receiver
from sam3edge_simulator.deployment_document import ConfigurationUpdate, Deployment
from sam3edge_simulator.mqtt.broker import Broker
from sam3edge_simulator.nucleus import Nucleus
from sam3edge_simulator.profiles import CLASSIC, LITE
from sam3edge_simulator.states import State

THING = "laptop"

START_SECONDS = 120.0
FRAME_SECONDS = 60.0
"""How long the demo waits for the next frame's message before it gives up."""

HEARTBEAT_SECONDS = 5
"""Whoever looks at the page does not wait for half a minute."""

NAMED, MAX_SAID = 5, 1000
"""How many files are named, and how long anything is that is said."""

PAGE_SECONDS = 20.0
"""How long it waits for a browser that it has opened to listen, so that nothing is missed there."""

NOT_KEPT = ("/commands", "/ping")
"""Topics whose last message is nothing for a page that is opened later; of all others it is."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to show.

    Attributes:
        images: folder of images.
        prompts: what to look for; the bundle's whole vocabulary when empty.
        bundle: model bundle.
        out: folder for the device, overlays and GeoJSON; what an earlier demo left there is replaced.
        profile: ``classic`` or ``lite``.
        threshold: of every prompt.
        open_page: whether to open the live page in a browser, and to go on until Ctrl-C.
    """

    images: Path
    prompts: tuple[str, ...]
    bundle: Path
    out: Path
    profile: str = "classic"
    threshold: float = 0.5
    open_page: bool = False


def run_demo(options: Options, console: Console) -> bool:
    """Run the demo.

    Returns:
        Whether every frame's message arrived.
    """
    images = list_images(options.images)
    if not images:
        console.print(
            f"[red]no images in {_said(options.images)}[/]: expected files ending in "
            f"{', '.join(sorted(IMAGE_SUFFIXES))}"
        )
        return False
    manifest = read_manifest(options.bundle)
    prompts = options.prompts or tuple(manifest.vocabulary)
    out = options.out
    for name in ("device", "greengrass-build", "watched", "overlays", "geojson", PICTURES):
        shutil.rmtree(out / name, ignore_errors=True)
        (out / name).mkdir(parents=True)
    (out / "index.html").unlink(missing_ok=True)
    console.print(f"model [bold]{manifest.name} {manifest.version}[/], prompts: {_said(', '.join(prompts))}")
    build_component("model", out / "greengrass-build", manifest.version, "BUCKET_NAME", options.bundle)
    build_component("segmenter", out / "greengrass-build", sam3edge.__version__, "BUCKET_NAME")
    profile = {"classic": CLASSIC, "lite": LITE}[options.profile]
    page = PageServer()
    with (
        Broker(origins=page.origins, keeps=lambda topic: not topic.endswith(NOT_KEPT)) as broker,
        page.serving(_page_configuration(broker)),
        Nucleus(out / "device", broker_url=broker.url, profile=profile, thing_name=THING) as nucleus,
    ):
        display = Display(console, len(images))
        done = threading.Condition()

        def arrived(received: Received) -> None:
            display.add(received)
            with done:
                done.notify_all()

        receiver = Receiver(broker.url, THING, out / "geojson", arrived)
        try:
            if not receiver.wait_subscribed(10):
                console.print("[red]the embedded broker did not confirm the subscription[/]")
                return False
            with console.status(f"deploying to a {options.profile} nucleus on {broker.url}"):
                nucleus.deploy(_deployment(options, prompts, manifest.version))
                nucleus.wait(NAMES["segmenter"], State.RUNNING, START_SECONDS)
            console.print(
                f"device [bold]{THING}[/] runs {', '.join(f'{c.name} {c.version}' for c in nucleus.components)}"
            )
            console.print(f"live page {page.address}", highlight=False, soft_wrap=True)
            if options.open_page:
                _open(page, broker, console)
            names = [path.relative_to(options.images).as_posix() for path in images]
            with display:
                feed(images, options.images, out / "watched")
                complete = _wait(receiver, done, names)
            frames = {name: frame for name, frame in receiver.frames().items() if name in names}
            _draw(options, images, frames, prompts)
            _summary(console, receiver, frames, names, out)
            if options.open_page:
                _stay(console, out)
        finally:
            receiver.close()
        return complete


def _page_configuration(broker: Broker) -> PageConfiguration:
    """Everything is on this computer, so the page asks for a picture of every frame."""
    prefix = f"sam3edge/{THING}"
    return PageConfiguration(broker.websocket_url, prefixes=(prefix,), pictures=True, picture_seconds=0)


def _open(page: PageServer, broker: Broker, console: Console) -> None:
    """Open the page, and wait until it listens."""
    if not webbrowser.open(page.address):
        console.print("[yellow]no browser could be opened; open the live page yourself[/]")
    elif not broker.wait_subscribed(f"sam3edge/{THING}/snapshots", PAGE_SECONDS):
        console.print("[yellow]the browser does not listen yet; the demo begins without it[/]")


def _stay(console: Console, out: Path) -> None:
    """Keep the device and its page until Ctrl-C."""
    with suppress(KeyboardInterrupt):
        console.print(
            f"the device goes on: put images into {_said(out / 'watched')}, or send it commands from the page; Ctrl-C "
            "ends it",
            highlight=False,
            soft_wrap=True,
        )
        threading.Event().wait()


def _draw(options: Options, images: Sequence[Path], frames: dict[str, Received], labels: Sequence[str]) -> None:
    """The overlays, and the page of the finished demo."""
    out = options.out
    finished = []
    for image in images:
        name = image.relative_to(options.images).as_posix()
        frame = frames.get(name)
        if frame is None or not frame.complete:
            frame = Received(name, "", reason="its message has not come, or not all of it")
        finished.append(FinishedFrame(name, image, frame.features, frame.timing, frame.reason))
        if not frame.reason:
            save_overlay(image, out / "overlays" / f"{name}.png", frame.features, labels)
    used = [frame for frame in finished if not frame.reason]
    facts: dict[str, str | dict[str, str]] = {
        "looked for": ", ".join(labels),
        "objects": f"{sum(len(frame.features) for frame in used)} in {len(used)} of {len(images)} frames",
        "in this folder": {
            "overlays": "overlays",
            "GeoJSON as it was received": "geojson",
            "logs of the device": "device/logs",
        },
    }
    write_finished_page(out, "sam3edge: the last demo", facts, finished, labels)


def list_images(folder: Path) -> list[Path]:
    """Image files below a folder, in order."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and is_image_name(p))


def _deployment(options: Options, prompts: Sequence[str], model_version: str) -> Deployment:
    install = {"Interpreter": sys.executable}
    segmenter = {
        "Prompts": list(prompts),
        "Threshold": options.threshold,
        "HeartbeatSeconds": HEARTBEAT_SECONDS,
        "Source": {"Type": "folder", "Path": str((options.out / "watched").absolute()), "Recursive": True},
        "Install": install,
    }
    return Deployment(
        add={NAMES["model"]: model_version, NAMES["segmenter"]: sam3edge.__version__},
        configuration={
            NAMES["model"]: ConfigurationUpdate(merge={"Install": install}),
            NAMES["segmenter"]: ConfigurationUpdate(merge=segmenter),
        },
        recipes=options.out / "greengrass-build" / "recipes",
        artifacts=options.out / "greengrass-build" / "artifacts",
    )


def feed(images: Sequence[Path], root: Path, watched: Path) -> None:
    """Put the images into the watched folder as a camera's uploader would: written aside, then renamed."""
    for image in images:
        target = watched / image.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.part")
        shutil.copyfile(image, partial)
        partial.rename(target)


def _wait(receiver: Receiver, done: threading.Condition, names: Sequence[str]) -> bool:
    """Wait until every frame's message is there; False when nothing more comes."""
    arrived, deadline = 0, time.monotonic() + START_SECONDS
    with done:
        while True:
            frames = receiver.frames()
            complete = sum(1 for name in names if name in frames and frames[name].complete)
            if complete == len(names):
                return True
            if complete > arrived:
                arrived, deadline = complete, time.monotonic() + FRAME_SECONDS
            if time.monotonic() > deadline:
                return False
            done.wait(0.5)


def _summary(
    console: Console, receiver: Receiver, frames: dict[str, Received], names: Sequence[str], out: Path
) -> None:
    answered = [frame for frame in frames.values() if frame.complete]
    missing = [name for name in names if name not in frames or not frames[name].complete]
    found = sum(len(f.features) for f in answered)
    rejected = sum(1 for f in answered if f.reason)
    console.print(
        f"{len(answered)} of {len(names)} frames answered ({rejected} could not be used); objects found: {found}; "
        f"repetitions dropped by id: {receiver.repetitions}"
    )
    refused = {phrase: reason for f in answered for phrase, reason in f.unsupported_prompts.items()}
    for phrase, reason in refused.items():
        console.print(f"[yellow]the prompt {_said(phrase)!r} was not answered: {_said(reason)}[/]")
    for error in receiver.component_errors:
        console.print(f"[red]component error: {_said(error)}[/]")
    console.print(
        f"page      {_said(out / 'index.html')}\noverlays  {_said(out / 'overlays')}\n"
        f"GeoJSON   {_said(out / 'geojson')}\nlogs      {_said(out / 'device' / 'logs')}"
    )
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        console.print(
            f"[red]no message came of {_said(', '.join(missing[:NAMED]))}{more}[/]: a file that ends too early is "
            "taken for one that is still being written; the logs say why",
            soft_wrap=True,
        )


def _said(what: object) -> str:
    """Names, phrases and errors as they are: on one line, and never read as markup."""
    return escape(one_line(str(what), MAX_SAID))
