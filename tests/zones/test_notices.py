"""A notice goes to each device of a wearer once for each wording; what was shown is acknowledged once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest
from msgspec import structs

from streams.consent.notified import notified_of
from streams.consent.record import consents_of, learn_consent
from streams.consent.words import Word
from streams.events.batch import MESSAGEPACK, Batch
from streams.events.codec import encode
from streams.events.record import Outgoing, StoredRecord
from streams.limits import NOTIFIED_WEARERS_MAX
from streams.lineage.tables import CONSENT_TAKEUP
from streams.pipeline.live import LiveGlasses
from streams.pipeline.partition import PartitionState
from streams.policy.load import load, parse
from streams.policy.notice import notice_of
from streams.policy.policy import Policy
from streams.policy.versions import PolicyVersions
from streams.topology import CONSENTS, NOTICES, REJECTED, ZONED
from tests import build
from tests.consent.test_consents import SERVICE, change, core
from tests.consent.test_erasure import erase

HOUSEHOLD, S_NS, T0_NS = load("household"), 10**9, build.T0_NS
#: Whom the policy names is part of what its notice says; what is said about the policy itself is not.
OWNED = parse(HOUSEHOLD.text.replace("about = ", 'owner = "dpo@household"\nabout = ', 1), "household")
RETOLD = parse(HOUSEHOLD.text.replace("One home", "A home", 1), "household")
V1, V2 = notice_of(HOUSEHOLD).version, notice_of(OWNED).version


def state(number: int, t_s: int = 0, **more: Any) -> Batch:
    return build.batch("device_state", None, number, 1, t0_ns=T0_NS + t_s * S_NS, **more)


def shown(version: str, event: int, **more: Any) -> Batch:
    made = change(0, "", event=event, notice=version, **more)
    return structs.replace(made, columns={**made.columns, "status": ["local:NoticeAcknowledged"]})


def told(records: Sequence[Outgoing]) -> list[tuple[str, str, str]]:
    """(key, wearer, version) of each record for devices, without receipts."""
    rows = [(record.key or b"", orjson.loads(record.value or b"")) for record in records]
    return [
        (
            key.decode(),
            *((value.get("notice") or value["acknowledged"])[name] for name in ("wearer", "version")),
        )
        for key, value in rows
        if "receipt" not in value
    ]


def notices(records: Sequence[Outgoing]) -> list[Outgoing]:
    return [record for record in records if record.topic == NOTICES]


def reasons(records: Sequence[Outgoing]) -> dict[str, str]:
    headers = [dict(record.headers) for record in records if record.topic == REJECTED]
    return {each["ce_id"].decode(): each["sightline-rule"].decode() for each in headers}


def force(of: LiveGlasses, *policies: Policy) -> None:
    of.followed.policies.now = PolicyVersions.of(*policies)


LIFE = [
    state(0),
    build.batch(first=0, consent=0),
    state(1, 1),
    change(1, "Given", SERVICE, event=0),
    shown(V1, 1),
    change(2, "Given", SERVICE, event=2, notice=V1),
    state(2, 2),
    change(3, "Withdrawn", event=3, notice=V1),
]


def test_the_notice_comes_with_the_first_event_of_a_wearer_and_once() -> None:
    records, _ = build.process(core(("g1", "w1")), [build.fetch(LIFE)], PartitionState())
    assert told(notices(records)) == [
        ("g1/device-state/0/notice", "w1", V1),
        ("g1/consent-change/1/acknowledged", "w1", V1),
    ]
    notice = orjson.loads(notices(records)[0].value or b"")["notice"]
    assert (notice["controller"], notice["policy"]) == ("nobody named", f"household {HOUSEHOLD.version}")
    assert tuple(notice["lines"]) == notice_of(HOUSEHOLD).lines
    # An acknowledgement is an event like any other, and no word.
    assert [
        dict(record.headers)["ce_id"].decode()
        for record in records
        if record.topic == ZONED and b"consent-change" in dict(record.headers)["ce_id"]
    ] == [f"g1/consent-change/{number}" for number in range(4)]
    assert len([record for record in records if record.topic == CONSENTS]) == 3


def test_without_a_state_of_the_device_it_comes_with_the_first_consent() -> None:
    records, _ = build.process(
        core(("g1", "w1")), [build.fetch([change(1, "Given", SERVICE)])], PartitionState()
    )
    assert told(notices(records)) == [("g1/consent-change/0/notice", "w1", V1)]


def test_a_receipt_says_what_was_recorded() -> None:
    records, _ = build.process(core(("g1", "w1")), [build.fetch(LIFE)], PartitionState())
    receipts = [
        (record.key, orjson.loads(record.value or b"")["receipt"])
        for record in notices(records)
        if b"/receipt" in (record.key or b"")
    ]
    assert [key for key, _ in receipts] == [
        f"g1/consent-change/{number}/receipt".encode() for number in (0, 2, 3)
    ]
    assert receipts[1][1] == {
        # The name-based UUID of https://w3id.org/dpv/schema/dpv-27560#record/w1/g1/1/2.
        "record": "urn:uuid:ae58c988-0e5e-5ae0-8f73-1d67f77ac5a0",
        "event": "g1/consent-change/2",
        "wearer": "w1",
        "device": "g1",
        "incarnation": 1,
        "number": 2,
        "status": "given",
        "purposes": [SERVICE],
        "expires_ns": 0,
        # The time of the state before it: the broker's never decreases.
        "at_ns": T0_NS + S_NS,
        "notice": V1,
        "policy": f"household {HOUSEHOLD.version}",
        "controller": "nobody named",
    }
    assert [receipt["notice"] for _, receipt in receipts] == [None, V1, None], "what takes away names none"


@pytest.mark.parametrize("sizes", [[1], [2, 1], [3]])
def test_it_does_not_matter_how_fetches_are_cut(sizes: list[int]) -> None:
    whole, _ = build.process(core(("g1", "w1")), [build.fetch(LIFE)], PartitionState())
    cut, _ = build.process(core(("g1", "w1")), build.cut(LIFE, sizes), PartitionState())
    assert {record.key: record for record in notices(cut)} == {
        record.key: record for record in notices(whole)
    }
    assert len(notices(cut)) == len(notices(whole))


def test_another_wording_comes_again_and_another_policy_does_not() -> None:
    of = core(("g1", "w1"))
    records, state_ = build.process(of, [build.fetch([state(0), shown(V1, 0)])], PartitionState())
    force(of, HOUSEHOLD, RETOLD)
    more, state_ = build.process(of, [build.fetch([state(1, 1)], 2)], state_)
    assert not notices(more), "it says the same"
    force(of, HOUSEHOLD, RETOLD, OWNED)
    # A state that was written and read again knows what the device has.
    state_ = of.restore(0, of.save(None, state_))
    more, state_ = build.process(of, [build.fetch([state(2, 2), state(3, 3)], 3)], state_)
    assert told(notices(more)) == [("g1/device-state/2/notice", "w1", V2)]
    force(of, HOUSEHOLD, RETOLD, OWNED, HOUSEHOLD)
    back, state_ = build.process(of, [build.fetch([state(4, 4), shown(V2, 1)], 5)], state_)
    assert told(notices(back)) == [("g1/consent-change/1/acknowledged", "w1", V2)]
    assert not reasons([*records, *back]), "an outdated notice can be acknowledged"


def test_each_wearer_of_a_device_gets_it() -> None:
    both = [state(0), structs.replace(state(1, 1), wearer_id="w2"), state(2, 2)]
    records, _ = build.process(core(("g1", "w1"), ("g1", "w2")), [build.fetch(both)], PartitionState())
    assert told(notices(records)) == [
        ("g1/device-state/0/notice", "w1", V1),
        ("g1/device-state/1/notice", "w2", V1),
    ]


def test_what_is_known_of_many_wearers_is_bounded_and_the_same_after_a_restart() -> None:
    wearers = [f"w{number}" for number in range(NOTIFIED_WEARERS_MAX + 2)]
    met = [
        structs.replace(state(at, at), wearer_id=who) for at, who in enumerate([*reversed(wearers), *wearers])
    ]
    of = core(*(("g1", who) for who in wearers))
    whole, state_ = build.process(of, [build.fetch(met)], PartitionState())
    assert len(state_.devices["g1"].delivered) == NOTIFIED_WEARERS_MAX
    restarted, cut = PartitionState(), list[Outgoing]()
    for at, each in enumerate(met):
        some, restarted = build.process(of, [build.fetch([each], at)], restarted)
        restarted, cut = of.restore(0, of.save(None, restarted)), [*cut, *some]
    assert told(notices(cut)) == told(notices(whole))
    assert len(wearers) < len(told(notices(whole))) < len(met), "who was forgotten is told again"


def test_what_cannot_be_acknowledged_is_rejected_and_says_why() -> None:
    of = core(("g1", "w1"), ("g2", "w1"))
    early = [shown(V1, 0), state(0), shown(V1, 1), shown(V1, 2), shown("0" * 16, 3)]
    others = [shown(V1, 0, source="g2"), shown(V1, 0, source="g3")]
    records, _ = build.process(of, [build.fetch([*early, *others])], PartitionState())
    before = "notice: it acknowledges the notice of the policy in force before it was delivered here"
    assert reasons(records) == {
        "g1/consent-change/0": before,
        "g1/consent-change/2": "notice: it acknowledges a notice that the device has acknowledged for this"
        " wearer before",
        "g1/consent-change/3": "notice: it acknowledges a notice that was not delivered to this device for"
        " this wearer",
        "g2/consent-change/0": before,
        "g3/consent-change/0": "pairing",
    }
    assert told(notices(records))[1] == ("g1/consent-change/1/acknowledged", "w1", V1)
    assert len(notices(records)) == 2


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"notice": [None]}, "notice: found none"),
        ({"consent": [1]}, "consent: found an acknowledgement that says something"),
        ({"purposes": [SERVICE]}, "consent: found an acknowledgement that says something"),
        ({"status": ["local:Seen"], "consent": [1]}, "status: found another one"),
    ],
)
def test_an_acknowledgement_that_says_more_or_less_is_malformed(
    columns: dict[str, list[Any]], reason: str
) -> None:
    made = shown(V1, 0)
    made = structs.replace(made, columns={**made.columns, **columns})
    records, _ = build.process(core(("g1", "w1")), [build.fetch([state(0), made])], PartitionState())
    (refused,) = [dict(record.headers) for record in records if record.topic == REJECTED]
    assert refused["sightline-reason"].decode().startswith(reason)


def test_who_consents_under_a_notice_has_seen_it() -> None:
    given = change(1, "Given", SERVICE, event=0, notice=V1)
    records, _ = build.process(
        core(("g1", "w1")), [build.fetch([state(0), given, shown(V1, 1)])], PartitionState()
    )
    assert told(notices(records))[1] == ("g1/consent-change/0/acknowledged", "w1", V1)
    assert reasons(records).keys() == {"g1/consent-change/1"}, "it was acknowledged before"


def test_a_notice_that_was_never_delivered_proves_nothing_and_the_consent_holds() -> None:
    given = change(1, "Given", SERVICE, event=0, notice="f" * 16)
    batches = [given, build.batch(first=0, consent=1)]
    records, _ = build.process(core(("g1", "w1")), [build.fetch(batches)], PartitionState())
    assert not reasons(records)
    assert told(notices(records)) == [("g1/consent-change/0/notice", "w1", V1)]


def test_an_erasure_lets_go_of_the_notices_of_its_wearer_alone() -> None:
    of = core(("g1", "w1"), ("g1", "w2"))
    met = [state(0), structs.replace(state(1, 1), wearer_id="w2")]
    _, state_ = build.process(of, [build.fetch(met)], PartitionState())
    erase(of, "w1")
    after = [state(2, 60), structs.replace(state(3, 61), wearer_id="w2")]
    records, _ = build.process(of, [build.fetch(after, 2)], state_)
    assert told(notices(records)) == [("g1/device-state/2/notice", "w1", V1)]


def test_a_word_keeps_its_notice_on_the_topic_and_as_an_input() -> None:
    of, other = core(("g1", "w1")), core(("g1", "w1"), ("g2", "w1"))
    given = [state(0), change(1, "Given", SERVICE, notice=V1), change(2, "Given", SERVICE, event=1)]
    records, state_ = build.process(of, [build.fetch(given)], PartitionState())
    assert of.restore(0, of.save(None, state_)) == state_
    written = [record for record in records if record.topic == CONSENTS]
    assert ["notice" in orjson.loads(record.value or b"") for record in written] == [True, False]
    consents = other.followed.consents
    for record in written:
        learn_consent(consents, StoredRecord(consents.offset, 0, record.key, record.value))
    assert [word.notice for word in consents.words_of("w1")] == [V1, ""]
    heard, _ = build.process(other, [build.fetch([build.batch(source="g2")], 0, 1)], PartitionState())
    (row,) = [row for row in build.lineage(heard)["inputs"] if row["kind"] == CONSENT_TAKEUP]
    stated = [word for _, word in consents_of(row["value"]) if isinstance(word, Word)]
    assert [word.notice for word in stated] == [V1, ""]


@pytest.mark.parametrize("packed", [False, True])
def test_a_device_of_before_names_no_notice(packed: bool) -> None:
    made = change(1, "Given", SERVICE)
    made = structs.replace(
        made, columns={name: held for name, held in made.columns.items() if name != "notice"}
    )
    made = build.CODEC.packed(made) if packed else made
    value = encode(made)
    assert b"notice" not in value
    read = build.CODEC.decode(value, 0, content_type=MESSAGEPACK if packed else b"application/json")
    assert encode(read) == value
    if not packed:
        records, _ = build.process(core(("g1", "w1")), [build.fetch([made])], PartitionState())
        assert not reasons(records)
        assert len([record for record in records if record.topic == CONSENTS]) == 1


def test_what_the_topic_tells_is_when_it_was_delivered_and_acknowledged() -> None:
    records, _ = build.process(core(("g1", "w1")), [build.fetch(LIFE)], PartitionState())
    appended = [
        StoredRecord(at, 1_000 + at, record.key, record.value) for at, record in enumerate(notices(records))
    ]
    strange = [
        StoredRecord(90, 1, appended[0].key, b"{"),
        StoredRecord(91, 1, b"g1/device-state/1/notice", appended[0].value),
        StoredRecord(92, 1, appended[0].key, (appended[0].value or b"").replace(b'"v":1', b'"v":2')),
        StoredRecord(93, 1, appended[0].key, b"[1]"),
        StoredRecord(94, 1, None, None),
    ]
    notified, left_out = notified_of([*appended, *strange])
    assert {key: (each.delivered_ns, each.acknowledged_ns) for key, each in notified.items()} == {
        ("g1", "w1", V1): (1_000_000_000, 1_001_000_000)
    }
    assert left_out == len(strange)
    again, _ = notified_of([*appended, replace(appended[0], timestamp=9_000)])
    assert [(each.delivered_ns, each.acknowledged_ns) for each in again.values()] == [(9_000_000_000, 0)]
    assert not any(b"w1" in (record.key or b"") for record in appended), "no key names a wearer"
