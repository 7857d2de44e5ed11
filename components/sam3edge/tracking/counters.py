"""How many objects there are and were: in all, in zones, across lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sam3edge.core.messages.events import LineCountMember, ObjectCountMember, ZoneCountMember
from sam3edge.tracking.track import Track, untold

MAX_COUNTERS = 256
"""Labels, zones times labels, and lines times labels, each; of more, those that have not changed for longest are
forgotten."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Since counting began, the one that changed last at the end.

    Attributes:
        objects: by label.
        entered: how often, by zone and label.
        crossed: forward and backward, by line and label.
    """

    objects: Mapping[str, int] = field(default_factory=dict)
    entered: Mapping[tuple[str, str], int] = field(default_factory=dict)
    crossed: Mapping[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def after(self, changes: Iterable[tuple[Track, Track]]) -> Totals:
        """With what tracks did: each before a frame and after it. What a track did before it was announced counts when
        it is."""
        objects, entered, crossed = dict(self.objects), dict(self.entered), dict(self.crossed)
        for before, after in changes:
            if not after.announced:
                continue
            if not before.announced:
                objects[after.label] = objects.pop(after.label, 0) + 1
            told = (before if before.announced else untold(before)).presence
            for zone, stay in after.presence.stays.items():
                known = told.stays.get(zone)
                more = stay.entries - (known.entries if known else 0)
                if more > 0:
                    entered[zone, after.label] = entered.pop((zone, after.label), 0) + more
            for line, (forward, backward) in after.presence.crossings.items():
                f, b = told.crossings.get(line, (0, 0))
                if forward > f or backward > b:
                    most_f, most_b = crossed.pop((line, after.label), (0, 0))
                    crossed[line, after.label] = most_f + forward - f, most_b + backward - b
        for counters in (objects, entered, crossed):
            while len(counters) > MAX_COUNTERS:
                del counters[next(iter(counters))]  # type: ignore[arg-type]  # mypy: the keys of the three differ
        return Totals(objects, entered, crossed)


@dataclass(frozen=True, slots=True)
class Tally:
    """What a counts message says."""

    objects: Sequence[ObjectCountMember]
    zones: Sequence[ZoneCountMember]
    lines: Sequence[LineCountMember]


def tally(tracks: Iterable[Track], totals: Totals) -> Tally:
    """The numbers after a frame: those that are there now, and the totals."""
    there = [track for track in tracks if track.announced]
    now = Counter(track.label for track in there)
    inside = Counter((zone, track.label) for track in there for zone in track.presence.zones)
    return Tally(
        [
            {"label": label, "current": now[label], "total": totals.objects.get(label, 0)}
            for label in dict.fromkeys([*now, *totals.objects])
        ],
        [
            {
                "zone": zone,
                "label": label,
                "current": inside[zone, label],
                "entered": totals.entered.get((zone, label), 0),
            }
            for zone, label in dict.fromkeys([*inside, *totals.entered])
        ],
        [
            {"line": line, "label": label, "forward": forward, "backward": backward}
            for (line, label), (forward, backward) in totals.crossed.items()
        ],
    )
