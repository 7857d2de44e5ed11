"""The parts of ``sam3edge listen``, put together."""

from __future__ import annotations

import logging
import math
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

from rich.markup import escape

from sam3edge.cli.listen import CLIENT, STATE
from sam3edge.core.errors import SettingsError, SubscriptionError, VectorFileError
from sam3edge.durable import write_file
from sam3edge.subscriber import iot_core
from sam3edge.subscriber.bridges.bridge import Bridge, Translator
from sam3edge.subscriber.bridges.frigate import Frigate
from sam3edge.subscriber.bridges.home_assistant import HomeAssistant
from sam3edge.subscriber.bridges.presence import Presence
from sam3edge.subscriber.broker_url import NO_FILES, Broker, TlsFiles
from sam3edge.subscriber.complaints import Complaints
from sam3edge.subscriber.connection import Arrived, Connection, Outgoing
from sam3edge.subscriber.geojson_server import GeoJsonServer, is_loopback, parse_address
from sam3edge.subscriber.journal import DiskJournal, NoJournal
from sam3edge.subscriber.listener import Listener, Sink
from sam3edge.subscriber.names import identifier, is_topic_level, one_line
from sam3edge.subscriber.reading import MAX_COMPLAINT, TOPIC_OF, DeviceMessage
from sam3edge.subscriber.sinks.geojson_files import GeoJsonFiles
from sam3edge.subscriber.sinks.geopackages import GeoPackages, WriteGeoPackage
from sam3edge.subscriber.sinks.last_frames import LastFrames
from sam3edge.subscriber.sinks.ndjson import NdjsonFile, NdjsonPipe
from sam3edge.subscriber.sinks.overlays import Overlays
from sam3edge.terminal import say

logger = logging.getLogger(__name__)

STDOUT = Path("-")
HOME_ASSISTANT_STATES = "sam3edge-home-assistant"
MEGABYTE = 1_000_000
MAX_TEXT = 65_535
"""Bytes of a text in MQTT, https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/os/mqtt-v3.1.1-os.html#_Toc398718016."""

MAX_CLIENT = MAX_PREFIX = 128
"""Characters. AWS IoT Core takes so many in a client's name, and 256 in a topic."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to do with messages; see the command's help. Nothing at all means lines on standard output.

    Attributes:
        given: names of the command's options that were typed.
    """

    prefix: str
    client: str
    state: Path | None
    topics: tuple[str, ...]
    ndjson: Path | None
    ndjson_megabytes: float
    ndjson_files: int
    geojson: Path | None
    geopackage: Path | None
    overlays: Path | None
    images: Path | None
    serve: str
    origins: tuple[str, ...]
    hosts: tuple[str, ...]
    home_assistant: bool
    discovery_prefix: str
    offline_seconds: float
    frigate: bool
    frigate_prefix: str
    given: frozenset[str] = frozenset()

    @property
    def lines(self) -> Path | None:
        """Where lines go; None for nowhere."""
        others = self.geojson, self.geopackage, self.overlays, self.serve, self.home_assistant, self.frigate
        return self.ndjson or (None if any(others) else STDOUT)

    @property
    def ndjson_bytes(self) -> int:
        """At which the file is rotated; 0 for never."""
        return round(self.ndjson_megabytes * MEGABYTE) if math.isfinite(self.ndjson_megabytes) else 0

    @property
    def state_folder(self) -> Path | None:
        """For what must outlive a restart; None where nothing must."""
        files = self.geojson, self.geopackage, self.overlays, self.lines not in (None, STDOUT)
        return self.state or (Path(STATE) if any((*files, self.home_assistant, self.frigate)) else None)


def broker(
    address: str, tls: TlsFiles = NO_FILES, password_file: Path | None = None, *, signed: bool = False
) -> Broker:
    """What is connected to.

    Raises:
        SettingsError: something of it is wrong.
    """
    url = iot_core.broker_url(address)
    if password_file is not None:
        if not url.username:
            raise SettingsError("--password-file: expected a user in the broker's address, as in mqtts://user@host")
        try:
            url = replace(url, password=password_file.read_text("utf-8").rstrip("\r\n"))
        except (OSError, ValueError) as error:
            raise SettingsError(f"{password_file} cannot be read as text: {type(error).__name__}") from error
        if len(url.password.encode()) > MAX_TEXT:
            raise SettingsError(f"expected a password of at most {MAX_TEXT} bytes in {password_file}, got more")
    if tls.key is not None and tls.certificate is None:
        raise SettingsError("--key: expected the --certificate that it belongs to, too")
    if tls != NO_FILES and not url.tls:
        raise SettingsError(f"expected mqtts:// or wss:// where there are files of certificates, got {url}")
    found = Broker(url, tls, iot_core.signed_path(url) if signed else None)
    if url.tls:
        found.tls_context()
    return found


def listen(source: Broker, target: Broker, options: Options) -> None:
    """Until Ctrl-C.

    Args:
        target: where bridges publish.

    Raises:
        SettingsError: an option is wrong.
        SubscriptionError: it cannot go on.
        BrokenPipeError: nobody reads standard output any more.
    """
    _check(options)
    state = options.state_folder
    with ExitStack() as closing:
        places = list(_places(options, closing))  # where one is refused, nothing was made yet
        journal = DiskJournal(state / "journal.db") if state else NoJournal()
        closing.callback(journal.close)  # after the sinks: it says whose their files are
        client = options.client or _own_name(state)
        sinks: list[Sink] = []
        for sink in chain(places, _bridges(target, client, options)):
            closing.callback(sink.close)
            sinks.append(sink)
        listener = Listener(partial(_connect, source, client, state is not None), options.prefix, journal, sinks)
        kept = f"; what comes meanwhile is kept for {client}" if state else "; what comes meanwhile is not kept"
        say(escape(f"listening to {source.url}{kept}"))
        try:
            listener.run()
        finally:
            done = listener.statistics
            say(f"{done.whole} messages written, {done.repeated} repetitions dropped, {done.refused} messages refused")
            if done.incomplete:
                say(f"{done.incomplete} frames are incomplete: parts of them have not come")
            if done.left_out:
                say(f"{done.left_out} messages left out where they could not be written; the log says which and where")


def _own_name(state: Path | None) -> str:
    """By the name of another listener it would end that one's session, and take what is kept for it. With a session of
    its own that outlives the process, it has the same name at every start."""
    drawn = f"{CLIENT}-{secrets.token_hex(4)}"
    if state is None:
        return drawn
    file = state / "client"
    try:
        if not file.exists():
            write_file(file, drawn.encode())
        name = file.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise SettingsError(f"the name of this client in {file} cannot be read or written: {error}") from error
    if not name or len(name) > MAX_CLIENT or not name.isprintable():
        raise SettingsError(f"expected the name of this client in {file}; name it by --client")
    return name


def _check(options: Options) -> None:
    known = set(TOPIC_OF.values())
    if unknown := set(options.topics) - known:
        raise SettingsError(f"--topic: expected {', '.join(sorted(known))}, got {', '.join(sorted(unknown))}")
    if (options.overlays is None) != (options.images is None):
        raise SettingsError("expected --overlays and --images together: a folder to draw into, and the frames' images")
    for option, effective, needed in _idle(options):
        if option in options.given and not effective:
            raise SettingsError(f"--{option.replace('_', '-')} has no effect; expected {needed}, too")
    if not math.isfinite(options.offline_seconds):
        raise SettingsError("--offline-after: expected a number of seconds")
    if not (options.ndjson_megabytes == 0 or options.ndjson_bytes > 0):
        raise SettingsError(f"--ndjson-megabytes: expected 0, or at least {1 / MEGABYTE:f}")
    if len(options.client) > MAX_CLIENT or not options.client.isprintable():
        raise SettingsError(f"--client: expected at most {MAX_CLIENT} characters that can be printed")
    _check_levels("--prefix", options.prefix, "+")
    _check_levels("--discovery-prefix", options.discovery_prefix)
    _check_levels("--frigate-prefix", options.frigate_prefix)


def _idle(options: Options) -> Iterator[tuple[str, object, str]]:
    """Options that others give a meaning to: whether those are there, and which they are."""
    for option in ("ndjson_megabytes", "ndjson_files"):
        yield option, options.lines not in (None, STDOUT), "--ndjson FILE"
    yield "topic", options.lines, "--ndjson"
    for option in ("allow_origin", "allow_host"):
        yield option, options.serve, "--serve"
    yield "bridge_to", options.home_assistant or options.frigate, "--home-assistant or --frigate-topics"
    for option in ("discovery_prefix", "offline_after"):
        yield option, options.home_assistant, "--home-assistant"
    yield "frigate_prefix", options.frigate, "--frigate-topics"


def _check_levels(option: str, prefix: str, wildcard: str = "") -> None:
    levels = prefix.split("/")
    if len(prefix) > MAX_PREFIX or not all(is_topic_level(level) or level == wildcard != "" for level in levels):
        rule = f"{wildcard} stands for any one level, # is not allowed" if wildcard else "+ and # are not allowed"
        rule = f"{rule}; at most {MAX_PREFIX} characters"
        raise SettingsError(f"{option}: expected levels of topics as in a/b ({rule}), got {prefix!r:.80}")


def _places(options: Options, closing: ExitStack) -> Iterator[Sink]:
    if options.geojson is not None:
        yield GeoJsonFiles(options.geojson)
    if options.overlays is not None and options.images is not None:
        yield Overlays(options.overlays, options.images)
    if options.serve:
        yield _last_frames(options, closing)
    if options.lines == STDOUT:
        yield NdjsonPipe(sys.stdout.buffer, options.topics)
    elif options.lines is not None:
        yield NdjsonFile(options.lines, options.topics, options.ndjson_bytes, options.ndjson_files)
    if options.geopackage is not None:
        yield GeoPackages(options.geopackage, _write_geopackage())


def _bridges(target: Broker, client: str, options: Options) -> Iterator[Bridge]:
    if options.home_assistant:
        states = f"{HOME_ASSISTANT_STATES}/{identifier(client)}"
        translator = HomeAssistant(states, options.discovery_prefix, Presence(options.offline_seconds))
        yield _bridge(translator, target, f"{client}-home-assistant")
    if options.frigate:
        yield _bridge(Frigate(options.frigate_prefix), target, f"{client}-frigate")


def _write_geopackage() -> WriteGeoPackage:
    """Raises SettingsError where the extra is not installed."""
    try:
        from sam3edge.vector.files import FeatureWriter
        from sam3edge.vector.rows import FeatureRefused, features_of
    except ImportError as error:
        raise SettingsError('--geopackage: expected the extra vector: pip install "sam3edge[vector]"') from error

    complaints = Complaints(logger)

    def write(path: Path, messages: Iterable[DeviceMessage]) -> None:
        try:
            with FeatureWriter(path) as writer:
                for feature in (feature for message in messages for feature in features_of(message)):
                    try:
                        writer.write([feature])
                    except (FeatureRefused, ArithmeticError, LookupError, TypeError, ValueError) as refused:
                        complaints.say("left out of %s: %s", path.name, one_line(str(refused), MAX_COMPLAINT))
        except VectorFileError as error:
            raise SubscriptionError(str(error)) from error

    return write


def _last_frames(options: Options, closing: ExitStack) -> LastFrames:
    last = LastFrames(options.state_folder / "last-frames" if options.state_folder else None)
    server = GeoJsonServer(options.serve, last.document, options.origins, options.hosts)
    closing.callback(server.close)
    say(escape(f"the last state is at {server.url}"))
    if not is_loopback(parse_address(options.serve)[0]):
        say("[bold yellow]other computers can read it[/]")
    return last


def _bridge(translator: Translator, target: Broker, client: str) -> Bridge:
    def connect(topics: Mapping[str, int], take: Callable[[Arrived], None], will: Outgoing) -> Connection:
        return Connection(target, client, topics, take, durable=False, will=will)

    return Bridge(translator, connect)


def _connect(
    source: Broker, client: str, durable: bool, topics: Mapping[str, int], take: Callable[[Arrived], None]
) -> Connection:
    return Connection(source, client, topics, take, durable=durable)
