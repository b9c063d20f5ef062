"""What lineage must state about derived events, computed independently with sets of the policy's words."""

from __future__ import annotations

import struct
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streams.policy

POLICIES = Path(streams.policy.__file__).parent / "policies"
NATURES = ("provided", "observed", "derived", "inferred")
Row = dict[str, Any]
#: (source, stream, number).
#: Source, stream, number and revision.
Key = tuple[str, str, int, int]


@dataclass(frozen=True)
class Label:
    """A label in words; `days` is the retention, `nature` a position in NATURES."""

    categories: frozenset[str]
    subjects: frozenset[str]
    purposes: frozenset[str]
    regions: frozenset[str]
    obligations: frozenset[str]
    days: int
    nature: int

    def loosens(self, others: Iterable[Label]) -> bool:
        """Whether it permits anything that one of `others` does not, or lacks a restriction that one has."""
        return any(
            other.categories - self.categories
            or other.subjects - self.subjects
            or other.obligations - self.obligations
            or self.purposes - other.purposes
            or self.regions - other.regions
            or self.days > other.days
            or self.nature < other.nature
            for other in others
        )


class Prose:
    """Labels and zones according to the text of `household` and the vocabulary that it imports."""

    def __init__(self) -> None:
        texts = (POLICIES / "vocabulary" / "glasses.toml", POLICIES / "household.toml")
        files = [tomllib.loads(path.read_text(encoding="utf-8")) for path in texts]
        self.words = {
            name: [word for file in files for word in file["vocabulary"].get(name, ())]
            for name in ("categories", "purposes", "obligations", "subjects", "regions")
        }
        self.days: dict[str, int] = files[0]["vocabulary"]["retention_days"]
        self.kinds: dict[str, Row] = files[0]["kinds"]
        self.zones: dict[str, Row] = {zone["name"]: zone for zone in files[1]["zones"]}

    def captured(self, kind: str, zone: str) -> Label:
        """Label of a captured event: that of its zone, with the categories and the nature of its kind."""
        of, own = self.zones[zone], self.kinds[kind]
        return Label(
            frozenset(of.get("categories", ())) | frozenset(own["categories"]),
            frozenset(of["subjects"]),
            frozenset(of["purposes"]),
            frozenset(of["regions"]),
            frozenset(of.get("obligations", ())),
            self.days[of["retention"]],
            NATURES.index(own["nature"]),
        )

    def derived(self, kind: str, parents: Sequence[Label]) -> Label:
        """Label of an event that was derived from parents with these labels."""
        own = self.kinds[kind]
        return Label(
            frozenset(own["categories"]).union(*(one.categories for one in parents)),
            frozenset[str]().union(*(one.subjects for one in parents)),
            frozenset(self.words["purposes"]).intersection(*(one.purposes for one in parents)),
            frozenset(self.words["regions"]).intersection(*(one.regions for one in parents)),
            frozenset[str]().union(*(one.obligations for one in parents)),
            min((one.days for one in parents), default=max(self.days.values())),
            max([NATURES.index(own["nature"]), *(one.nature for one in parents)]),
        )

    def read(self, text: str) -> Label:
        """Read a packed label in hexadecimal."""
        categories, purposes, obligations, subjects, regions, days, nature = struct.unpack(
            "<QHHBBBB", bytes.fromhex(text)
        )
        return Label(
            self._said("categories", categories),
            self._said("subjects", subjects),
            self._said("purposes", purposes),
            self._said("regions", regions),
            self._said("obligations", obligations),
            list(self.days.values())[days],
            nature,
        )

    def _said(self, name: str, mask: int) -> frozenset[str]:
        return frozenset(word for bit, word in enumerate(self.words[name]) if mask >> bit & 1)

    def highest(self, zones: Iterable[str]) -> str:
        """The zone of the highest rank."""
        return max(zones, key=lambda zone: int(self.zones[zone]["rank"]))


@dataclass(frozen=True)
class Event:
    """One event as in the lineage. `oldest_ns` is when its oldest data was captured."""

    kind: str
    zone: str
    label: Label
    consent: int
    wearer: str
    topic: str
    oldest_ns: int
    source: str
    stream: str

    @property
    def incarnation(self) -> tuple[str, str]:
        """Incarnation of the device; only consent numbers of one incarnation can be compared."""
        return self.source, self.stream.partition("~")[2]


def expanded(row: Row) -> Iterator[tuple[Key, Key]]:
    """All (child, parent) of an edge row, by the formula of law 3."""
    for i in range(row["child_count"]):
        first = row["child_first"] + i * row["child_step"]
        child = row["child_source"], row["child_stream"], first, row["child_revision"]
        for j in range(row["parent_width"]):
            number = row["parent_first"] + i * row["parent_step"] + j
            yield child, (row["parent_source"], row["parent_stream"], number, row["parent_revision"])


class Judge:
    """Checks whole lineage against the laws; `counts` has what was checked, so that no check is vacuous."""

    def __init__(
        self, prose: Prose, rows: Mapping[str, Sequence[Row]], before: Mapping[Key, Event] | None = None
    ) -> None:
        self.prose, self.counts = prose, Counter[str]()
        self.parents: dict[Key, list[Key]] = defaultdict(list)
        self._declassified: set[Key] = set()
        for row in rows["edges"]:
            for child, parent in expanded(row):
                self.parents[child].append(parent)
                if row["declassifier"]:
                    self._declassified.add(child)
        self.revisions = Counter(
            (row["source"], row["stream"], row["first"] + i * row["step"])
            for row in rows["events"]
            for i in range(row["count"])
        )
        self.events = dict(before or {})
        #: By source, stream, number and sink: those about all revisions of an event, in order.
        self.decisions: dict[tuple[str, str, int, str], list[Row]] = defaultdict(list)
        for row in rows["decisions"]:
            for i in range(row["count"]):
                number = row["first"] + i * row["step"]
                self.decisions[row["source"], row["stream"], number, row["sink"]].append(row)
        for row in rows["events"]:
            self._take(row)

    def _take(self, row: Row) -> None:
        """Add the events of a row; parents must come before their children."""
        label = self.prose.read(row["label"])
        for i in range(row["count"]):
            key = row["source"], row["stream"], row["first"] + i * row["step"], row["revision"]
            assert key not in self.events, f"{key} stands twice"
            parents = [self.events[parent] for parent in self.parents.get(key, ())]
            span_ns = row["t_last_ns"] - row["t_first_ns"]
            own_ns = row["t_first_ns"] + span_ns * i // max(row["count"] - 1, 1)
            event = Event(
                row["kind"],
                row["zone"],
                label,
                row["consent"],
                row["wearer"],
                row["topic"],
                min(
                    [parent.oldest_ns for parent in parents if parent.wearer] or [own_ns, row["appended_ns"]]
                ),
                row["source"],
                row["stream"],
            )
            self.events[key] = event
            if parents:
                self._inherits(key, event, parents)
            elif row["wearer"]:
                assert label == self.prose.captured(row["kind"], row["zone"]), key

    def _inherits(self, key: Key, event: Event, parents: Sequence[Event]) -> None:
        """Check the laws for one derived event and all its edges."""
        labels = [parent.label for parent in parents]
        whole = self.prose.derived(event.kind, labels)
        if key in self._declassified:
            assert event.label == Label(**{**vars(whole), "days": event.label.days}), key
        else:
            assert not event.label.loosens(labels), key
            assert event.label == whole, key
        assert event.zone == self.prose.highest(parent.zone for parent in parents), key
        mine = [parent for parent in parents if parent.wearer]
        if event.wearer:
            assert mine, key
            assert {parent.wearer for parent in mine} == {event.wearer}, key
            assert {parent.incarnation for parent in mine} == {event.incarnation}, key
            assert event.consent == min(parent.consent for parent in mine), key
        for sink in (event.topic, "store"):
            rows = self.decisions[*key[:3], sink]
            assert len(rows) == self.revisions[key[:3]], (key, sink)
            row = rows[key[3]]
            assert (row["verdict"], row["zone"], self.prose.read(row["label"]), row["consent"]) == (
                "allow",
                event.zone,
                event.label,
                event.consent,
            ), (key, sink)
        self.counts[event.kind] += 1
        self.counts["labels differ"] += len(set(labels)) > 1
        self.counts["zones differ"] += len({parent.zone for parent in parents}) > 1
        self.counts["consents differ"] += len({parent.consent for parent in mine}) > 1
        self.counts["declassified"] += key in self._declassified
        self.counts["edges"] += len(parents)
        self.counts["revisions"] += key[3] > 0

    def kinds_of_parents(self, key: Key) -> list[str]:
        """Kind of each parent of an event but those that it replaced, sorted."""
        return sorted(self.events[parent].kind for parent in self.parents[key] if parent[1] != key[1])
