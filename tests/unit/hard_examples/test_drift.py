"""Drift without labels, by detections that are made up: no model runs here. The sweep over corrupted images is
``sam3edge_pipeline.evaluation.drift_sweep``."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from sam3edge.core.errors import SettingsError
from sam3edge.core.types import Confidence, Detections, Frame, Origin, Prompt
from sam3edge.hard_examples import drift_monitor
from sam3edge.hard_examples.drift import (
    BINS,
    EDGES,
    METRICS,
    NOTHING,
    DriftOptions,
    Series,
    chance_limit,
    chi_squared_quantile,
    divergence,
    read_series,
    sample_of,
    write_series,
)
from sam3edge.hard_examples.drift_monitor import DriftMonitor
from support.samples import MODEL, detection, frame

TAG, HOLE = Prompt("tag"), Prompt("hole")
OPTIONS = DriftOptions(reference=600, window=100, seconds=0)
HISTOGRAMS = st.lists(st.integers(0, 50), min_size=BINS, max_size=BINS).filter(any)

# (presence, score, count and area of the objects) of one frame
Say = tuple[float, float, int, float]


def clean(draw: random.Random) -> Say:
    return (
        draw.betavariate(9, 2),
        draw.betavariate(8, 3),
        min(12, int(draw.expovariate(0.5))),
        400 * draw.lognormvariate(0, 0.6),
    )


def worse(kind: str, strength: int) -> Callable[[random.Random], Say]:
    """What a corruption of the images does to what a model says of them, in three strengths."""
    share = (0.75, 0.45, 0.15)[strength - 1]

    def say(draw: random.Random) -> Say:
        presence, score, count, area = clean(draw)
        if kind == "blur":  # scores fall
            return presence, score * share, count, area
        if kind == "noise":  # false objects, small ones
            return presence, score, count + int(draw.random() > share) * 2, area * share
        if kind == "dark":  # less is found
            return presence * share, score * share, int(count * share), area
        if kind == "bright":  # presence is lost
            return presence * share, score, count, area
        if kind == "fog":  # objects are missed
            return presence, score, sum(draw.random() < share for _ in range(count)), area
        return presence, score, count, area * share**2  # JPEG blocks: objects fall to pieces

    return say


KINDS = ("blur", "noise", "dark", "bright", "fog", "JPEG blocks")


def found(say: Say, prompt: Prompt = TAG) -> Detections:
    presence, score, count, area = say
    side = math.sqrt(area)
    objects = tuple(detection(shapely.box(0, 0, side, side), prompt, score) for _ in range(count))
    return Detections(MODEL, objects, {}, confidence={prompt: Confidence(presence, score, 0.1)})


def numbered(number: int) -> Frame:
    one = frame()
    return replace(one, id=f"{number:032x}", captured_at=one.captured_at + timedelta(seconds=number))


class Watch:
    def __init__(self, file: Path, options: DriftOptions = OPTIONS, prompts: Sequence[Prompt] = (TAG,)) -> None:
        self.clock = 0.0
        self.monitor = DriftMonitor(options, file, lambda: prompts, lambda: self.clock)
        self.number = 0

    def see(self, says: Sequence[Say]) -> int | None:
        """Frames until there was an alarm."""
        first = None
        for number, say in enumerate(says, 1):
            self.number += 1
            self.monitor(numbered(self.number), found(say))
            if first is None and self.monitor.summary()["alarm_count"]:
                first = number
        return first


def draws(seed: int, count: int, say: Callable[[random.Random], Say] = clean) -> list[Say]:
    draw = random.Random(seed)
    return [say(draw) for _ in range(count)]


def trained(file: Path) -> Watch:
    watch = Watch(file)
    watch.see(draws(1, OPTIONS.reference + OPTIONS.window))
    return watch


def test_clean_windows_raise_no_alarm(tmp_path: Path) -> None:
    assert trained(tmp_path / "drift.json").see(draws(2, 2000)) is None


@pytest.mark.parametrize("kind", KINDS)
def test_every_corruption_raises_one_and_the_stronger_the_sooner(tmp_path: Path, kind: str) -> None:
    delays = []
    for strength in (1, 2, 3):
        delays.append(trained(tmp_path / f"{strength}.json").see(draws(3, 100, worse(kind, strength))))
    _, middle, strong = delays
    assert middle is not None
    assert strong is not None
    assert strong <= middle <= 100
    assert strong <= 40


def test_an_alarm_says_what_where_and_since_when_and_ends_with_its_cause(tmp_path: Path) -> None:
    watch = trained(tmp_path / "drift.json")
    delay = watch.see(draws(3, 100, worse("bright", 3)))
    assert delay is not None
    summary = watch.monitor.summary()
    assert (summary["series"], summary["collecting"]) == (1, 0)
    first = summary["alarms"][0]
    assert (first["source"], first["prompt"], first["metric"]) == ("folder", "tag", "presence")
    assert first["divergence"] > first["limit"] > 0
    begun = numbered(OPTIONS.reference + OPTIONS.window + delay).captured_at
    assert first["since"] == begun.isoformat(timespec="milliseconds")
    watch.see(draws(4, 200))
    assert watch.monitor.summary()["alarms"] == []


def test_windows_and_alarms_outlive_a_restart(tmp_path: Path) -> None:
    watch = trained(tmp_path / "drift.json")
    watch.see(draws(3, 60, worse("dark", 3)))
    before = watch.monitor.summary()
    assert before["alarms"]
    watch.monitor.save()
    again = Watch(tmp_path / "drift.json")
    again.number = watch.number
    again.see(draws(5, 20, worse("dark", 3)))
    assert again.monitor.summary()["alarms"][0]["since"] == before["alarms"][0]["since"]


def test_windows_are_written_from_time_to_time(tmp_path: Path) -> None:
    file = tmp_path / "work" / "drift.json"
    watch = Watch(file)
    watch.see(draws(1, 5))
    assert not file.exists()
    watch.clock += drift_monitor.SAVE_SECONDS
    watch.see(draws(1, 1))
    [[source, prompt, series]] = json.loads(file.read_bytes())["series"]
    assert (source, prompt, series["seen"]) == ("folder", "tag", 6)


@pytest.mark.parametrize(
    "damaged", [b"", b"{", b"[]", b'{"format": 2, "series": []}', b'{"format": 1, "series": [["a", "b", {}]]}']
)
def test_a_damaged_file_begins_a_new_reference(
    tmp_path: Path, damaged: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "drift.json").write_bytes(damaged)
    watch = Watch(tmp_path / "drift.json")
    watch.see(draws(1, 1))
    assert watch.monitor.summary()["collecting"] == 1
    assert "begins with a new reference" in caplog.text


def test_a_disk_that_refuses_is_complained_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder")
    watch = Watch(tmp_path / "file" / "drift.json")
    watch.see(draws(1, 1))
    watch.monitor.save()
    watch.monitor.save()
    assert caplog.text.count("cannot be written") == 1


def test_another_model_or_threshold_begins_a_new_reference(tmp_path: Path) -> None:
    watch = trained(tmp_path / "drift.json")
    [say] = draws(9, 1)
    newer = replace(found(say), model=replace(MODEL, digest="sha256:" + "cd" * 32))
    watch.monitor(numbered(10_000), newer)
    assert watch.monitor.summary()["collecting"] == 1
    watch = trained(tmp_path / "other.json")
    stricter = Prompt("tag", 0.9)
    DriftMonitor(OPTIONS, tmp_path / "other.json", lambda: (stricter,))
    watch.monitor(numbered(10_000), found(say, stricter))
    assert watch.monitor.summary()["collecting"] == 1


def test_what_the_cloud_found_and_unsupported_prompts_do_not_count(tmp_path: Path) -> None:
    watch = Watch(tmp_path / "drift.json", prompts=(TAG, HOLE))
    [say] = draws(1, 1)
    watch.monitor(numbered(1), replace(found(say), origin=Origin("cloud", "slow")))
    assert watch.monitor.summary()["series"] == 0
    watch.monitor(numbered(2), replace(found(say), unsupported_prompts={"hole": "not known"}))
    assert watch.monitor.summary()["series"] == 1


def test_frames_close_to_each_other_count_once(tmp_path: Path) -> None:
    watch = Watch(tmp_path / "drift.json", replace(OPTIONS, seconds=10.0))
    watch.see(draws(1, 100))
    watch.monitor.save()
    [[_, _, series]] = json.loads((tmp_path / "drift.json").read_bytes())["series"]
    assert series["seen"] == 10


def test_only_so_many_series_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift_monitor, "MAX_SERIES", 3)
    monitor = DriftMonitor(OPTIONS, tmp_path / "drift.json", lambda: (TAG,))
    [say] = draws(1, 1)
    for number in range(5):
        monitor(replace(numbered(number), source=f"camera-{number}"), found(say))
    assert monitor.summary()["series"] == 3


def test_the_bins_of_a_frame() -> None:
    area = 320 * 240 * 0.02
    assert sample_of(frame(), TAG, found((0.99, 0.5, 3, area))) == (7, 4, 3, 3)
    assert sample_of(frame(), TAG, found((0.01, 0.02, 0, 1.0))) == (0, 0, 0, NOTHING)
    silent = Detections(MODEL, (), {})
    assert sample_of(frame(), TAG, silent) == (NOTHING, NOTHING, 0, NOTHING)
    assert all(len(edges) == BINS - 1 and list(edges) == sorted(edges) for edges in EDGES.values())


@given(HISTOGRAMS, HISTOGRAMS)
def test_the_divergence_is_symmetric_and_from_0_to_1(one: list[int], other: list[int]) -> None:
    bits = divergence(one, other)
    assert -1e-9 <= bits <= 1 + 1e-9
    assert bits == pytest.approx(divergence(other, one), abs=1e-9)
    assert divergence(one, [3 * count for count in one]) == pytest.approx(0, abs=1e-9)


def test_windows_with_nothing_in_common_are_1_apart() -> None:
    assert divergence([30, 0] + [0] * 6, [0, 7] + [0] * 6) == pytest.approx(1)


def test_quantiles_are_those_of_the_tables() -> None:
    """NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.4."""
    for share, freedom, tabled in ((0.95, 3, 7.815), (0.99, 7, 18.475), (0.999, 7, 24.322), (0.99, 1, 6.635)):
        assert chi_squared_quantile(share, freedom) == pytest.approx(tabled, rel=0.02)


def test_windows_of_one_distribution_seldom_exceed_the_limit_of_chance() -> None:
    draw = random.Random(5)
    weights = (5, 9, 14, 20, 20, 14, 9, 5)

    def histogram(size: int) -> list[int]:
        counts = [0] * BINS
        for bin_ in draw.choices(range(BINS), weights, k=size):
            counts[bin_] += 1
        return counts

    exceeded = 0
    for _ in range(1000):
        one, other = histogram(600), histogram(100)
        exceeded += divergence(one, other) > chance_limit(one, other, 0.05)
    assert 20 < exceeded < 90  # of 1000, expected are 50


@given(
    st.lists(st.tuples(*[st.integers(0, NOTHING)] * 4), max_size=30),
    st.lists(HISTOGRAMS, min_size=4, max_size=4),
)
def test_a_series_is_read_as_it_was_written(
    recent: list[tuple[int, int, int, int]], reference: list[list[int]]
) -> None:
    series = Series("sha256:0", 0.5, reference, 7)
    series.recent.extend(recent)
    series.alarms["count"] = "2026-01-02T03:11:05.678+00:00"
    assert read_series(json.loads(json.dumps(write_series(series)))) == series


@pytest.mark.parametrize(
    "change",
    [{"recent": "123"}, {"recent": "9999"}, {"reference": [[0] * BINS]}, {"seen": -1}, {"alarms": []}, {"recent": "x"}],
)
def test_a_damaged_series_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"expected|invalid"):
        read_series({**write_series(Series("m", 0.5)), **change})


@pytest.mark.parametrize("wrong", [{"window": 0}, {"threshold": 0.0}, {"chance": 1.0}])
def test_impossible_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match="expected windows"):
        DriftOptions(**wrong)  # type: ignore[arg-type]


def test_all_four_metrics_are_watched() -> None:
    assert set(METRICS) == set(EDGES) == {"presence", "score", "count", "area"}
