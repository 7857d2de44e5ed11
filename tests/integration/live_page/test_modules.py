"""The page's modules by themselves, in the browser that runs them: what they keep is right, and bounded."""

from __future__ import annotations

import base64
import itertools
import json
import random
import re
import struct
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import awscrt.auth
import awscrt.http
import cv2
import numpy as np
import pytest
import shapely

from sam3edge.core.errors import MessageRefused
from sam3edge.core.messages.detections import divide
from sam3edge.core.types import Message
from sam3edge.subscriber.reading import read_message
from sam3edge.subscriber.reassembly import MAX_PIECES, Reassembly
from support.browser import Browser
from support.live_messages import RING, Sender, detection, on_earth, square
from support.samples import wobbly

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("browser")]

TAKE = """
const { State } = await import("/js/state.js"), { LIMITS } = await import("/js/limits.js");
const [sent, changes = {}] = arguments, state = new State({ ...LIMITS, ...changes });
const given = sent.map(([topic, payload, now = Date.now(), retained = false]) => state.take(
  topic, Uint8Array.from(atob(payload), (one) => one.charCodeAt(0)), now, retained)?.kind ?? null);
"""

ROAD = shapely.Polygon([(0, 240), (640, 80), (640, 130), (0, 290)])
"""From the lower left to the upper right."""


def written(*messages: Message) -> list[list[str]]:
    return [[one.topic, base64.b64encode(one.payload).decode()] for one in messages]


def raw(topic: str, payload: bytes | str) -> list[str]:
    return [topic, base64.b64encode(payload if isinstance(payload, bytes) else payload.encode()).decode()]


def moved(message: Message, seconds: float) -> Message:
    """The same as if it had been made so much later."""
    body = json.loads(message.payload)
    time = datetime.fromisoformat(body["time"]) + timedelta(seconds=seconds)
    return replace(message, payload=json.dumps({**body, "time": time.isoformat()}).encode())


class TestParts:
    """Frames come together as in ``sam3edge.subscriber.reassembly``, message for message."""

    REASSEMBLE = """
    const { read } = await import("/js/messages.js"), { Reassembly, Recent } = await import("/js/reassembly.js");
    return arguments[0].map((sent) => {
      const reassembly = new Reassembly(), seen = new Recent(100);
      return sent.map(([topic, payload]) => {
        const message = read(topic, Uint8Array.from(atob(payload), (one) => one.charCodeAt(0)), Date.now());
        if (seen.has(message.id)) return null;
        seen.add(message.id);
        return reassembly.take(message, 0)?.flatMap((one) => one.objects.map((object) => object.score)) ?? null;
      });
    });
    """

    def orders(self) -> list[list[Message]]:
        """Parts, pieces, pieces of pieces, and the whole after some of them, in many orders and with repetitions."""
        device, shuffle = Sender(), random.Random(3)
        found = [detection(wobbly(40, 20, 30 + 3 * i), score=0.9 - i / 100) for i in range(12)]
        parts = device.detections(*found, frame=device.frame("parts"), max_bytes=4000)
        [whole] = device.detections(*found, frame=device.frame("pieces"))
        halves = divide(whole, len(whole.payload) * 2 // 3)
        unequal = [halves[0], *divide(halves[1], len(halves[1].payload) * 2 // 3)]
        thirds = divide(whole, len(whole.payload) // 3)
        assert len(parts) >= 3
        assert len({json.loads(one.payload)["part"]["pieces"] for one in unequal}) == 2
        sets = [parts, [whole], unequal, [halves[0], whole, halves[1]], [thirds[0], *halves, *thirds[1:]]]
        cases = [list(order) for kind in sets for order in itertools.islice(itertools.permutations(kind), 40)]
        return cases + [shuffle.sample([*case, *case], 2 * len(case)) for case in cases[::3]]

    def test_each_frame_comes_once_when_nothing_of_it_is_missing(self, modules: Browser) -> None:
        cases = self.orders()
        wanted = []
        for case in cases:
            reassembly = Reassembly()
            frames = [reassembly.take(json.loads(message.payload)) for message in case]
            wanted.append(
                [None if one is None else [f["properties"]["score"] for f in one["features"]] for one in frames]
            )
        assert modules.settled(self.REASSEMBLE, [written(*case) for case in cases]) == wanted
        assert sum(frame is not None for case in wanted for frame in case) == len(cases)

    def test_frames_that_never_become_whole_make_room(self, modules: Browser) -> None:
        first = [
            Sender().detections(*(detection(wobbly(40, 20, 30 + 3 * i)) for i in range(12)), max_bytes=4000)[0]
            for _ in range(20)
        ]
        kept = modules.settled(
            """
            const { read } = await import("/js/messages.js"), { Reassembly } = await import("/js/reassembly.js");
            const few = new Reassembly({ frames: 3 }), small = new Reassembly({ bytes: 9000 });
            for (const [topic, payload] of arguments[0]) {
              const message = read(topic, Uint8Array.from(atob(payload), (one) => one.charCodeAt(0)), Date.now());
              few.take(message, 0); small.take(message, 0);
            }
            return [few.waiting, few.dropped, small.bytes, small.waiting + small.dropped];
            """,
            written(*first),
        )
        assert kept[:2] == [3, 17]
        assert 0 < kept[2] <= 9000
        assert kept[3] == 20

    def test_frames_of_one_device_do_not_take_the_room_of_others(self, modules: Browser) -> None:
        whole = modules.settled(
            """
            const { Reassembly } = await import("/js/reassembly.js");
            const message = (device, id, index) => ({
              prefix: "p", device, source: "s", frame: { id }, bytes: 1000,
              part: { index, count: 2, piece: 0, pieces: 1 },
            });
            return [{ frames: 10 }, { bytes: 10_000 }].map((bounds) => {
              const reassembly = new Reassembly(bounds);
              reassembly.take(message("line-7", "a", 0), 0);
              for (let number = 0; number < 100; number++) reassembly.take(message("evil", `${number}`, 0), 0);
              return [reassembly.take(message("line-7", "a", 1), 0)?.length, reassembly.dropped];
            });
            """
        )
        assert whole == [[2, 91], [2, 91]]

    def test_pieces_of_a_part_are_bounded_as_the_listener_bounds_them(self, modules: Browser) -> None:
        taken, more, whole = modules.settled(
            """
            const { Reassembly } = await import("/js/reassembly.js"), reassembly = new Reassembly();
            const message = (piece, pieces) => ({
              prefix: "p", device: "d", source: "s", frame: { id: "f" }, bytes: 1,
              part: { index: 0, count: 1, piece, pieces },
            });
            const take = (...part) => {
              try { return reassembly.take(message(...part), 0)?.length ?? null; } catch ({ name, message }) {
                return `${name}: ${message}`;
              }
            };
            const taken = Array.from({ length: arguments[0] }, (_, piece) => take(piece, 9999));
            return [taken, take(arguments[0], 9999), take(0, 1)];
            """,
            MAX_PIECES,
        )
        assert taken == [None] * MAX_PIECES
        assert more == f"Error: a part in more than {MAX_PIECES} pieces"
        assert whole == 1  # the whole takes their place

    def test_parts_that_do_not_come_within_a_minute_are_said(self, modules: Browser) -> None:
        """Of what the broker has retained there is the last part alone, of every frame."""
        device, now = Sender(), 1_800_000_000_000
        found = [detection(wobbly(40, 20, 30 + 3 * i)) for i in range(12)]
        first, second, *rest = written(*device.detections(*found, max_bytes=4000))
        said = """
        const { problems } = await import("/js/problems.js");
        const config = { broker: "wss://b.example", signIn: "none", prefixes: [] };
        const connection = { phase: "connected", since: 0, denied: [] };
        return arguments[2].map((at) => problems(config, connection, state, new Map(), at).map(([key]) => key).join());
        """
        times = [now + 1000 * seconds for seconds in (59, 61, 89, 91)]
        ask = f"{TAKE} {said}"
        assert modules.settled(ask, [[*first, now]], {}, times) == ["", "incomplete", "incomplete", "incomplete"]
        later = [[*first, now], [*second, now + 30_000]]
        assert modules.settled(ask, later, {}, times) == ["", "", "", "incomplete"]
        assert modules.settled(ask, [*later, *([*one, now + 90_000] for one in rest)], {}, times) == [""] * 4
        assert modules.settled(ask, [[*first, now, True]], {}, times) == [""] * 4

    def test_pieces_that_cannot_be_of_one_part_cost_nothing_else(self, modules: Browser) -> None:
        """Pieces of a thousandth, a 1009th, a 1013th ...: their sum would need ever more digits."""
        device = Sender()
        body = json.loads(device.detections(detection(RING))[0].payload)
        primes = [n for n in range(1000, 3000) if all(n % d for d in range(2, 60))]
        sent = [
            raw(f"{device.prefix}/detections",
                json.dumps({**body, "id": f"piece {n}", "part": {"index": 0, "count": 1, "piece": 0, "pieces": n}}))
            for n in reversed(primes)
        ]  # fmt: skip
        after = written(*device.detections(detection(RING)))
        state = modules.settled(f"{TAKE} return [given.at(-1), state.refused];", [*sent, *after])
        assert state[0] == "detections"
        assert 0 < state[1] < len(primes)


class TestSeries:
    def test_seconds_hold_means_and_the_ring_forgets(self, modules: Browser) -> None:
        table = modules.settled(
            """
            const { Series } = await import("/js/series.js"), series = new Series(10, 2);
            const add = (second, counts) => series.add(1000 * second, new Map(Object.entries(counts)));
            add(100, { car: 3 }); add(100.9, { car: 1, tree: 2 }); add(102, { ship: 4, bird: 1 });
            add(101, { car: 7 }); add(90, { car: 99 });
            const before = series.table();
            add(109.5, {}); add(111, { car: 5 });
            return [before, series.table(), series.table(2), series.table(5, 113), series.table(9, 120)];
            """
        )
        car, tree, others = (
            {"label": "car", "values": [2, 7, 0]},
            {"label": "tree", "values": [1, 0, 0]},
            {"label": "others", "values": [0, 0, 5]},
        )
        assert table[0] == {"times": [100, 101, 102], "series": [car, tree, others]}
        assert table[1]["times"] == [102, 109, 111]
        assert table[1]["series"][0] == {"label": "car", "values": [0, 0, 5]}
        assert table[2]["times"] == [111]
        assert table[3]["times"] == [109, 111]
        assert table[4] == {"times": [], "series": []}

    def test_labels_that_are_looked_for_now_have_lines_of_their_own(self, modules: Browser) -> None:
        """Whatever was looked for before; of more than there is room for, those of which there is most."""
        before, after = modules.settled(
            """
            const { Series } = await import("/js/series.js"), series = new Series(3600, 5, 3);
            const add = (second, labels) => series.add(1000 * second, new Map(labels.map((one, at) => [one, at + 1])));
            const shown = (span) => series.table(span).series.map(({ label, values }) => [label, Math.max(...values)]);
            for (let second = 0; second < 100; second++) add(second, ["a", "b", "c", "d", "e", "f"]);
            const before = shown(600);
            for (let second = 100; second < 300; second++) add(second, ["g", "h", "i", "j"]);
            return [before, shown(100)];
            """
        )
        assert before == [["c", 3], ["d", 4], ["e", 5], ["others", 9]]
        assert after == [["h", 2], ["i", 3], ["j", 4], ["others", 1]]

    def test_a_pause_is_no_line(self, modules: Browser) -> None:
        tables = modules.settled(
            """
            const { Series } = await import("/js/series.js");
            return arguments[0].map((seconds) => {
              const series = new Series();
              for (const second of seconds) series.add(1000 * second, new Map([["car", 1]]));
              const { times, series: [{ values }] } = series.table();
              return times.filter((_, at) => values[at] === null);
            });
            """,
            [[100, 101, 102, 142, 143], [100, 160, 220, 280, 600, 660], [100], [100, 101, 102, 111]],
        )
        assert tables == [[103], [281], [], []]


class TestColors:
    def test_they_are_told_apart(self, modules: Browser) -> None:
        """By their distance in CIELAB, of those of one chart and of three times as many labels."""
        pixels = modules.settled(
            """
            const { Palette } = await import("/js/colors.js"), { OTHERS } = await import("/js/series.js");
            const labels = Array.from({ length: 24 }, (_, number) => `label ${number}`), palette = new Palette();
            const context = new OffscreenCanvas(1, 1).getContext("2d");
            const seen = (color) => {
              context.fillStyle = color;
              context.fillRect(0, 0, 1, 1);
              return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
            };
            return [labels.map((one) => palette.colorOf(one)),
              ...[true, false].map((dark) => [...labels, OTHERS].map((one) => palette.inkOf(one, dark)))]
              .map((colors) => colors.map(seen));
            """
        )
        for colors in pixels:
            lab = cv2.cvtColor(np.array([colors], np.float32) / 255, cv2.COLOR_RGB2LAB)[0]
            apart = np.linalg.norm(lab[:, None] - lab[None], axis=2) + 1000 * np.eye(len(lab))
            chart = [*range(8), *range(24, len(colors))]
            assert apart[np.ix_(chart, chart)].min() > 30
            assert apart.min() > 15


class TestTimes:
    def test_another_day_is_said(self, modules: Browser) -> None:
        said = modules.settled(
            """
            const { when } = await import("/js/words.js");
            const now = new Date(2026, 4, 17, 0, 5).getTime();
            return [now, now - 60_000, now - 600_000, now - 86_400_000 * 300].map((at) => when(at, now));
            """
        )
        assert [re.findall(r"20\d\d", one) for one in said] == [[], [], ["2026"], ["2025"]]
        assert "16" in said[2].split(",")[0]


class TestLateness:
    """Messages that come ever later are said; nothing else looks like them."""

    RATE = 2  # messages a second

    def grown(self, modules: Browser, sent: list[tuple[float, float]]) -> list[float]:
        """Of messages, by when they were sent and when they came, seconds: by how much they are late, after each."""
        return list(
            modules.settled(
                """
                const { Lateness } = await import("/js/lateness.js"), lateness = new Lateness();
                return arguments[0].map(([sent, came]) => {
                  lateness.take(1000 * sent, 1000 * came);
                  return lateness.grown(1000 * came) / 1000;
                });
                """,
                sent,
            )
        )

    def line(self, seconds: float, share: float, clock: float = 0.0) -> list[tuple[float, float]]:
        """What is sent in so many seconds, of which a share is passed on in the same time; by a clock that is wrong."""
        times = [number / self.RATE for number in range(int(seconds * self.RATE))]
        return [(one + clock, max(one, one / share)) for one in times]

    @pytest.mark.parametrize("clock", [0, -86_400, 3600])
    def test_more_messages_than_the_broker_passes_on(self, modules: Browser, clock: float) -> None:
        grown = self.grown(modules, self.line(120, 0.5, clock))
        assert grown[0] == 0
        assert grown[-1] == pytest.approx(120, abs=25)
        assert any(self.grown(modules, self.line(300, 0.9, clock)))

    @pytest.mark.parametrize("clock", [0, -86_400, 3600])
    def test_what_comes_in_time_is_not_late(self, modules: Browser, clock: float) -> None:
        assert not any(self.grown(modules, self.line(300, 1.0, clock)))

    def test_an_outage_that_is_caught_up_on_is_not_that(self, modules: Browser) -> None:
        """Ten minutes without a network; then what has waited comes five times as fast as it was made."""
        sent = self.line(1200, 1.0)
        came, free = [], 0.0
        for at, _ in sent:
            free = max(at, free + 1 / self.RATE / 5) if at < 300 else max(at, 900.0, free + 1 / self.RATE / 5)
            came.append((at, free))
        assert max(late - at for at, late in came) == 600
        assert not any(self.grown(modules, came))

    def test_a_clock_that_is_set_is_not_that(self, modules: Browser) -> None:
        sent = [(at - (3600 if at > 100 else 0), came) for at, came in self.line(300, 1.0)]
        assert not any(self.grown(modules, sent))

    def test_it_is_over_when_messages_come_in_time_again(self, modules: Browser) -> None:
        late = self.line(120, 0.5)
        after = [(240 + number / self.RATE, 240 + number / self.RATE) for number in range(60)]
        grown = self.grown(modules, [*late, *after])
        assert grown[len(late) - 1] > 60
        assert grown[-1] == 0

    def test_it_is_said_with_what_helps(self, modules: Browser) -> None:
        device, now = Sender(), 1_800_000_000_000
        body = json.loads(device.heartbeat().payload)
        sent = []
        for second in range(0, 120, 5):
            time = datetime.fromtimestamp(now / 1000 + second / 2, timezone.utc).isoformat()
            beat = json.dumps({**body, "id": f"{second}", "time": time})
            sent.append([*raw(f"{device.prefix}/status", beat), now + 1000 * second])
        ask = f"""{TAKE}
        const {{ problems }} = await import("/js/problems.js");
        const config = {{ broker: "wss://b.example", signIn: "none", prefixes: [] }};
        const connection = {{ phase: "connected", since: 0, denied: [] }};
        return problems(config, connection, state, new Map(), {now} + 116_000);"""
        [[key, text]] = modules.settled(ask, sent)
        assert key == "late"
        assert "line-7 come ever later" in text
        assert "Your broker" in text
        assert modules.settled(ask, [[*one[:3], True] for one in sent]) == []


class TestSigning:
    def test_the_address_is_what_awss_own_library_signs(self, modules: Browser) -> None:
        host, now = "abc123-ats.iot.eu-central-1.amazonaws.com", datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
        secret, token = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "IQoJb3JpZ2luX2VjE+/Token=="
        address = modules.settled(
            """
            const { signedAddress } = await import("/js/aws.js");
            const [broker, region, accessKeyId, secretAccessKey, sessionToken, now] = arguments;
            return signedAddress(broker, region, { accessKeyId, secretAccessKey, sessionToken }, new Date(now));
            """,
            f"wss://{host}/mqtt", "eu-central-1", "AKIDEXAMPLE", secret, token, now.isoformat(),
        )  # fmt: skip
        provider = awscrt.auth.AwsCredentialsProvider.new_static("AKIDEXAMPLE", secret, token)
        configuration = awscrt.auth.AwsSigningConfig(
            algorithm=awscrt.auth.AwsSigningAlgorithm.V4,
            signature_type=awscrt.auth.AwsSignatureType.HTTP_REQUEST_QUERY_PARAMS,
            credentials_provider=provider,
            region="eu-central-1",
            service="iotdevicegateway",
            date=now,
            omit_session_token=True,
        )
        request = awscrt.http.HttpRequest("GET", "/mqtt", awscrt.http.HttpHeaders([("host", host)]))
        signed = awscrt.auth.aws_sign_request(request, configuration).result(30)
        assert address.startswith(f"wss://{host}/mqtt?")
        assert sorted(address.partition("?")[2].split("&")) == sorted(signed.path.partition("?")[2].split("&"))


class TestWhatIsKept:
    def test_the_last_frame_is_the_last_in_the_devices_time_and_repetitions_are_dropped(self, modules: Browser) -> None:
        device = Sender()
        [message] = device.detections(detection(RING, "old"), frame=device.frame("old"))
        [old] = written(moved(message, -30))
        [new] = written(*device.detections(detection(RING, "new"), frame=device.frame("new")))
        look = "state.cameras.map((one) => [one.frame.name, one.series.table().series])"
        kept = modules.settled(f"{TAKE} return [state.repetitions, {look}];", [new, old, new, old])
        assert kept[0] == 2
        [[name, series]] = kept[1]
        assert name == "new"
        assert sorted(one["label"] for one in series) == ["new", "old"]

    def test_a_picture_goes_with_its_own_frame_whichever_comes_first(self, modules: Browser) -> None:
        device = Sender()
        frames = [device.frame(f"frame-{number}") for number in range(3)]
        said = [device.detections(detection(RING), frame=frame)[0] for frame in frames]
        look = f"{TAKE} const [camera] = state.cameras; return [camera.frame.name, camera.pictured?.name ?? null];"
        first = [device.snapshot(frames[1]), *said]
        late = [*said, device.snapshot(frames[1])]
        other = [*said, device.snapshot(device.frame("another"))]
        assert modules.settled(look, written(*first)) == ["frame-2", "frame-1"]
        assert modules.settled(look, written(*late)) == ["frame-2", "frame-1"]
        assert modules.settled(look, written(*other)) == ["frame-2", None]

    def test_all_of_it_is_bounded_whatever_comes(self, modules: Browser) -> None:
        """Devices, cameras, frames, pictures, parts, errors and ids without end."""
        limits = {
            "devices": 5, "cameras": 7, "keptVertices": 600, "pictureBytes": 4000, "trailFrames": 6,
            "trailVertices": 300, "rows": 9, "refusals": 3, "rememberedIds": 50,
        }  # fmt: skip
        sent: list[list[str]] = []
        for number in range(60):
            device = Sender(f"device-{number % 13}", f"camera-{number % 4}")
            frame = device.frame()
            sent += written(
                device.heartbeat(),
                *device.detections(detection(wobbly(80, 30), place=on_earth(square(1, 1))), frame=frame),
                device.snapshot(frame),
                device.error("broken"),
                device.event("new", "car", []),
                device.detections(*(detection(wobbly(40, 20 + i)) for i in range(12)), max_bytes=4000)[0],
            )
            sent.append(raw(f"nobody/{number}/status", "{}"))
        sizes, evicted, refused = modules.settled(
            f"{TAKE} return [state.sizes, state.evicted, state.refused];",
            sent, limits,
        )  # fmt: skip
        assert evicted > 0
        assert refused == 60
        assert sizes["devices"] == 5
        assert sizes["cameras"] <= 7
        assert 0 < sizes["vertices"] <= 600
        assert 0 < sizes["pictureBytes"] <= 4000
        assert 0 < sizes["trail"] <= 6
        assert sizes["trailVertices"] <= 300
        assert sizes["rows"] == 18
        assert sizes["refusals"] == 3
        assert sizes["seen"] == 50

    def test_a_device_of_many_cameras_costs_the_others_none(self, modules: Browser) -> None:
        flood = [Sender("evil", f"camera-{number}") for number in range(40)]
        sent = [one.detections(detection(RING))[0] for one in [Sender("line-7"), *flood, Sender("line-8")]]
        counts = [flood[0].counts(car=1)]
        kept, evicted = modules.settled(
            f"""{TAKE} return [Object.fromEntries([...state.devices.values()].map(({{ id, cameras }}) =>
              [id, [...cameras.keys()]])), state.evicted];""",
            written(*sent, *counts),
            {"cameras": 19},
        )
        assert kept["line-7"] == kept["line-8"] == ["camera"]
        assert kept["evil"] == [*(f"camera-{number}" for number in range(25, 40)), "camera-0"]
        assert evicted == 25

    def test_what_happened_is_never_later_than_now(self, modules: Browser) -> None:
        device, now = Sender(), 1_800_000_000_000
        sent = []
        for message in (device.event("new", "car", []), *device.detections(detection(RING))):
            body = json.loads(message.payload)
            times = {"event_time": "9999-12-31T23:59:59Z", "time": "9999-12-31T23:59:59Z"}
            frame = {**body["frame"], "captured_at": "9999-12-31T23:59:59Z"}
            sent.append([*raw(message.topic, json.dumps({**body, **times, "frame": frame})), now])
        times = modules.settled(f"{TAKE} return [state.events[0].at, state.cameras[0].frame.capturedAt];", sent)
        assert times == [now, now]


NOT_OURS = {
    "no JSON": b"<img src=x onerror=alert(1)>",
    "not UTF-8": b"\xff\xfe\x00",
    "not an object": b"[]",
    "null": b"null",
    "nothing": b"",
    "only an envelope": b'{"id": "1", "device": "d", "time": "2026-01-01T00:00:00Z"}',
    "deep": b"[" * 400_000,
    "a megabyte": b'{"id": "' + b"x" * 1_000_000 + b'"}',
    "a long id": b'{"id": "' + b"x" * 1000 + b'", "device": "d", "time": "2026-01-01T00:00:00Z"}',
    "no time": b'{"id": "1", "device": "d", "time": "soon"}',
}


class TestHostile:
    """Whoever may publish may publish anything."""

    @pytest.mark.parametrize("name", ["detections", "events", "errors", "status", "status/model", "snapshots",
                                      "commands/response", "status/uploader", "availability"])  # fmt: skip
    def test_what_is_not_ours_is_refused_and_counted(self, modules: Browser, name: str) -> None:
        sent = [raw(f"sam3edge/line-7/{name}", payload) for payload in NOT_OURS.values()]
        given, refused, devices = modules.settled(f"{TAKE} return [given, state.refused, state.devices.size];", sent)
        assert given == [None] * len(sent)
        assert (refused, devices) == (len(sent), 0)

    def changed(self, change: Any) -> list[str]:
        [message] = Sender().detections(detection(RING, place=on_earth(RING)))
        body = json.loads(message.payload)
        change(body, body["features"][0])
        return raw(message.topic, json.dumps(body, separators=(",", ":")))

    @pytest.mark.parametrize(
        "change",
        [
            lambda body, _: body["frame"].update(width=0),
            lambda body, _: body["frame"].update(width=1e12),
            lambda body, _: body["frame"].update(height="640"),
            lambda body, _: body["part"].update(count=10**9),
            lambda body, _: body["part"].update(index=-1),
            lambda body, _: body["part"].update(piece=3, pieces=2),
            lambda body, _: body.update(features={}),
            lambda body, _: body.update(device=["line-7"]),
            lambda body, _: body.update(source={"toString": 1}),
            lambda body, _: body.update(schema_version="2.0"),
            lambda body, _: body.update(schema_version=1.0),
            lambda body, _: body.pop("schema_version"),
        ],
    )
    def test_a_frame_that_makes_no_sense_is_refused(self, modules: Browser, change: Any) -> None:
        given = modules.settled(f"{TAKE} return [given, state.refused];", [self.changed(change)])
        assert given == [[None], 1]

    @pytest.mark.parametrize(
        "change",
        [
            lambda _, one: one["properties"]["imageGeometry"].update(coordinates=[[[float("inf"), 0], [1, 1], [0, 1]]]),
            lambda _, one: one["properties"]["imageGeometry"].update(coordinates=[[[1e300, 0], [1, 1], [0, 1]]]),
            lambda _, one: one["properties"]["imageGeometry"].update(coordinates=[[["0", 0], [1, 1], [0, 1]]]),
            lambda _, one: one["properties"]["imageGeometry"].update(coordinates=[]),
            lambda _, one: one["properties"]["imageGeometry"].update(coordinates=[[[[0, 0]]]]),
            lambda _, one: one["properties"]["imageGeometry"].update(coordinates=[[]]),
            lambda _, one: one["properties"]["imageGeometry"].update(coordinates=[[[0, 0], [1, 1]]]),
            lambda _, one: one["properties"]["imageGeometry"].update(type="MultiPolygon", coordinates=[]),
            lambda _, one: one["properties"]["imageGeometry"].update(type="GeometryCollection"),
            lambda _, one: one["properties"].update(score=float("nan")),
            lambda _, one: one["properties"].update(score=2),
            lambda _, one: one["properties"].update(label=7),
            lambda _, one: one.update(properties=None),
        ],
    )
    def test_an_object_that_makes_no_sense_is_left_out_and_counted(self, modules: Browser, change: Any) -> None:
        sent = self.changed(change)
        sent[1] = base64.b64encode(
            base64.b64decode(sent[1]).replace(b"NaN", b"1e999").replace(b"Infinity", b"1e999")
        ).decode()
        [frame] = modules.settled(
            f"{TAKE} return state.cameras.map(({{ frame }}) => [frame.objects.length, frame.omitted]);", [sent]
        )
        assert frame == [0, 1]

    @pytest.mark.parametrize(
        "geometry",
        [
            {"coordinates": [[[400, 0], [1, 1], [0, 1], [400, 0]]]},
            {"type": "MultiPolygon", "coordinates": []},
            {"type": "MultiPolygon", "coordinates": [[]]},
            {"type": "Polygon", "coordinates": [[]]},
            {"type": "Polygon", "coordinates": [[[8, 47], [8, 47]]]},
        ],
        ids=str,
    )
    def test_a_place_that_is_not_on_earth_is_left_out_alone(self, modules: Browser, geometry: dict[str, Any]) -> None:
        sent = self.changed(lambda _, one: one["geometry"].update(geometry))
        [frame] = modules.settled(
            f"{TAKE} return state.cameras.map(({{ frame }}) => frame.objects.map((one) => one.place));", [sent]
        )
        assert frame == [None]

    def test_hundreds_of_thousands_of_features_are_cut(self, modules: Browser) -> None:
        many = self.changed(lambda body, one: body.update(features=[one, *[{}] * 170_000]))
        vertices = self.changed(lambda body, one: one["properties"]["imageGeometry"].update(
            coordinates=[[[i % 9, i % 7] for i in range(60_000)]]))  # fmt: skip
        look = "state.cameras.map(({ frame }) => [frame.objects.length, frame.omitted])"
        assert modules.settled(f"{TAKE} return {look};", [many]) == [[1, 170_000]]
        assert modules.settled(f"{TAKE} return {look};", [vertices]) == [[0, 1]]

    def test_names_of_javascript_are_names(self, modules: Browser) -> None:
        sent = []
        for name in ("__proto__", "constructor", "toString", "hasOwnProperty"):
            device = Sender(name, name)
            sent += written(device.heartbeat(), *device.detections(detection(RING, name, zones=[name])))
        names, series, clean = modules.settled(
            f"""{TAKE}
            return [[...state.devices.values()].map((one) => one.name),
              state.cameras.map((one) => one.series.table().series[0].label),
              Object.keys(Object.prototype).length === 0 && {{}}.polluted === undefined];""",
            sent,
        )
        assert names == series == ["__proto__", "constructor", "toString", "hasOwnProperty"]
        assert clean

    def test_what_is_not_a_jpeg_is_not_shown(self, modules: Browser) -> None:
        device = Sender()
        body = json.loads(device.snapshot(device.frame()).payload)
        svg = base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>").decode()
        sent = [
            raw(f"{device.prefix}/snapshots", json.dumps({**body, "id": str(number), **change}))
            for number, change in enumerate(
                [{"image": svg}, {"media_type": "image/svg+xml"}, {"image": "!!"}, {"image": None}]
            )
        ]
        assert modules.settled(f"{TAKE} return [given, state.refused];", sent) == [[None] * 4, 4]

    def test_a_device_cannot_be_called_as_another_one_looks(self, modules: Browser) -> None:
        shown = {
            "line-7": "line-7", "Straße 7": "Straße 7", "line-7\u200b": "line-7␣U+200B",
            "\u202eline-7": "␣U+202Eline-7", "line\0-7": "line␣U+0000-7", "line-7 ": "line-7␣U+0020",
            "line  7": "line␣U+0020 7", "line\u00a07": "line␣U+00A07", "line\ufe0f-7": "line␣U+FE0F-7",
            "line-7\u2800": "line-7␣U+2800", "line\ue000-7": "line␣U+E000-7", "line-7\U000e0041": "line-7␣U+E0041",
            "line-7␣U+200B": "line-7␣U+2423U+200B",
        }  # fmt: skip
        sent = [written(Sender(name).heartbeat())[0] for name in shown]
        sent.append(raw("sam3edge/line-7\u200b/errors", "{}"))
        names, refused = modules.settled(
            f"{TAKE} return [[...state.devices.values()].map((one) => one.name), [...state.refusals.keys()]];", sent
        )
        assert names == list(shown.values())
        assert refused == ["sam3edge/line-7␣U+200B/errors"]

    def test_a_device_below_the_topics_of_another_is_refused(self, modules: Browser) -> None:
        """As ``sam3edge.subscriber.reading`` does."""
        device = Sender()
        true = written(device.heartbeat(), *device.detections(detection(RING)), device.error("e"))
        false = [[topic.replace("line-7", "evil"), payload] for topic, payload in true]
        given, topics = modules.settled(f"{TAKE} return [given, [...state.refusals.keys()]];", [*false, *true])
        assert given == [None, None, None, "status", "detections", "errors"]
        assert topics == ["sam3edge/evil/status", "sam3edge/evil/detections", "sam3edge/evil/errors"]
        for topic, payload in [*true, *false]:
            if topic in topics:
                with pytest.raises(MessageRefused, match="whose topic it is"):
                    read_message(topic, base64.b64decode(payload))
            else:
                read_message(topic, base64.b64decode(payload))

    def test_elsewhere_who_is_not_called_as_its_topics_is_seen_everywhere(self, modules: Browser) -> None:
        device = Sender()
        sent = written(*device.detections(detection(RING)), device.error("e"), device.event("end", "car", []))
        yard = [[topic.replace("sam3edge/line-7", "yard/north"), payload] for topic, payload in sent]
        names = modules.settled(
            f"{TAKE} return [...state.cameras.map((one) => one.device.name), state.errors[0].device,"
            " state.events[0].device];",
            yard,
        )
        assert names == ["line-7 (yard/north)"] * 3

    @pytest.mark.parametrize(
        ("width", "height", "kind"),
        [
            (16_000, 16_000, None), (65_535, 1, "snapshots"), (2048, 2048, "snapshots"), (2049, 2048, None),
            (0, 480, None), (640, 0, None), (640, 480, "snapshots"),
        ],
    )  # fmt: skip
    def test_a_jpeg_of_too_many_pixels_is_refused_by_its_header(
        self, modules: Browser, width: int, height: int, kind: str | None
    ) -> None:
        device = Sender()
        for before in (b"", b"\xff\xe1\x00\x0b\xff\xc0\x00\x11\x08\0\1\0\1", b"\xff\xff\xff"):
            message = device.snapshot(device.frame())
            body = json.loads(message.payload)
            jpeg = base64.b64decode(body["image"])
            at = jpeg.index(b"\xff\xc0")
            large = jpeg[:at] + before + jpeg[at : at + 5] + struct.pack(">HH", height, width) + jpeg[at + 9 :]
            sent = raw(message.topic, json.dumps({**body, "image": base64.b64encode(large).decode()}))
            assert modules.settled(f"{TAKE} return given;", [sent]) == [kind]

    def test_devices_and_cameras_stand_in_one_order(self, modules: Browser) -> None:
        order = modules.settled(
            """
            const { byName, byPlace } = await import("/js/order.js");
            const { Device, Camera } = await import("/js/device.js");
            const devices = ["line-10", "line-2", "Ärger", "line-1", "zoo"].map((one) => new Device(`p/${one}`, one));
            const cameras = devices.flatMap((one) => ["c10", "c9"].map((source) => new Camera(one, source)));
            return [devices.sort(byName).map((one) => one.name),
              cameras.sort(byPlace).map((one) => `${one.device.name} ${one.source}`)];
            """
        )
        assert order[0] == ["Ärger", "line-1", "line-2", "line-10", "zoo"]
        assert order[1] == [f"{name} {source}" for name in order[0] for source in ("c9", "c10")]

    def test_texts_are_cut_and_shown_without_what_turns_them_around(self, modules: Browser) -> None:
        device = Sender()
        label = "\u202eevil\u0000" + "x" * 5000
        [message] = device.detections(detection(RING))
        body = json.loads(message.payload)
        body["features"][0]["properties"]["label"] = label
        [shown] = modules.settled(f"{TAKE} return state.cameras.map(({{ frame }}) => frame.objects[0].label);",
                                  [raw(message.topic, json.dumps(body))])  # fmt: skip
        assert shown.startswith(" evil xxx")
        assert len(shown) == 200


class TestPresence:
    NOW = 1_800_000_000_000

    def words(self, modules: Browser, sent: list[list[Any]], seconds: list[float], then: str = "") -> list[str]:
        return [word for word, _ in self.presence(modules, sent, seconds, then)]

    def reasons(self, modules: Browser, sent: list[list[Any]], seconds: list[float], then: str = "") -> list[str]:
        return [why for _, why in self.presence(modules, sent, seconds, then)]

    def presence(
        self, modules: Browser, sent: list[list[Any]], seconds: list[float], then: str
    ) -> list[tuple[str, str]]:
        ask = "const { presence } = await import('/js/device.js'); const [device] = state.devices.values();"
        found = modules.settled(
            f"""{TAKE} const message = (at) => {{
              const body = {{ ...JSON.parse(atob(sent[0][1])), id: "another" }};
              return [sent[0][0], new TextEncoder().encode(JSON.stringify(body)), at];
            }};
            {then} {ask}
            return arguments[2].map((after) => presence(device, {self.NOW} + 1000 * after, state.deafSince))
              .map(({{ word, why }}) => [word, why]);""",
            sent, {}, seconds,
        )  # fmt: skip
        return [(word, why) for word, why in found]

    def at(self, message: Message, retained: bool = False, seconds: float = 0) -> list[Any]:
        return [*written(message)[0], self.NOW + 1000 * seconds, retained]

    def test_a_device_is_offline_after_three_of_its_own_intervals(self, modules: Browser) -> None:
        quick, slow = Sender().heartbeat(interval=2), Sender().heartbeat(interval=600)
        assert self.words(modules, [self.at(quick)], [1, 5.9, 6.1]) == ["online", "online", "offline"]
        assert self.words(modules, [self.at(slow)], [1, 1799, 1801]) == ["online", "online", "offline"]

    def test_whatever_comes_from_it_is_a_sign_of_life(self, modules: Browser) -> None:
        device = Sender()
        sent = [self.at(device.heartbeat(interval=2)), self.at(*device.detections(), seconds=5)]  # type: ignore[misc]
        assert self.words(modules, sent, [10, 12]) == ["online", "offline"]

    def test_what_was_retained_is_as_old_as_it_says(self, modules: Browser) -> None:
        """Written in the past by this clock, so however fresh the connection is, the device is not there."""
        assert self.words(modules, [self.at(Sender().heartbeat(interval=2), retained=True)], [0]) == ["offline"]

    def test_its_last_will_is_believed_until_it_is_heard_again(self, modules: Browser) -> None:
        device = Sender()
        beat = self.at(device.heartbeat(interval=60))
        will = [*raw(f"{device.prefix}/availability", "offline"), self.NOW + 5000, False]
        back = self.at(device.heartbeat(interval=60), seconds=9)
        online = [*raw(f"{device.prefix}/availability", "online"), self.NOW + 5000, True]
        assert self.words(modules, [beat, will], [6]) == ["offline"]
        assert self.words(modules, [beat, will, back], [10]) == ["online"]
        assert self.words(modules, [will], [6]) == ["offline"]
        assert self.words(modules, [beat, online], [6]) == ["online"]

    def test_who_is_expected_is_who_comes_by_whatever_name(self, modules: Browser) -> None:
        """With a ``TopicPrefix`` of its own, a device is not called as its topics are."""
        [message] = written(Sender().heartbeat())
        own, will = [message[0].replace("sam3edge/line-7", "yard/north"), message[1]], "yard/north/availability"
        look = "[...state.devices.values()].map((one) => [one.name, one.prefix, one.available])"
        expecting = TAKE.replace("const given", "state.expect('yard/north'); const given")
        for sent in ([raw(will, "online"), own], [own, raw(will, "online")]):
            assert modules.settled(f"{expecting} return {look};", sent) == [["line-7 (yard/north)", "yard/north", True]]
        assert modules.settled(f"{expecting} return {look};", []) == [["north", "yard/north", None]]

    def test_what_it_says_of_itself(self, modules: Browser) -> None:
        said = [
            self.words(modules, [self.at(Sender().heartbeat(state))], [1])[0]
            for state in ("running", "waiting for a model", "stopping", "restarting")
        ]  # type: ignore[arg-type]
        assert said == ["online", "waiting", "stopped", "restarting"]

    def test_a_state_that_is_not_known_is_a_word(self, modules: Browser) -> None:
        for state in ("constructor", "__proto__", "toString", "hibernating"):
            sent = [self.at(Sender().heartbeat(state))]  # type: ignore[arg-type]
            assert self.words(modules, sent, [1]) == ["online"]
            assert self.reasons(modules, sent, [1]) == [f"it says that it is {state}"]

    def test_who_is_known_by_what_is_retained_alone_has_no_heartbeat(self, modules: Browser) -> None:
        frame = self.at(*Sender().detections(), retained=True)  # type: ignore[misc]
        assert self.words(modules, [frame], [1]) == ["unknown"]
        assert self.reasons(modules, [frame], [1]) == ["no heartbeat has come yet"]
        expecting = "state.expect('sam3edge/line-7');"
        assert self.reasons(modules, [], [1], expecting) == ["nothing has come from it yet"]

    def test_without_a_connection_nobody_knows_and_that_time_counts_against_nobody(self, modules: Browser) -> None:
        beats = [self.at(Sender().heartbeat(interval=2))]
        lost = f"state.deafen({self.NOW} + 1000); state.deafen({self.NOW} + 9000);"
        assert self.words(modules, beats, [1, 99], lost) == ["unknown", "unknown"]
        assert "no connection to the broker since" in self.reasons(modules, beats, [99], lost)[0]
        back = f"{lost} state.listen({self.NOW} + 101_000); state.listen({self.NOW} + 105_000);"
        assert self.words(modules, beats, [102, 105.9, 106.1], back) == ["online", "online", "offline"]
        again = f"{back} state.take(...message({self.NOW} + 200_000));"
        assert self.words(modules, beats, [205.9, 206.1], again) == ["online", "offline"]
        will = [*raw("sam3edge/line-7/availability", "offline"), self.NOW + 500, False]
        assert self.words(modules, [*beats, will], [102], back) == ["offline"]

    def test_a_clock_that_was_set_back_is_believed_after_a_minute(self, modules: Browser) -> None:
        """What is late by three hours within a minute is late; after that, it is the device's clock."""
        device, hours = Sender(), -3 * 3600
        [frame] = device.detections(detection(RING, "before"), frame=device.frame("before"))
        [soon] = device.detections(detection(RING, "soon"), frame=device.frame("soon"))
        [later] = device.detections(detection(RING, "later"), frame=device.frame("later"))
        beats = [device.heartbeat(), device.heartbeat("stopping"), device.heartbeat("waiting for a model", model=None)]
        counts = [device.counts(car=number) for number in (1, 2, 3)]
        now = [self.at(moved(one, 0)) for one in (frame, beats[0], counts[0])]
        within = [self.at(moved(one, hours), seconds=59) for one in (soon, beats[1], counts[1])]
        after = [self.at(moved(one, hours), seconds=61) for one in (later, beats[2], counts[2])]
        look = """state.cameras.map((one) => [one.frame.name, one.device.status.state, one.counts.objects[0].current,
          one.series.table().series.map(({ label }) => label)])"""
        [[*seen, _]] = modules.settled(f"{TAKE} return {look};", [*now, *within])
        assert seen == ["before", "running", 1]
        [seen] = modules.settled(f"{TAKE} return {look};", [*now, *within, *after])
        assert seen == ["later", "waiting for a model", 3, ["later"]]

    def test_who_sends_frames_has_a_model_whatever_it_said_before(self, modules: Browser) -> None:
        device = Sender()
        beat, [frame], end = device.heartbeat("waiting for a model"), device.detections(), device.heartbeat("stopping")
        frame, end = moved(frame, 1), moved(end, 2)
        assert self.words(modules, [self.at(beat), self.at(frame)], [1]) == ["online"]
        assert self.words(modules, [self.at(beat), self.at(frame), self.at(end)], [1]) == ["stopped"]
        assert self.words(modules, [self.at(end), self.at(frame)], [1]) == ["stopped"]


class TestCommands:
    SEND = """
    const { Commands } = await import("/js/commands.js"), { Device } = await import("/js/device.js");
    const sent = [], told = [], device = new Device("sam3edge/line-7", "line-7");
    const of = { prefix: "sam3edge/line-7", device: "line-7" };
    const publish = (topic, text) => { sent.push([topic, JSON.parse(text)]); return Promise.resolve(); };
    const commands = new Commands(publish, (entry) => { if (entry) told.push(entry.state); });
    """

    def test_responses_are_matched_by_id_and_those_of_others_are_nothing(self, modules: Browser) -> None:
        sent, states = modules.settled(
            f"""{self.SEND}
            const one = commands.send(device, "set_threshold", {{ threshold: 0.4 }}, 0);
            const two = commands.send(device, "snapshot", {{}}, 0);
            commands.answered({{ ...of, command: "somebody else's", status: "SUCCEEDED", reason: "" }});
            commands.answered({{ ...of, command: two.id, status: "REJECTED", reason: "no room" }});
            commands.answered({{ ...of, command: one.id, status: "SUCCEEDED", reason: "" }});
            return [sent, commands.list.map(({{ name, state, text }}) => [name, state, text])];"""
        )
        assert [topic for topic, _ in sent] == ["sam3edge/line-7/commands"] * 2
        assert sent[0][1]["command"] == "set_threshold"
        assert sent[0][1]["arguments"] == {"threshold": 0.4}
        assert sent[0][1]["id"] != sent[1][1]["id"]
        assert states == [["snapshot", "REJECTED", "no room"], ["set_threshold", "SUCCEEDED", ""]]

    def test_nobody_answers_for_another_device(self, modules: Browser) -> None:
        states = modules.settled(
            f"""{self.SEND}
            const one = commands.send(device, "snapshot", {{}}, 0), states = [];
            for (const other of [{{ prefix: "sam3edge/intruder" }}, {{ device: "intruder" }}, {{}}]) {{
              commands.answered({{ ...of, ...other, command: one.id, status: "SUCCEEDED", reason: "" }});
              states.push(one.state);
            }}
            return states;"""
        )
        assert states == ["sent", "sent", "SUCCEEDED"]

    def test_no_response_in_time_is_said_and_a_late_one_counts(self, modules: Browser) -> None:
        states = modules.settled(
            f"""{self.SEND}
            const one = commands.send(device, "snapshot", {{}}, 0), states = [];
            for (const now of [29_000, 31_000, 99_000]) {{ commands.tick(now); states.push(one.state); }}
            commands.answered({{ ...of, command: one.id, status: "SUCCEEDED", reason: "" }});
            return [...states, one.state, told];"""
        )
        assert states == ["sent", "no response", "no response", "SUCCEEDED", ["no response", "SUCCEEDED"]]

    def test_what_could_not_be_published_is_said(self, modules: Browser) -> None:
        state = modules.settled(
            """
            const { Commands } = await import("/js/commands.js");
            const commands = new Commands(() => Promise.reject(new Error("there is no connection")), () => {});
            const one = commands.send({ key: "k", name: "d", prefix: "p" }, "snapshot", {});
            await new Promise((resolve) => setTimeout(resolve));
            return [one.state, one.text];
            """
        )
        assert state == ["not confirmed", "there is no connection"]

    def test_the_list_is_bounded(self, modules: Browser) -> None:
        count = modules.settled(
            f"{self.SEND} for (let i = 0; i < 80; i++) commands.send(device, 'snapshot', {{}}, i);"
            "return [commands.list.length, commands.list[0].at];"
        )
        assert count == [50, 79]


class TestPictures:
    ASK = """
    const { Pictures } = await import("/js/pictures.js");
    const sent = [], publish = (topic, text) => { sent.push([topic, JSON.parse(text).id]); return Promise.resolve(); };
    const pictures = new Pictures(arguments[0], publish);
    const [one, two] = ["1", "2"].map((key) => ({ key, prefix: `p/${key}` }));
    """

    def test_one_at_a_time_from_each_device_and_not_sooner_than_asked_for(self, modules: Browser) -> None:
        counts = modules.settled(
            f"""{self.ASK}
            const counts = [], tick = (devices, now) => {{ pictures.tick(devices, now); counts.push(sent.length); }};
            tick([one, two], 0);
            for (const device of [one, two]) pictures.answered(device, sent[device.key - 1][1], true, 100);
            tick([one, two], 60_000);
            pictures.arrived(one, sent[0][1], 61_000);
            tick([one, two], 70_000); tick([one, two], 72_000);
            pictures.answered(two, sent[1][1], false, 72_000);
            tick([two], 100_000); tick([two], 133_000); tick([], 140_000);
            return counts;""",
            10,
        )
        assert counts == [2, 2, 2, 3, 3, 4, 4]

    def test_a_command_that_was_not_answered_is_sent_again_as_the_same_one(self, modules: Browser) -> None:
        """A device that was not listening yet."""
        ids = modules.settled(
            f"""{self.ASK}
            for (const now of [0, 4000, 6000]) pictures.tick([one], now);
            pictures.answered(one, sent[1][1], true, 7000);
            for (const now of [20_000, 90_000]) pictures.tick([one], now);
            return sent.map(([, id]) => id);""",
            0,
        )
        assert len(ids) == 2
        assert ids[0] == ids[1]

    def test_none_where_the_operator_said_nothing(self, modules: Browser) -> None:
        assert modules.settled(f"{self.ASK} pictures.tick([one, two], 1e12); return sent;", None) == []


class TestProblems:
    ASK = """
    const { problems } = await import("/js/problems.js"), { State } = await import("/js/state.js");
    const [config, connection, messages, now, failures = {}] = arguments, state = new State();
    state.messages = messages;
    const configured = { broker: "wss://b.example", signIn: "none", prefixes: ["sam3edge/+"], ...config };
    const connected = { phase: "connected", since: 0, denied: [], reason: "", retryAt: null, ...connection };
    return problems(configured, connected, state, new Map(Object.entries(failures)), now);
    """

    @pytest.mark.parametrize(
        ("config", "connection", "messages", "now", "said"),
        [
            ({}, {}, 0, 80_000, []),
            ({}, {}, 0, 100_000, ["quiet"]),
            ({}, {}, 1, 100_000, []),
            ({}, {"denied": ["sam3edge/+/snapshots"]}, 1, 0, ["rights"]),
            ({}, {"phase": "waiting", "reason": "unreachable", "retryAt": 5000}, 0, 0, ["connection"]),
            ({}, {"phase": "waiting", "reason": "closed at once", "retryAt": 5000}, 0, 0, ["connection"]),
            ({}, {"phase": "refused", "reason": "not authorized"}, 0, 0, ["connection"]),
            ({"broker": "ws://b.example:9001", "signIn": "password"}, {}, 1, 0, ["plain"]),
            ({"broker": "ws://127.0.0.1:9001", "signIn": "password"}, {}, 1, 0, []),
            ({"broker": "ws://127.0.0.1.evil.example", "signIn": "password"}, {}, 1, 0, ["plain"]),
        ],
    )
    def test_what_is_wrong_is_said(
        self, modules: Browser, config: Any, connection: Any, messages: int, now: int, said: list[str]
    ) -> None:
        assert [key for key, _ in modules.settled(self.ASK, config, connection, messages, now)] == said

    @pytest.mark.parametrize(
        ("sign_in", "for_who_it_is", "words"),
        [
            ("password", True, "Sign in again: the broker refuses it."),
            ("authorizer", True, "Sign in again: the broker refuses it."),
            ("none", True, "start it again with --sign-in password"),
            ("none", False, "There is no connection: the broker refuses it."),
            ("password", False, "There is no connection: the broker refuses it."),
        ],
    )
    def test_who_is_refused_is_told_to_do_what_this_page_can(
        self, modules: Browser, sign_in: str, for_who_it_is: bool, words: str
    ) -> None:
        refused = {"phase": "refused", "reason": "the broker refuses it", "forWhoItIs": for_who_it_is}
        [[_, said]] = modules.settled(self.ASK, {"signIn": sign_in}, refused, 1, 0)
        assert words in said

    def test_what_was_wrong_with_single_messages_is_said_for_some_minutes(self, modules: Browser) -> None:
        """The last refusal, an eviction, a picture that was spoilt, parts that did not come, a part that failed."""
        device, now, minute = Sender(), 1_800_000_000_000, 60_000
        frame = device.frame()
        found = [detection(wobbly(40, 20, 30 + 3 * i)) for i in range(12)]
        sent = written(
            *Sender("other").detections(), *device.detections(detection(RING), frame=frame), device.snapshot(frame),
            device.detections(*found, max_bytes=4000)[0],
        )  # fmt: skip
        said = modules.settled(
            f"""{TAKE}
            const {{ problems }} = await import("/js/problems.js"), now = arguments[2];
            const [camera] = state.cameras;
            state.spoil(camera, camera.picture, now);
            const config = {{ broker: "wss://b.example", signIn: "none", prefixes: [] }};
            const connection = {{ phase: "connected", since: 0, denied: [] }};
            const failures = new Map([["map", {{ reason: "no such place", at: now }}]]);
            return arguments[3].map((at) => problems(config, connection, state, failures, at).map(([key]) => key));""",
            [[*one, now] for one in [*sent, raw("sam3edge/x/status", "{}")]], {"cameras": 1}, now,
            [now + 2 * minute, now + 4.9 * minute, now + 5.1 * minute],
        )  # fmt: skip
        assert said == [["refused", "evicted", "spoilt", "incomplete", "failure of map"]] * 2 + [[]]

    def test_a_part_that_could_not_be_drawn_is_said(self, modules: Browser) -> None:
        [[key, text]] = modules.settled(self.ASK, {}, {}, 1, 0, {"map": {"reason": "no such place", "at": 0}})
        assert key == "failure of map"
        assert "failed: map" in text
        assert "no such place" in text


class TestNames:
    def test_an_outline_reaches_as_far_up_as_it_does(self, modules: Browser) -> None:
        """Against Shapely, between any two columns; steep, vertical and horizontal edges too."""
        draw = random.Random(5)
        outlines = [wobbly(40, 20, 30), *(square(100, 50 + i) for i in range(3)), ROAD, ROAD.reverse()]
        asked = []
        for outline in outlines:
            low, top, high, bottom = outline.bounds
            for _ in range(20):
                left = draw.uniform(low - 5, high)
                right = draw.choice([left, draw.uniform(max(left, low), high + 30)])
                part = shapely.clip_by_rect(outline.boundary, left, top - 1, max(right, left + 1e-9), bottom + 1)
                wanted = None if part.is_empty else part.bounds[1]
                asked.append((list(outline.exterior.coords), left, right, wanted))
        reached = modules.settled(
            """const { topWithin } = await import("/js/geometry.js");
            return arguments[0].map(([ring, left, right]) => topWithin([[ring.flat()]], left, right));""",
            [one[:3] for one in asked],
        )
        for (_, _, _, wanted), got in zip(asked, reached, strict=True):
            assert got == (wanted if wanted is None else pytest.approx(wanted, abs=1e-6))

    def test_the_name_of_a_slanted_object_stays_at_it(self, modules: Browser) -> None:
        """The upper left corner of its box may be far from it, on another object."""
        [message] = Sender().detections(detection(ROAD, "road", 0.97))
        [[name]] = modules.settled(
            f"""{TAKE}
            const {{ namesOf }} = await import("/js/names.js");
            return state.cameras.map(({{ frame }}) => namesOf(frame, {{ width: 640, height: 480 }}));""",
            written(message),
        )
        below = shapely.box(name["x"], name["y"], name["x"] + name["long"], name["y"] + name["size"])
        assert name["words"] == "road 0.97"
        assert below.intersects(ROAD)
        assert name["y"] > 200
