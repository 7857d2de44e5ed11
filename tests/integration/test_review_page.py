"""The review page in a browser: what a labeler sees and does with it, and that it is what the labels say afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import shapely
from selenium.webdriver.common.keys import Keys

from sam3edge_pipeline.labeling.review.queue import ReviewQueue
from sam3edge_pipeline.labeling.review.server import ReviewServer
from support.browser import Browser
from support.review_page import IMAGE, Gated, ReviewPage, inside, iou, outlines, review, same, serving, verdicts
from support.reviews import objects_of, scene, scene_queue, scratch_of
from support.waiting import until

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("browser")]  # one Chromium is enough for two cores

SEED, OTHER_SEED = 6, 18


@pytest.fixture
def reviewed(tmp_path: Path) -> ReviewQueue:
    return scene_queue(tmp_path, SEED)


@pytest.fixture
def server(reviewed: ReviewQueue) -> Iterator[ReviewServer]:
    with serving(reviewed) as running:
        yield running


@pytest.fixture
def page(server: ReviewServer, browser: Browser) -> ReviewPage:
    return ReviewPage(browser, server.address)


class TestReviewing:
    def test_the_labels_are_what_was_shown(self, tmp_path: Path, browser: Browser) -> None:
        queue, shown = scene_queue(tmp_path, SEED, OTHER_SEED), {}
        with serving(queue) as server:
            page = ReviewPage(browser, server.address)
            for number in (0, 1):
                assert page.text("progress") == f"{number} of 2 done"
                seed = page.seed
                shown[f"<i>line</i>/scene-{seed}.png"] = seed, review(page)
            assert browser.evaluate("!document.querySelector('#end').hidden")
            assert page.text("progress") == "2 of 2 done"
        for record, _, events in ReviewQueue(tmp_path / "queue").events():
            seed, drawn = shown.pop(record.origin)
            truth = objects_of(seed)
            assert [one.verdict for one in drawn] == ["accepted"] * len(truth) + ["rejected"]
            assert all(iou(one.outline, true.outline) > 0.9 for one, true in zip(drawn, truth, strict=False))
            for event in events:
                accepted = [one for one, true in zip(drawn, truth, strict=False) if true.phrase == event.phrase]
                assert same(accepted, [one.outline for one in event.objects])
                assert event.exhaustive
                assert event.reviewer == "ann"
            assert {event.phrase for event in events} == {*(one.phrase for one in truth), "ship"}
        assert not shown
        assert browser.console() == []
        assert browser.foreign_requests() == []
        assert len(browser.requests()) > 10

    def test_outlines_lie_on_the_image(self, page: ReviewPage, reviewed: ReviewQueue) -> None:
        page.press("A")
        drawn = page.browser.screenshot().astype(np.float32)
        page.press("h")
        bare = page.browser.screenshot().astype(np.float32)
        x, y, width, height = (round(at) for at in page.browser.evaluate(IMAGE))
        assert 0 <= y <= y + height <= bare.shape[0]
        pixels = cv2.resize(scene(SEED).image, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
        here, beside = (float(np.abs(bare[y : y + height, x + by : x + by + width] - pixels).mean()) for by in (0, 4))
        assert here < beside / 2  # the image is where the page says that it is
        changed = np.abs(drawn - bare).max(axis=2) > 40
        changed[:, x + width :] = False
        on_outline = np.zeros(changed.shape, np.uint8)
        for outline in outlines(reviewed):
            for part in shapely.get_parts(shapely.boundary(outline)):
                corners = np.array(part.coords) * (width / page.size[0], height / page.size[1]) + (x, y)
                cv2.polylines(on_outline, [np.round(corners).astype(np.int32)], True, 1)
        assert (
            away(on_outline > 0, changed).max() <= 8
        )  # nothing else is drawn: half of the widest stroke, and its edge
        assert away(changed, on_outline > 0).max() <= 2  # and nothing is missing

    def test_clicks_mean_the_same_place_at_any_zoom(self, page: ReviewPage, reviewed: ReviewQueue) -> None:
        wrong = scratch_of(SEED)
        _, _, whole, _ = page.browser.evaluate(IMAGE)
        page.press(*"n" * wrong, "z")
        _, _, across, _ = page.browser.evaluate(IMAGE)
        assert across > 1.5 * whole
        x, y = inside(SEED, wrong)
        page.click(x, y)
        assert page.verdicts[wrong] == "accepted"
        assert iou(outlines(reviewed)[wrong], objects_of(SEED)[wrong].outline) > 0.9
        page.click(x + 30, y - 30, shift=True)
        classes = page.browser.evaluate("[...document.querySelectorAll('circle')].map((one) => one.className.baseVal)")
        assert classes == ["positive", "negative"]
        page.press("z")
        assert page.browser.evaluate(IMAGE)[2] == whole

    def test_the_wheel_zooms_where_the_pointer_is(self, page: ReviewPage) -> None:
        x, y = inside(SEED, scratch_of(SEED))
        before = page.place(x, y)
        wheel = "document.querySelector('#view').dispatchEvent(new WheelEvent('wheel', arguments[0]))"
        for _ in range(4):
            page.browser.evaluate(wheel, {"clientX": before[0], "clientY": before[1], "deltaY": -100})
        assert page.place(x, y) == pytest.approx(before, abs=1)
        for _ in range(6):
            page.browser.evaluate(wheel, {"clientX": before[0], "clientY": before[1], "deltaY": 100})
        assert page.browser.evaluate("document.querySelector('#view').getAttribute('viewBox')") == "0 0 {} {}".format(
            *page.size
        )

    def test_a_missed_object_is_outlined_and_its_click_can_be_made_again(
        self, page: ReviewPage, reviewed: ReviewQueue
    ) -> None:
        count, wrong = len(page.shown), scratch_of(SEED)
        while "scratch" not in page.browser.text("#phrases [aria-pressed=true]"):
            page.press(Keys.ARROW_DOWN)
        page.press("m")
        assert "Click the missed scratch" in page.text("hint")
        page.click(-5, 50)
        assert "outside" in page.text("error")
        assert "Click the missed scratch" in page.text("hint")
        page.press("a")
        assert "Escape" in page.text("error")
        page.click(*inside(SEED, 0))
        page.press("u")
        page.click(*inside(SEED, wrong))
        assert verdicts(reviewed) == ["open"] * count + ["accepted"]
        assert page.current == count
        assert iou(outlines(reviewed)[count], objects_of(SEED)[wrong].outline) > 0.9
        assert same(page.shown, outlines(reviewed))

    def test_next_previous_and_the_right_button_go_to_an_object(self, page: ReviewPage, reviewed: ReviewQueue) -> None:
        count, wrong = len(page.shown), scratch_of(SEED)
        page.press("n", "n", "p")
        assert page.current == 1
        page.press("p", "p")
        assert page.current == count - 1
        beside = outlines(reviewed)[wrong].representative_point()
        page.click(beside.x, beside.y, button="right")
        assert page.current == wrong  # and not the metal tag below it
        assert f"{wrong + 1} of {count}: scratch" in page.text("object")
        assert verdicts(reviewed) == ["open"] * count

    def test_undo_goes_back_step_by_step_and_to_images_before(self, tmp_path: Path, browser: Browser) -> None:
        queue = scene_queue(tmp_path, SEED, OTHER_SEED)
        with serving(queue) as server:
            page = ReviewPage(browser, server.address)
            page.press("u")
            assert "nothing to undo" in page.text("error")
            first, before = page.seed, page.shown
            page.press("a", "x", "u")
            assert page.verdicts[:2] == ["accepted", "open"]
            assert page.current == 1
            page.press("u")
            assert page.shown == before
            assert page.current == 0
            ended = review(page)
            page.end()
            assert page.text("progress") == "2 of 2 done"
            page.browser.reload()
            page.settled()
            page.press("u")
            assert page.seed != first
            page.press(*["u"] * len(queue.actions(queue.ids[1])))
            assert set(page.verdicts) == {"open"}
            page.press("u")
            assert page.seed == first
            assert page.shown == ended
            assert page.text("progress") == "0 of 2 done"


class TestLosingNothing:
    def test_a_reload_and_a_restart_find_everything_as_it_was(
        self, page: ReviewPage, server: ReviewServer, reviewed: ReviewQueue
    ) -> None:
        page.press("a", "x", "n")
        page.click(*inside(SEED, scratch_of(SEED)))
        before = page.shown
        page.browser.reload()
        page.settled()
        assert page.shown == before
        assert same(before, outlines(reviewed))
        server.close()
        page.press("a")
        assert "does not answer" in page.text("error")
        assert "again" in page.text("error")
        assert page.shown == before
        with serving(reviewed) as again:
            page = ReviewPage(page.browser, again.address)
            assert page.shown == before
            assert page.text("error") == ""

    def test_a_server_that_has_stopped_is_said_when_an_image_is_done(
        self, page: ReviewPage, server: ReviewServer
    ) -> None:
        page.press("A")
        page.click_on("#phrases li:last-child button")
        page.press("0")
        server.close()
        page.press(Keys.ENTER)
        assert "does not answer" in page.text("error")
        assert page.text("progress") == "0 of 1 done"

    def test_two_windows_do_each_other_no_harm(
        self, page: ReviewPage, server: ReviewServer, reviewed: ReviewQueue
    ) -> None:
        page.press("a")
        other = ReviewPage(page.browser.another(), server.address)
        assert other.verdicts == verdicts(reviewed)
        other.press("u", "x")  # as many steps as the first window has seen, and others
        page.browser.use()
        for key in ("a", "u", Keys.ENTER, "A"):
            page.press(key)
            assert "another window" in page.text("error")
            assert "reload" in page.text("error")
        assert verdicts(reviewed)[:2] == ["rejected", "open"]
        page.browser.reload()
        page.settled()
        assert page.verdicts == verdicts(reviewed)
        page.press("A")
        assert "open" not in verdicts(reviewed)
        assert {entry.source for entry in page.browser.console()} <= {"network"}  # the refusals

    def test_what_is_pressed_while_the_model_works_is_not_lost(self, browser: Browser, reviewed: ReviewQueue) -> None:
        gated, wrong = Gated(), scratch_of(SEED)
        with serving(reviewed, gated) as server:
            page = ReviewPage(browser, server.address)
            browser.click(*page.place(*inside(SEED, wrong)))
            until(gated.asked.is_set)
            browser.press("n", "x", "a")
            assert browser.evaluate("document.body.getAttribute('aria-busy')") == "true"
            gated.let.set()
            page.settled()
            assert verdicts(reviewed)[:3] == ["accepted", "rejected", "accepted"]
            assert page.verdicts == verdicts(reviewed)

    def test_what_waits_behind_a_step_that_fails_is_dropped(self, browser: Browser, reviewed: ReviewQueue) -> None:
        gated = Gated()
        with serving(reviewed, gated) as server:
            page = ReviewPage(browser, server.address)
            browser.click(*page.place(-3, 50))
            until(gated.asked.is_set)
            browser.press("n", "x")
            gated.let.set()
            page.settled()
            assert "outside" in page.text("error")
            page.press("n")
            assert page.current == 1
            assert set(verdicts(reviewed)) == {"open"}

    def test_a_key_that_is_held_decides_once(self, page: ReviewPage, reviewed: ReviewQueue) -> None:
        for repeated in (False, True, True):
            key = {"type": "keyDown", "key": "a", "code": "KeyA", "text": "a", "autoRepeat": repeated}
            page.browser.driver.execute_cdp_cmd("Input.dispatchKeyEvent", key)
        page.settled()
        assert verdicts(reviewed).count("accepted") == 1

    def test_nothing_is_decided_of_an_image_that_is_not_shown_yet(self, tmp_path: Path, browser: Browser) -> None:
        queue = scene_queue(tmp_path, SEED, OTHER_SEED)
        with serving(queue) as server:
            page = ReviewPage(browser, server.address)
            page.press("A")
            page.click_on("#phrases li:last-child button")
            page.press("0")
            browser.press(Keys.ENTER, "A")
            page.settled()
            assert page.text("progress") == "1 of 2 done"
            assert set(page.verdicts) == {"open"}

    def test_an_image_that_is_damaged_is_said_and_can_be_skipped(self, tmp_path: Path, browser: Browser) -> None:
        queue = scene_queue(tmp_path, SEED, OTHER_SEED)
        queue.image_file(queue.ids[0]).write_bytes(b"damaged")
        with serving(queue) as server:
            page = ReviewPage(browser, server.address)
            damaged = page.seed
            assert "image" in page.text("error")
            page.press("s")
            assert page.seed != damaged
            assert page.text("error") == ""
            page.end()
            assert page.seed == damaged
            page.press("s")
            assert "last image" in page.text("error")


class TestPage:
    def test_every_button_is_its_key(self, page: ReviewPage, reviewed: ReviewQueue) -> None:
        browser, keys = page.browser, "[...document.querySelectorAll('[data-key]')]"
        assert browser.evaluate(f"{keys}.every((one) => Object.hasOwn(KEYS, one.dataset.key))")
        named = browser.evaluate(f"{keys}.map((one) => one.querySelector('kbd').textContent)")
        assert named == [
            "↓" if key == "ArrowDown" else key for key in browser.evaluate(f"{keys}.map((one) => one.dataset.key)")
        ]
        for key, verdict in (("x", "rejected"), ("a", "accepted")):
            page.click_on(f"[data-key={key}]")
            assert verdicts(reviewed)[page.current - 1] == verdict
        assert browser.evaluate("document.activeElement === document.body")  # else Enter would press the button again

    def test_tab_leads_to_buttons_and_enter_presses_the_one_with_the_focus(
        self, page: ReviewPage, reviewed: ReviewQueue
    ) -> None:
        page.press(Keys.TAB)
        assert page.browser.evaluate("document.activeElement.dataset.key") == "a"
        assert page.browser.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.press(Keys.ENTER)
        assert verdicts(reviewed)[:2] == ["accepted", "open"]
        assert page.text("error") == ""

    def test_an_image_that_is_not_decided_says_what_is_left(self, page: ReviewPage) -> None:
        page.press(Keys.ENTER)
        assert "not decided yet: metal tag" in page.text("error")
        page.press("A")
        assert page.text("error") == ""
        assert page.text("hint").startswith("No ship yet: 0 if there is none")
        page.press("e")
        assert "incomplete" in page.text("phrases")

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
    def test_it_can_be_read(self, page: ReviewPage, width: int, height: int, scheme: Literal["light", "dark"]) -> None:
        page.browser.look(width, height, scheme)
        page.press(Keys.ENTER)
        assert page.text("error")
        assert page.browser.evaluate("document.documentElement.scrollWidth") <= width
        x, y, across, down = page.browser.evaluate(IMAGE)
        assert x >= 0
        assert y >= 0
        assert x + across <= width + 1
        assert y + down <= height + 1
        assert across >= width * 0.4
        ground = pixel_of(page.browser.evaluate("getComputedStyle(document.body).backgroundColor"))
        for name in ("progress", "name", "note", "object", "hint", "error"):
            style = f"getComputedStyle(document.querySelector('#{name}'))"
            behind = page.browser.evaluate(f"{style}.backgroundColor")
            on = ground if behind == "rgba(0, 0, 0, 0)" else pixel_of(behind)
            assert contrast(pixel_of(page.browser.evaluate(f"{style}.color")), on) >= 4.5, name

    def test_no_other_code_runs_and_nothing_else_is_reached(self, page: ReviewPage, tmp_path: Path) -> None:
        assert page.browser.console() == []
        page.browser.driver.execute_script(
            "const one = document.createElement('script'); one.textContent = 'window.ran = 1';"
            "document.head.append(one);"
            "const other = new Image(); other.src = 'http://127.0.0.1:9/x.png';"
            "document.body.setAttribute('style', 'color: red');"
        )
        assert page.browser.evaluate("window.ran === undefined")
        assert page.browser.evaluate("fetch('http://127.0.0.1:9/').then(() => 'reached', () => 'refused')") == "refused"
        assert page.browser.evaluate("document.querySelectorAll('i').length") == 0  # the image's name is text
        said = [entry.text for entry in page.browser.console() if "Content Security Policy" in entry.text]
        for directive in ("script-src", "img-src", "style-src", "connect-src"):
            assert any(directive in text for text in said), directive


def away(of: npt.NDArray[np.bool_], points: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """How far points are from the nearest one of others, in pixels."""
    return np.asarray(cv2.distanceTransform((~of).astype(np.uint8), cv2.DIST_L2, 5)[points], np.float32)


def pixel_of(color: str) -> tuple[float, ...]:
    """Red, green and blue in 0..1 of a computed colour."""
    return tuple(int(part) / 255 for part in re.findall(r"\d+", color)[:3])


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """WCAG 2.2, https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""

    def luminance(color: tuple[float, ...]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)
