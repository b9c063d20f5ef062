"""A record that no agent wrote is found by its place on each of their topics and harms nobody who counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.ledger.records import Records, run_of
from streams.topology import ANSWERS, DERIVED, EXAMPLES, ZONED
from tests.ledger.test_ledger import digest
from tests.ledger.test_topics import CLEAN, Headers, found, headers, said

#: A stream of each topic, and the first run of it there.
RUNS = {topic: CLEAN[topic][0] for topic in (ZONED, DERIVED, ANSWERS, EXAMPLES)}
TOPICS = pytest.mark.parametrize("topic", RUNS)
#: The partition that a forger chose; agents write to another.
ELSEWHERE = 3


@TOPICS
def test_an_id_that_no_agent_wrote(tmp_path: Path, topic: str) -> None:
    stream = RUNS[topic][0]
    counts, findings = found(tmp_path, CLEAN, (topic, headers(stream, 9000, 1, 1), b"forged", ELSEWHERE))
    assert findings[0] == (
        f"1 records of {topic} were written by no agent: g1/{stream}/9000 (partition 3, offset 50)"
    )
    assert counts["forged"] == 1


@TOPICS
def test_another_value_under_an_id_that_an_agent_wrote(tmp_path: Path, topic: str) -> None:
    counts, findings = found(tmp_path, CLEAN, (topic, headers(*RUNS[topic]), b"forged", 0))
    stream, first, _, _ = RUNS[topic]
    assert findings[0] == (
        f"1 records of {topic} hold something else than an agent wrote under their ids:"
        f" g1/{stream}/{first} (partition 0, offset 50)"
    )
    assert (counts["forged"], counts["events_missing"]) == (1, 0)


@TOPICS
def test_another_run_under_an_id_that_an_agent_wrote(tmp_path: Path, topic: str) -> None:
    stream, first, step, count = RUNS[topic]
    longer = headers(stream, first, step, count + 1)
    counts, findings = found(tmp_path, CLEAN, (topic, longer, said(stream, first), 0))
    assert "hold something else than an agent wrote" in findings[0]
    assert counts["forged"] == 1


@TOPICS
def test_a_copy_of_what_an_agent_wrote(tmp_path: Path, topic: str) -> None:
    stream, first, step, count = RUNS[topic]
    counts, findings = found(
        tmp_path, CLEAN, (topic, headers(stream, first, step, count), said(stream, first), ELSEWHERE)
    )
    assert findings[0] == (
        f"1 records of {topic} are copies of records that an agent wrote once:"
        f" g1/{stream}/{first} (partition 3, offset 50)"
    )
    assert counts["events_twice"] == count


def test_a_copy_elsewhere_is_the_copy_even_where_its_offset_is_lower(tmp_path: Path) -> None:
    runs = CLEAN | {ANSWERS: []}
    _, findings = found(
        tmp_path,
        runs,
        (ANSWERS, headers("answer", 7, 1, 1), said("answer", 7), ELSEWHERE),
        (ANSWERS, headers("answer", 7, 1, 1), said("answer", 7), 0),
    )
    assert findings == [
        "1 records of glasses.answers are copies of records that an agent wrote once:"
        " g1/answer/7 (partition 3, offset 50)"
    ]


@TOPICS
def test_a_forged_record_alone_does_not_stand_for_the_one_that_is_gone(tmp_path: Path, topic: str) -> None:
    runs = CLEAN | {topic: CLEAN[topic][1:]}
    counts, findings = found(tmp_path, runs, (topic, headers(*RUNS[topic]), b"forged", 0))
    assert "hold something else than an agent wrote" in findings[0]
    assert counts["events_missing"] == RUNS[topic][3]


@TOPICS
def test_a_forged_record_is_not_believed_where_nothing_is_sealed(tmp_path: Path, topic: str) -> None:
    """It names the digest that lineage has, and says that this is of what it sealed."""
    stream, first, *_ = RUNS[topic]
    claims = {
        "sightline-digest": digest(said(stream, first)).encode(),
        "content-encoding": b"sightline-sealed",
    }
    runs = CLEAN | {topic: CLEAN[topic][1:]}
    counts, findings = found(tmp_path, runs, (topic, {**headers(*RUNS[topic]), **claims}, b"forged", 0))
    assert "hold something else than an agent wrote" in findings[0]
    assert counts["events_missing"] == RUNS[topic][3]


UNREADABLE: dict[str, Headers] = {
    "no headers": {},
    "no run": {"ce_id": b"g1/activity/0"},
    "no id": {"sightline-run": b"0 1 1"},
    "headers without a value": {"ce_id": None, "sightline-run": None},
    "no numbers": headers("activity", 0, 1, 1) | {"sightline-run": b"a b c"},
    "another number than the run's": headers("activity", 0, 1, 1) | {"sightline-run": b"5 1 1"},
    "a run of nothing": headers("activity", 0, 1, 0),
    "a run that stands still": headers("activity", 0, 0, 5),
    "a negative number": headers("activity", -4, 1, 1),
    "more events than numbers": headers("activity", 2**62, 1, 2),
    "numbers that no machine counts": headers("activity", 10**40, 10**40, 10**40),
    "a run that would fill the memory": headers("activity", 0, 2, 10**9),
    "a name that writes on a terminal": headers("activity\x1b[2J", 0, 1, 1),
    "a name without end": headers("activity" * 1000, 0, 1, 1),
    "no text": {"ce_id": b"\xff/\xfe/0", "sightline-run": b"0 1 1"},
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_names_no_events_as_an_agent_does_is_unreadable(what: str) -> None:
    assert run_of(UNREADABLE[what]) is None


@TOPICS
def test_an_unreadable_record_is_found_with_its_place(tmp_path: Path, topic: str) -> None:
    further = [(topic, named, None, ELSEWHERE) for named in UNREADABLE.values()]
    counts, findings = found(tmp_path, CLEAN, *further)
    (sentence,) = findings
    assert sentence.startswith(
        f"15 records of {topic} do not say which events they hold, as an agent's do: partition 3, offset 50, "
    )
    assert sentence.endswith("offset 54 …")
    assert counts["forged"] == len(UNREADABLE)


def test_a_device_leaves_no_number_out() -> None:
    records = Records(whole=True)
    records.take(headers("imu", 0, 2, 4000), b"", 0, 0)
    assert (len(records), records.unread) == (0, [(0, 0)])
