"""Data that a device sent and that are not what the store has under their numbers are missing, and named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.events.journal import Sent, ack_line, sent_line, truth_line
from streams.ledger import lines, run_ledger
from streams.ledger.journal import Batches
from streams.ledger.result import Ledger
from streams.ledger.runs import Data, intervals, size, unaccounted
from tests.ledger.test_ledger import captured, digest, good, journal, value
from tests.snapshots.build import T0_NS, Row, event, row, store, stream

OTHER = b'{"first":20,"said":"by the second run"}'


def rejected(rule: str, said: bytes, first: int, count: int = 20, **columns: Any) -> Row:
    about = {"source": "g1", "stream": "imu", "first": first, "count": count, "digest": digest(said)}
    return row("rejected", **about, stage="zones", rule=rule, zone="", **columns)


def run(tmp_path: Path, rows: dict[str, list[Row]], *further: tuple[int, bytes]) -> Ledger:
    """The ledger where the device, in a second run, also sent `further` (first number, bytes)."""
    path = journal(tmp_path / "journal")
    text = b"".join(
        sent_line(Sent(f"g1/imu/{first}", b"g1", said, (), 0, T0_NS, "imu", first, 20))
        + ack_line(f"g1/imu/{first}", 0, 100 + i, T0_NS, T0_NS, T0_NS)
        for i, (first, said) in enumerate(further)
    )
    (path / "g1-again.jsonl").write_bytes(text)
    return run_ledger(path, None, store(tmp_path / "store", rows))


def test_other_data_under_a_taken_number_are_missing_whatever_the_pipeline_says(tmp_path: Path) -> None:
    rows = good()
    rows["rejected"].append(rejected("repeat", OTHER, 20))
    result = run(tmp_path, rows, (20, OTHER), (40, value(40)))
    assert (result["events_sent"], result["events_stored"], result["events_rejected"]) == (120, 80, 20)
    assert (result["events_missing"], result["events_other_data"]) == (20, 20)
    assert result["findings"] == [
        "20 events were sent under numbers that other data have, so they are missing: g1/imu/20-39"
    ]
    said = lines(result)
    assert "missing   20, 20 of them because other data have their numbers" in said
    assert said[-1] == "not clean"


def test_of_an_erased_device_nothing_is_compared(tmp_path: Path) -> None:
    """Its journal has what the store has not any more; what it sent under a later consent has no journal."""
    rows = good()
    rows["streams"].append(stream("g2", "imu"))
    rows["events"].append(event("g2", "imu", 900, 20, digest=digest(b"later")))
    path = journal(tmp_path / "journal")
    gone = Sent("g2/imu/0", b"g2", b"gone", (), 0, T0_NS, "imu", 0, 20)
    truth = truth_line("g2", "imu", 0, 20, "public")
    (path / "g2-backup.jsonl").write_bytes(truth + sent_line(gone))
    of = store(tmp_path / "store", rows)
    without = run_ledger(path, None, of, erased=["g2"])
    assert (without["findings"], without["events_sent"], without["zone_truth_checked"]) == ([], 100, 100)
    assert run_ledger(path, None, of)["findings"] == [
        "20 events were sent and are neither stored nor rejected: g2/imu/0-19",
        "20 events are stored and no journal knows them: g2/imu/900-919",
    ]


def test_a_collision_that_the_pipeline_names_is_missing_even_where_no_journal_has_it(tmp_path: Path) -> None:
    rows = good()
    rows["rejected"] += [rejected("collision", OTHER, 20)] * 2
    with_journal = run(tmp_path / "a", rows, (20, OTHER))
    without = run(tmp_path / "b", rows)
    for result in (with_journal, without):
        assert (result["events_sent"], result["events_missing"], result["batches_rejected"]) == (120, 20, 1)
        assert "20 events were sent under numbers that other data have" in result["findings"][0]
    assert len(with_journal["findings"]) == 1


def test_numbers_that_nobody_could_read_are_claims_and_take_no_place(tmp_path: Path) -> None:
    rows = good()
    # A spoilt copy of what is stored, which no journal has; and a batch that came spoilt and is known by its
    # digest alone, whatever numbers it claims.
    rows["rejected"][0] = rejected("malformed", value(80), 5000)
    rows["rejected"].append(rejected("malformed", b"spoilt", 20))
    clean, spoilt = run(tmp_path / "a", good()), run(tmp_path / "b", rows)
    assert (clean["findings"], spoilt["findings"]) == ([], [])
    names = ("events_stored", "events_rejected", "events_missing", "events_twice")
    assert [dict(spoilt)[name] for name in names] == [dict(clean)[name] for name in names]
    # They are told all the same, those that no journal has too.
    assert (clean["events_claimed"], spoilt["events_claimed"]) == (0, 40)
    assert (
        "rejected  20 events in 2 batches: 2 by malformed; what nobody could read claims 40 events"
        in lines(spoilt)
    )
    assert "claim" not in " ".join(lines(clean))


def test_claims_past_64_bits_are_counted(tmp_path: Path) -> None:
    rows = good()
    rows["rejected"] += [
        rejected("malformed", b"spoilt %d" % each, 0, 2**62) | {"source": f"g{each}"} for each in range(3)
    ]
    assert run(tmp_path, rows)["events_claimed"] == 3 * 2**62


def test_what_is_stored_with_data_that_no_journal_has_is_found(tmp_path: Path) -> None:
    rows = good()
    rows["events"][1]["digest"] = digest(OTHER)
    result = run(tmp_path, rows)
    assert result["findings"] == [
        "20 events were sent under numbers that other data have, so they are missing: g1/imu/20-39",
        "20 events are stored and no journal knows them: g1/imu/20-39",
    ]


def test_parts_of_a_split_batch_are_what_was_sent(tmp_path: Path) -> None:
    rows = good()
    source = digest(value(20))
    rows["events"][1:2] = [
        captured(20, 5, zone="home-private", digest="aa", split_from=source),
        captured(25, 15, zone="home-private", digest="bb", split_from=source),
    ]
    assert run(tmp_path / "good", rows)["clean"]
    rows["events"][2]["split_from"] = digest(OTHER)
    assert run(tmp_path / "bad", rows)["events_other_data"] == 15


@pytest.mark.parametrize("rule", ["pairing", "too-late", "incarnation", "names"])
def test_a_copy_of_what_is_stored_that_nobody_could_recognise_is_not_twice(tmp_path: Path, rule: str) -> None:
    rows = good()
    rows["rejected"] += [rejected(rule, value(20), 20), rejected(rule, value(80), 80)]
    result = run(tmp_path, rows)
    assert result["clean"], result["findings"]
    assert (result["events_twice"], result["events_stored"], result["events_rejected"]) == (0, 80, 20)


def test_every_rule_accounts_for_what_it_refused_and_is_counted(tmp_path: Path) -> None:
    rows = good()
    rules = ["pairing", "clock", "too-late", "incarnation", "names", "consent: number 3 without 2"]
    sent = [(100 + 20 * i, value(100 + 20 * i)) for i in range(len(rules))]
    rows["rejected"] += [rejected(rule, said, first) for rule, (first, said) in zip(rules, sent, strict=True)]
    rows["rejected"].append(rejected("malformed", value(300), 0, 0) | {"source": "", "stream": ""})
    result = run(tmp_path, rows, *sent, (300, value(300)))
    assert result["clean"], result["findings"]
    assert (result["events_sent"], result["events_rejected"]) == (240, 160)
    line = next(line for line in lines(result) if line.startswith("rejected"))
    assert line == (
        "rejected  160 events in 8 batches: 1 by clock, 1 by consent, 1 by incarnation, 1 by malformed,"
        " 1 by names, 1 by pairing, 1 by policy, 1 by too-late"
    )


def test_policy_alone_is_not_listed(tmp_path: Path) -> None:
    assert "rejected  20 events in 1 batches" in lines(run(tmp_path, good()))


def test_refused_before_its_zone_was_looked_at_says_nothing_about_the_zone(tmp_path: Path) -> None:
    rows = good()
    rows["events"] = [one for one in rows["events"] if one["first"] != 60]
    rows["edges"] = []
    rows["rejected"].append(rejected("pairing", value(60), 60))
    result = run(tmp_path, rows)
    assert result["clean"], result["findings"]
    assert result["zone_truth_checked"] == 80


def test_a_batch_that_the_journal_has_again_is_one_and_other_data_are_another() -> None:
    batches = Batches()
    for said in (b"a", b"b", b"a", b"b"):
        batches.sent(0, 20, 5, said * 16)
    assert (len(batches.first), bytes(batches.digests)) == (2, b"a" * 16 + b"b" * 16)


pieces = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 6), st.integers(0, 2)), max_size=6)


@given(pieces, pieces, st.sampled_from([0, 2**61]))
def test_unaccounted_counts_like_counting(
    wanted: list[tuple[int, int, int]], known: list[tuple[int, int, int]], begin: int
) -> None:
    def data(some: list[tuple[int, int, int]]) -> Data:
        runs = intervals([begin + first for first, _, _ in some], [count for _, count, _ in some])
        return Data(runs, np.array([(said, -said) for _, _, said in some], np.int64).reshape(-1, 2))

    def pairs(some: list[tuple[int, int, int]]) -> set[tuple[int, int]]:
        return {(said, begin + first + i) for first, count, said in some for i in range(count)}

    found = unaccounted(data(wanted), data(known))
    left = pairs(wanted) - pairs(known)
    assert size(found) == len(left)
    assert {n for low, high in found.tolist() for n in range(low, high)} == {n for _, n in left}


def test_derived_events_are_no_data_of_a_device(tmp_path: Path) -> None:
    rows = good()
    rows["events"].append(event("g1", "activity", 500, kind="activity", digest="cc"))
    assert run(tmp_path, rows)["clean"]
