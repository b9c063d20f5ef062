"""Lineage rows state exactly what the records of the same fetch contain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from streams.events.headers import PARENTS, RUN, unpack_parents
from streams.events.record import Outgoing
from streams.events.runs import EdgeRun, Run
from streams.lineage import record
from streams.lineage.tables import TABLES
from streams.topology import ANSWERS, DERIVED, EXAMPLES, REJECTED, ZONED
from tests import build


@pytest.fixture(scope="module")
def records() -> list[Outgoing]:
    """Records that one large fetch of two devices writes.

    The fetch has holes, a change of zone, queries, feedback, refused and repeated batches.
    """
    batches = []
    for source in ("g1", "g2"):
        for i in (*range(12), *range(14, 30), 3):
            around = {"place": "street"} if i > 20 else {"consent": 0} if i < 2 else {}
            batches.append(build.imu(1.2, i * 20, 20, source=source, **around))
        t = build.T0_NS + 10**10
        for number in range(3):
            batches.append(build.query(number, "wake me at seven", t + number, source=source))
            batches.append(
                build.feedback(
                    number, f"{source}/answer/{number}", "alarm_set", t + 10**9 + number, source=source
                )
            )
        batches.append(build.ended(0, t + 10**10, source=source))
    written, _ = build.process(build.core(), [build.fetch(batches)])
    return written


def table(records: Sequence[Outgoing], name: str) -> list[dict[str, Any]]:
    return build.lineage(records).get(name, [])


def events_of(one: Outgoing) -> tuple[str, str, Run]:
    headers = dict(one.headers)
    source, stream, _ = headers["ce_id"].decode().split("/")
    first, step, count = map(int, headers[RUN].split())
    return source, stream, Run(first, step, count)


def test_every_edge_is_that_of_a_parents_header_and_the_other_way_round(records: list[Outgoing]) -> None:
    by_header: Counter[tuple[str, str, int, str, str, int]] = Counter()
    for one in records:
        packed = dict(one.headers).get(PARENTS)
        if packed is not None:
            source, stream, run = events_of(one)
            for parent in unpack_parents(source, run.first, packed):
                by_header.update(
                    (source, stream, child, parent.source, parent.stream, number)
                    for child, number in EdgeRun(run, parent.first, parent.step, parent.width).pairs()
                )
    by_row: Counter[tuple[str, str, int, str, str, int]] = Counter()
    for row in table(records, "edges"):
        edges = EdgeRun(
            Run(row["child_first"], row["child_step"], row["child_count"]),
            row["parent_first"],
            row["parent_step"],
            row["parent_width"],
        )
        by_row.update(
            (
                row["child_source"],
                row["child_stream"],
                child,
                row["parent_source"],
                row["parent_stream"],
                number,
            )
            for child, number in edges.pairs()
        )
    assert by_row == by_header
    assert max(by_row.values()) == 1
    assert (
        len(table(records, "edges")) < sum(one.topic in (DERIVED, ANSWERS, EXAMPLES) for one in records) * 2
    )


#: Sinks that events of a kind cross besides their topic and the store: stages, and `glasses.consents`.
TAKEN_BY = {
    **dict.fromkeys(("imu", "gaze", "audio_level", "location", "device_state"), ("processing",)),
    "voice_query": ("processing", "assistant"),
    "situation": ("assistant",),
    "erasure_request": ("assistant",),
    "feedback": ("feedback",),
    "consent_change": ("glasses.consents",),
}


def test_every_event_written_has_one_row_and_one_decision_a_crossing(records: list[Outgoing]) -> None:
    written: Counter[tuple[str, str, int]] = Counter()
    crossed: Counter[tuple[str, str, int, str]] = Counter()
    for one in records:
        if one.topic in (ZONED, DERIVED, ANSWERS, EXAMPLES):
            source, stream, run = events_of(one)
            written.update((source, stream, number) for number in run)
            kind = orjson.loads(one.value or b"")["kind"]
            crossed.update(
                (source, stream, number, sink)
                for number in run
                for sink in (one.topic, "store", *TAKEN_BY.get(kind, ()))
            )
    rows = table(records, "events")
    named = [(row["source"], row["stream"]) for row in table(records, "streams")]
    assert sorted(named) == sorted({(row["source"], row["stream"]) for row in rows})
    assert (
        Counter(
            (row["source"], row["stream"], number)
            for row in rows
            for number in Run(row["first"], row["step"], row["count"])
        )
        == written
    )
    allowed = [row for row in table(records, "decisions") if row["passed"]]
    assert (
        Counter(
            (row["source"], row["stream"], number, row["sink"])
            for row in allowed
            for number in Run(row["first"], row["step"], row["count"])
        )
        == crossed
    )


def test_every_reject_has_a_row_and_repeats_have_only_that(records: list[Outgoing]) -> None:
    rows = table(records, "rejected")
    assert sum(row["rule"] != "repeat" for row in rows) == sum(one.topic == REJECTED for one in records) > 0
    assert [(row["source"], row["first"], row["count"]) for row in rows if row["rule"] == "repeat"] == [
        ("g1", 60, 20),
        ("g2", 60, 20),
    ]


def test_rows_are_cut_into_bounded_records_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "LINEAGE_ROWS_MAX", 3)
    rows = {
        "streams": record.blocks("streams", [dict.fromkeys(TABLES["streams"], i) for i in range(7)]),
        "inputs": record.blocks("inputs", [dict.fromkeys(TABLES["inputs"], "9")]),
    }
    written = record.encode(rows, 2, b"k", 5)
    assert [row["source"] for row in table(written, "streams")] == list(range(7))
    assert [row["value"] for row in table(written, "inputs")] == ["9"]
    assert [sum(len(rows) for rows in build.lineage([one]).values()) for one in written] == [3, 3, 2]


def test_a_record_of_many_bytes_is_halved_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "RECORD_BYTES_MAX", 4000)
    rows = {
        "policies": record.blocks(
            "policies", [dict.fromkeys(TABLES["policies"], f"{i}" * 300) for i in range(9)]
        ),
        "streams": record.blocks("streams", [dict.fromkeys(TABLES["streams"], i) for i in range(7)]),
    }
    written = record.encode(rows, 0, b"k", 5)
    assert len(written) > 2
    assert all(len(one.value or b"") <= 4000 for one in written)
    assert len(table(written, "policies")) == 9
    assert [row["source"] for row in table(written, "streams")] == list(range(7))
