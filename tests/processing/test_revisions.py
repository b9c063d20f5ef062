"""What single late batches change, what they do not change, and what is too late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace as replace_state
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from streams.events.batch import Batch
from streams.limits import (
    DEVICE_STATE_BYTES_MAX,
    KEPT_WINDOWS_MAX,
    LOOK_BACK_WINDOWS,
    REVISION_MAX,
    STREAMS_PER_DEVICE_MAX,
)
from streams.processing.late import Told
from streams.processing.operators import Operators
from streams.processing.shipped import SHIPPED_OPERATORS
from streams.processing.windows import ClosedWindow, Columns
from streams.topology import DERIVED
from tests import build
from tests.processing import toys
from tests.processing.arrivals import CORE, MADE, captured, events, imu, kept, newest, parents_of, replaced


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
    kept_max = SHIPPED_OPERATORS.kept_max["activity"]
    windows = kept_max // 2 + 8
    early = imu(*(100 * at + first for at in range(windows) for first in (0, 40, 60, 80)))
    records, state = build.process(CORE, build.cut(early, sizes))
    assert 0 < len(kept(state)) <= kept_max <= KEPT_WINDOWS_MAX
    late = imu(*(100 * at + 20 for at in range(windows)))
    more, _ = build.process(CORE, [build.fetch(late, len(early))], state)
    refused = [row["first"] for row in build.lineage(more)["rejected"] if row["rule"] == "too-late"]
    assert refused == [100 * at + 20 for at in range(len(refused))]
    assert len(refused) == 8
    whole = {event.number for event in newest([*records, *more]) if event.parents == ((event.number, 100),)}
    assert whole == {100 * at for at in range(8, windows)}


@pytest.mark.parametrize(("stream", "length"), [("imu-right", 100), ("audio-level", 50), ("location", 5)])
def test_what_is_kept_of_all_streams_of_a_device_fits_its_state(stream: str, length: int) -> None:
    """Each window lacks one sample, so that it is kept and as large as a kept one can be."""
    count = length - 2
    sent = [
        captured(stream, length * at + 1, count, place="work", session="s" * 30)
        for at in range(KEPT_WINDOWS_MAX + 8)
    ]
    _, state = build.process(CORE, [build.fetch(sent)])
    assert len(kept(state)) == SHIPPED_OPERATORS.kept_max[{v: k for k, v in MADE.items()}[stream]]
    assert len(state.devices["g1"].dump()) * STREAMS_PER_DEVICE_MAX < 0.75 * DEVICE_STATE_BYTES_MAX


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


def test_an_event_has_a_highest_revision() -> None:
    """No window has that many samples, but a foreign program may have written the state."""
    _, before = build.process(CORE, [build.fetch(imu(0, 40, 60, 80, 100))])
    device = before.devices["g1"]
    look_back = device.kept["activity"]["imu-right"]
    first = replace(look_back.windows[0], made=((0, REVISION_MAX),))
    look_backs = {"activity": {"imu-right": replace(look_back, windows=(first, *look_back.windows[1:]))}}
    forged = replace_state(
        before, devices=before.devices.changed({"g1": replace(device, look_backs=look_backs)})
    )
    records, _ = build.process(CORE, [build.fetch(imu(20), 5)], forged)
    assert not events(records)
    rows = build.lineage(records)["rejected"]
    assert [(row["stage"], row["rule"], row["stream"], row["first"]) for row in rows] == [
        ("processing", "revision", "activity", 0)
    ]


def test_samples_that_an_operator_cannot_have_kept_are_refused_with_the_state() -> None:
    _, before = build.process(CORE, [build.fetch(imu(0, 40, 60, 80, 100))])
    value = before.devices["g1"].dump()
    assert CORE.readable("g1", value)
    for samples, name in ((b"x" * 7, "activity"), (b"x" * 808, "activity"), (b"x" * 160, "fixation")):
        look_back = before.devices["g1"].kept["activity"]["imu-right"]
        window = replace(look_back.windows[0], window=replace(look_back.windows[0].window, samples=samples))
        forged = replace(
            before.devices["g1"],
            look_backs={name: {"imu-right": replace(look_back, windows=(window,))}},
        )
        assert not CORE.readable("g1", forged.dump())


def test_an_open_window_that_late_samples_fill_is_made_at_once() -> None:
    """What came after the missing samples has no consent, so that the window stayed open."""
    made, _ = made_of([*imu(0, 20, 40, 60), *imu(100, consent=0), *imu(80)])
    assert made == {"activity/0": ((0, 100),)}


@pytest.mark.parametrize("sizes", [[1], [2, 3]])
def test_an_end_among_late_batches_leaves_the_same_state_however_fetches_were_cut(sizes: list[int]) -> None:
    end = build.ended(0, build.T0_NS, place="work", session="s0")
    late = [captured("imu-right", first, 10, place="work") for first in (20, 30)]
    sent = [*imu(0, session="s0"), *imu(40, 60, 80, 100), *late, end]
    whole, state = build.process(CORE, [build.fetch(sent)])
    pieces, state_of_pieces = build.process(CORE, build.cut(sent, sizes))
    assert events(pieces) == events(whole)
    assert state_of_pieces.devices["g1"].dump() == state.devices["g1"].dump()
    # No number is missing any more, so nothing can change the windows beside those that were.
    assert not kept(state)


def test_on_the_topic_events_stand_in_the_order_in_which_they_were_completed() -> None:
    sent = imu(0, 40, 60, 80, 20, 100, 120, 140, 160, 180)
    in_one_fetch, _ = build.process(CORE, [build.fetch(sent)])
    one_by_one, _ = build.process(CORE, build.cut(sent, [1]))
    assert list(events(in_one_fetch)) == list(events(one_by_one))
    assert list(events(in_one_fetch))[-1] == ("activity", 100, 0)


def test_where_no_event_is_made_of_the_whole_the_former_ones_stay_and_it_is_on_record() -> None:
    def of_few(closed: Sequence[ClosedWindow]) -> list[Columns | None]:
        return [{"mean_c": 1.0} if window.count <= 2 else None for window in closed]

    operator = replace_state(toys.CLIMATE, length=5, makes=of_few)
    core = toys.core_of(operators=Operators.of(toys.KINDS, *SHIPPED_OPERATORS.values(), toys.SHAKE, operator))
    sent = [
        build.batch("env", None, first, count, columns={"temperature_c": [20.0] * count})
        for first, count in ((0, 2), (3, 2), (5, 5), (2, 1))
    ]
    records, state = build.process(core, [build.fetch(sent)])
    assert sorted(events(records)) == [("climate", 0, 0), ("climate", 3, 0)]
    assert not replaced(records)
    assert [
        (row["stage"], row["rule"], row["outcome"], row["stream"], row["first"])
        for row in build.lineage(records)["rejected"]
    ] == [("processing", "revision", "refused", "climate", 0)]
    assert not kept(state)


@pytest.mark.parametrize("sizes", [[1], [2, 3]])
def test_an_end_between_batches_in_order_keeps_nothing_however_fetches_were_cut(sizes: list[int]) -> None:
    def fixes(*firsts: int, **around: Any) -> list[Batch]:
        return [captured("location", first, 1, place="work", **around) for first in firsts]

    end = build.ended(0, build.T0_NS, place="work", session="s1")
    sent = [*fixes(0, 1), end, *fixes(2, 3, 4, 5, session="s2")]
    for fetches in ([build.fetch(sent)], build.cut(sent, sizes)):
        assert not kept(build.process(CORE, fetches)[1])
