"""What a wearer says takes effect at its place in the partition, on that wearer alone.

It reaches back when it takes something away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from streams.events.batch import Batch
from streams.events.consent import Consent, ConsentRecord, Consents, standing
from streams.events.record import Fetch, Outgoing, StoredRecord
from streams.pipeline import CONSENT_TAKEUP, GlassesCore, PartitionState, learn_consent
from streams.topology import CAPTURED, CONSENTS, REJECTED, ZONED
from tests import build

SERVICE, TRAINING = "dpv:RequestedServiceProvision", "ai:ModelTraining"


def change(
    number: int, status: str, purposes: str, *, event: int = 0, wearer: str = "w1", **more: Any
) -> Batch:
    """One change of consent record `number`."""
    said: dict[str, list[Any]] = {
        "consent": [number],
        "status": [f"dpv:Consent{status}"],
        "purposes": [purposes],
    }
    said |= {name: [value] for name, value in more.items()}
    made = build.batch("consent_change", None, event, 1, t0_ns=build.T0_NS, columns=said)
    return structs.replace(made, wearer_id=wearer)


def zones_of(records: Sequence[Outgoing]) -> dict[str, str]:
    """Zone by id of what was let through."""
    return {
        dict(one.headers)["ce_id"].decode(): dict(one.headers)["sightline-zone"].decode()
        for one in records
        if one.topic == ZONED
    }


def decisions(records: Sequence[Outgoing], stream: str) -> list[tuple[str, str, str, str]]:
    return [
        (row["sink"], row["verdict"], row["rule"], row["consent_state"])
        for row in build.lineage(records)["decisions"]
        if row["stream"] == stream
    ]


@pytest.mark.parametrize("cut", [1, 3])
def test_a_withdrawal_takes_effect_from_its_place_on(cut: int) -> None:
    batches = [build.batch(first=0), change(1, "Withdrawn", ""), build.batch(first=20)]
    core = build.core()
    records, _ = build.process(core, [build.fetch(batches[at : at + cut], at) for at in range(0, 3, cut)])
    assert zones_of(records) == {"g1/imu-right/0": "home-private", "g1/consent-change/0": "rights"}
    refused = [one for one in records if one.topic == REJECTED]
    assert [(dict(one.headers)["ce_id"], one.value) for one in refused] == [(b"g1/imu-right/20", None)]
    assert ("glasses.zoned", "unconfigured", "no zone's condition holds", "withdrawn") in decisions(
        records, "imu-right"
    )


def test_a_wearer_who_opts_out_of_training_is_answered_and_not_learned_from() -> None:
    said = [
        change(1, "Given", SERVICE),
        build.query(0, "wake me at seven", build.T0_NS),
        build.feedback(0, "g1/answer/0", "alarm_set", build.T0_NS + 1),
    ]
    records, _ = build.process(build.core(), [build.fetch(said)])
    assert ("glasses.answers", "allow", "sinks.glasses.answers", f"given for {SERVICE}") in decisions(
        records, "answer"
    )
    (example,) = [one for one in records if one.topic == "glasses.examples"]
    assert orjson.loads(example.value or b"")["context"]["consent"] == 1


def test_consent_of_one_wearer_binds_no_other() -> None:
    other = structs.replace(build.batch(first=20), wearer_id="w2")
    records, _ = build.process(
        build.core(), [build.fetch([change(1, "Withdrawn", ""), build.batch(first=0), other])]
    )
    assert zones_of(records).keys() == {"g1/consent-change/0", "g1/imu-right/20"}


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (change(1, "Given", SERVICE, principal="w2"), "principal: found another wearer"),
        (change(1, "Given", SERVICE, expires_ns=build.T0_NS - 1), "expires_ns: found a time that is past"),
        (change(0, "Given", SERVICE), "consent: found no number of a consent record"),
        (change(1, "Sold", SERVICE), "status: found another one, expected one of dpv:ConsentGiven"),
        (change(1, "Given", "dpv:Marketing"), "purposes: found one that the policy does not know"),
    ],
)
def test_what_cannot_be_said_is_rejected_with_its_reason_and_changes_nothing(
    made: Batch, reason: str
) -> None:
    records, state = build.process(build.core(), [build.fetch([made, build.batch()])])
    (refused,) = [one for one in records if one.topic == REJECTED]
    assert reason in dict(refused.headers)["sightline-reason"].decode()
    assert zones_of(records) == {"g1/imu-right/0": "home-private"}
    assert not state.own
    assert not [one for one in records if one.topic == CONSENTS]


def test_another_partition_hears_of_it_and_records_that_it_did() -> None:
    speaker, core = build.core(), build.core()
    said, _ = build.process(speaker, [build.fetch([change(1, "Withdrawn", "")])])
    _, state = build.process(core, [build.fetch([build.batch(first=0, source="g2")], 0, 1)])
    for at, one in enumerate(record for record in said if record.topic == CONSENTS):
        learn_consent(core.tables.consents, StoredRecord(7 + at, one.timestamp_ms, one.key, one.value))
    records, state = build.process(core, [build.fetch([build.batch(first=20, source="g2")], 1, 1)], state)
    assert not zones_of(records)
    (row,) = [row for row in build.lineage(records)["inputs"] if row["kind"] == CONSENT_TAKEUP]
    assert orjson.loads(row["value"]) == [["w1", 1, "withdrawn", 0]]
    assert state.consents_taken == 8
    assert core.restore(1, core.save(None, state)) == state


def test_ones_own_word_comes_back_without_being_an_input() -> None:
    core = build.core()
    records, state = build.process(core, [build.fetch([change(1, "Given", TRAINING)])])
    assert state.own
    (back,) = [one for one in records if one.topic == CONSENTS]
    learn_consent(core.tables.consents, StoredRecord(0, 0, back.key, back.value))
    again, after = build.process(core, [build.fetch([build.batch()], 1)], state)
    assert (after.own, after.consents_taken) == ({}, 1)
    assert "inputs" not in build.lineage(again)
    assert {one[3] for one in decisions(again, "imu-right")} == {f"given for {TRAINING}"}


def test_a_state_that_has_taken_more_than_the_worker_has_read_waits() -> None:
    core: GlassesCore = build.core()
    state = PartitionState(1, build.policy().version, 3)
    with pytest.raises(Exception, match="is read up to offset 0 here, not yet up to 3"):
        build.run(
            core.process(
                state, Fetch(CAPTURED, 0, build.fetch([build.batch()]).records), silent=True, poisoned={}
            )
        )


words = st.lists(st.sampled_from([SERVICE, TRAINING, "dpv:LegalCompliance"]), unique=True).map(
    lambda some: tuple(sorted(some))
)
records = st.lists(
    max_size=8,
    elements=st.builds(
        ConsentRecord,
        st.integers(1, 5),
        st.sampled_from(["given", "withdrawn"]),
        words,
        st.sampled_from([0, 50, 100]),
    ),
)


@given(records, st.integers(0, 5), st.integers(0, 120))
@settings(max_examples=400)
def test_where_data_stands_equals_what_was_said_word_for_word(
    said: list[ConsentRecord], number: int, t_ns: int
) -> None:
    """The oracle goes through what was said, in order, with sets.

    The last word about a number counts, but a withdrawal stands.
    """
    last: dict[int, ConsentRecord] = {}
    for one in said:
        if one.number not in last or last[one.number].status != "withdrawn":
            last[one.number] = one
    binding = [one for one in last.values() if number and one.number >= number]
    consents = Consents()
    for offset, one in enumerate(said):
        consents.learn(offset, "w1", one)
    found = standing(number, consents.of("w1", len(said)), t_ns)
    if not number:
        assert found.state == "none"
    elif not binding:
        assert found.state == "claimed"
    elif any(one.status == "withdrawn" or (one.expires_ns and one.expires_ns <= t_ns) for one in binding):
        assert (found.given, found.purposes) == (False, ())
    else:
        assert set(found.purposes or ()) == set.intersection(*(set(one.purposes) for one in binding))
    assert Consent.parse(found.text()) == found


def test_a_batch_is_cut_where_another_consent_begins() -> None:
    said = [
        change(2, "Given", "dpv:LegalCompliance"),
        build.batch(first=0, consent=3, changes=[(7, build.context(consent=2))]),
    ]
    out, _ = build.process(build.core(), [build.fetch(said)])
    assert zones_of(out).keys() == {"g1/consent-change/0", "g1/imu-right/0"}
    (refused,) = build.lineage(out)["rejected"]
    assert (refused["first"], refused["count"], refused["rule"]) == (
        7,
        13,
        f"consent: the wearer did not agree to {SERVICE}",
    )
