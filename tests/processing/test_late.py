"""Whatever order batches arrive in, the newest revisions are those of the order of capture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.events.batch import Batch
from streams.events.headers import PARENTS, ZONE, unpack_parents
from streams.events.record import Outgoing
from streams.events.runs import Parent
from streams.events.state import KeptWindow
from streams.limits import KEPT_WINDOWS_MAX, LOOK_BACK_WINDOWS
from streams.pipeline.partition import PartitionState
from streams.processing.late import Told
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


@settings(max_examples=150, deadline=None)
@given(arrivals())
def test_the_newest_revisions_are_those_of_the_order_of_capture(
    days: tuple[list[Batch], list[Batch]],
) -> None:
    batches, arrived = days
    in_order, _ = build.process(CORE, build.cut(batches, [7]))
    any_order, state = build.process(CORE, [build.fetch(arrived)])
    assert not replaced(in_order)
    assert newest(any_order) == set(events(in_order).values())
    assert {event[:4] for event in newest(any_order)} == expected(batches)
    # When nothing is missing any more, only what the end of the last session closed can still change.
    assert all(window.ended for window in kept(state))


@settings(max_examples=60, deadline=None)
@given(arrivals(), st.lists(st.integers(1, 7), min_size=1, max_size=5))
def test_revisions_do_not_depend_on_how_fetches_were_cut(
    days: tuple[list[Batch], list[Batch]], sizes: list[int]
) -> None:
    _, arrived = days
    whole, end = build.process(CORE, [build.fetch(arrived)])
    pieces, end_of_pieces = build.process(CORE, build.cut(arrived, sizes))
    assert events(pieces) == events(whole)
    assert sorted(replaced(pieces)) == sorted(replaced(whole))
    assert end_of_pieces.devices["g1"].dump() == end.devices["g1"].dump()


@settings(max_examples=40, deadline=None)
@given(arrivals(), st.integers(0, 40))
def test_a_restart_before_a_late_batch_changes_nothing(
    days: tuple[list[Batch], list[Batch]], at: int
) -> None:
    fetches = build.cut(days[1], [3])
    at = min(at, len(fetches) - 1)
    first, before = build.process(CORE, fetches[: at + 1])
    undisturbed, end = build.process(CORE, fetches)
    restored = CORE.restore(0, CORE.save(None, before))
    assert restored == before
    rest, end_of_rest = build.process(CORE, fetches[at + 1 :], restored)
    assert events([*first, *rest]) == events(undisturbed)
    assert end_of_rest.devices["g1"].dump() == end.devices["g1"].dump()


def imu(*firsts: int, **around: Any) -> list[Batch]:
    """Batches of 20 samples each."""
    return [captured("imu-right", first, 20, place="work", **around) for first in firsts]


def made_of(batches: Sequence[Batch]) -> tuple[dict[str, tuple[tuple[int, int], ...]], dict[str, list[str]]]:
    """Derived events with their captured parents, and the events that they replace, by id without source."""
    records, _ = build.process(CORE, [build.fetch(batches)])
    own = [f"{stream}/{number}" + (f".{of}" if of else "") for stream, number, of in events(records)]
    gone: dict[str, list[str]] = {}
    for name, record in zip(own, (one for one in records if one.topic == DERIVED), strict=True):
        for parent in parents_of(record):
            if parent.stream == "activity":
                suffix = f".{parent.revision}" if parent.revision else ""
                gone.setdefault(name, []).append(f"activity/{parent.first}{suffix}")
    return dict(zip(own, (event.parents for event in events(records).values()), strict=True)), gone


def rejected(batches: Sequence[Batch]) -> list[tuple[str, str, str, int, int]]:
    records, _ = build.process(CORE, [build.fetch(batches)])
    rows = build.lineage(records).get("rejected", [])
    return [(row["stage"], row["rule"], row["outcome"], row["first"], row["count"]) for row in rows]


def test_a_late_batch_makes_the_next_revision_with_an_edge_to_what_it_replaces() -> None:
    made, gone = made_of(imu(0, 40, 60, 80, 100, 20))
    assert made == {
        "activity/0": ((0, 20),),
        "activity/40": ((40, 60),),
        "activity/0.1": ((0, 100),),
    }
    assert gone == {"activity/0.1": ["activity/0", "activity/40"]}


def test_each_late_batch_makes_a_revision_of_its_own() -> None:
    made, gone = made_of(imu(0, 80, 100, 60, 20, 40))
    assert made == {
        "activity/0": ((0, 20),),
        "activity/80": ((80, 20),),
        "activity/60": ((60, 40),),
        "activity/0.1": ((0, 40),),
        "activity/0.2": ((0, 100),),
    }
    assert gone == {
        "activity/60": ["activity/80"],
        "activity/0.1": ["activity/0"],
        "activity/0.2": ["activity/0.1", "activity/60"],
    }


def test_an_open_window_goes_on_with_late_samples_and_replaces_what_was_made_of_them() -> None:
    made, gone = made_of(imu(0, 40, 20, 60, 80))
    assert made == {"activity/0": ((0, 20),), "activity/0.1": ((0, 100),)}
    assert gone == {"activity/0.1": ["activity/0"]}


@pytest.mark.parametrize("around", [{"session": "s0"}, {"consent": 2}, {"people_near": "strangers"}])
def test_a_late_batch_of_another_session_consent_or_zone_changes_no_window(around: dict[str, Any]) -> None:
    late = captured("imu-right", 20, 20, **{"place": "work", **around})
    given = build.gives(2, 0, build.T0_NS, session="s1")
    made, gone = made_of([given, *imu(0, 40, 60, 80), late, *imu(100)])
    assert made == {"activity/0": ((0, 20),), "activity/40": ((40, 60),), "activity/20": ((20, 20),)}
    assert not gone


def test_a_late_batch_that_comes_twice_makes_one_revision() -> None:
    sent = imu(0, 40, 60, 80, 20)
    assert made_of([*sent, sent[-1], sent[0]]) == made_of(sent)
    assert rejected([*sent, sent[-1]]) == [("zones", "repeat", "repeated", 20, 20)]


def test_samples_of_a_session_that_has_ended_revise_what_its_end_closed() -> None:
    end = build.ended(0, build.T0_NS, place="work")
    made, gone = made_of([*imu(0), end, *imu(20, 40), *imu(60, session="s2")])
    assert made == {"activity/0": ((0, 20),), "activity/0.1": ((0, 40),), "activity/0.2": ((0, 60),)}
    assert gone == {"activity/0.1": ["activity/0"], "activity/0.2": ["activity/0.1"]}


def test_beyond_the_look_back_samples_are_too_late_and_it_is_on_record() -> None:
    ahead = (LOOK_BACK_WINDOWS + 1) * 100 - 20
    jumps = [
        captured("imu-right", first, min(2000, ahead - first), place="work")
        for first in range(100, ahead, 2000)
    ]
    before = [*imu(0, 40, 60, 80), *jumps]
    assert made_of([*before, *imu(20)])[1] == {"activity/0.1": ["activity/0", "activity/40"]}
    beyond = [*before, *imu(ahead), *imu(20)]
    assert not made_of(beyond)[1]
    assert rejected(beyond) == [("processing", "too-late", "late", 20, 1)]
    _, state = build.process(CORE, [build.fetch(beyond)])
    assert not kept(state)


@pytest.mark.parametrize("sizes", [[1000], [1], [7, 3]])
def test_windows_that_are_kept_are_bounded_and_what_they_would_need_is_too_late(sizes: list[int]) -> None:
    """In each window one batch is late. Of the oldest nothing is made, as their windows were given up."""
    windows = KEPT_WINDOWS_MAX // 2 + 8
    early = imu(*(100 * at + first for at in range(windows) for first in (0, 40, 60, 80)))
    records, state = build.process(CORE, build.cut(early, sizes))
    assert 0 < len(kept(state)) <= KEPT_WINDOWS_MAX
    late = imu(*(100 * at + 20 for at in range(windows)))
    more, _ = build.process(CORE, [build.fetch(late, len(early))], state)
    refused = [row["first"] for row in build.lineage(more)["rejected"] if row["rule"] == "too-late"]
    assert refused == [100 * at + 20 for at in range(len(refused))]
    assert len(refused) == 8
    whole = {event.number for event in newest([*records, *more]) if event.parents == ((event.number, 100),)}
    assert whole == {100 * at for at in range(8, windows)}


def cited_by(batches: Sequence[Batch], sizes: Sequence[int]) -> list[list[tuple[int, int]]]:
    """Number and revision of the activities that each situation cites."""
    records, _ = build.process(CORE, build.cut(batches, sizes))
    return [
        [(parent.first, parent.revision) for parent in parents_of(record) if parent.stream == "activity"]
        for record in records
        if record.topic == DERIVED and orjson.loads(record.value or b"")["kind"] == "situation"
    ]


def asked(number: int, after_s: float) -> Batch:
    return build.query(number, "wake me at seven", build.T0_NS + int(after_s * 10**9), place="work")


@pytest.mark.parametrize("sizes", [[1000], [1], [3, 2]])
def test_a_situation_cites_the_newest_revision_that_is_known(sizes: list[int]) -> None:
    batches = [*imu(0, 40, 60, 80), asked(0, 1.5), *imu(100, 120, 140, 160, 180), asked(1, 1.5), *imu(20)]
    # At the times of the last two the first second was the newest; the second one was over for the third.
    batches += [asked(2, 1.5), asked(3, 2.5)]
    assert cited_by(batches, sizes) == [[(40, 0)], [(40, 0)], [(0, 1)], [(100, 0)]]


@pytest.mark.parametrize("sizes", [[1000], [1], [5, 3]])
def test_many_late_samples_displace_nothing_that_a_situation_needs(sizes: list[int]) -> None:
    late = range(20, 4000, 100)
    on_time = [first for first in range(0, 4400, 20) if first not in late]
    batches = [*imu(*on_time), *imu(*late), asked(0, 45), asked(1, 39.5)]
    assert cited_by(batches, sizes) == [[(4300, 0)], [(3800, 1)]]


def test_a_late_batch_after_a_withdrawal_replaces_nothing() -> None:
    columns: dict[str, list[Any]] = {"consent": [2], "status": ["dpv:ConsentWithdrawn"], "purposes": [""]}
    withdrawn = build.batch("consent_change", None, 1, 1, columns=columns, t0_ns=build.T0_NS + 10**9)
    before = [build.gives(2, 0, build.T0_NS), *imu(0, 40, 60, 80, 100, consent=2), withdrawn]
    made, gone = made_of([*before, *imu(20, consent=2)])
    assert made == {"activity/0": ((0, 20),), "activity/40": ((40, 60),)}
    assert not gone


def test_an_event_stays_in_force_until_another_is_made_of_its_samples() -> None:
    first, other = Told(), Told()
    first.make(0)
    whole = Told((first, other))
    assert whole.superseded == whole.in_force == ((0, 0),)
    whole.make(0)
    assert whole.in_force == ((0, 1),)
    assert Told((whole,)).revision(0) == 2
