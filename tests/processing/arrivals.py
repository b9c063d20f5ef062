"""What glasses captured, the orders in which it arrives, and what is in force of it in the end."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import orjson
from hypothesis import strategies as st

from streams.events.batch import Batch
from streams.events.headers import PARENTS, ZONE, unpack_parents
from streams.events.record import Outgoing
from streams.events.runs import Parent
from streams.events.state import KeptWindow
from streams.pipeline.partition import PartitionState
from streams.topology import DERIVED
from tests import build

CORE = build.core()
#: Length of windows by the stream that is read, and the stream that is made of it.
LENGTHS = {"imu-right": 100, "audio-level": 50, "location": 5}
MADE = {"activity": "imu-right", "speech": "audio-level", "place": "location"}
#: Places by their zone; without consent the zones refuse a batch, so no operator reads it.
ZONES = {"work": "public", "home": "home-private", "clinic": "health"}
SIZES = {"imu-right": [5, 10, 20, 30, 110], "audio-level": [5, 10, 25], "location": [1, 2, 3]}
KINDS = {"imu-right": "imu", "audio-level": "audio_level", "location": "location"}


class Event(NamedTuple):
    """What is said of a derived event, with its captured parents as (first, width)."""

    stream: str
    number: int
    parents: tuple[tuple[int, int], ...]
    zone: str
    columns: str
    t0_ns: int


def captured(stream: str, first: int, count: int, **around: Any) -> Batch:
    """A batch whose values depend on its numbers only; all fixes are at one place."""
    columns: dict[str, list[Any]] = {}
    if stream == "imu-right":
        columns = {
            "accel_z_mps2": [9.80665 + number * 7919 % 13 / 4 for number in range(first, first + count)]
        }
    elif stream == "audio-level":
        columns = {"rms_dbfs": [-70.0 + number * 7919 % 23 for number in range(first, first + count)]}
    return build.batch(KINDS[stream], stream, first, count, columns=columns, **around)


@st.composite
def days(draw: st.DrawFn) -> list[Batch]:
    """What one pair of glasses captured, in order: sessions, places, times without consent.

    In the end a session begins and ends that arrives in order, so that nothing stays open.
    """
    numbers = dict.fromkeys(LENGTHS, 0)
    batches, session, states = list[Batch](), 1, 0
    around: dict[str, Any] = {"place": "work", "consent": 1}
    t0_ns = build.T0_NS
    for _ in range(draw(st.integers(5, 40))):
        turn = draw(
            st.sampled_from([*["imu-right"] * 6, *["audio-level"] * 3, *["location"] * 3, "place", "end"])
        )
        t0_ns += 200_000_000
        if turn == "place":
            around = {
                "place": draw(st.sampled_from(sorted(ZONES))),
                "consent": draw(st.sampled_from([1, 1, 1, 0])),
            }
        elif turn == "end":
            batches.append(build.ended(states, t0_ns, session=f"s{session}", place="work"))
            session, states = session + 1, states + 1
        else:
            count = draw(st.sampled_from(SIZES[turn]))
            batches.append(captured(turn, numbers[turn], count, session=f"s{session}", t0_ns=t0_ns, **around))
            numbers[turn] += count
    last: dict[str, Any] = {"session": "last", "place": "work", "t0_ns": t0_ns + 10**9}
    batches += [captured(stream, number, 1, **last) for stream, number in numbers.items()]
    batches.append(build.ended(states, t0_ns + 10**9, session="last", place="work"))
    return batches


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[list[Batch], list[Batch]]:
    """Batches as they were captured, and as they arrive: some come late, by up to 15 places."""
    batches = draw(days())
    moved, rest = batches[: -len(LENGTHS) - 1], batches[-len(LENGTHS) - 1 :]
    late = [draw(st.sampled_from([0, 0, 0, 1, 2, 5, 15])) for _ in moved]
    order = sorted(range(len(moved)), key=lambda at: (at + late[at], late[at] > 0, at))
    return batches, [*(moved[at] for at in order), *rest]


def parents_of(record: Outgoing) -> list[Parent]:
    value = orjson.loads(record.value or b"")
    return unpack_parents("g1", value["first"], dict(record.headers)[PARENTS])


def events(records: Sequence[Outgoing]) -> dict[tuple[str, int, int], Event]:
    """Every derived event by (stream, number, revision); there are no two of one id."""
    made: dict[tuple[str, int, int], Event] = {}
    for record in records:
        if record.topic == DERIVED:
            value = orjson.loads(record.value or b"")
            own = (value["stream"], value["first"], value.get("revision", 0))
            assert own not in made
            made[own] = Event(
                *own[:2],
                tuple((p.first, p.width) for p in parents_of(record) if p.stream != own[0]),
                dict(record.headers)[ZONE].decode(),
                orjson.dumps(value["columns"]).decode(),
                value["t0_ns"],
            )
    return made


def replaced(records: Sequence[Outgoing]) -> list[tuple[str, int, int]]:
    """Derived events that a later one has an edge to, as (stream, number, revision)."""
    return [
        (parent.stream, parent.first, parent.revision)
        for record in records
        if record.topic == DERIVED
        for parent in parents_of(record)
        if parent.stream == orjson.loads(record.value or b"")["stream"]
    ]


def newest(records: Sequence[Outgoing]) -> set[Event]:
    """Events in force: those that no other replaces. Each is replaced once, and a revision replaces one."""
    made, gone = events(records), replaced(records)
    assert len(gone) == len(set(gone))
    assert made.keys() >= set(gone)
    for stream, number, revision in made:
        assert revision == 0 or (stream, number, revision - 1) in gone
    return {event for own, event in made.items() if own not in gone}


def expected(batches: Sequence[Batch]) -> set[tuple[str, int, tuple[tuple[int, int], ...], str]]:
    """The windows of a day by the law book, from its single events in order of their numbers."""
    windows = set[tuple[str, int, tuple[tuple[int, int], ...], str]]()
    for made, read in MADE.items():
        numbers = [
            (number, batch)
            for batch in sorted(batches, key=lambda batch: batch.run.first)
            if batch.stream == read
            for number in batch.run
        ]
        for (_, place, _, consent), some in groupby(
            numbers,
            key=lambda item: (
                item[1].session_id,
                item[1].context and item[1].context.place,
                item[0] // LENGTHS[read],
                item[1].consent,
            ),
        ):
            own = [number for number, _ in some]
            if consent:
                windows.add((made, own[0], ((own[0], len(own)),), ZONES[str(place)]))
    return windows


def kept(state: PartitionState) -> list[KeptWindow]:
    """All windows that are kept for late samples."""
    of = state.devices["g1"].kept.values()
    return [window for streams in of for look_back in streams.values() for window in look_back.windows]


def imu(*firsts: int, **around: Any) -> list[Batch]:
    """Batches of 20 samples each."""
    return [captured("imu-right", first, 20, place="work", **around) for first in firsts]
