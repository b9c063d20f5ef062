"""A wearer's word takes effect at its position in the partition, for that wearer only.

If it takes something away, it also applies to data that was captured before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest
from msgspec import structs

from streams.consent.record import learn_consent
from streams.consent.view import Consents
from streams.consent.words import Pairing, Word
from streams.events.batch import Batch
from streams.events.record import Fetch, Outgoing, StoredRecord
from streams.pipeline.live import LiveGlasses
from streams.pipeline.partition import PartitionState
from streams.topology import CAPTURED, CONSENTS, EXAMPLES, REJECTED, ZONED
from tests import build

SERVICE, TRAINING = "dpv:RequestedServiceProvision", "ai:ModelTraining"
BOTH = f"{SERVICE} {TRAINING}"
S_NS, DAY_NS = 10**9, 86_400 * 10**9
T0_NS = build.T0_NS


def change(
    number: int,
    status: str,
    purposes: str = "",
    *,
    event: int = 0,
    wearer: str = "w1",
    source: str = "g1",
    stream: str | None = None,
    t0_ns: int = T0_NS,
    context: int = 0,
    **more: Any,
) -> Batch:
    """One change of consent record `number`."""
    said: dict[str, list[Any]] = {
        "consent": [number],
        "status": [f"dpv:Consent{status}"],
        "purposes": [purposes],
    }
    said |= {name: [value] for name, value in more.items()}
    made = build.batch(
        "consent_change", stream, event, 1, t0_ns=t0_ns, columns=said, source=source, consent=context
    )
    return structs.replace(made, wearer_id=wearer)


def core(*bound: tuple[str, str]) -> LiveGlasses:
    """A core without consents in which only these pairs (device, wearer) are bound."""
    made = build.core()
    made.followed.consents = Consents()
    for device, wearer in bound or (("g1", "w1"), ("g2", "w1"), ("g2", "w2"), ("g1", "w2")):
        made.followed.consents.learn(made.followed.consents.offset, wearer, Pairing(device, True, 0))
    return made


def run(
    batches: Sequence[Batch], of: LiveGlasses | None = None, cut: int = 100, at_ns: Sequence[int] = ()
) -> list[Outgoing]:
    """Records written for batches in fetches of `cut`, appended at `at_ns` (empty: when captured)."""
    records = [
        build.record(one, offset, timestamp=(at_ns[offset] if at_ns else one.t0_ns) // 1_000_000)
        for offset, one in enumerate(batches)
    ]
    fetches = [Fetch(CAPTURED, 0, records[at : at + cut]) for at in range(0, len(records), cut)]
    return build.process(of or core(), fetches, PartitionState())[0]


def zones_of(records: Sequence[Outgoing]) -> dict[str, str]:
    """Zone of each batch that passed, by id."""
    return {
        dict(one.headers)["ce_id"].decode(): dict(one.headers)["sightline-zone"].decode()
        for one in records
        if one.topic == ZONED
    }


def rules_of(records: Sequence[Outgoing]) -> dict[str, str]:
    """Rule of each batch that was refused, by id."""
    return {
        dict(one.headers).get("ce_id", b"?").decode(): dict(one.headers)["sightline-rule"].decode()
        for one in records
        if one.topic == REJECTED
    }


def decisions(records: Sequence[Outgoing], stream: str) -> list[tuple[str, str, str, str]]:
    return [
        (row["sink"], row["verdict"], row["rule"], row["consent_state"])
        for row in build.lineage(records)["decisions"]
        if row["stream"] == stream
    ]


def states(records: Sequence[Outgoing], stream: str = "imu-right", source: str = "g1") -> list[str]:
    """State of the consent of a stream's batches of 20 at the zones stage, in order of their numbers."""
    found = {
        number: row["consent_state"]
        for row in build.lineage(records)["decisions"]
        if (row["source"], row["stream"], row["sink"]) == (source, stream, ZONED)
        for number in range(row["first"], row["first"] + row["count"])
        if number % 20 == 0
    }
    return [found[number] for number in sorted(found)]


@pytest.mark.parametrize("cut", [1, 2, 4])
def test_a_withdrawal_takes_effect_from_its_place_on(cut: int) -> None:
    batches = [
        change(1, "Given", SERVICE),
        build.batch(first=0),
        change(2, "Withdrawn", event=1),
        build.batch(first=20),
    ]
    records = run(batches, cut=cut)
    assert zones_of(records) == {
        "g1/imu-right/0": "home-private",
        "g1/consent-change/0": "rights",
        "g1/consent-change/1": "rights",
    }
    assert rules_of(records) == {"g1/imu-right/20": "no zone's condition holds"}
    assert all(one.value is None for one in records if one.topic == REJECTED)
    assert states(records) == [f"given for {SERVICE}", "withdrawn"]


def test_a_number_that_was_never_recorded_is_no_consent() -> None:
    said = [
        change(1, "Given", BOTH),
        change(2, "Withdrawn", event=1),
        build.batch(first=0, consent=2),
        build.batch(first=20, consent=3),
        build.batch(first=40, consent=2**62),
    ]
    assert states(run(said)) == ["withdrawn", "none", "none"]
    assert states(run([build.batch(first=0, consent=1)])) == ["none"]


def test_a_withdrawal_holds_whatever_its_number_and_only_the_next_number_widens() -> None:
    said = [
        change(1, "Given", BOTH),
        change(2**62, "Withdrawn", event=1, t0_ns=T0_NS + 1),
        build.batch(first=0, consent=1, t0_ns=T0_NS + S_NS),
        change(7, "Given", BOTH, event=2, t0_ns=T0_NS + 2 * S_NS),
        build.batch(first=20, consent=7, t0_ns=T0_NS + 3 * S_NS),
        change(2, "Given", BOTH, event=3, t0_ns=T0_NS + 4 * S_NS),
        build.batch(first=40, consent=2, t0_ns=T0_NS + 5 * S_NS),
    ]
    assert states(run(said)) == ["withdrawn", "none", f"given for {TRAINING} {SERVICE}"]


def test_a_hole_counts_as_no_consent_until_it_is_filled() -> None:
    said = [
        change(2, "Given", BOTH, event=1),
        build.batch(first=0, consent=2),
        build.batch(first=20, consent=1),
        change(1, "Given", SERVICE, event=0, t0_ns=T0_NS + 1),
        build.batch(first=40, consent=2, t0_ns=T0_NS + S_NS),
    ]
    assert states(run(said)) == ["none", "none", f"given for {TRAINING} {SERVICE}"]


def test_consents_of_two_devices_of_one_wearer_are_counted_apart_and_do_not_widen_backwards() -> None:
    said = [
        change(1, "Given", SERVICE),
        build.batch(first=0, consent=1),
        change(1, "Given", BOTH, source="g2", t0_ns=T0_NS + 60 * S_NS),
        build.batch(first=20, consent=1, t0_ns=T0_NS + 61 * S_NS),
        build.batch(first=0, source="g2", consent=1, t0_ns=T0_NS + 62 * S_NS),
    ]
    records = run(said)
    assert states(records) == [f"given for {SERVICE}"] * 2
    assert states(records, source="g2") == [f"given for {TRAINING} {SERVICE}"]


def test_what_another_device_takes_away_is_given_back_for_what_is_captured_after_a_wider_word() -> None:
    t = [T0_NS + i * 100 * S_NS for i in range(8)]
    said = [
        change(1, "Given", BOTH, t0_ns=t[0]),
        change(1, "Withdrawn", source="g2", t0_ns=t[1]),
        build.batch(first=0, consent=1, t0_ns=t[2]),
        change(2, "Given", BOTH, source="g2", event=1, t0_ns=t[3]),
        build.batch(first=20, consent=1, t0_ns=t[4]),
        # Captured before the wider word, but arrives after it.
        build.batch("gaze", first=0, consent=1, t0_ns=t[2] + S_NS),
    ]
    records = run(said)
    assert states(records) == ["withdrawn", f"given for {TRAINING} {SERVICE}"]
    assert states(records, "gaze") == ["withdrawn"]


def test_an_unbound_device_is_refused_and_can_neither_give_nor_withdraw() -> None:
    said = [
        change(1, "Given", SERVICE),
        change(1, "Withdrawn", source="evil"),
        change(1, "Withdrawn", source="g3", event=0),
        build.batch(first=0, consent=1, source="g3"),
        build.batch(first=0, consent=1),
    ]
    records = run(said)
    assert rules_of(records) == dict.fromkeys(
        ("evil/consent-change/0", "g3/consent-change/0", "g3/imu-right/0"), "pairing"
    )
    assert zones_of(records)["g1/imu-right/0"] == "home-private"
    assert [one for one in records if one.topic == CONSENTS and b"evil" in (one.value or b"")] == []


def test_whoever_is_not_bound_leaves_the_device_that_it_names_as_it_is() -> None:
    foreign = structs.replace(build.batch(first=0, count=400, session="s9"), wearer_id="w9")
    newer = structs.replace(build.batch(stream="imu-right~9", first=0), wearer_id="w9")
    records = run([change(1, "Given", SERVICE), foreign, newer, build.batch(first=0), build.batch(first=20)])
    assert {"g1/imu-right/0", "g1/imu-right/20"} <= zones_of(records).keys()
    assert set(rules_of(records).values()) == {"pairing"}


def test_a_device_of_somebody_else_can_neither_give_nor_withdraw() -> None:
    of = core(("g1", "w1"), ("g2", "w2"))
    said = [
        change(1, "Given", SERVICE),
        change(1, "Withdrawn", source="g2"),
        change(1, "Given", BOTH, source="g2", event=1),
        build.batch(first=0),
    ]
    records = run(said, of)
    assert rules_of(records) == {"g2/consent-change/0": "pairing", "g2/consent-change/1": "pairing"}
    assert states(records) == [f"given for {SERVICE}"]


def test_a_batch_is_of_one_wearer() -> None:
    both = build.record(build.batch(first=0), 1)
    both = replace(both, value=(both.value or b"").replace(b'"wearer_id":"w1"', b'"wearer_id":["w1","w2"]'))
    records, _ = build.process(
        core(), [Fetch(CAPTURED, 0, [build.record(change(1, "Given", SERVICE), 0), both])], PartitionState()
    )
    (refused,) = [dict(one.headers) for one in records if one.topic == REJECTED]
    assert refused["sightline-rule"] == b"malformed"
    assert refused["sightline-reason"].startswith(b"wearer_id: found no usable name")


def test_two_wearers_of_one_device_bind_themselves_only() -> None:
    other = structs.replace(build.batch(first=20), wearer_id="w2")
    said = [
        change(1, "Given", SERVICE),
        change(1, "Given", SERVICE, wearer="w2", event=1),
        change(2, "Withdrawn", event=2),
        build.batch(first=0),
        other,
    ]
    records = run(said)
    assert "g1/imu-right/20" in zones_of(records)
    assert "g1/imu-right/0" not in zones_of(records)


def test_the_end_of_a_pairing_holds_from_where_it_is_taken_up() -> None:
    of = core(("g1", "w1"))
    first = [change(1, "Given", SERVICE), build.batch(first=0)]
    records, state = build.process(of, [build.fetch(first)], PartitionState())
    assert "g1/imu-right/0" in zones_of(records)
    of.followed.consents.learn(of.followed.consents.offset, "w1", Pairing("g1", False, 0))
    records, _ = build.process(of, [build.fetch([build.batch(first=20)], 2)], state)
    assert rules_of(records) == {"g1/imu-right/20": "pairing"}


def test_an_operator_withdraws_for_a_wearer_and_gives_nothing_back() -> None:
    of = core(("g1", "w1"))
    said, state = build.process(of, [build.fetch([change(1, "Given", SERVICE)])], PartitionState())
    (back,) = [one for one in said if one.topic == CONSENTS]
    learn_consent(of.followed.consents, StoredRecord(1, 0, back.key, back.value))
    of.followed.consents.learn(of.followed.consents.offset, "w1", Word("", 0, 0, "withdrawn", (), 0, T0_NS))
    records, state = build.process(of, [build.fetch([build.batch(first=0)], 1)], state)
    assert states(records) == ["withdrawn"]
    of.followed.consents.learn(
        of.followed.consents.offset, "w1", Word("", 0, 0, "given", (SERVICE,), 0, T0_NS + 1)
    )
    records, _ = build.process(of, [build.fetch([build.batch(first=20)], 2)], state)
    assert states(records) == ["withdrawn"]


def test_a_wearer_who_opts_out_of_training_is_answered_and_not_learned_from() -> None:
    said = [
        change(1, "Given", SERVICE),
        build.query(0, "wake me at seven", T0_NS),
        build.feedback(0, "g1/answer/0", "alarm_set", T0_NS + 1),
    ]
    records = run(said)
    assert ("glasses.answers", "allow", "sinks.glasses.answers", f"given for {SERVICE}") in decisions(
        records, "answer"
    )
    (example,) = [one for one in records if one.topic == EXAMPLES]
    assert orjson.loads(example.value or b"")["context"]["consent"] == 1


@pytest.mark.parametrize("by", ["w1", "w2"])
def test_nobody_makes_an_example_of_another_wearers_words(by: str) -> None:
    given_back = structs.replace(build.feedback(0, "g1/answer/0", "alarm_set", T0_NS + S_NS), wearer_id=by)
    said = [
        change(1, "Given", SERVICE),
        change(1, "Given", BOTH, wearer="w2", event=1),
        build.query(0, "wake me at seven", T0_NS),
        given_back,
    ]
    records = run(said)
    made = [one for one in records if one.topic == EXAMPLES]
    assert len(made) == (by == "w1")
    refused = [row for row in build.lineage(records).get("rejected", ()) if row["stream"] == "example"]
    assert [row["rule"] for row in refused] == ["another-wearer"] * (by == "w2")


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (change(1, "Given", SERVICE, principal="w2"), "principal: found another wearer"),
        (change(1, "Given", SERVICE, expires_ns=T0_NS - 1), "expires_ns: found a time that is past"),
        (change(0, "Given", SERVICE), "consent: found no number of a consent record"),
        (change(-1, "Given", SERVICE), "consent: found no number of a consent record"),
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


def test_a_number_that_is_said_again_with_other_content_is_refused_unless_it_takes_something_away() -> None:
    said = [
        change(1, "Given", SERVICE),
        change(1, "Given", BOTH, event=1),
        build.batch(first=0),
        change(1, "Given", SERVICE, event=2),
        change(1, "Withdrawn", event=3),
        build.batch(first=20),
    ]
    records = run(said)
    assert rules_of(records) == {
        "g1/consent-change/1": "consent: this number is on record, and says something else",
        "g1/imu-right/20": "no zone's condition holds",
    }
    assert states(records) == [f"given for {SERVICE}", "withdrawn"]


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_what_has_expired_stays_so_when_a_clock_goes_back(cut: int) -> None:
    said = [
        change(1, "Given", BOTH, expires_ns=T0_NS + DAY_NS),
        build.batch(first=20, consent=1, t0_ns=T0_NS + 2 * DAY_NS),
        build.batch(first=0, consent=1, t0_ns=T0_NS + 10),
    ]
    assert states(run(said, cut=cut)) == ["expired", "expired"]


def test_a_batch_is_cut_where_another_consent_begins() -> None:
    said = [
        change(1, "Given", SERVICE),
        change(2, "Given", "dpv:LegalCompliance", event=1, t0_ns=T0_NS + 1),
        build.batch(first=0, consent=0, changes=[(7, build.context(consent=2))], t0_ns=T0_NS + S_NS),
    ]
    refused = {(row["first"], row["count"]): row["rule"] for row in build.lineage(run(said))["rejected"]}
    assert refused == {
        (0, 7): "no zone's condition holds",
        (7, 13): f"consent: the wearer did not agree to {SERVICE}",
    }
