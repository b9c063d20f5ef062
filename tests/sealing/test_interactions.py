"""What a zone owes to be sealed is sealed wherever a worker writes it, and nothing else of it changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace as replace_state

from streams.consent.erased import Erasure
from streams.events.batch import Batch
from streams.events.digest import digest, keyed_digest
from streams.events.headers import DIGEST, ENCODING, SINCE
from streams.events.record import Fetch, Outgoing, StoredRecord
from streams.pipeline.judging import UNSAID_RULE, judged_by_tag
from streams.pipeline.live import LiveGlasses
from streams.policy import label as lattice
from streams.policy.policy import Flow, Policy
from streams.sealing.key_rows import KeyFor
from streams.sealing.key_store import KeyStore, day_of
from streams.sealing.keys import Keys, Opening
from streams.sealing.sealed import is_sealed, key_of, unopened, unseal
from streams.topology import ANSWERS, DERIVED, EXAMPLES, LINEAGE, REJECTED, STATE, ZONED
from tests import build
from tests.feedback.test_feedback import T

WORDS = "wake me at seven"
SPOKEN = build.sealing("voice-assistant")


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore.made(tmp_path / "keys")


def day() -> list[Batch]:
    """Motion, a query, and feedback about its answer."""
    return [
        *(build.imu(1.2, i * 20, 20) for i in range(5)),
        build.query(7, WORDS, T),
        build.feedback(3, "g1/answer/7", "alarm_set", T + 1_000_000_000),
    ]


def written(policy: Policy, keys: Keys | None, batches: Sequence[Batch] = ()) -> list[Outgoing]:
    core = LiveGlasses(build.followed(policy), keys=keys)
    batches = batches or day()
    records, _ = build.process(core, build.cut(batches, [6, len(batches)]))
    return records


def on(topic: str, records: Sequence[Outgoing]) -> list[Outgoing]:
    return [record for record in records if record.topic == topic]


def named(records: Sequence[Outgoing]) -> dict[tuple[str, str], Outgoing]:
    return {(record.topic, dict(record.headers)["ce_id"].decode()): record for record in records}


def stored(record: Outgoing, offset: int = 0) -> StoredRecord:
    return StoredRecord(offset, record.timestamp_ms, record.key, record.value, record.headers)


def rows(records: Sequence[Outgoing], table: str) -> list[dict[str, Any]]:
    return build.lineage(records)[table]


def test_what_is_said_is_sealed_on_every_topic_of_other_teams_and_what_is_sensed_is_not(
    store: KeyStore,
) -> None:
    plain, sealed = written(SPOKEN, None), written(SPOKEN, Keys(store))
    made = {topic: [is_sealed(each.headers) for each in on(topic, sealed)] for topic in (ZONED, DERIVED)}
    # Five batches of motion, the query, the feedback; the activity, and the situation of the query.
    assert made[ZONED] == [False] * 5 + [True] * 2
    assert sorted(made[DERIVED]) == [False, True]
    assert [is_sealed(each.headers) for each in (*on(ANSWERS, sealed), *on(EXAMPLES, sealed))] == [
        False,
        True,
    ]
    readable = {ANSWERS}
    assert {each.topic for each in sealed if WORDS.encode() in (each.value or b"")} <= readable
    for before, after in zip(on(ZONED, plain)[:5], on(ZONED, sealed)[:5], strict=True):
        assert before == after, "sensor data is byte for byte what the device sent"


def test_it_opens_under_the_key_of_wearer_retention_and_day_and_under_no_other(store: KeyStore) -> None:
    plain, sealed = named(only(written(SPOKEN, None))), named(only(written(SPOKEN, Keys(store))))
    assert plain.keys() == sealed.keys()
    count = 0
    for name, record in sealed.items():
        if not is_sealed(record.headers):
            continue
        count += 1
        wanted = KeyFor("w1", days_of(record), day_of(record.timestamp_ms * 1_000_000))
        key = store.ensure([wanted])[wanted]
        assert key_of(record.value) == key.name
        headers, value = unseal(key.key, record.topic, record.headers, record.value or b"")
        assert value == plain[name].value
        without = [[each for each in some if each[0] != DIGEST] for some in (headers, plain[name].headers)]
        assert without[0] == without[1]
        assert len(record.headers) <= 14
        assert record.seal is None
    assert count == 4, "the query, the situation, the feedback, the example"


def only(records: Sequence[Outgoing]) -> list[Outgoing]:
    return [record for record in records if record.topic in {ZONED, DERIVED, ANSWERS, EXAMPLES}]


def days_of(record: Outgoing) -> int:
    label = bytes.fromhex(dict(record.headers)["sightline-label"].decode().partition(":")[2])
    return SPOKEN.retention_days(label)


def test_its_digest_is_that_of_the_open_value_under_the_wearers_key(store: KeyStore) -> None:
    plain, sealed = written(SPOKEN, None), written(SPOKEN, Keys(store))
    key = store.digest_keys(["w1"])["w1"]
    owed = {"voice_query", "feedback", "situation", "example"}
    values = {name: record.value or b"" for (_, name), record in named(only(plain)).items()}
    for row in rows(sealed, "events"):
        value = values[f"{row['source']}/{row['stream']}/{row['first']}"]
        assert row["digest"] == (keyed_digest(key, value) if row["kind"] in owed else digest(value))
        assert row["bytes"] == len(value)
    for record in only(sealed):
        headers = dict(record.headers)
        event = headers["ce_id"].decode()
        assert headers.get(DIGEST, b"").decode() == (
            keyed_digest(key, values[event]) if is_sealed(record.headers) else ""
        )
    assert not any(WORDS.encode() in (each.value or b"") for each in sealed if each.topic == LINEAGE)


def test_a_sealed_derived_value_says_from_when_its_oldest_data_is(store: KeyStore) -> None:
    sealed = written(SPOKEN, Keys(store))
    [situation] = [each for each in on(DERIVED, sealed) if is_sealed(each.headers)]
    [oldest] = [row["t_first_ns"] for row in rows(sealed, "events") if row["kind"] == "activity"]
    assert dict(situation.headers)[SINCE] == b"%d 1" % oldest, "and under which consent record it was made"


@pytest.mark.parametrize(
    ("says", "rule"),
    [
        (b" 1", ""),
        (b" 0", "consent: none is known"),
        (b" 9", "consent: none is known"),
        (b"", UNSAID_RULE),
        (None, UNSAID_RULE),
    ],
)
def test_who_opens_a_derived_value_is_told_whether_there_was_no_consent_or_nobody_said(
    says: bytes | None, rule: str
) -> None:
    """What no zone seals does not say it: the wearer is not to blame for that."""
    record = named(only(written(SPOKEN, None)))[DERIVED, "g1/situation/7"]
    headers = dict(record.headers)
    written_since = headers.pop(SINCE).split()[0]
    if says is not None:
        headers[SINCE] = written_since + says
    one = StoredRecord(0, record.timestamp_ms, record.key, record.value, tuple(headers.items()))
    side = build.followed(SPOKEN).side_inputs()

    def judged(sink: str) -> Flow:
        return judged_by_tag(one, DERIVED, build.CODEC, side, T + 10**9, sink)

    flow = judged(ZONED)
    assert (flow.passed, flow.rule) == (not rule, rule or f"sinks.{ZONED}")
    assert judged("nowhere").rule not in ("", UNSAID_RULE), "a consent would not let it in there"


@pytest.mark.parametrize("sealing", [SPOKEN, build.sealing("voice-assistant", "home-private")])
def test_ids_edges_and_decisions_are_those_of_a_policy_that_does_not_owe_it(
    store: KeyStore, sealing: Policy
) -> None:
    without, owing = written(build.policy(), None), written(sealing, Keys(store))
    said = [
        {
            table: [told(row, of, digests=table == "events") for row in of_table]
            for table, of_table in build.lineage(some).items()
            if table not in {"policies", "inputs"}
        }
        for some, of in ((without, build.policy()), (owing, sealing))
    ]
    assert said[0] == said[1]
    assert {"events", "edges", "decisions"} <= said[0].keys()


def told(row: dict[str, Any], policy: Policy, *, digests: bool) -> dict[str, Any]:
    """A row without the policy's version, the obligation to seal, and what follows from it."""
    row = {name: of for name, of in row.items() if name not in {"policy_version"}}
    if digests:
        del row["digest"]
    if row.get("label"):
        label = lattice.unpack(bytes.fromhex(row["label"]))
        words = policy.vocabulary
        owed = set(words.words("obligations", label["obligations"])) - {"local:Sealed"}
        row["label"] = {**label, "obligations": owed}
    return row


def test_all_of_a_zone_is_sealed_if_the_zone_owes_it(store: KeyStore) -> None:
    home = build.sealing("home-private")
    sealed = written(home, Keys(store))
    kinds = {
        dict(record.headers)["ce_type"].decode() for record in on(ZONED, sealed) if is_sealed(record.headers)
    }
    assert kinds == {"glasses.imu.v1"}
    # A situation shows the activity at home, and owes what that owes.
    assert all(is_sealed(record.headers) for record in on(DERIVED, sealed))


def test_a_batch_that_is_split_is_sealed_where_its_part_owes_it(store: KeyStore) -> None:
    home = build.sealing("home-private")
    whole = build.imu(1.2, 0, 20, changes=[(12, build.context(place="street"))])
    plain, sealed = (on(ZONED, written(home, keys, [whole])) for keys in (None, Keys(store)))
    assert [is_sealed(record.headers) for record in sealed] == [True, False]
    assert plain[1] == sealed[1]
    key, source = store.digest_keys(["w1"])["w1"], build.record(whole, 0).value or b""
    events = rows(written(home, Keys(store), [whole]), "events")
    assert [row["split_from"] for row in events if row["kind"] == "imu"] == [
        keyed_digest(key, source),
        digest(source),
    ]


class Counted(LiveGlasses):
    """Notes how many records each attempt at a fetch computes."""

    def __init__(self, keys: Keys, policy: Policy) -> None:
        super().__init__(build.followed(policy), keys=keys)
        self.computed = list[int]()

    async def _processed(self, state: Any, fetch: Fetch, inputs: Any, **how: Any) -> Any:
        self.computed.append(len(fetch.records))
        return await super()._processed(state, fetch, inputs, **how)


def test_a_fetch_is_computed_twice_only_when_a_wearer_first_has_something_to_seal(store: KeyStore) -> None:
    queries = [build.query(number, WORDS, T + number * 10**9) for number in range(3)]
    for policy, computed in ((SPOKEN, [1, 1, 1, 1]), (SPOKEN, [1, 1, 1]), (build.policy(), [1, 1, 1])):
        # Another worker takes over, and another one.
        core = Counted(Keys(store), policy)
        build.process(core, build.cut(queries, [1]))
        assert core.computed == computed


def test_nobody_who_was_erased_gets_a_key_again_before_something_is_sealed(store: KeyStore) -> None:
    core = LiveGlasses(build.followed(SPOKEN), keys=Keys(store))
    _, state = build.process(core, [build.fetch([build.query(7, WORDS, T)])])
    # As the take-up of an erasure leaves the state.
    state = replace(
        state, devices=state.devices.changed({"g1": replace_state(state.devices["g1"], answers=())})
    )
    store.erase("w1", 1)
    assert store.wearers() == set()
    core = LiveGlasses(core.followed, keys=Keys(store))
    build.process(core, [build.fetch([build.imu(1.2, 0, 20)], 1)], state)
    assert store.wearers() == set()


@pytest.mark.parametrize("policy", [SPOKEN, build.policy()], ids=["sealed zones", "sealed examples"])
def test_whose_answers_wait_when_the_first_fetch_after_an_erasure_comes_gets_no_key_for_that(
    store: KeyStore, policy: Policy
) -> None:
    """That fetch lets go of them. It may come when the erasure is finished: nothing takes a key then."""
    core = LiveGlasses(build.followed(policy), keys=Keys(store))
    _, state = build.process(core, [build.fetch([build.query(7, WORDS, T)])])
    assert state.devices["g1"].answers
    store.erase("w1", 1)
    consents = core.followed.consents
    consents.learn(consents.offset, "", Erasure(store.mark_of("w1"), 1, T + 10**9))
    consents.mark = store.mark_of
    core = LiveGlasses(core.followed, keys=Keys(store))
    build.process(core, [build.fetch([build.imu(1.2, 0, 20)], 1)], state)
    assert store.wearers() == set()


@pytest.mark.parametrize("state", ["erased", "expired"])
def test_what_lies_on_a_topic_opens_for_nobody_when_its_key_is_gone(store: KeyStore, state: str) -> None:
    sealed = [record for record in on(ZONED, written(SPOKEN, Keys(store))) if is_sealed(record.headers)]
    records = [stored(record) for record in sealed]
    assert [each.value for each in opened(store, records)] == [
        record.value for record in on(ZONED, written(SPOKEN, None))[5:]
    ]
    if state == "erased":
        store.erase("w1", 1)
    else:
        last = day_of(sealed[-1].timestamp_ms * 1_000_000) + days_of(sealed[-1]) + 1
        store.expire(last * 86_400 * 10**9)
    assert [(each.value, unopened(each.headers)) for each in opened(store, records)] == [(None, state)] * 2


def opened(store: KeyStore, records: Sequence[StoredRecord], topic: str = ZONED) -> list[Any]:
    return build.run(Opening(store.find).opened(topic, records))


@pytest.mark.parametrize("fault", ["another event", "another topic", "another zone", "another digest"])
def test_a_value_that_was_moved_or_relabelled_does_not_open(store: KeyStore, fault: str) -> None:
    query, answer = (stored(each) for each in on(ZONED, written(SPOKEN, Keys(store)))[5:])
    headers = dict(query.headers)
    moved = {
        "another event": replace(query, value=answer.value),
        "another topic": query,
        "another zone": replace(query, headers=[*{**headers, "sightline-zone": b"public"}.items()]),
        "another digest": replace(query, headers=[*{**headers, DIGEST: b"0" * 32}.items()]),
    }[fault]
    [result] = opened(store, [moved], DERIVED if fault == "another topic" else ZONED)
    assert (result.value, unopened(result.headers)) == (None, "broken")


def test_no_device_can_make_its_own_data_look_sealed() -> None:
    good = build.fetch([build.query(7, WORDS, T)])
    [record] = good.records
    forged = StoredRecord(
        0, record.timestamp, record.key, record.value, [*record.headers, (ENCODING, b"gzip")]
    )
    core = LiveGlasses(build.followed(SPOKEN))
    outputs, _ = build.process(core, [Fetch(good.topic, 0, [forged])])
    [reject] = on(REJECTED, outputs)
    assert b"found content-encoding, which only" in dict(reject.headers)["sightline-reason"]


def test_without_keys_what_owes_it_is_written_open_and_its_state_is_as_ever(store: KeyStore) -> None:
    """A replay has no keys: it computes the same, and its values go nowhere."""
    plain, sealed = written(SPOKEN, None), written(SPOKEN, Keys(store))
    assert [record for record in plain if record.topic in {ANSWERS, STATE}] == [
        record for record in sealed if record.topic in {ANSWERS, STATE}
    ]
    assert all(record.seal is not None for record in on(ZONED, plain)[5:])
