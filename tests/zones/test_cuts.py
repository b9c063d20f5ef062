"""What the zones decide does not depend on how a journal was cut into fetches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.events.record import Fetch, Outgoing
from streams.pipeline.partition import PartitionState
from streams.topology import CAPTURED
from tests import build
from tests.consent.test_consents import BOTH, DAY_NS, SERVICE, T0_NS, change, core

journals = st.lists(
    st.tuples(
        st.sampled_from(["g1", "g2"]),
        st.sampled_from(["give", "both", "withdraw", "imu"]),
        st.integers(1, 3),
        st.integers(-(2 * DAY_NS), 2 * DAY_NS),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=12,
)


@given(journals, st.lists(st.integers(1, 5), min_size=1, max_size=12))
@settings(max_examples=150, deadline=None)
def test_however_fetches_are_cut_the_decisions_are_the_same(
    said: list[tuple[str, str, int, int, int]], cuts: list[int]
) -> None:
    """Devices' clocks and the broker's jump to and fro; what was said elsewhere comes at the same places."""
    batches, counted = [], dict[tuple[str, str], int]()
    for source, what, number, t_ns, expires_days in said:
        stream = "imu-right" if what == "imu" else "consent-change"
        first = counted.setdefault((source, stream), 0)
        counted[source, stream] += 20 if what == "imu" else 1
        if what == "imu":
            batches.append(build.batch(first=first, consent=number, source=source, t0_ns=T0_NS + t_ns))
        else:
            batches.append(
                change(
                    number,
                    "Withdrawn" if what == "withdraw" else "Given",
                    {"give": SERVICE, "both": BOTH, "withdraw": ""}[what],
                    event=first,
                    source=source,
                    t0_ns=T0_NS + t_ns,
                    expires_ns=T0_NS + t_ns + expires_days * DAY_NS if expires_days else None,
                )
            )
    records = [build.record(one, offset) for offset, one in enumerate(batches)]
    whole = events_of(build.process(core(), [Fetch(CAPTURED, 0, records)], PartitionState())[0])
    fetches, at = list[Fetch](), 0
    while at < len(records):
        size = cuts[len(fetches) % len(cuts)]
        fetches.append(Fetch(CAPTURED, 0, records[at : at + size]))
        at += size
    assert events_of(build.process(core(), fetches, PartitionState())[0]) == whole


def events_of(records: Sequence[Outgoing]) -> dict[tuple[str, str, int, str], tuple[Any, ...]]:
    """What was decided, event by event, and what was refused."""
    tables = build.lineage(records)
    found: dict[tuple[str, str, int, str], tuple[Any, ...]] = {}
    for row in tables.get("decisions", ()):
        for number in range(row["first"], row["first"] + row["step"] * row["count"], row["step"]):
            found[row["source"], row["stream"], number, row["sink"]] = (
                row["verdict"],
                row["zone"],
                row["label"],
                row["rule"],
                row["consent_state"],
            )
    for row in tables.get("rejected", ()):
        found[row["source"], row["stream"], row["first"], row["rule"]] = (row["count"], row["offset"])
    return found
