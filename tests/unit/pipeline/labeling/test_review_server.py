"""The review page's HTTP: what a reviewer does with it, and what others cannot."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sam3edge.core.ports import InteractiveSegmenter
from sam3edge.engines.fake import FakeInteractiveSegmenter
from sam3edge_pipeline.labeling.review.desk import ReviewDesk
from sam3edge_pipeline.labeling.review.queue import ReviewQueue
from sam3edge_pipeline.labeling.review.server import MAX_BODY_BYTES, ReviewServer
from support.reviews import queue, ticking


@dataclass(frozen=True)
class Response:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """A browser, more or less."""

    def __init__(self, server: ReviewServer) -> None:
        self.server = server
        self.base = server.address.removeprefix(f"http://127.0.0.1:{server.port}")

    def send(
        self, method: str, target: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Response:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        try:
            connection.request(method, target, body, headers or {})
            got = connection.getresponse()
            return Response(got.status, got.headers, got.read())
        finally:
            connection.close()

    def get(self, path: str = "", **headers: str) -> Response:
        return self.send("GET", self.base + path, headers=headers)

    def act(self, image: str, **body: Any) -> Response:
        data = json.dumps(body).encode()
        return self.send("POST", f"{self.base}items/{image}/actions", data, {"Content-Type": "application/json"})


def serve(reviewed: ReviewQueue, segmenter: InteractiveSegmenter | None) -> Iterator[Client]:
    server = ReviewServer(ReviewDesk(reviewed, "ann", segmenter, ticking()))
    server.start()
    try:
        yield Client(server)
    finally:
        server.close()


@pytest.fixture
def reviewed(tmp_path: Path) -> ReviewQueue:
    return queue(tmp_path, 2)


@pytest.fixture
def client(reviewed: ReviewQueue) -> Iterator[Client]:
    yield from serve(reviewed, FakeInteractiveSegmenter())


class TestReviewing:
    def test_one_image_after_the_other(self, client: Client, reviewed: ReviewQueue) -> None:
        for number in (0, 1):
            state = client.get("next").json
            assert state["progress"] == {"done": number, "total": 2}
            assert [one["verdict"] for one in state["objects"]] == ["open", "open"]
            image = state["id"]
            client.act(image, action="accept", object=0, revision=0)
            client.act(image, action="reject", object=1, revision=1)
            client.act(image, action="absent", phrase="blue", revision=2)
            done = client.act(image, action="done", revision=3)
            assert done.status == 200
            assert done.json["done"]
        last = {"id": image, "revision": 4}
        assert client.get("next").json == {"id": None, "progress": {"done": 2, "total": 2}, "previous": last}
        events = [event for _, _, said in reviewed.events() for event in said]
        assert sorted((e.phrase, len(e.objects), e.reviewer) for e in events) == [
            ("blue", 0, "ann"),
            ("blue", 0, "ann"),
            ("red", 1, "ann"),
            ("red", 1, "ann"),
        ]

    def test_an_image_that_was_done_can_be_taken_up_again(self, client: Client) -> None:
        image = client.get("next").json["id"]
        client.act(image, action="accept_all", revision=0)
        client.act(image, action="absent", phrase="blue", revision=1)
        client.act(image, action="done", revision=2)
        assert client.get("next").json["id"] != image
        client.act(image, action="undo", revision=3)
        assert client.get("next").json["id"] == image

    def test_images_before_are_known_after_a_restart_in_the_order_in_which_they_were_done(
        self, client: Client, reviewed: ReviewQueue
    ) -> None:
        first, second = reviewed.ids
        client.act(first, action="skip", revision=0)
        for image in (second, first):
            assert client.get("next").json["id"] == image
            client.act(image, action="accept_all", revision=0)
            client.act(image, action="absent", phrase="blue", revision=1)
            client.act(image, action="done", revision=2)
        for again in serve(reviewed, None):
            previous = again.get("next").json["previous"]
            assert previous == {"id": first, "revision": 3}
            assert again.act(first, action="undo", revision=3).json["previous"]["id"] == second

    def test_the_last_image_cannot_be_skipped(self, client: Client, reviewed: ReviewQueue) -> None:
        first, second = reviewed.ids
        client.act(first, action="accept_all", revision=0)
        client.act(first, action="absent", phrase="blue", revision=1)
        client.act(first, action="done", revision=2)
        refused = client.act(second, action="skip", revision=0)
        assert refused.status == 409
        assert "last image" in refused.json["error"]

    def test_as_many_actions_are_not_the_same_actions(self, client: Client, reviewed: ReviewQueue) -> None:
        image = client.get("next").json["id"]
        client.act(image, action="accept", object=0, revision=0)
        client.act(image, action="undo", revision=1)
        other = client.act(image, action="reject", object=0, revision=2).json
        refused = client.act(image, action="accept", object=1, revision=1)
        assert refused.status == 409
        assert client.act(image, action="accept", object=1, revision=other["revision"]).status == 200

    def test_clicks_outline_an_object_again(self, client: Client) -> None:
        state = client.get("next").json
        x = state["objects"][0]["outline"]["coordinates"][0]
        left = min(at[0] for at in x)
        corrected = client.act(
            state["id"], action="correct", object=1, revision=0, points=[[left + 30, 110, True], [5, 5, False]]
        ).json["objects"][1]
        xs, ys = zip(*corrected["outline"]["coordinates"][0], strict=True)
        assert (min(xs), min(ys), max(xs), max(ys)) == pytest.approx((left, 80, left + 60, 140), abs=1)
        assert corrected["verdict"] == "accepted"

    def test_a_missed_object_is_added_by_a_click(self, client: Client) -> None:
        state = client.get("next").json
        added = client.act(state["id"], action="add", phrase="blue", revision=0, points=[[5, 5, True]]).json
        assert added["objects"][2]["phrase"] == "blue"
        assert client.act(state["id"], action="undo", revision=1).json["objects"] == state["objects"]

    def test_the_image_has_the_pixels_that_coordinates_mean(self, client: Client) -> None:
        state = client.get("next").json
        got = client.get(f"images/{state['id']}")
        assert got.headers["Content-Type"] == "image/jpeg"
        pixels = cv2.imdecode(np.frombuffer(got.body, np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        assert pixels.shape == (state["height"], state["width"], 3)

    def test_what_cannot_be_done_is_said_and_changes_nothing(self, client: Client) -> None:
        before = client.get("next").json
        image = before["id"]
        for body, text in (
            ({"action": "done", "revision": 0}, "not decided yet"),
            ({"action": "accept", "object": 9, "revision": 0}, "expected an object"),
            ({"action": "accept", "object": 0, "revision": 7}, "another window"),
            ({"action": "undo", "revision": 0}, "nothing to undo"),
            ({"action": "add", "phrase": "green", "revision": 0, "points": [[5, 5, True]]}, "expected one of"),
            ({"action": "add", "phrase": "blue", "revision": 0}, "at least one click"),
            ({"action": "add", "phrase": "blue", "revision": 0, "points": [[999, 5, True]]}, "outside"),
            ({"action": "add", "phrase": "blue", "revision": 0, "points": [[5, 5, False]]}, "pointed at"),
        ):
            refused = client.act(image, **body)
            assert refused.status == 409, body
            assert text in refused.json["error"]
        assert client.get("next").json == before

    def test_without_a_segmenter_clicks_are_refused(self, reviewed: ReviewQueue) -> None:
        for client in serve(reviewed, None):
            image = client.get("next").json["id"]
            refused = client.act(image, action="correct", object=0, revision=0, points=[[5, 5, True]])
            assert refused.status == 409
            assert "cannot outline" in refused.json["error"]


class TestPage:
    def test_the_page_loads_nothing_from_elsewhere_and_has_no_code_inside(self, client: Client) -> None:
        page = client.get()
        assert page.status == 200
        text = page.body.decode()
        assert not re.search(r"https?:|//|<script>|<style|style=|\son\w+=", text)
        for name in re.findall(r'(?:src|href)="([^"]*)"', text):
            assert client.get(name).status == 200
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy

    def test_texts_are_never_markup(self, client: Client) -> None:
        assert "innerHTML" not in client.get("page.js").body.decode()


class TestAttacks:
    """What somebody without the address, another page in the same browser, or another user of the computer may try."""

    def test_it_listens_on_this_computer_only(self, client: Client) -> None:
        assert client.server._http.host == "127.0.0.1"
        assert len(client.base) > 30

    @pytest.mark.parametrize(
        "host", ["evil.example", "127.0.0.1", "evil.example:{port}", "", "127.0.0.1:{port}.evil.example"]
    )
    def test_other_hosts_are_refused_even_with_the_token(self, client: Client, host: str) -> None:
        assert client.get("next", Host=host.format(port=client.server.port)).status == 421

    @pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:{port}"])
    def test_other_origins_are_refused(self, client: Client, reviewed: ReviewQueue, origin: str) -> None:
        headers = {"Content-Type": "application/json", "Origin": origin.format(port=client.server.port)}
        target = f"{client.base}items/{reviewed.ids[0]}/actions"
        assert client.send("POST", target, b'{"action":"accept_all","revision":0}', headers).status == 403
        assert reviewed.actions(reviewed.ids[0]) == ()

    @pytest.mark.parametrize(
        "target", ["/", "/next", "/x/next", "//next", "*", "/{half}/next", "/{token}", "next", "/\u00e9/next"]
    )
    def test_nothing_is_there_without_the_token(self, client: Client, target: str) -> None:
        token = client.base.strip("/")
        target = target.format(half=token[: len(token) // 2], token=token)
        raw = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{client.server.port}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", client.server.port), 30) as connection:
            connection.sendall(raw)
            status = connection.makefile("rb").readline().split()[1]
        assert status in (b"404", b"400")

    @pytest.mark.parametrize(
        "path",
        [
            "images/../queue.json",
            "images/..%2f..%2fqueue.json",
            "images/",
            "images/{id}/",
            "images/{id}/../{id}",
            "../next",
            "server.py",
            "page.html",
            "images/" + "0" * 64,
            "images//etc/passwd",
        ],
    )
    def test_nothing_else_can_be_read(self, client: Client, reviewed: ReviewQueue, path: str) -> None:
        assert client.get(path.format(id=reviewed.ids[0])).status == 404

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
    def test_what_a_form_of_another_page_could_send_is_refused(
        self, client: Client, reviewed: ReviewQueue, kind: str
    ) -> None:
        target = f"{client.base}items/{reviewed.ids[0]}/actions"
        body = b'{"action":"accept_all","revision":0}'
        assert client.send("POST", target, body, {"Content-Type": kind} if kind else {}).status == 415

    @pytest.mark.parametrize(
        ("length", "status"),
        [
            (str(MAX_BODY_BYTES + 1), b"413"),
            ("9" * 30, b"413"),
            ("-1", b"411"),
            ("x", b"411"),
            ("", b"411"),
            ("\u00b2", b"411"),
        ],
    )
    def test_huge_bodies_are_refused_unread(
        self, client: Client, reviewed: ReviewQueue, length: str, status: bytes
    ) -> None:
        head = (
            f"POST {client.base}items/{reviewed.ids[0]}/actions HTTP/1.1\r\nHost: 127.0.0.1:{client.server.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", client.server.port), 30) as connection:
            connection.sendall(head.encode("latin-1"))
            assert connection.makefile("rb").readline().split()[1] == status

    def test_bodies_in_chunks_are_refused(self, client: Client, reviewed: ReviewQueue) -> None:
        headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked", "Content-Length": "2"}
        assert client.send("POST", f"{client.base}items/{reviewed.ids[0]}/actions", b"{}", headers).status == 411

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"action": "drop", "revision": 0},
            {"action": "accept", "object": "0", "revision": 0},
            {"action": "accept", "object": -1, "revision": 0},
            {"action": "accept", "object": 0, "revision": True},
            {"action": "accept", "object": 0, "revision": 0, "reviewer": "somebody else"},
            {"action": "accept", "object": 0, "revision": 0, "at": "2020-01-01T00:00:00Z"},
            {"action": "add", "phrase": ["red"], "revision": 0},
            {"action": "add", "phrase": "red", "revision": 0, "points": [[1, 1]]},
            {"action": "add", "phrase": "red", "revision": 0, "points": [[float("nan"), 1, True]]},
            {"action": "add", "phrase": "red", "revision": 0, "points": [[1, 1, True]] * 65},
        ],
    )
    def test_wrong_types_are_refused(self, client: Client, reviewed: ReviewQueue, body: dict[str, Any]) -> None:
        refused = client.act(reviewed.ids[0], **body)
        assert refused.status == 400
        assert reviewed.actions(reviewed.ids[0]) == ()

    @pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 10_000])
    def test_what_is_no_json_object_is_refused(self, client: Client, reviewed: ReviewQueue, body: bytes) -> None:
        target = f"{client.base}items/{reviewed.ids[0]}/actions"
        assert client.send("POST", target, body, {"Content-Type": "application/json"}).status == 400

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "HEAD"])
    def test_other_methods_are_refused(self, client: Client, method: str) -> None:
        assert client.send(method, client.base + "next").status == 501

    def test_a_connection_that_says_nothing_holds_nobody_up(self, client: Client) -> None:
        with socket.create_connection(("127.0.0.1", client.server.port), 30):
            assert client.get("next").status == 200

    def test_errors_and_responses_do_not_tell_the_token(self, client: Client) -> None:
        for response in (client.get("nothing"), client.get("next"), client.get()):
            assert client.base.strip("/").encode() not in response.body + bytes(str(response.headers), "latin-1")
