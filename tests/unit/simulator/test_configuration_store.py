"""Merging, resetting, time stamps and watchers of the configuration."""

from __future__ import annotations

import json

import pytest

from sam3edge_simulator.configuration import (
    ConfigurationClash,
    ConfigurationMissing,
    ConfigurationStore,
    parse_pointer,
)

NAME = "com.example.Thing"


class Clock:
    def __init__(self) -> None:
        self.now = 1000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> ConfigurationStore:
    store = ConfigurationStore(clock)
    store.update(NAME, defaults={"rate": 1, "camera": {"gain": 2, "names": ["a", "b"]}, "null": None})
    return store


def test_reading(store: ConfigurationStore) -> None:
    assert store.read(NAME) == {"rate": 1, "camera": {"gain": 2, "names": ["a", "b"]}, "null": None}
    assert store.read(NAME, ["camera", "gain"]) == 2
    for component, path in [(NAME, ["nothing"]), (NAME, ["rate", "below"]), ("com.example.Nobody", [])]:
        with pytest.raises(ConfigurationMissing, match=path[-1] if path else component):
            store.read(component, path)


def test_what_was_read_is_a_copy(store: ConfigurationStore) -> None:
    store.read(NAME)["camera"]["names"].append("c")
    assert store.read(NAME, ["camera", "names"]) == ["a", "b"]


def test_a_merge_joins_mappings_and_replaces_everything_else(store: ConfigurationStore) -> None:
    store.merge(NAME, {"camera": {"names": [], "new": {"deep": True}}})
    store.merge(NAME, {"gain": 9}, ["camera"])
    assert store.read(NAME, ["camera"]) == {"gain": 9, "names": [], "new": {"deep": True}}


def test_an_older_update_does_not_overwrite_a_newer_value(store: ConfigurationStore) -> None:
    store.merge(NAME, {"rate": 5}, timestamp=2000)
    store.merge(NAME, {"rate": 4, "camera": {"gain": 4}}, timestamp=1500)
    assert (store.read(NAME, ["rate"]), store.read(NAME, ["camera", "gain"])) == (5, 4)
    store.merge(NAME, {"rate": 6}, timestamp=2000)
    assert store.read(NAME, ["rate"]) == 6
    assert store.modified(NAME, ["rate"]) == 2000
    assert store.modified(NAME) == 2000
    assert store.modified(NAME, ["null"]) == 1


@pytest.mark.parametrize("clash", [{"camera": 1}, {"rate": {"per": "minute"}}])
def test_values_do_not_change_their_kind_and_nothing_changes_halfway(
    store: ConfigurationStore, clash: dict[str, object]
) -> None:
    before = store.read(NAME)
    with pytest.raises(ConfigurationClash, match="reset it first"):
        store.merge(NAME, {"other": 1, **clash})
    assert store.read(NAME) == before
    key = next(iter(clash))
    store.update(NAME, defaults={}, reset=[f"/{key}"], merge=clash)
    assert store.read(NAME, [key]) == clash[key]


def test_an_update_resets_first_then_fills_in_defaults_then_merges(store: ConfigurationStore) -> None:
    store.merge(NAME, {"rate": 7, "camera": {"gain": 7}})
    changed = store.update(
        NAME,
        defaults={"rate": 1, "camera": {"gain": 2, "names": ["new default"]}, "fresh": "x"},
        reset=["/camera/gain", "/nothing/there"],
        merge={"camera": {"extra": 1}},
    )
    assert changed
    assert store.read(NAME) == {
        "rate": 7,
        "camera": {"gain": 2, "names": ["a", "b"], "extra": 1},
        "null": None,
        "fresh": "x",
    }
    assert not store.update(NAME, defaults={"rate": 1, "fresh": "y"}, merge={"rate": 7})


def test_the_empty_pointer_resets_everything(store: ConfigurationStore) -> None:
    store.merge(NAME, {"rate": 7, "more": 1})
    store.update(NAME, defaults={"rate": 1}, reset=[""])
    assert store.read(NAME) == {"rate": 1}


def test_watchers_hear_of_what_really_changed_at_or_below_their_path(store: ConfigurationStore) -> None:
    whole: list[tuple[str, ...]] = []
    camera: list[tuple[str, ...]] = []
    store.watch(NAME, [], lambda _name, path: whole.append(path))
    end = store.watch(NAME, ["camera"], lambda _name, path: camera.append(path))
    store.merge(NAME, {"rate": 1, "camera": {"gain": 3}, "null": 0})
    assert whole == [("camera", "gain"), ("null",)]
    assert camera == [("camera", "gain")]
    store.update(NAME, defaults={}, reset=["/camera/names"])
    assert camera[1:] == [("camera", "names")]
    end()
    end()
    store.merge(NAME, {"camera": {"gain": 4}})
    assert len(camera) == 2


def test_number_and_text_and_truth_are_different_values(store: ConfigurationStore) -> None:
    heard: list[tuple[str, ...]] = []
    store.watch(NAME, [], lambda _name, path: heard.append(path))
    for value in (True, 1, "1", 1.0):
        store.merge(NAME, {"rate": value})
    assert len(heard) == 4


def test_everything_survives_a_file(store: ConfigurationStore, clock: Clock) -> None:
    store.merge(NAME, {"rate": [1, {"a": 2}], "empty": {}}, timestamp=5000)
    again = ConfigurationStore(clock)
    again.load(json.loads(json.dumps(store.export())))
    assert again.read(NAME) == store.read(NAME)
    again.merge(NAME, {"rate": 0}, timestamp=4999)
    assert again.read(NAME, ["rate"]) == [1, {"a": 2}]


def test_pointers() -> None:
    assert parse_pointer("") == ()
    assert parse_pointer("/a~1b/m~0n/0") == ("a/b", "m~n", "0")
    with pytest.raises(ValueError, match="starts with '/'"):
        parse_pointer("a")
