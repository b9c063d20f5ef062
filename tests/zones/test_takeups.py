"""What was said elsewhere is taken up between fetches and recorded; ones own word comes back as no input."""

from __future__ import annotations

import orjson
import pytest

from streams.consent.record import learn_consent
from streams.events.record import Fetch, StoredRecord
from streams.lineage.tables import CONSENT_TAKEUP
from streams.pipeline.partition import PartitionState
from streams.topology import CAPTURED, CONSENTS
from tests import build
from tests.consent.test_consents import BOTH, SERVICE, TRAINING, change, core, states, zones_of


def test_another_partition_hears_of_it_and_records_that_it_did() -> None:
    speaker, listener = build.core(), build.core()
    said, _ = build.process(speaker, [build.fetch([change(2, "Withdrawn")])])
    _, state = build.process(listener, [build.fetch([build.batch(first=0, source="g2")], 0, 1)])
    begun = state.consents_taken
    for at, one in enumerate(record for record in said if record.topic == CONSENTS):
        learn_consent(
            listener.followed.consents, StoredRecord(begun + at, one.timestamp_ms, one.key, one.value)
        )
    records, state = build.process(listener, [build.fetch([build.batch(first=20, source="g2")], 1, 1)], state)
    assert not zones_of(records)
    (row,) = [row for row in build.lineage(records)["inputs"] if row["kind"] == CONSENT_TAKEUP]
    ((wearer, word),) = orjson.loads(row["value"])
    assert (wearer, word["device"], word["number"], word["status"]) == ("w1", "g1", 2, "withdrawn")
    assert state.consents_taken == begun + 1
    assert listener.restore(1, listener.save(None, state)) == state


def test_ones_own_word_comes_back_without_being_an_input() -> None:
    of = core(("g1", "w1"))
    records, state = build.process(of, [build.fetch([change(1, "Given", BOTH)])], PartitionState())
    assert state.own
    assert of.restore(0, of.save(None, state)) == state
    (back,) = [one for one in records if one.topic == CONSENTS]
    learn_consent(of.followed.consents, StoredRecord(1, 0, back.key, back.value))
    again, after = build.process(of, [build.fetch([build.batch()], 1)], state)
    assert (after.own, after.consents_taken) == ({}, 2)
    assert "inputs" not in build.lineage(again)
    assert states(again) == [f"given for {TRAINING} {SERVICE}"]


def test_a_state_that_has_taken_more_than_the_worker_has_read_waits() -> None:
    of = core(("g1", "w1"))
    state = PartitionState(1, build.policy().version, 3)
    with pytest.raises(Exception, match="is read up to offset 1 here, not yet up to 3"):
        build.step(of, state, Fetch(CAPTURED, 0, build.fetch([build.batch()]).records), silent=True)
