"""Examples are sealed when they are written and opened when they are learned, and lost only where told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace as replace_batch

from streams import clock, limits, metrics
from streams.errors import UnavailableError
from streams.events.digest import keyed_digest
from streams.events.headers import DIGEST, ENCODING
from streams.events.record import Fetch, Outgoing, Received, Seal, StoredRecord
from streams.pipeline.live import LiveGlasses, LiveTraining
from streams.pipeline.training_state import TrainingState
from streams.replay import fit_here
from streams.sealing.key_rows import KeyFor
from streams.sealing.key_store import KeyStore, day_of
from streams.sealing.keys import Keys
from streams.sealing.sealed import SEALED, is_sealed, key_of, seal, unseal
from streams.topology import EXAMPLES, LINEAGE, REJECTED
from tests import build
from tests.feedback.test_feedback import T
from tests.hostile.test_cores import GOOD_EXAMPLES

WORDS = "wake me at seven"
DAY_NS = 86_400 * 10**9


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore.made(tmp_path / "keys")


def conversation(keys: Keys | None, core: LiveGlasses | None = None) -> list[Outgoing]:
    """All that is written of a query and of feedback about its answer, by a core or one with these keys."""
    batches = [
        *(build.imu(1.2, i * 20, 20) for i in range(5)),
        build.query(7, WORDS, T),
        build.feedback(3, "g1/answer/7", "alarm_set", T + 1_000_000_000),
    ]
    core = core or LiveGlasses(build.followed(), keys=keys)
    records, _ = build.process(core, [build.fetch(batches[:6]), build.fetch(batches[6:], 6)])
    return records


def example_of(records: Sequence[Outgoing]) -> Outgoing:
    [example] = [record for record in records if record.topic == EXAMPLES]
    return example


def example_row(records: Sequence[Outgoing]) -> dict[str, Any]:
    [row] = [row for row in build.lineage(records)["events"] if row["kind"] == "example"]
    return row


def test_an_example_is_written_sealed_under_the_key_of_wearer_retention_and_day(store: KeyStore) -> None:
    plain, records = example_of(conversation(None)), conversation(Keys(store))
    example = example_of(records)
    assert WORDS.encode() in (plain.value or b"")
    assert WORDS.encode() not in (example.value or b"")
    assert not any(
        WORDS.encode() in record.value for record in records if record.topic == LINEAGE and record.value
    )
    days = build.policy().retention_days(bytes.fromhex(example_row(records)["label"]))
    wanted = KeyFor("w1", days, day_of(example.timestamp_ms * 1_000_000))
    key = store.ensure([wanted])[wanted]
    assert dict(store.counts()) == {"present": 1}, "it was there already"
    assert key_of(example.value) == key.name
    headers, value = unseal(key.key, EXAMPLES, example.headers, example.value or b"")
    assert value == plain.value
    assert [header for header in headers if header[0] != DIGEST] == [
        header for header in plain.headers if header[0] != DIGEST
    ]
    assert example.seal is None


def test_lineage_has_the_digest_under_the_wearers_key_and_the_size_of_the_words(store: KeyStore) -> None:
    plain, records = conversation(None), conversation(Keys(store))
    row, value = example_row(records), example_of(plain).value or b""
    assert (
        row["digest"] == keyed_digest(store.digest_keys(["w1"])["w1"], value) != example_row(plain)["digest"]
    )
    assert dict(example_of(records).headers)[DIGEST].decode() == row["digest"]
    assert row["bytes"] == len(value)
    rest = [
        [
            {name: of for name, of in each.items() if name != "digest" or each["kind"] != "example"}
            for each in rows["events"]
        ]
        for rows in (build.lineage(plain), build.lineage(records))
    ]
    assert rest[0] == rest[1], "of nothing else anything changed"


class Counted(LiveGlasses):
    """Notes how many records each attempt at a fetch computes; each takes a while on a clock of tests."""

    def __init__(self, keys: Keys, takes: Callable[[], None] = lambda: None) -> None:
        super().__init__(build.followed(), keys=keys)
        self.computed, self._takes = list[int](), takes

    async def _processed(self, state: Any, fetch: Fetch, inputs: Any, **how: Any) -> Any:
        self.computed.append(len(fetch.records))
        self._takes()
        return await super()._processed(state, fetch, inputs, **how)


def test_a_fetch_with_feedback_about_an_earlier_answer_is_computed_once(store: KeyStore) -> None:
    core = Counted(Keys(store))
    conversation(None, core)
    assert core.computed == [6, 1]


def test_query_and_feedback_in_one_fetch_make_a_sealed_example_too(store: KeyStore) -> None:
    batches = [
        build.query(7, WORDS, T),
        build.feedback(3, "g1/answer/7", "alarm_set", T + 1_000_000_000),
    ]
    records, _ = build.process(LiveGlasses(build.followed(), keys=Keys(store)), [build.fetch(batches)])
    assert is_sealed(example_of(records).headers)


def test_a_fetch_is_computed_twice_at_most_however_many_wearers_and_however_slow(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr(clock, "monotonic_s", lambda: now_s)

    def takes() -> None:
        nonlocal now_s
        now_s += 10.0

    core = Counted(Keys(store), takes)
    wearers = [f"w{number}" for number in range(90, 100)]
    batches = []
    for at, wearer in enumerate(wearers):
        first = {"session": f"s{at}", "consent": 1}
        batches += [
            replace_batch(build.query(at, WORDS, T + at * 10**9, **first), wearer_id=wearer),
            replace_batch(
                build.feedback(at, f"g1/answer/{at}", "alarm_set", T + at * 10**9 + 1, **first),
                wearer_id=wearer,
            ),
        ]
    records, _ = build.process(core, [build.fetch(batches)])
    examples = [record for record in records if record.topic == EXAMPLES]
    assert (core.computed, len(examples)) == ([20, 20], 10)
    rows = [row for row in build.lineage(records)["events"] if row["kind"] == "example"]
    assert len({row["digest"] for row in rows}) == 10


@pytest.mark.parametrize(
    "forged",
    ["another store", "unknown number", "greatest number", "no value in a header", "encoding without value"],
)
def test_what_somebody_invents_is_rejected_and_stops_nobody(store: KeyStore, forged: str) -> None:
    keys = Keys(store)
    good = sealed(keys)
    name = key_of(good[0].value)
    invented = {
        "another store": name._replace(store=bytes(8)),
        "unknown number": name._replace(number=999),
        "greatest number": name._replace(number=2**64 - 1),
    }.get(forged, name)
    headers, value = seal(invented, bytes(32), EXAMPLES, GOOD_EXAMPLES[0].headers, b"{}")
    if forged == "no value in a header":
        headers = [(each, b"" if each == "ce_id" else of) for each, of in headers]
        headers = [(each, None if each == "ce_id" else of) for each, of in headers]  # type: ignore[misc]
    if forged == "encoding without value":
        headers = [(each, None if each == ENCODING else of) for each, of in headers]  # type: ignore[misc]
    bad = replace(good[0], value=value, headers=headers)
    written, state = trained([bad, *good[1:]], keys, every=11)
    assert len([record for record in written if record.topic == REJECTED]) == 1
    assert digests(written) == digests(trained(GOOD_EXAMPLES[1:], None, every=11)[0]) != []
    assert state.admitted == 0


def sealed(keys: Keys, records: Sequence[Received] = GOOD_EXAMPLES, wearer: str = "w1") -> list[StoredRecord]:
    """Records of glasses.examples as the worker would have sealed them."""
    written = build.run(
        keys.sealed(
            [
                Outgoing(
                    EXAMPLES,
                    0,
                    record.key or b"",
                    record.value,
                    list(record.headers),
                    record.timestamp,
                    Seal(wearer, 30),
                )
                for record in records
            ]
        )
    )
    return [
        StoredRecord(record.offset, record.timestamp, of.key, of.value, of.headers)
        for record, of in zip(records, written, strict=True)
    ]


def trained(
    records: Sequence[Received], keys: Keys | None, every: int = 12
) -> tuple[list[Outgoing], TrainingState]:
    """What training writes of records that come in one fetch."""

    async def history(offset: int) -> Sequence[Received]:
        return [record for record in records if record.offset <= offset]

    core = LiveTraining(build.followed(), history, fit_here, every, keys=keys)
    outcome = build.run(build.computed(core, core.empty(0), Fetch(EXAMPLES, 0, records)))
    return list(outcome.outputs), outcome.state


def digests(written: Sequence[Outgoing]) -> list[str]:
    return [row["digest"] for row in build.lineage(written).get("models", ())]


def test_training_learns_from_sealed_examples_what_it_learns_from_open_ones(store: KeyStore) -> None:
    keys = Keys(store)
    before = metrics.read("opened_total", outcome="opened")
    opened = trained(sealed(keys), keys)
    assert digests(opened[0]) == digests(trained(GOOD_EXAMPLES, None)[0]) != []
    assert opened[1].admitted == 0
    # Once to see whether a run is due, once to gate them, and once for the run, which reads all again.
    assert metrics.read("opened_total", outcome="opened") - before == 3 * len(GOOD_EXAMPLES)


@pytest.mark.parametrize("state", ["erased", "expired"])
def test_an_example_whose_key_was_destroyed_is_refused_and_the_others_are_learned(
    store: KeyStore, state: str
) -> None:
    records = [*sealed(Keys(store), GOOD_EXAMPLES[:8]), *sealed(Keys(store), GOOD_EXAMPLES[8:], "w2")]
    if state == "erased":
        assert store.erase("w2", 1) == 1
    else:
        [(number,)] = store._file.file.execute("SELECT number FROM keys WHERE wearer = 'w2'")
        store._file.file.execute("UPDATE keys SET day = 0 WHERE number = ?", (number,))
        assert store.expire(day_of(GOOD_EXAMPLES[0].timestamp * 1_000_000) * DAY_NS) == 1
    written, after = trained(records, Keys(store), every=8)
    assert digests(written) == digests(trained(GOOD_EXAMPLES[:8], None, every=8)[0]) != []
    rejected = [dict(record.headers) for record in written if record.topic == REJECTED]
    assert len(rejected) == 4
    reason = {"erased": b"its wearer was erased", "expired": b"its retention was over"}[state]
    assert all(reason in headers["sightline-reason"] for headers in rejected)
    assert after.admitted == 0


def test_a_run_learns_nothing_of_what_was_erased_since_it_was_read(store: KeyStore) -> None:
    keys, records = (
        Keys(store),
        [*sealed(Keys(store), GOOD_EXAMPLES[:4], "w2"), *sealed(Keys(store), GOOD_EXAMPLES[4:])],
    )

    async def history(offset: int) -> Sequence[Received]:
        return [record for record in records if record.offset <= offset]

    core = LiveTraining(build.followed(), history, fit_here, 12, keys=keys)
    state = build.run(build.computed(core, core.empty(0), Fetch(EXAMPLES, 0, records[:6]))).state
    store.erase("w2", 1)
    core = LiveTraining(core.followed, history, fit_here, 12, keys=Keys(store))
    outcome = build.run(build.computed(core, state, Fetch(EXAMPLES, 0, records[6:])))
    [row] = build.lineage(outcome.outputs)["training_runs"]
    assert row["admitted"] == 8
    assert digests(outcome.outputs) == digests(trained(GOOD_EXAMPLES[4:], None, every=8)[0]) != []


@pytest.mark.parametrize("fault", ["moved", "changed", "relabelled", "cut"])
def test_a_sealed_example_that_was_tampered_with_is_malformed_and_shows_nothing(
    store: KeyStore, fault: str
) -> None:
    keys = Keys(store)
    good = sealed(keys)
    value, headers = good[0].value or b"", dict(good[0].headers)
    bad = {
        "moved": replace(good[0], value=good[1].value),
        "changed": replace(good[0], value=value[:-1] + bytes([value[-1] ^ 1])),
        "relabelled": replace(good[0], headers=list({**headers, "sightline-zone": b"street"}.items())),
        "cut": replace(good[0], value=value[:20]),
    }[fault]
    written, state = trained([bad, *good[1:]], keys, every=11)
    [reject] = [record for record in written if record.topic == REJECTED]
    assert b"does not open at this place" in dict(reject.headers)["sightline-reason"]
    assert reject.value == bad.value, "what is kept of it is what was on the topic"
    assert digests(written) == digests(trained(GOOD_EXAMPLES[1:], None, every=11)[0]) != []
    assert state.admitted == 0


@pytest.mark.parametrize("fault", ["no key-encryption key", "unsafe key-encryption key", "older store"])
def test_without_its_key_store_training_waits_and_refuses_nothing(store: KeyStore, fault: str) -> None:
    records = sealed(Keys(store))
    keys = Keys(store)
    if fault == "no key-encryption key":
        for path in store.path.parent.glob("key-encryption-key.*"):
            path.unlink()
    elif fault == "unsafe key-encryption key":
        for path in store.path.parent.glob("key-encryption-key.*"):
            path.chmod(0o666)
    else:
        store._file.file.execute("DELETE FROM keys")
    with pytest.raises(UnavailableError, match=r"[Nn]othing is erased|found a file of mode 0666"):
        trained(records, keys)


def test_without_its_key_store_no_example_is_written(store: KeyStore) -> None:
    for path in store.path.parent.glob("key-encryption-key.*"):
        path.unlink()
    with pytest.raises(UnavailableError, match="found no key-encryption key"):
        conversation(Keys(store))


def test_a_key_is_held_less_than_two_seconds_beyond_its_destruction(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr(clock, "monotonic_s", lambda: now_s)
    keys = Keys(store)
    [record] = sealed(keys, GOOD_EXAMPLES[:1])

    def opens() -> bool:
        [opened] = build.run(keys.opened(EXAMPLES, [record]))
        return opened.value == GOOD_EXAMPLES[0].value

    assert opens()
    store.erase("w1", 1)
    held = []
    while opens() and now_s < 1010.0:
        held.append(now_s)
        now_s += 0.1
    assert held[-1] - 1000.0 < limits.KEY_HELD_S < 2.0


def test_a_record_that_is_not_sealed_passes_as_it_is(store: KeyStore) -> None:
    assert build.run(Keys(store).opened(EXAMPLES, GOOD_EXAMPLES)) == list(GOOD_EXAMPLES)
    assert dict(store.counts()) == {}


def test_a_record_that_says_it_is_sealed_and_is_not_is_broken(store: KeyStore) -> None:
    [record] = build.run(
        Keys(store).opened(
            EXAMPLES, [replace(GOOD_EXAMPLES[0], headers=[*GOOD_EXAMPLES[0].headers, (ENCODING, SEALED)])]
        )
    )
    assert (record.value, dict(record.headers)[ENCODING]) == (None, b"broken")
    assert not is_sealed(record.headers)


def test_more_keys_than_are_held_are_asked_for_again(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KEYS_HELD_MAX", 3)
    keys = Keys(store)
    records = [record for at in range(12) for record in sealed(keys, GOOD_EXAMPLES[at : at + 1], f"w{at}")]
    for _ in range(2):
        assert [each.value for each in build.run(keys.opened(EXAMPLES, records))] == [
            each.value for each in GOOD_EXAMPLES
        ]
